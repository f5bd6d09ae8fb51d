"""The address under which the server was asked, for links when no public address is configured."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.settings import AppSettings

current_address: ContextVar[str] = ContextVar("current_address", default="")
"""Scheme, host and port of the request in hand, as in `http://127.0.0.1:8050`; "" outside of one. Set by `app.security`."""


def public_address(settings: AppSettings) -> str:
    """The address that people reach this server by: the configured one, or the one that was asked."""
    return settings.base_url or current_address.get()
