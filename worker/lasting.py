"""What a process has loaded when it begins its work, and keeps until it ends."""

from __future__ import annotations

import gc


def keep_what_is_loaded() -> None:
    """Python no longer looks for garbage among all that there is now: modules, PyTorch's operators, the application.

    It would every half minute or so, for 0.11 to 0.15 seconds, in which nothing else runs: no event goes out, no cell is
    measured. What is made later is looked through as ever.
    """
    gc.collect()
    gc.freeze()
