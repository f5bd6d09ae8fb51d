"""Connections that say nothing, or hardly: uvicorn closes idle ones, but not one whose head comes byte by byte."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEAD_WITHIN_S = 20.0
"""Longest wait for a whole head: from the beginning of the connection, or from the first byte of a later request."""


class PromptProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # one of two, by what is installed
    """uvicorn's own, which closes a connection whose head does not come in time. Bodies are `security.Guard`'s matter."""

    _awaiting_head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """The clock runs from here."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """The clock stops once a request has begun to be answered, and runs again from the first byte of the next."""
        before = self.cycle
        if self._awaiting_head is None and (before is None or before.response_complete):
            self._await_head()
        super().data_received(data)
        if self.cycle is not before:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """The clock stops."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._awaiting_head = self.loop.call_later(HEAD_WITHIN_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._awaiting_head is not None:
            self._awaiting_head.cancel()
            self._awaiting_head = None

    def _give_up(self) -> None:
        self._awaiting_head = None
        if self.transport.get_protocol() is self:  # else it has become a websocket
            self.transport.close()
