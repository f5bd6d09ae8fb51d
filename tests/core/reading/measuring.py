"""A small process that has files inspected one after the other and says how each ended: a script for `conftest`.

Small, because Linux counts the memory of the process that starts a child in with the child's own.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from landscape_core.errors import FileRejected
from landscape_core.reading import inspect_in_child


class Recorder(logging.Handler):
    """Keeps what the inspection logs: (kind, seconds, bytes)."""

    def __init__(self) -> None:
        super().__init__()
        self.last: tuple = ("", 0.0, 0)

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.INFO:
            self.last = record.args or self.last


def main() -> None:
    recorder, asked = Recorder(), json.load(sys.stdin)
    logging.basicConfig(level=logging.INFO, handlers=[recorder])
    for name, (kind, path, out) in asked.items():
        answer = {"name": name, "report": None, "error": None, "text": ""}
        try:
            answer["report"] = inspect_in_child(kind, Path(path), Path(path).name, Path(out))
        except FileRejected as error:
            answer |= {"error": type(error).__name__, "text": str(error)}
        _, answer["seconds"], answer["peak"] = recorder.last
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
