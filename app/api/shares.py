"""/shares: what a link opens. There is no route here that changes anything, but the one that revokes the link."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Depends, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.api import downloads
from app.api.events import LastEventId, follow
from app.api.surfaces import Epsilon, Level
from app.schemas import SharedSurface
from app.services import Services
from landscape_core.flatness import Flatness


def router(services: Services) -> APIRouter:
    """The routes, asking these services."""
    routes = APIRouter(tags=["links"])

    @routes.get("/shares/{token}")
    def read_share(token: str) -> SharedSurface:
        """What a link opens, and in which view."""
        share, surface = services.share(token)
        return SharedSurface(share=share, surface=surface)

    @routes.delete("/shares/{token}", status_code=204)
    def revoke_share(token: str) -> None:
        """Revokes a link, by its token or its public id: from now on it opens nothing, and open streams end."""
        services.revoke_share(token)

    async def opened(token: str) -> str:
        return await asyncio.to_thread(services.shared_surface, token)

    @routes.get("/shares/{token}/events", response_class=EventSourceResponse)
    async def follow_share(
        request: Request, token: str, surface: str = Depends(opened), last_event_id: LastEventId = None
    ) -> AsyncIterator[ServerSentEvent]:
        """Follows the surface behind a link, as /surfaces/{id}/events does, until the link is revoked."""

        async def allowed() -> bool:
            return await asyncio.to_thread(services.is_shared, token)

        async for event in follow(services, surface, last_event_id, allowed, request.app.state.stopping):
            yield event

    _add_what_is_measured(routes, services)
    return routes


def _add_what_is_measured(routes: APIRouter, services: Services) -> None:
    """Downloads and numbers of the surface behind a link."""

    @routes.get("/shares/{token}/data.{suffix}", response_class=Response)
    def download_shared(token: str, suffix: str) -> Response:
        """The surface behind a link as a file: npz, h5, csv or json; as a shape: vtp, stl or glb."""
        return downloads.data(services, services.shared_surface(token), suffix)

    @routes.get("/shares/{token}/projection.{suffix}", response_class=Response)
    def download_shared_projection(token: str, suffix: str) -> Response:
        """The shared surface's training run projected on the plane: h5 (as Li et al.'s code writes it), json or csv."""
        return downloads.projection(services, services.shared_surface(token), suffix)

    @routes.get("/shares/{token}/flatness")
    def measure_shared(token: str, level: Level = None, epsilon: Epsilon = None) -> Flatness:
        """How flat the surface behind a link is around the network."""
        return services.surface_result(services.shared_surface(token)).flatness(level, epsilon)

    @routes.get("/shares/{token}/preview.png", response_class=Response)
    def preview_shared(token: str) -> Response:
        """The picture of the surface behind a link."""
        return downloads.preview(services, services.shared_surface(token))
