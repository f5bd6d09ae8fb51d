"""/datasets and /directions."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request

from app.api.checkpoints import Filename
from app.api.receiving import RAW_BODY, received
from app.schemas import DatasetInfo, FileInfo, Ticket
from app.services import Services


def router(services: Services) -> APIRouter:
    """The routes, asking these services."""
    routes = APIRouter(tags=["data"])

    @routes.put("/datasets", status_code=201, openapi_extra=RAW_BODY)
    async def upload_dataset(request: Request, name: Filename = "dataset") -> Ticket:
        """Takes a data set as the raw body: an `.npz` with `x` and `y`, and `x_test` and `y_test` if it has a test split."""
        async with received(request, "dataset", services.settings) as file:
            info = await asyncio.to_thread(services.add_dataset, file.path, name, file.sha256)
        return Ticket(id=info.id, state=info.state)

    @routes.get("/datasets")
    def list_datasets() -> list[DatasetInfo]:
        """The catalogued data sets that are on this machine, then the uploaded ones."""
        return services.datasets()

    @routes.get("/datasets/{dataset_id}")
    def read_dataset(dataset_id: str) -> DatasetInfo:
        """One data set."""
        return services.dataset(dataset_id)

    @routes.delete("/datasets/{dataset_id}", status_code=204)
    def delete_dataset(dataset_id: str) -> None:
        """Removes an uploaded data set; surfaces that were computed on it stay."""
        services.delete_dataset(dataset_id)

    @routes.get("/preprocessings")
    def list_preprocessings() -> list[str]:
        """The names that a request's `data.preprocessing` may take."""
        return services.preprocessings()

    @routes.put("/directions", status_code=201, openapi_extra=RAW_BODY)
    async def upload_directions(request: Request, filename: Filename = "directions.h5") -> Ticket:
        """Takes a file of directions as the raw body, in the form of Li et al.'s code."""
        async with received(request, "directions", services.settings) as file:
            info = await asyncio.to_thread(services.add_directions, file.path, filename, file.sha256)
        return Ticket(id=info.id, state=info.state)

    @routes.get("/directions/{directions_id}")
    def read_directions(directions_id: str) -> FileInfo:
        """One direction file."""
        return services.directions(directions_id)

    return routes
