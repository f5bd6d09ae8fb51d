"""Building the catalogued networks, and putting a checkpoint's tensors into them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
import torch
from torch import nn

from landscape_core.catalogue import Candidate, fit, resolve
from landscape_core.catalogue.family import COUNTER, Options, Shapes, differences
from landscape_core.catalogue.networks import family_of
from landscape_core.compute.architectures import convnet, densenet, four_stage_resnet, gpt, mlp, resnet, uva_resnet, vgg, vit
from landscape_core.compute.architectures.mlp import Perceptron
from landscape_core.compute.architectures.resnet import CifarResNet
from landscape_core.errors import InvalidRequest
from landscape_core.requests import ArchitectureSpec

__all__ = ["BUILDERS", "CifarResNet", "Perceptron", "build", "load", "load_own"]

Builder = Callable[[Candidate, Options, Shapes], nn.Module]

BUILDERS: dict[str, Builder] = {
    "convnets": convnet.build,
    "densenets": densenet.build,
    "four_stage_resnets": four_stage_resnet.build,
    "gpts": gpt.build,
    "perceptrons": mlp.build,
    "three_stage_resnets": resnet.build,
    "uva_resnets": uva_resnet.build,
    "vgg": vgg.build,
    "vits": vit.build,
}
"""What builds the networks of each of the catalogue's families, by the family's key."""


def build(spec: ArchitectureSpec, shapes: Shapes) -> nn.Module:
    """The network that `spec` names, in evaluation mode, with the sizes that the file's shapes give it.

    Its weights are PyTorch's initial ones. The order of `parameters()` is that of the code of Li et al. 2018.

    Args:
        spec: A catalogued architecture.
        shapes: The file's names and shapes, in the file's order.

    Raises:
        InvalidRequest: There is no such architecture or option, or it does not fit the shapes.

    Example:
        >>> build(ArchitectureSpec(name="mlp"), {"a.weight": (5, 4), "b.weight": (3, 5)})(torch.zeros(2, 4)).shape
        torch.Size([2, 3])
    """
    candidate = fit(spec, shapes)
    return BUILDERS[family_of(spec.name).key](candidate, resolve(spec), shapes).eval()


def load(spec: ArchitectureSpec, tensors: Mapping[str, np.ndarray]) -> nn.Module:
    """The network with a checkpoint's tensors in it: float32, on the CPU, in evaluation mode, without gradients.

    Args:
        spec: A catalogued architecture.
        tensors: The file's names and arrays, in the file's order. They are copied. Batch norm's counters may be absent.

    Returns:
        The network; images it takes are (n, channels, height, width), features (n, features).

    Raises:
        InvalidRequest: There is no such architecture or option, the tensors do not fit it, or two of them that are one in the
            network differ.

    Example:
        >>> network = load(ArchitectureSpec(name="mlp"), {"w.weight": np.array([[1, 2]], np.float32)})
        >>> network(torch.tensor([[3.0, 4.0]])).tolist()
        [[11.0]]
    """
    shapes = {name: tuple(array.shape) for name, array in tensors.items()}
    candidate = fit(spec, shapes)
    _check_copies(candidate, tensors)
    with torch.device("meta"):
        module = build(spec, shapes)
    module.load_state_dict(_state(module, tensors, candidate.renames, candidate.transposed), strict=True, assign=True)
    return module.requires_grad_(False)


def load_own(made: object, tensors: Mapping[str, np.ndarray], name: str) -> nn.Module:
    """A network of the user's own with a checkpoint's tensors in it: float32, in evaluation mode, without gradients.

    Args:
        made: What the user's code made; changed in place.
        tensors: The file's names and arrays. Batch norm's counters may be absent.
        name: What the network is called, for the message.

    Returns:
        `made` itself.

    Raises:
        InvalidRequest: It is no `torch.nn.Module`, or its names and shapes are not exactly the file's.

    Example:
        >>> network = load_own(nn.Linear(2, 1, bias=False), {"weight": np.array([[1, 2]], np.float32)}, "net.py:build")
        >>> network(torch.tensor([[3.0, 4.0]])).tolist(), network.training
        ([[11.0]], False)
    """
    if not isinstance(made, nn.Module):
        raise InvalidRequest(
            f"{name} should give a torch.nn.Module, but gave something of type {type(made).__name__}.", field="architecture"
        )
    expected = {key: tuple(tensor.shape) for key, tensor in made.state_dict().items()}
    count, words = differences(expected, {key: tuple(array.shape) for key, array in tensors.items()})
    if count:
        raise InvalidRequest(f"The checkpoint does not fit {name}: {words}.", field="architecture")
    made.load_state_dict(_state(made, tensors, {}), strict=True)
    return made.float().eval().requires_grad_(False)


def _check_copies(candidate: Candidate, tensors: Mapping[str, np.ndarray]) -> None:
    for name, other in candidate.copies.items():
        if not np.array_equal(tensors[name], tensors[other], equal_nan=True):
            raise InvalidRequest(
                f"{name} and {other} are one matrix in {candidate.architecture}, but differ in the file; choose "
                f"{candidate.architecture.name} with the option head=own.",
                field="architecture.options",
            )


def _state(
    module: nn.Module, tensors: Mapping[str, np.ndarray], renames: Mapping[str, str], transposed: Collection[str] = ()
) -> dict[str, torch.Tensor]:
    """The module's `state_dict`, of the module's types, with the values of the file."""
    state = {}
    for name, empty in module.state_dict().items():
        source = tensors.get(renames.get(name, name))
        source = source.T if source is not None and name in transposed else source
        if source is None and name.endswith(COUNTER):
            state[name] = torch.zeros(empty.shape, dtype=empty.dtype)
        else:
            state[name] = torch.from_numpy(np.array(source, order="C")).to(empty.dtype)
    return state
