"""The HTTP edge: every error becomes `{"error": {"code", "message", "field"?}}` here, and nowhere else.

LandscapeError      its own text, and the status from `STATUSES`
HTTPException       of FastAPI, starlette and tuspyserver: its status, a sentence
anything else       a bug: logged whole under a reference, shown as one line
"""

from __future__ import annotations

import logging
import secrets
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.responses import JSONResponse
from redis.exceptions import RedisError
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.sentences import explain
from landscape_core.errors import FileRejected, InvalidRequest, LandscapeError, NotFound

log = logging.getLogger(__name__)


class BadRequest(LandscapeError):
    """What came is not a request of this interface."""

    code: ClassVar[str] = "bad_request"


class Forbidden(LandscapeError):
    """The request comes from where it may not come from."""

    code: ClassVar[str] = "forbidden"


class Conflict(LandscapeError):
    """The state of things does not allow it."""

    code: ClassVar[str] = "conflict"


class TooLarge(LandscapeError):
    """More bytes than are taken."""

    code: ClassVar[str] = "too_large"


class TooMany(LandscapeError):
    """More at a time than are taken."""

    code: ClassVar[str] = "too_many"


class NoSpace(LandscapeError):
    """The disk is nearly full."""

    code: ClassVar[str] = "no_space"


STATUSES: dict[type[LandscapeError], HTTPStatus] = {
    BadRequest: HTTPStatus.BAD_REQUEST,
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    InvalidRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
    FileRejected: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooMany: HTTPStatus.TOO_MANY_REQUESTS,
    NoSpace: HTTPStatus.INSUFFICIENT_STORAGE,
}
"""The HTTP status of each kind of error; its subclasses share it."""

CODES = {
    **{status: kind.code for kind, status in STATUSES.items() if kind is not FileRejected},
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
}
"""What errors of others are called, by their status."""

PHRASES = {
    HTTPStatus.NOT_FOUND: "There is nothing at this address; /api/docs lists what there is.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not take that method; /api/docs lists what there is.",
    HTTPStatus.BAD_REQUEST: "The body cannot be read; send JSON.",
}


def error_response(status: int, code: str, message: str, field: str | None = None) -> JSONResponse:
    """An answer in the one form that all errors have."""
    error = {"code": code, "message": message} | ({} if field is None else {"field": field})
    return JSONResponse({"error": error}, status_code=status, headers={"cache-control": "no-store"})


def public_response(error: LandscapeError) -> JSONResponse:
    """The answer to an error whose text may be shown."""
    status = next((status for kind, status in STATUSES.items() if isinstance(error, kind)), HTTPStatus.UNPROCESSABLE_ENTITY)
    return error_response(status, error.code, str(error), getattr(error, "field", None))


def register(api: FastAPI) -> None:
    """All that is raised below the routes is answered in the one form."""
    api.add_exception_handler(LandscapeError, _public)
    api.add_exception_handler(RequestValidationError, _invalid)
    api.add_exception_handler(StarletteHTTPException, _http)
    api.add_exception_handler(RedisError, _away)
    api.add_exception_handler(OperationalError, _away)


async def _public(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, LandscapeError):
        raise error
    return public_response(error)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    field = getattr(request.scope.get("route"), "body_field", None)
    model = None if field is None else field.field_info.annotation
    message, path = explain(error.errors(), model, error.body)
    return error_response(HTTPStatus.UNPROCESSABLE_ENTITY, InvalidRequest.code, message, path or None)


async def _http(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException | StarletteHTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    detail = str(error.detail or "")
    message = PHRASES.get(status, "") if detail in {"", status.phrase, "There was an error parsing the body"} else detail
    response = error_response(
        status, CODES.get(status, status.phrase.lower().replace(" ", "_")), message or f"{status.phrase}."
    )
    response.headers.update(error.headers or {})
    return response


async def _away(_: Request, error: Exception) -> JSONResponse:
    what = "queue" if isinstance(error, RedisError) else "database"
    log.warning("the %s does not answer: %s", what, error)
    message = f"The server's {what} does not answer at the moment; try again soon."
    return error_response(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", message)


class Edge:
    """The outermost layer: whatever else is raised is a bug, logged whole and shown as one line with a reference.

    Args:
        app: All other layers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, and answers what nobody answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except ClientDisconnect:
            log.info("%s %s: the client went away", scope["method"], _address(scope))
        except LandscapeError as error:
            if begun:
                raise
            await public_response(error)(scope, receive, send)
        except Exception:  # the HTTP edge
            reference = secrets.token_hex(4)
            log.exception("internal error %s in %s %s", reference, scope["method"], _address(scope))
            if not begun:
                message = f"An internal error (ref {reference}); the server's log says more."
                await error_response(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", message)(scope, receive, send)


def _address(scope: Scope) -> str:
    """The path for the log, without the tokens of shared links."""
    parts: list[Any] = str(scope["path"]).split("/")
    for index, part in enumerate(parts[:-1]):
        if part in {"s", "shares"}:
            parts[index + 1] = "…"
    return "/".join(parts)[:200]
