"""What is kept is not looked through again; garbage is not kept."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from worker.lasting import keep_what_is_loaded


class Ring:
    """An object that only the search for garbage frees."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_what_is_there_is_kept_out_of_the_search_and_garbage_is_freed_first() -> None:
    gc.disable()
    try:
        kept, left = Ring(), weakref.ref(Ring())
        assert left() is not None
        keep_what_is_loaded()
        assert left() is None
        assert not any(found is kept for found in gc.get_objects())
        later = Ring()
        assert any(found is later for found in gc.get_objects())
    finally:
        gc.enable()


def test_what_becomes_garbage_later_is_freed_as_ever() -> None:
    keep_what_is_loaded()
    later = weakref.ref(Ring())
    gc.collect()
    assert later() is None
