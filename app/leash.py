"""Runs a command that ends when the process that asked for it ends, however that ends.

    python -I -S leash.py PARENT_PID INHERITED_FDS COMMAND [ARGUMENT …]

A killed supervisor cannot stop its children. On Linux the kernel does: it sends SIGTERM when the *thread* that started this
script is gone, and that setting outlives exec. It is asked for here, after exec, and not in a `preexec_fn`, because Python code
between fork and exec may deadlock in a process that has threads. Elsewhere this script stays, and watches its parent.
"""

import os
import signal
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that this process gets when its parent is gone."""
POLL_S = 0.2


def become(parent: int, command: list[str]) -> None:
    """Replaces this process by the command, which the kernel ends with its parent; returns only if that is gone already."""
    import ctypes  # noqa: PLC0415  # slow, and of no use elsewhere

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() == parent:
        os.execv(command[0], command)  # noqa: S606  # no shell is wanted


def watch(parent: int, command: list[str], inherited: list[int]) -> int:
    """Runs the command until it ends, or this process is asked to stop or loses its parent; returns its exit status."""
    child = subprocess.Popen(command, pass_fds=inherited)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    while child.poll() is None:
        if os.getppid() != parent:
            child.terminate()
        time.sleep(POLL_S)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def main(arguments: list[str]) -> int:
    """Ties the command to the parent, in the way that this system has.

    Args:
        arguments: The parent's process id, the file descriptors that the command inherits with commas between them, the
            command and its arguments.

    Returns:
        The exit status, where there is still a process to return it.
    """
    parent, inherited, *command = arguments
    if sys.platform != "linux":
        return watch(int(parent), command, [int(number) for number in inherited.split(",") if number])
    become(int(parent), command)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
