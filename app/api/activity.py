"""/health and /activity."""

from __future__ import annotations

from fastapi import APIRouter, Response

from app.schemas import Activity, Health
from app.services import Services


def router(services: Services) -> APIRouter:
    """The routes, asking these services."""
    routes = APIRouter(tags=["service"])

    @routes.get("/health")
    def health(response: Response) -> Health:
        """Whether the parts answer: "ok", "degraded" (no queue: nothing new is computed), or 503 and "unavailable"."""
        found = Health.model_validate(services.health())
        response.status_code = 503 if found.status == "unavailable" else 200
        return found

    @routes.get("/activity")
    def activity() -> Activity:
        """The workers, how much waits in each queue, the surfaces in work and the last that were done."""
        return Activity.model_validate(services.activity())

    return routes
