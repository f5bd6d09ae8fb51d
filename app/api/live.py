"""/surfaces/live: surfaces that are sent while they are computed elsewhere."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from app.api.receiving import RAW_BODY, received
from app.schemas import LiveTicket, LiveWish, LiveWord, SurfaceInfo
from app.services import Services
from app.services.live import MOST_STATE_BYTES, MOST_STATES

Secret = Annotated[str, Header(alias="X-Live-Secret", max_length=200, description="As the answer to the opening gave it.")]
Stage = Annotated[int, Query(ge=1, le=10 * MOST_STATES, description="Counts whole surfaces, this one included.")]
Stages = Annotated[int, Query(ge=0, le=10 * MOST_STATES, description="How many there will be; 0 if not known.")]


def router(services: Services) -> APIRouter:
    """The routes, asking these services."""
    routes = APIRouter(tags=["surfaces"])

    @routes.post("/surfaces/live", status_code=201)
    def open_live_surface(wish: LiveWish) -> LiveTicket:
        """Opens a surface that is computed elsewhere and sent while it is."""
        return services.open_live(wish)

    @routes.put("/surfaces/{surface_id}/live", openapi_extra=RAW_BODY)
    async def send_live_state(
        request: Request, response: Response, surface_id: str, secret: Secret, stage: Stage, stages: Stages = 0
    ) -> SurfaceInfo:
        """Takes the next whole surface, as a file in the raw body (64 MiB at most). 202 while it is being inspected."""
        async with received(request, "surface", services.settings, MOST_STATE_BYTES) as file:
            info = await asyncio.to_thread(services.send_state, surface_id, secret, file.path, file.sha256, stage, stages)
        response.status_code = 200 if info.progress.stage >= stage else 202
        return info

    @routes.patch("/surfaces/{surface_id}/live")
    def tell_of_live_surface(surface_id: str, secret: Secret, word: LiveWord) -> SurfaceInfo:
        """How far it is; that its last state is the whole surface; or that it is left unfinished."""
        return services.tell_live(surface_id, secret, word)

    return routes
