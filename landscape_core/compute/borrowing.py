"""A network of the user's own, borrowed for a measurement and given back as it was, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from landscape_core.compute.devices import exactly
from landscape_core.errors import InvalidRequest


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside `torch.compile`, `DataParallel`, `DistributedDataParallel` and `AveragedModel`.

    So its tensors have their own names, from which random directions are drawn, and no cell compiles or sends anything anew.

    Args:
        model: Perhaps wrapped, perhaps more than once.
    """
    while True:
        if isinstance(model, nn.DataParallel | DistributedDataParallel | AveragedModel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def check_borrowable(module: nn.Module) -> None:
    """Passes when a network can be moved over a plane.

    Args:
        module: From `unwrapped`.

    Raises:
        InvalidRequest: If not.
    """
    if not isinstance(module, nn.Module):
        raise InvalidRequest(f"The model should be a torch.nn.Module, but is of type {type(module).__name__}.", field="model")
    if isinstance(module, torch.jit.ScriptModule):
        raise InvalidRequest("A TorchScript module cannot be moved; give the nn.Module that it was made from.", field="model")
    named = dict(module.named_parameters())
    if not named:
        raise InvalidRequest("The model has no parameters, so there is nothing to move.", field="model")
    for name, parameter in named.items():
        if nn.parameter.is_lazy(parameter) or parameter.is_meta:
            raise InvalidRequest(f"The parameter {name} has no values yet; initialise the model first.", field="model")
        if not parameter.is_floating_point():
            raise InvalidRequest(f"The parameter {name} is {parameter.dtype}; only real floating tensors move.", field="model")


@contextmanager
def borrowed(module: nn.Module, device: torch.device | None, *, evaluating: bool) -> Iterator[Callable[[], None]]:
    """For the time of the block the network holds copies of its parameters and buffers, to do with as one likes.

    Its own tensors are never written: at the end, whatever ends it, they are put back, with every module's training mode.
    Gradients and `requires_grad` are not touched. In the block float32 is not rounded further (`exactly`).

    Args:
        module: The network.
        device: Where the copies are; None for where the originals are.
        evaluating: Whether the network is put into evaluation mode.

    Yields:
        A function that gives every buffer the value it had, for networks whose buffers change as they evaluate.
    """
    parameters = [(parameter, parameter.data) for parameter in module.parameters()]
    buffers = [(part, dict(part._buffers)) for part in module.modules()]  # noqa: SLF001  the one way to put the very tensors back
    plain = [(part, {k: v for k, v in vars(part).items() if isinstance(v, Tensor)}) for part in module.modules()]
    modes = [(part, part.training) for part in module.modules()]
    copies: dict[int, Tensor] = {}

    def reset_buffers() -> None:
        for part, own in buffers:
            for name, buffer in own.items():
                part._buffers[name] = None if buffer is None else copies[id(buffer)].copy_(buffer)  # noqa: SLF001

    try:
        for parameter, data in parameters:
            parameter.data = _copied(data, device)
        copies.update({id(b): _copied(b.detach(), device) for _, own in buffers for b in own.values() if b is not None})
        reset_buffers()
        if evaluating:
            module.eval()
        with exactly():
            yield reset_buffers
    finally:
        for parameter, data in parameters:
            parameter.data = data
        for part, own in buffers:
            part._buffers.clear()  # noqa: SLF001
            part._buffers.update(own)  # noqa: SLF001
        for part, tensors in plain:  # such as the weight that hooks of torch.nn.utils.weight_norm set before each evaluation
            vars(part).update(tensors)
        for part, training in modes:
            part.training = training


def _copied(tensor: Tensor, device: torch.device | None) -> Tensor:
    return tensor.clone() if device is None else tensor.to(device, copy=True)
