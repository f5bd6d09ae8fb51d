"""When workers said what, and how long it took them: read from the streams of a running Loss Atlas."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.table import Skipped
from worker.blobs import BlobStore, job_key
from worker.job import Announcement, SurfaceJob
from worker.queue import WorkQueue, plan


def redis_url(data: Path) -> str:
    """The address of the Valkey server that `lossatlas up` has started for a data folder.

    Raises:
        Skipped: Its configuration does not say.
    """
    text = (data / "valkey" / "valkey.conf").read_text()
    port, password = (re.search(rf"^{name} (\S+)$", text, re.MULTILINE) for name in ("port", "requirepass"))
    if port is None or password is None:
        raise Skipped("the embedded Valkey server's configuration has another form than expected.")
    return f"redis://:{password[1]}@127.0.0.1:{port[1]}/0"


def stage_words(data: Path, surface: str) -> dict[int, int]:
    """Stage, counted from 1 -> the time at which a worker announced the last of its units, in milliseconds since 1970.

    Of a unit that was computed twice, the first announcement counts.
    """
    job = SurfaceJob.model_validate_json(BlobStore(str(data / "blobs")).get(job_key(surface)))
    said: dict[int | None, int] = {}
    for stream_id, word in _announced(data, surface):
        said.setdefault(word.unit, int(stream_id.partition("-")[0]))
    words, latest = {}, 0
    for stage in range(len(plan(job).stages)):
        times = [said[unit] for unit in plan(job).stage_units(stage) if unit in said]
        if len(times) == len(plan(job).stage_units(stage)):
            latest = max([latest, *times])
            words[stage + 1] = latest
    return words


def unit_seconds(data: Path, surface: str) -> list[float]:
    """How long each of a surface's units took its worker, in the order in which they were announced."""
    return [word.seconds for _, word in _announced(data, surface) if word.kind == "unit" and word.seconds is not None]


def _announced(data: Path, surface: str) -> list[tuple[str, Announcement]]:
    """All that workers said of a surface, oldest first, with its id in the stream."""
    queue, last_id, words = WorkQueue.at(redis_url(data)), "0", list[tuple[str, Announcement]]()
    while found := queue.results(last_id, block_ms=1):
        last_id = found[-1][0]
        words += [(stream_id, word) for stream_id, word in found if word.subject == surface]
    queue.redis.close()
    return words
