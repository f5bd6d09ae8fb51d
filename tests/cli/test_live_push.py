"""A landscape that is sent while it is computed: to a real server, from a process that may be interrupted or killed."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from torch import nn

import landscape_core as lc
from landscape_core import formats
from landscape_core.errors import InvalidRequest, PushFailed, SurfaceRejected
from tests.cli.running import measured

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running(start_atlas: Callable[..., Any]) -> Iterator[Any]:
    """A Loss Atlas; the last test starts it again, less patient."""
    started = start_atlas()
    yield started
    assert started.stop() == 0, started.log.read_text()


def _shared(link: str) -> dict[str, Any]:
    base, _, token = link.rpartition("/s/")
    return httpx.get(f"{base}/api/v1/shares/{token}").json()["surface"]


def _loss(link: str) -> np.ndarray:
    base, _, token = link.rpartition("/s/")
    return formats.npz.load(httpx.get(f"{base}/api/v1/shares/{token}/data.npz").content).loss


def _until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    return pytest.fail("it did not come about")


def _at_stage(link: str, stage: int) -> dict[str, Any]:
    """What the server tells of a surface once this stage has come."""
    found: dict[str, Any] = _until(lambda: (told := _shared(link))["progress"]["stage"] >= stage and told)
    return found


def _net() -> tuple[nn.Module, Any, list[Any]]:
    torch.manual_seed(0)
    data = [(torch.randn(64, 6), torch.randint(0, 3, (64,)))]
    return nn.Linear(6, 3), nn.CrossEntropyLoss(reduction="none"), data


def test_a_landscape_refines_under_one_link_until_it_is_whole(running, capsys):
    """Each stage is waited for on the server before the next is computed: none is passed over, every one is seen."""
    seen: list[tuple[int, int, tuple[int, ...]]] = []
    link = ""

    def look(surface: lc.Surface) -> None:
        nonlocal link
        link = link or capsys.readouterr().out.split()[-1]
        stage = len(seen) + 1
        info = _at_stage(link, stage)
        assert info["state"] == "running"
        shown = _loss(link)
        np.testing.assert_array_equal(shown, surface.loss)
        seen.append((info["progress"]["stage"], info["progress"]["stages"], shown.shape))

    surface = lc.landscape(*_net(), grid="-1:1:9x-1:1:9", push=f"{running.url}/", on_stage=look)
    assert seen[0] == (1, len(seen), (5, 5))
    assert [stage for stage, _, _ in seen] == list(range(1, len(seen) + 1))
    assert seen[-1][2] == (9, 9)
    info = _shared(link)
    assert (info["state"], info["progress"]["done"], info["problem"]) == ("finished", 1.0, None)
    assert info["provenance"]["model"] == "torch.nn.modules.linear.Linear"
    np.testing.assert_array_equal(_loss(link), surface.loss)
    assert httpx.get(link).status_code == 200


def test_a_fast_landscape_refines_until_it_is_estimated_well_enough(running, capsys):
    """First the first chunk on finer and finer grids, then estimates; how many stages there will be turns out on the way."""
    seen: list[tuple[int, int, int]] = []
    link = ""

    def look(surface: lc.Surface) -> None:
        nonlocal link
        link = link or capsys.readouterr().out.split()[-1]
        stage = len(seen) + 1
        info = _at_stage(link, stage)
        np.testing.assert_array_equal(_loss(link), surface.loss)
        seen.append((stage, info["progress"]["stages"], surface.estimated))

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))
    data = list(zip(torch.randn(400, 6).split(16), torch.randint(0, 3, (400,)).split(16), strict=True))
    loss = nn.CrossEntropyLoss(reduction="none")
    more = {"grid": "-1:1:9x-1:1:9", "budget": "fast", "push": running.url, "on_stage": look}
    surface = lc.landscape(model, loss, data, **more)
    assert surface.estimated == seen[-1][2] > 0
    assert not any(estimated for _, _, estimated in seen[:3]), "the first chunk alone"
    assert [stages for _, stages, _ in seen[:3]] == [4, 4, 4]
    assert all(stage <= stages for stage, stages, _ in seen)
    info = _shared(link)
    assert (info["state"], info["progress"]["stages"]) == ("finished", len(seen))
    assert info["provenance"]["fast"] == surface.provenance["fast"]
    assert httpx.get(link).status_code == 200


def test_an_exception_leaves_it_unfinished_and_what_came_can_be_downloaded(running, capsys):
    links: list[str] = []

    def stop(surface: lc.Surface) -> None:
        links.append(capsys.readouterr().out.split()[-1])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lc.landscape(*_net(), grid="-1:1:9", push=lc.push(running.url, name="my net"), on_stage=stop)
    info = _shared(links[0])
    assert (info["title"], info["state"]) == ("my net", "cancelled")
    assert info["problem"] == "Its sender stopped before the surface was whole; what had come until then is shown."
    assert _loss(links[0]).shape == (1, 5)


def test_a_computation_of_one_s_own_streams_too(running):
    with lc.push(running.url) as live:
        for points in (3, 5):
            live.progress(points / 5)
            live(measured(points, points))
    assert _shared(live.link)["state"] == "finished"
    np.testing.assert_array_equal(_loss(live.link), measured(5, 5).loss)
    with pytest.raises(InvalidRequest, match="used for another surface already"):
        lc.landscape(*_net(), push=live)


def test_a_surface_that_was_deleted_there_is_told_by_a_warning_and_is_not_lost(running):
    with pytest.warns(UserWarning, match=r"did not get the whole surface \(There is no surface .* sends it again"):
        surface = lc.landscape(
            *_net(), grid="-1:1:5", push=(live := lc.push(running.url)), on_stage=lambda _: _delete(live.link)
        )
    assert surface.loss.shape == (1, 5)


def _delete(link: str) -> None:
    """Waits for the state that is on its way, and deletes the surface before the end is said."""
    base = link.partition("/s/")[0]
    _until(lambda: _shared(link)["progress"]["stage"] == 1)
    assert httpx.delete(f"{base}/api/v1/surfaces/{_shared(link)['id']}").status_code == 204


def _shown_to_be_copied(server: str) -> list[str]:
    """What the Copy buttons of the checkpoints page copy."""
    texts: list[str] = []

    def walk(part: Any) -> None:
        if isinstance(part, list):
            for each in part:
                walk(each)
        elif isinstance(part, dict):
            if part.get("type") == "CopyButton":
                texts.append(part["props"]["value"])
            for each in part.values():
                walk(each)

    walk(httpx.get(f"{server}/checkpoints/content").json())
    return texts


def test_the_lines_that_are_shown_for_a_file_that_nothing_fits_give_a_link(running, tmp_path, capsys):
    """Exactly as they stand on the page, around a user's `model` and `batches`; the command around a user's `net.py`."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.Tanh(), nn.Bilinear(8, 8, 4), nn.Linear(4, 10))
    model[3] = nn.Conv1d(8, 4, 1)
    path = tmp_path / "it's mine.pt"
    torch.save(model.state_dict(), path)
    sent = httpx.put(f"{running.url}/api/v1/checkpoints", params={"filename": path.name}, content=path.read_bytes()).json()
    info = _until(
        lambda: (i := httpx.get(f"{running.url}/api/v1/checkpoints/{sent['id']}").json())["state"] != "inspecting" and i
    )
    assert (info["state"], info["tensors"], info["candidates"]) == ("rejected", 6, [])
    python, command = _shown_to_be_copied(running.url)
    assert len(python.splitlines()) == 3
    user: dict[str, Any] = dict(zip(("model", "_", "batches"), _net(), strict=True))
    exec(python, user)
    link = capsys.readouterr().out.split()[-1]
    assert link.startswith(f"{running.url}/s/")
    assert (_shared(link)["state"], _shared(link)["title"]) == ("finished", "it's mine")
    lines = [shlex.split(line) for line in command.splitlines()]
    assert lines[0][:5] == ["lossatlas", "compute", path.name, "--architecture", "net.py:build"]
    assert lines[1] == ["lossatlas", "push", "it's mine.surface.npz", "--server", running.url]


