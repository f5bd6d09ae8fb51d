"""A process that has loaded the command once, and forks for every run of it: a script for `running`.

Each run is a process of its own, as the user's is, but need not load PyTorch, which takes longer than most of what is run here.
It reads a run a line, as JSON, and answers how it ended.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from typing import Any

from app.leash import PR_SET_PDEATHSIG
from cli.main import main
from cli.material import share_cores


def ended(asked: dict[str, Any]) -> dict[str, Any]:
    """Runs the command; its exit code, None if it took too long, and what it wrote."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            _run(asked, out.fileno(), err.fileno())
        code = _code(child, time.monotonic() + asked["timeout_s"])
        written = []
        for file in (out, err):
            file.seek(0)
            written.append(file.read().decode(errors="replace"))
    return {"code": code, "out": written[0], "err": written[1]}


def _run(asked: dict[str, Any], out: int, err: int) -> None:
    code = 1
    try:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)  # with the process that forked it
        for target, source in enumerate((os.open(os.devnull, os.O_RDONLY), out, err)):
            os.dup2(source, target)
        os.environ.clear()
        os.environ.update(asked["environment"])
        os.chdir(asked["folder"])
        sys.path[0] = asked["folder"]
        code = main(asked["words"])
        threading._shutdown()  # as an interpreter ends
        atexit._run_exitfuncs()
    except BaseException:  # noqa: BLE001  the edge of this process, whose parent shows what it writes
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _code(child: int, end: float) -> int | None:
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


if __name__ == "__main__":
    share_cores()
    import landscape_core.compute.surface  # noqa: F401  loads PyTorch

    for line in sys.stdin:
        print(json.dumps(ended(json.loads(line))), flush=True)  # noqa: T201
