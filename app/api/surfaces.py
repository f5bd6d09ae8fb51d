"""/surfaces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.api import downloads
from app.api.checkpoints import Filename
from app.api.events import LastEventId, follow
from app.api.receiving import RAW_BODY, received
from app.schemas import CostEstimate, ShareInfo, ShareWish, SurfaceInfo, Ticket
from app.services import Services
from landscape_core.flatness import Flatness
from landscape_core.requests import SurfaceRequest

Level = Annotated[float | None, Query(description="The loss up to which the basin reaches.")]
Epsilon = Annotated[float | None, Query(description="Half the side of the box of ε-sharpness.")]


def router(services: Services) -> APIRouter:  # noqa: C901  # fifteen routes of a few lines each
    """The routes, asking these services."""
    routes = APIRouter(tags=["surfaces"])

    @routes.post("/surfaces", status_code=202)
    async def request_surface(wanted: SurfaceRequest, response: Response) -> Ticket:
        """Asks for a surface: 202 if it is new, 200 if it is there. A cancelled or failed one goes on."""
        info, created = await asyncio.to_thread(services.request_surface, wanted)
        response.status_code = 202 if created else 200
        return Ticket(id=info.id, state=info.state)

    @routes.post("/surfaces/estimate")
    def estimate_surface(wanted: SurfaceRequest) -> CostEstimate:
        """What a request would cost on the workers that are there."""
        return services.estimate(wanted)

    @routes.post("/surfaces/import", status_code=201, openapi_extra=RAW_BODY)
    async def import_surface(request: Request, response: Response, filename: Filename = "surface") -> SurfaceInfo:
        """Takes a surface file as the raw body: our `.npz` or `.json`, or Li et al.'s `.h5`. 202 if that takes long."""
        async with received(request, "surface", services.settings) as file:
            info = await asyncio.to_thread(services.import_surface, file.path, filename, file.sha256)
        response.status_code = 201 if info.state == "finished" else 202
        return info

    @routes.get("/surfaces")
    def list_surfaces() -> list[SurfaceInfo]:
        """All surfaces, newest first."""
        return services.surfaces()

    @routes.get("/surfaces/{surface_id}")
    def read_surface(surface_id: str) -> SurfaceInfo:
        """One surface: its question, how far it is, how it was made."""
        return services.surface(surface_id)

    @routes.delete("/surfaces/{surface_id}", status_code=204)
    def delete_surface(surface_id: str) -> None:
        """Removes a surface and the links to it."""
        services.delete_surface(surface_id)

    @routes.post("/surfaces/{surface_id}/cancel")
    def cancel_surface(surface_id: str) -> SurfaceInfo:
        """Stops a surface; what is measured is kept."""
        return services.cancel(surface_id)

    @routes.post("/surfaces/{surface_id}/retry")
    def retry_surface(surface_id: str) -> SurfaceInfo:
        """Goes on with a cancelled or failed surface, from what is measured."""
        return services.retry(surface_id)

    async def known(surface_id: str) -> str:
        await asyncio.to_thread(services.surface_row, surface_id)
        return surface_id

    @routes.get("/surfaces/{surface_id}/events", response_class=EventSourceResponse)
    async def follow_surface(
        request: Request, surface: str = Depends(known), last_event_id: LastEventId = None
    ) -> AsyncIterator[ServerSentEvent]:
        """Follows a surface: "surface" (a whole surface), "progress" and "end" events; resumes by Last-Event-ID."""

        async def allowed() -> bool:
            return True

        async for event in follow(services, surface, last_event_id, allowed, request.app.state.stopping):
            yield event

    @routes.get("/surfaces/{surface_id}/data.{suffix}", response_class=Response)
    def download_surface(surface_id: str, suffix: str) -> Response:
        """The latest whole surface as a file: npz, h5, csv or json; as a shape: vtp, stl or glb."""
        return downloads.data(services, surface_id, suffix)

    @routes.get("/surfaces/{surface_id}/flatness")
    def measure_flatness(surface_id: str, level: Level = None, epsilon: Epsilon = None) -> Flatness:
        """How flat the latest whole surface is around the network: basin, sharpness, barriers."""
        return services.surface_result(surface_id).flatness(level, epsilon)

    @routes.get("/surfaces/{surface_id}/preview.png", response_class=Response)
    def preview_surface(surface_id: str) -> Response:
        """A finished surface's picture, 1200 x 630."""
        return downloads.preview(services, surface_id)

    @routes.get("/surfaces/{surface_id}/directions.h5", response_class=Response)
    def download_directions(surface_id: str) -> Response:
        """A finished surface's directions, to be given back as `file` directions."""
        return downloads.directions(services, surface_id)

    @routes.get("/surfaces/{surface_id}/projection.{suffix}", response_class=Response)
    def download_projection(surface_id: str, suffix: str) -> Response:
        """The surface's training run projected on the plane: h5 (as Li et al.'s code writes it), json or csv."""
        return downloads.projection(services, surface_id, suffix)

    @routes.post("/surfaces/{surface_id}/shares", status_code=201, tags=["links"])
    def create_share(surface_id: str, wish: ShareWish | None = None) -> ShareInfo:
        """Makes a link that opens this surface in one view, read only. This answer alone holds its token."""
        asked = wish or ShareWish()
        return services.create_share(surface_id, asked.view, asked.label)

    @routes.get("/surfaces/{surface_id}/shares", tags=["links"])
    def list_shares(surface_id: str) -> list[ShareInfo]:
        """The links to this surface. `token` is here a public id, which revokes the link but does not open it."""
        return services.shares(surface_id)

    return routes
