"""How fast this machine is, by a network of the usual kind. It also loads and warms what the first unit will need."""

from __future__ import annotations

import time

import numpy as np

from landscape_core.catalogue import macs_per_example
from landscape_core.catalogue.families.three_stage_resnets import resnet_tensors
from landscape_core.compute import Evaluator, Examples
from landscape_core.requests import ArchitectureSpec, Axis, DataSlice, Grid, PlaneSpec, RandomDirection, SurfaceRequest

PROBE_S = 0.3
_EXAMPLES = 64
_SHAPE = (32, 32, 3)


def measured_macs_per_second(device: str, threads: int | None) -> float:
    """Multiply-accumulates per second of a ResNet-20 with random weights on random images, measured for 0.3 s.

    Args:
        device: A PyTorch device.
        threads: CPU threads; None leaves PyTorch's choice.
    """
    generator = np.random.default_rng(0)
    shapes = resnet_tensors(20, conv_shortcuts=False, channels=_SHAPE[2], classes=10)
    tensors = {name: generator.normal(0.5, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    x = generator.integers(0, 256, (_EXAMPLES, *_SHAPE), dtype=np.uint8)
    examples = Examples.from_arrays(x, generator.integers(0, 10, _EXAMPLES))
    architecture = ArchitectureSpec(name="resnet20", options={"shortcut": "A"})
    request = SurfaceRequest(
        checkpoint="0" * 64,
        architecture=architecture,
        data=DataSlice(dataset="arrays", examples=_EXAMPLES, seed=None),
        plane=PlaneSpec(x=RandomDirection(seed=0)),
        grid=Grid(x=Axis(start=0, stop=1, points=2)),
    )
    evaluator = Evaluator(request, tensors, examples, device=device, threads=threads)
    evaluator.tally([(0, 0)], 0, _EXAMPLES)
    began, rounds = time.monotonic(), 0
    while time.monotonic() - began < PROBE_S:
        evaluator.tally([(0, 1)], 0, _EXAMPLES)
        rounds += 1
    macs = macs_per_example(architecture, shapes, (_SHAPE[2], *_SHAPE[:2])) * _EXAMPLES * rounds
    return macs / (time.monotonic() - began)
