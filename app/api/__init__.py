"""The REST interface under /api/v1, and its description under /api/docs."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Match

from app.api import activity, checkpoints, datasets, live, shares, surfaces, uploads
from app.api.docs import page
from app.errors import CODES, PHRASES, error_response
from app.schemas import ProblemAnswer
from app.security import API
from app.services import Services

ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def register(api: FastAPI, services: Services) -> uploads.ResumableUploads:
    """Adds all routes below /api; an address that is none of them is answered 404, and not with a page.

    Args:
        api: The application; nothing below /api is routed yet.
        services: What the routes ask.

    Returns:
        The resumable uploads, which have things to finish after a start.
    """
    resumable = uploads.ResumableUploads(services)
    root = APIRouter(prefix=API, responses={"4XX": {"model": ProblemAnswer, "description": "What is wrong, in one sentence."}})
    for part in (checkpoints, datasets, live, surfaces, shares, activity):
        root.include_router(part.router(services))
    root.include_router(resumable.router())
    api.include_router(root)
    resumable.mount(api)

    @api.get("/api/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page(api.openapi()))

    @api.api_route("/api", methods=ALL_METHODS, include_in_schema=False)
    @api.api_route("/api/{rest:path}", methods=ALL_METHODS, include_in_schema=False)
    async def nothing(request: Request, rest: str = "") -> Response:  # noqa: ARG001
        known = [route for route in api.router.routes if route.matches(request.scope)[0] == Match.PARTIAL]
        status = HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND
        return error_response(status, CODES[status], PHRASES[status])

    return resumable
