"""/uploads: resumable uploads by tus 1.0 (creation, expiration, termination), by tuspyserver.

Metadata: `filename`, and `kind`, which is checkpoint, dataset, directions or surface. Once all bytes are there the upload is
taken in, and /uploads/{uid}/result says what became of it. What tuspyserver offers beyond that is refused: concatenation,
lengths that are told later, and data that come with the creation.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from sqlalchemy.exc import SQLAlchemyError
from tuspyserver import create_tus_router

from app.api.partial_files import PartialFiles
from app.api.receiving import check_room, limit_of
from app.errors import BadRequest
from app.schemas import SurfaceInfo, UploadResult
from app.security import API
from app.services import Services
from app.services.imports import halves
from app.settings import PARTIAL, AppSettings
from landscape_core.errors import InvalidRequest, LandscapeError, NotFound
from worker.blobs import Kind

KINDS: tuple[Kind, ...] = ("checkpoint", "dataset", "directions", "surface")
UID = re.compile(r"[0-9a-f]{32}")
KEEP_DAYS = 2
MOST_METADATA = 16_384
TUS_HEADERS = {"tus-resumable": "1.0.0", "tus-version": "1.0.0", "tus-extension": "creation,expiration,termination"}

log = logging.getLogger(__name__)


class ResumableUploads:
    """The routes, and what is done with uploads that have come whole.

    Args:
        services: Take the files in.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._files = PartialFiles(services.settings.incoming / PARTIAL)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def router(self) -> APIRouter:
        """The routes that are not tuspyserver's."""
        routes = APIRouter(tags=["resumable uploads"])

        @routes.get("/uploads/{uid}/result")
        def upload_result(uid: str, response: Response) -> UploadResult | None:
            """What became of an upload that has come whole: 202 while it is taken in, 404 if nothing is known of it."""
            found = self._files.result(uid) if UID.fullmatch(uid) else None
            if found is None and uid in self._tasks:
                response.status_code = 202
                return None
            if found is None:
                raise NotFound("Nothing is known of this upload, or not yet.")
            return found

        @routes.options("/uploads", include_in_schema=False)
        @routes.options("/uploads/", include_in_schema=False)
        def options() -> Response:
            longest = str(max(limit_of(kind, self._services.settings) for kind in KINDS))
            return Response(status_code=204, headers={**TUS_HEADERS, "tus-max-size": longest})

        return routes

    def mount(self, api: FastAPI) -> None:
        """Adds tuspyserver's routes."""
        settings, begin = self._services.settings, self._begin

        def check(metadata: dict[str, str], about: dict[str, Any]) -> None:
            kind = _kind(metadata)
            size = about.get("size")
            if size is None or size < 0:
                raise BadRequest("Upload-Length must say how many bytes will come.")
            check_room(settings, kind, size)

        async def done(path: str, metadata: dict[str, str]) -> None:
            begin(path.rpartition("/")[2], metadata)

        tus = create_tus_router(
            prefix=f"{API.removeprefix('/')}/uploads",
            files_dir=str(self._files.folder),
            max_size=max(limit_of(kind, settings) for kind in KINDS),
            pre_create_hook=check,
            on_upload_complete=done,  # type: ignore[arg-type]  # it may be async
            strict_offset_validation=True,
            days_to_keep=KEEP_DAYS,
            storage=self._files,
            tags=["resumable uploads"],
        )
        api.include_router(tus, dependencies=[Depends(_guard(settings))])

    def resume(self) -> None:
        """Takes in what had come whole when the server stopped."""
        for uid, metadata in self._files.complete():
            self._begin(uid, metadata)

    async def close(self) -> None:
        """Waits for what is being taken in."""
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _begin(self, uid: str, metadata: dict[str, str]) -> None:
        """Takes an upload in, in the background: hashing gigabytes takes longer than a browser waits."""
        if uid in self._tasks or self._files.result(uid) is not None:
            return
        task = asyncio.get_running_loop().create_task(self._take_in(uid, metadata), name=f"upload {uid}")
        self._tasks[uid] = task
        task.add_done_callback(lambda _: self._tasks.pop(uid, None))

    async def _take_in(self, uid: str, metadata: dict[str, str]) -> None:
        kind = _kind(metadata)
        try:
            result = await asyncio.to_thread(self._add, kind, uid, metadata.get("filename", ""))
        except LandscapeError as error:
            result = UploadResult(kind=kind, id=uid, state="rejected", problem=str(error))
        except (OSError, SQLAlchemyError) as error:
            log.warning("upload %s is taken in at the next start: %s", uid, error)
            return
        await asyncio.to_thread(self._files.write_result, uid, result)

    def _add(self, kind: Kind, uid: str, filename: str) -> UploadResult:
        add: Callable[..., Any] = {
            "checkpoint": self._services.add_checkpoint,
            "dataset": self._services.add_dataset,
            "directions": self._services.add_directions,
            "surface": self._services.import_surface,
        }[kind]
        info = add(self._files.path(uid), filename)
        return UploadResult(
            kind=kind,
            id=info.id,
            state="inspecting" if info.state == "queued" else info.state,
            problem=info.problem,
            test_half=halves(info).get("test") if isinstance(info, SurfaceInfo) else None,
        )


def _kind(metadata: dict[str, str]) -> Kind:
    """What an upload is said to be.

    Raises:
        InvalidRequest: Nothing, or nothing that is taken; or it has no name.
    """
    if not metadata.get("filename"):
        raise InvalidRequest("Upload-Metadata must hold a filename.", field="filename")
    kind = metadata.get("kind", "checkpoint")
    for known in KINDS:
        if kind == known:
            return known
    raise InvalidRequest(f"kind in Upload-Metadata must be one of {', '.join(KINDS)}, but {kind[:80]!r} came.", field="kind")


def _guard(settings: AppSettings) -> Callable[[Request], None]:
    """What is checked before tuspyserver sees a request."""

    def guard(request: Request) -> None:
        headers, uid = request.headers, request.path_params.get("uuid")
        if uid is not None and not UID.fullmatch(uid):
            raise NotFound("There is no such upload.")
        for name, what in (
            ("upload-concat", "Uploads cannot be joined"),
            ("upload-defer-length", "The length cannot be told later"),
        ):
            if name in headers:
                raise BadRequest(f"{what}; send the file as one upload, with its Upload-Length.")
        if len(headers.get("upload-metadata", "")) > MOST_METADATA:
            raise BadRequest(f"Upload-Metadata is longer than {MOST_METADATA:,} bytes.")
        if request.method == "POST" and (headers.get("content-length", "0") != "0" or "transfer-encoding" in headers):
            raise BadRequest("An upload is created without data; send them by PATCH afterwards.")
        if request.method == "PATCH":
            check_room(settings, "checkpoint", 0)

    return guard
