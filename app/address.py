"""The address under which the server was asked, for links when no public address is configured."""

from contextvars import ContextVar

current_address: ContextVar[str] = ContextVar("current_address", default="")
"""Scheme, host and port of the request in hand, as in `http://127.0.0.1:8050`; "" outside of one. Set by `app.security`."""
