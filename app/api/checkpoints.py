"""/checkpoints and /architectures."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request

from app.api.receiving import RAW_BODY, received
from app.schemas import ArchitectureInfo, CheckpointInfo, Ticket
from app.services import Services

Filename = Annotated[str, Query(max_length=10_000, description="The file's name, to show; never used as a path.")]


def router(services: Services) -> APIRouter:
    """The routes, asking these services."""
    routes = APIRouter(tags=["checkpoints"])

    @routes.put("/checkpoints", status_code=201, openapi_extra=RAW_BODY)
    async def upload_checkpoint(request: Request, filename: Filename = "checkpoint") -> Ticket:
        """Takes a file of parameters, as the raw body. The same bytes give the same id. It is then inspected."""
        async with received(request, "checkpoint", services.settings) as file:
            info = await asyncio.to_thread(services.add_checkpoint, file.path, filename, file.sha256)
        return Ticket(id=info.id, state=info.state)

    @routes.get("/checkpoints")
    def list_checkpoints() -> list[CheckpointInfo]:
        """All checkpoints, newest first."""
        return services.checkpoints()

    @routes.get("/checkpoints/{checkpoint_id}")
    def read_checkpoint(checkpoint_id: str) -> CheckpointInfo:
        """One checkpoint: its state, what is in it, which architectures fit."""
        return services.checkpoint(checkpoint_id)

    @routes.delete("/checkpoints/{checkpoint_id}", status_code=204)
    def delete_checkpoint(checkpoint_id: str) -> None:
        """Removes a checkpoint; surfaces that were computed from it stay."""
        services.delete_checkpoint(checkpoint_id)

    @routes.get("/architectures")
    def list_architectures() -> list[ArchitectureInfo]:
        """All catalogued architectures."""
        return services.architectures()

    return routes
