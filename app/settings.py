"""What the web process is told from outside: `LOSSATLAS_*` variables, read once at the entry point."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from landscape_core.errors import InvalidRequest
from worker.settings import PREFIX, refuse_unknown_variables

PARTIAL = "tus"
"""The folder of resumable uploads, in `AppSettings.incoming`."""

DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"


class AppSettings(BaseSettings):
    """The web process: where it keeps things, how it is reached, and what it lets in.

    Raises:
        InvalidRequest: A variable cannot be used, or begins with `LOSSATLAS_` and is read by nobody.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    data: Path = Field(default=Path("data"), description="Folder for everything that is kept.")
    redis_url: str | None = Field(
        default=None, description="The Redis or Valkey that holds the queue; `lossatlas up` starts its own if not set."
    )
    database_url: str | None = Field(
        default=None, description="The database (postgresql+psycopg://…); SQLite in the data folder if not set."
    )
    blob_url: str | None = Field(
        default=None, description="Where blobs are kept (s3://bucket/prefix); <data>/blobs if not set."
    )
    datasets: Path | None = Field(default=None, description="Folder with data sets; <data>/datasets if not set.")
    base_url: str | None = Field(
        default=None, description="Public address for links (https://atlas.example); the address that was asked if not set."
    )
    hosts: str = Field(
        default="",
        description="Further names that the server is reached by, with commas between; localhost and IP always work.",
    )
    max_upload_bytes: int = Field(default=8 << 30, ge=1, description="Longest checkpoint or other upload, in bytes.")
    max_dataset_bytes: int = Field(default=4 << 30, ge=1, description="Longest uploaded data set, in bytes.")

    live_silence_s: int = Field(
        default=120, ge=1, description="After so many seconds without a word a surface that is sent live is left unfinished."
    )

    def __init__(self, **values: Any) -> None:
        refuse_unknown_variables(os.environ)
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = PREFIX + "_".join(map(str, first["loc"])).upper().removeprefix(PREFIX)
            reason = first["msg"].removeprefix("Value error, ")
            raise InvalidRequest(f"{name} cannot be used: {reason}.", field=name) from None

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError(f"it should be an address like https://atlas.example, without a path, but is {value!r}")
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def redis(self) -> str:
        """The address of the queue's Redis."""
        return self.redis_url or DEFAULT_REDIS_URL

    @property
    def database(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.data.absolute() / 'atlas.sqlite'}"

    @property
    def blobs(self) -> str:
        """Where blobs are kept: a URL, or the path of a folder."""
        return self.blob_url or str(self.data.absolute() / "blobs")

    @property
    def datasets_folder(self) -> Path:
        """The folder in which catalogued data sets are looked for."""
        return self.datasets or self.data / "datasets"

    @property
    def incoming(self) -> Path:
        """The folder in which uploads grow; on the blobs' disk, so that finished ones are moved and not copied."""
        return self.data / "incoming"

    @property
    def host_names(self) -> frozenset[str]:
        """Names by which the server may be asked for, lower case, beside every IP address."""
        names = {"localhost", *(name.strip().lower() for name in self.hosts.split(","))}
        if self.base_url:
            names.add(str(urlsplit(self.base_url).hostname).lower())
        return frozenset(names - {""})
