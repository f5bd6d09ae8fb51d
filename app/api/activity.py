"""/health and /activity."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Response

from app.errors import error_response
from app.schemas import Activity, Health
from app.services import Services


def router(services: Services) -> APIRouter:
    """The routes, asking these services."""
    routes = APIRouter(tags=["service"])

    @routes.get("/health", response_model=Health)
    def health() -> Health | Response:
        """Whether the parts answer: "ok", "degraded" (no queue: nothing new is computed), or an error 503 (no database)."""
        found = Health.model_validate(services.health())
        if not found.database:
            message = "The server's database does not answer at the moment; try again soon."
            return error_response(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", message)
        return found

    @routes.get("/activity")
    def activity() -> Activity:
        """The workers, how much waits in each queue, the surfaces in work and the last that were done."""
        return Activity.model_validate(services.activity())

    return routes
