"""What is kept is not looked through again; garbage is not kept. In a process of its own, whose objects are its own."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import gc, weakref
from worker.lasting import keep_what_is_loaded

class Ring:
    def __init__(self):
        self.itself = self  # so that only the search for garbage frees it

gc.disable()
kept, left = Ring(), weakref.ref(Ring())
assert left() is not None
keep_what_is_loaded()
assert left() is None, "garbage is freed first"
assert not any(found is kept for found in gc.get_objects()), "what is there is kept out of the search"
later, gone = Ring(), weakref.ref(Ring())
assert any(found is later for found in gc.get_objects()), "what comes later is not"
gc.collect()
assert gone() is None
print("all true")
"""


def test_what_is_there_is_kept_out_of_the_search_for_garbage_and_what_comes_later_is_not() -> None:
    ended = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stdout.strip(), ended.stderr) == ("all true", "")
