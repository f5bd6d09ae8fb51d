"""How an error in a callback reaches the person: as one sentence in the corner of the page."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any

from dash import Dash, set_props

from app import ids
from landscape_core.errors import LandscapeError

LOG = logging.getLogger(__name__)


def listen(app: Dash) -> Callable[..., Any]:
    """`app.callback`, with errors shown as a sentence."""
    return partial(app.callback, on_error=tell)


def tell(error: Exception) -> None:
    """Shows an error's sentence; what is not meant for people is logged whole and shown as a reference."""
    if isinstance(error, LandscapeError):
        say(str(error), "red", "This did not work")
        return
    reference = secrets.token_hex(4)
    LOG.error("callback failed, reference %s", reference, exc_info=error)
    say(f"An internal error (ref {reference}).", "red", "This did not work")


def say(text: str, colour: str = "teal", title: str | None = None) -> None:
    """Shows a sentence in the corner of the page."""
    notice = {
        "id": secrets.token_hex(4),
        "action": "show",
        "title": title,
        "message": text,
        "color": colour,
        "autoClose": 12000 if colour == "red" else 5000,
        "withBorder": True,
    }
    set_props(ids.NOTICES, {"sendNotifications": [notice]})
