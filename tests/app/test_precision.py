"""A precision that no worker has is refused before anything is computed; one that a worker may have is not."""

from __future__ import annotations

import time
from typing import Any

import pytest

from landscape_core.errors import InvalidRequest
from landscape_core.requests import SurfaceRequest
from worker.job import WorkerStatus


def beat(services: Any, *devices: str) -> None:
    """Workers on these devices are alive."""
    for number, device in enumerate(devices):
        services.queue.beat(
            WorkerStatus(name=f"w{number}", pid=1, host="h", device=device, threads=1, state="idle", started=time.time())
        )


@pytest.fixture
def asked(ready_checkpoint, request_for):
    return SurfaceRequest.model_validate(request_for(ready_checkpoint, precision="tf32"))


def test_tf32_is_refused_where_every_worker_is_on_another_device_than_cuda(services, asked):
    beat(services, "cpu", "mps")
    for ask in (services.request_surface, services.estimate):
        with pytest.raises(InvalidRequest) as refused:
            ask(asked)
        assert refused.value.field == "precision"
        assert str(refused.value) == (
            "TF32 is of CUDA devices, but every worker of this server computes on another (cpu, mps); "
            "ask for float32 or bfloat16, or start a worker on a GPU."
        )
    assert services.request_surface(asked.model_copy(update={"precision": "bfloat16"}))[1]


@pytest.mark.parametrize("devices", [(), ("cpu", "cuda:0")])
def test_tf32_is_taken_where_a_worker_has_cuda_or_none_is_there_to_tell(services, asked, devices):
    beat(services, *devices)
    assert services.request_surface(asked)[1]


def test_a_tf32_surface_that_is_there_is_answered_without_a_worker_of_cuda_but_not_gone_on_with(
    services, ready_checkpoint, request_for
):
    asked = SurfaceRequest.model_validate(request_for(ready_checkpoint, examples=None, precision="tf32"))
    info, new = services.request_surface(asked)
    assert new
    beat(services, "cpu")
    assert services.request_surface(asked) == (services.surface(info.id), False)
    services.cancel(info.id)
    with pytest.raises(InvalidRequest, match="TF32 is of CUDA devices"):
        services.request_surface(asked)
    with pytest.raises(InvalidRequest, match="TF32 is of CUDA devices"):
        services.retry(info.id)
