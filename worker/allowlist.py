"""RQ's job, reduced to what we use: three functions by name, JSON arguments, nothing else.

A JSON serializer alone does not stop whoever can write to Redis: the job hash names any function (`os.system`), and
besides holds callbacks, webhooks, retries, repeats and rate limits. All of them are dropped on reading here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.utils import import_attribute

ALLOWED = frozenset({"worker.tasks.run_unit", "worker.tasks.run_intake", "worker.tasks.run_finish"})
"""All that a job may call."""

JOB_TIMEOUT_S = 86_400
"""Longest time that any job may take. Hangs are found much earlier: see `worker.warm.Heart`."""

FAILURE_TTL_S = 3_600
"""How long Redis remembers a failed job, for whoever looks with rq's own tools."""


class NotAllowedError(Exception):
    """A job names a function that jobs may not call."""


class AllowListedJob(Job):
    """A job that can call the functions in `ALLOWED` and do nothing else."""

    @classmethod
    def fetch(cls, id: str, connection: Any = None, serializer: Any = None) -> Job:  # noqa: A002 - rq's name
        """The job in Redis; one that is malformed counts as absent, so that it stops nobody."""
        try:
            return super().fetch(id, connection=connection, serializer=serializer)
        except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:
            raise NoSuchJobError(f"{id[:200]!r} is malformed: {type(error).__name__}") from error

    @property
    def func(self) -> Callable[..., Any]:
        """The function to call, if jobs may call it."""
        if self.instance is not None or self.func_name not in ALLOWED:
            raise NotAllowedError(f"jobs may not call {str(self.func_name)[:200]!r}")
        function: Callable[..., Any] = import_attribute(self.func_name)
        return function

    @property
    def success_callback(self) -> None:
        """Never one."""
        return

    @property
    def failure_callback(self) -> None:
        """Never one."""
        return

    @property
    def stopped_callback(self) -> None:
        """Never one."""
        return

    def send_webhooks(self, status: Any, *, exc_string: str | None = None) -> None:
        """Sends none."""

    def restore(self, raw_data: Any) -> None:
        """Takes over the stored fields, but none that make rq do more than call the function."""
        super().restore(raw_data)
        self.webhooks = []
        self.retries_left = self.number_of_retries = self.repeats_left = None
        self.retry_intervals = self.repeat_intervals = None
        self.rate_limit_key = self.rate_limit_concurrency = self.group_id = None
        self._dependency_ids = []
        self.meta = {}
        self.timeout, self.result_ttl, self.failure_ttl, self.ttl = JOB_TIMEOUT_S, 0, FAILURE_TTL_S, None