def test_what_cannot_be_streamed_to_is_said_before_anything_is_computed(free_port, running):
    def never(_surface: lc.Surface) -> None:
        raise AssertionError

    with pytest.raises(PushFailed, match="cannot be reached"):
        lc.landscape(*_net(), push=f"http://127.0.0.1:{free_port}", on_stage=never)
    with pytest.raises(InvalidRequest, match="push is a server's address"):
        lc.landscape(*_net(), push=5, on_stage=never)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="takes the server's address too"):
        lc.push(measured(3, 3))  # type: ignore[call-overload]
    with pytest.raises(SurfaceRejected, match="name"):
        lc.push(running.url, name="")


KILLED = """
    import sys, time, torch, landscape_core as lc
    from torch import nn
    def slow(surface):
        time.sleep(600)
    data = [(torch.randn(8, 6), torch.randint(0, 3, (8,)))]
    lc.landscape(nn.Linear(6, 3), nn.CrossEntropyLoss(), data, grid="-1:1:9", push=sys.argv[1], on_stage=slow)
"""


def test_a_sender_that_is_killed_is_given_up_also_by_a_server_that_was_started_again(running, start_atlas):
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), running.url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as sender:
        assert sender.stdout is not None
        link = sender.stdout.readline().split()[-1]
        _until(lambda: _shared(link)["progress"]["stage"] == 1)
        sender.send_signal(signal.SIGKILL)
    path = link.partition("/s/")[2]
    assert _shared(link)["state"] == "running"
    assert running.stop() == 0
    again = start_atlas(data=running.data, LOSSATLAS_LIVE_SILENCE_S="2")
    running.process, running.url, running.log = again.process, again.url, again.log
    link = f"{again.url}/s/{path}"
    info = _until(lambda: (found := _shared(link))["state"] != "running" and found)
    assert info["state"] == "cancelled"
    assert "Nothing has come from its sender for 2 s" in info["problem"]
    assert _loss(link).shape == (1, 5)
