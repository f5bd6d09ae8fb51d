"""What a worker is told from outside: `LOSSATLAS_*` variables, read once at the entry point.

The app and its workers are often started from one environment, so each accepts the other's variables; a name that
neither knows stops the start (pydantic-settings does not notice one, even with `extra="forbid"`).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from landscape_core.errors import InvalidRequest

PREFIX = "LOSSATLAS_"

KNOWN_VARIABLES = frozenset(
    PREFIX + name
    for name in (
        *("DATA", "REDIS_URL", "DATABASE_URL", "BLOB_URL", "DATASETS", "DEVICE", "THREADS", "NAME", "BASE_URL", "HOSTS"),
        *("MAX_UPLOAD_BYTES", "MAX_DATASET_BYTES", "LIVE_SILENCE_S", "REFERENCE"),
    )
)
"""Every variable that some part of Loss Atlas reads (`LOSSATLAS_REFERENCE` is for its tests)."""


class WorkerSettings(BaseSettings):
    """One worker process: where it finds its work, and what it computes with."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    data: Path = Field(default=Path("data"), description="Folder for everything that is kept.")
    redis_url: str = Field(default="redis://127.0.0.1:6379/0", description="The Redis or Valkey that holds the queue.")
    blob_url: str | None = Field(
        default=None, description="Where blobs are kept (s3://bucket/prefix); <data>/blobs if not set."
    )
    datasets: Path | None = Field(default=None, description="Folder with data sets; <data>/datasets if not set.")
    device: str = Field(
        default="auto", max_length=32, description="Torch device (cpu, cuda:1); auto takes a GPU if there is one."
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="CPU threads of each worker; if not set, `lossatlas up` divides the cores among its workers, "
        "and `lossatlas worker` takes PyTorch's choice.",
    )
    name: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}",
        pattern=r"^[A-Za-z0-9_.-]{1,128}$",
        description="The worker's name on the activity page; host and process id if not set.",
    )

    @property
    def blobs(self) -> str:
        """Where blobs are kept: a URL, or the path of a folder."""
        return self.blob_url or str(self.data / "blobs")

    @property
    def datasets_folder(self) -> Path:
        """The folder in which catalogued data sets are looked for."""
        return self.datasets or self.data / "datasets"


def refuse_unknown_variables(names: Iterable[str]) -> None:
    """Stops a start whose environment holds a misspelt variable, as `LOSSATLAS_THREAD=4`.

    Args:
        names: The names of all environment variables.

    Raises:
        InvalidRequest: One of them begins with `LOSSATLAS_` and is read by no part of Loss Atlas.
    """
    unknown = sorted(name for name in names if name.startswith(PREFIX) and name not in KNOWN_VARIABLES)
    if unknown:
        known = ", ".join(sorted(KNOWN_VARIABLES))
        raise InvalidRequest(f"{unknown[0]} is no setting of Loss Atlas; unset it, or use one of {known}.", field=unknown[0])
