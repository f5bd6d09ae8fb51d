"""Convolutions and affine layers by oneDNN, on CPUs: convolutions take the ReLU and the sum after them along.

Once batch norm is folded, most of what a residual network does beside its convolutions is to go through feature maps again:
once for a ReLU, once for a sum. oneDNN, PyTorch's library of convolutions for CPUs, does both while a convolution's outputs are
still in registers, and holds weights in the layout that its kernels read. PyTorch's compiler reaches it through operators
(`torch.ops.mkldnn`); so does this, without a compiler.

Of networks that are not made of convolutions, affine layers go to it: PyTorch gives them to its BLAS, which on processors of
other makers than its own may reach half of what they can do.

Outputs of fused convolutions are those of the plain network bit for bit, but where PyTorch itself takes other kernels (batches
of a single image; one-place convolutions on one thread): there, and with affine layers, they differ by rounding.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import jaxtyping
import torch
from jaxtyping import Float, Num
from torch import Tensor, fx, nn
from torch.nn import functional

from landscape_core.compute.architectures.gpt import Gpt
from landscape_core.compute.clamping import ClampedNorm
from landscape_core.compute.devices import is_out_of_memory

_MAKES_ANEW = {functional.relu, torch.relu, functional.pad, operator.add, torch.cat}
"""Functions whose output is no view of what they take."""


class FusedConvolution(nn.Module):
    """A convolution, then perhaps a sum and a ReLU, in one go.

    Args:
        layer: The convolution, whose weight and bias are taken as they are at each `pack`.
        then: `none` or `relu`. Of a second input, if it gets one, the sum is taken before the ReLU in any case.
        norm: Batch norm and ReLU in front of it, if it takes part of them over.
    """

    def __init__(self, layer: nn.Conv2d, then: str, norm: ClampedNorm | None = None) -> None:
        super().__init__()
        self.layer, self._then, self.norm = layer, then, norm
        padding = cast("tuple[int, ...]", layer.padding)
        self._geometry = ([*padding], [*layer.stride], [*layer.dilation], layer.groups)
        self._packed: Tensor | None = None
        self._bias: Tensor | None = None
        self._dtype, self._size = torch.float32, [0, 0, 0, 0]

    def pack(self, dtype: torch.dtype = torch.float32) -> None:
        """Lays out the weight as it is now, rounded to a type that inputs are rounded to as well.

        The layout is that which the kernel for the largest batch so far reads. Another one would be turned into it at every
        batch, which on processors with AVX2 takes longer than a convolution of 64 channels on 8 × 8 places and 8 images.
        """
        weight, bias = self.layer.weight.detach(), None if self.layer.bias is None else self.layer.bias.detach()
        if self.norm is not None and dtype == torch.float32:
            weight, bias = self.norm.taken_over(weight, bias)
        elif self.norm is not None:  # rounded to less, s max(x, c) − s c would not be 0 where it should
            self.norm.leave()
        size = self._size if self._size[0] else None
        self._packed = torch.ops.mkldnn._reorder_convolution_weight(weight.to(dtype), *self._geometry, size)  # noqa: SLF001
        self._dtype, self._bias = dtype, None if bias is None else bias.to(dtype)

    def forward(self, x: Float[Tensor, "n channels h w"], other: Tensor | None = None) -> Float[Tensor, "n more h2 w2"]:
        """What the layers put out. `other` is added, and overwritten."""
        if self._packed is None or len(x) > self._size[0]:
            self._size = [*x.shape]
            self.pack(self._dtype)
        weight, bias, x = self._packed, self._bias, x.to(self._dtype)
        made: Tensor
        if other is None:
            made = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *self._geometry, self._then, [], "")  # noqa: SLF001
        else:
            after: tuple[Any, ...] = ("add", None, "relu", [], None)
            made = torch.ops.mkldnn._convolution_pointwise_(other, x, weight, bias, *self._geometry, *after)
        return made


class PackedLinear(nn.Module):
    """An affine layer.

    Args:
        layer: Its weight and bias are taken as they are at each `pack`.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer
        self._packed: Tensor | None = None
        self._bias: Tensor | None = None
        self._dtype = torch.float32

    def pack(self, dtype: torch.dtype = torch.float32) -> None:
        """Lays out the weight as it is now, rounded to a type that inputs are rounded to as well."""
        bias = self.layer.bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(self.layer.weight.to(dtype))  # noqa: SLF001
        self._dtype, self._bias = dtype, None if bias is None else bias.detach().to(dtype)

    def forward(self, x: Float[Tensor, "... inputs"]) -> Float[Tensor, "... outputs"]:
        """W x + b of each."""
        if self._packed is None:
            self.pack()
        x = x.to(self._dtype)
        made: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self._bias, "none", [], "")  # noqa: SLF001
        return made


class Fusion:
    """A network with such layers; it shares the tensors of the one that it is made from.

    Args:
        module: From `fused`.
        layers: Those of its layers.
    """

    def __init__(self, module: nn.Module, layers: list[FusedConvolution | PackedLinear]) -> None:
        self.module, self.layers = module, layers

    @torch.inference_mode()
    def repack(self, dtype: torch.dtype = torch.float32) -> None:
        """Takes the network's weights as they are now; convolutions are then computed in this type."""
        for layer in self.layers:
            layer.pack(dtype)


def packs(dtype: torch.dtype) -> bool:
    """Whether oneDNN lays out weights in a type: float32 anywhere, bfloat16 on x86 processors with AVX-512."""
    known = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return dtype == torch.float32 or (known is not None and bool(known()))


def fused(network: nn.Module, example: Num[Tensor, "n ..."]) -> Fusion | None:
    """The network with its convolutions and affine layers by oneDNN; None where there is none, or the network is elsewhere.

    It is compared with the plain network on the example, and None if that gives anything else.

    Args:
        network: In evaluation mode, on its device; it is not changed.
        example: An input.
    """
    if not torch.backends.mkldnn.is_available():
        return None
    try:
        fusion = _converted(network)
        if fusion is None:
            return None
        with torch.inference_mode():
            fusion.repack()
            kept, expected = example.clone(), network(example)
            agrees = bool((fusion.module(example) - expected).abs().max() <= 1e-5 * expected.abs().max())
            agrees = agrees and torch.equal(example, kept)
    except (AttributeError, RuntimeError) as error:  # another release's operators
        if is_out_of_memory(error):
            raise
        return None
    return fusion if agrees else None


def _converted(network: nn.Module) -> Fusion | None:
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    try:
        traced = _traced(network) if convolutions and all(map(_is_plain, convolutions)) else None
    except (fx.proxy.TraceError, TypeError, RuntimeError):  # what the network does depends on its input
        traced = None
    return _packed(network) if traced is None else traced


def _packed(network: nn.Module) -> Fusion | None:
    """A copy that shares all tensors, with other affine layers; None if it has none."""
    tensors = [*network.parameters(), *network.buffers()]
    converted = Fusion(copy.deepcopy(network, {id(tensor): tensor for tensor in tensors}), [])
    for name, layer in list(converted.module.named_modules()):
        if type(layer) is nn.Linear and _is_at_home(layer.weight):
            converted.module.set_submodule(name, packed := PackedLinear(layer))
            converted.layers.append(packed)
    if isinstance(converted.module, Gpt) and (head := converted.module.embedding_as_head()) is not None:
        converted.module.lm_head = packed = PackedLinear(head)
        converted.layers.append(packed)
    return converted if converted.layers else None


def _is_at_home(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype == torch.float32


def _is_plain(layer: nn.Conv2d) -> bool:
    return _is_at_home(layer.weight) and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def _traced(network: nn.Module) -> Fusion:
    with _unchecked_shapes():
        graph = fx.symbolic_trace(network)
    for node in list(graph.graph.nodes):
        if isinstance(_module(graph, node), nn.Identity):
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    layers: list[FusedConvolution | PackedLinear] = []
    for node in list(graph.graph.nodes):
        layer = _module(graph, node)
        if isinstance(layer, nn.Conv2d):
            norm = _takes_norm(graph, node, layer)
            fusing = FusedConvolution(layer, "relu" if _takes_relu(graph, node) else "none", norm)
            _takes_sum(graph, node)
            graph.set_submodule(str(node.target), fusing)
            layers.append(fusing)
    graph.graph.lint()
    graph.recompile()
    return Fusion(graph, layers)


@contextmanager
def _unchecked_shapes() -> Iterator[None]:
    """Where tests check the shapes of arguments, they would refuse the stand-ins for tensors by which a network is traced."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


def _module(graph: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return graph.get_submodule(str(node.target)) if node.op == "call_module" else None


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _is_relu(graph: fx.GraphModule, node: fx.Node | None) -> bool:
    if node is None:
        return False
    called = node.op == "call_function" and node.target in {functional.relu, torch.relu}
    return called or isinstance(_module(graph, node), nn.ReLU)


def _takes_relu(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Takes the ReLU out of the graph that alone takes what a convolution puts out; whether there is one."""
    relu = _only_user(node)
    if relu is None or not _is_relu(graph, relu):
        return False
    relu.replace_all_uses_with(node)
    graph.graph.erase_node(relu)
    return True


def _takes_norm(graph: fx.GraphModule, node: fx.Node, layer: nn.Conv2d) -> ClampedNorm | None:
    """What stands for batch norm and ReLU in front of a convolution of one place, if there are both and it alone takes them."""
    relu = node.args[0]
    is_of_one_place = layer.kernel_size == (1, 1) and not any(cast("tuple[int, ...]", layer.padding)) and layer.groups == 1
    if not is_of_one_place or not isinstance(relu, fx.Node) or not _is_relu(graph, relu) or _only_user(relu) is not node:
        return None
    before = relu.args[0]
    norm = _module(graph, before) if isinstance(before, fx.Node) else None
    if not isinstance(before, fx.Node) or type(norm) is not nn.BatchNorm2d or _only_user(before) is not relu:
        return None
    if norm.running_var is None:
        return None
    relu.replace_all_uses_with(before)
    graph.graph.erase_node(relu)
    graph.set_submodule(str(before.target), clamped := ClampedNorm(norm))
    return clamped


def _takes_sum(graph: fx.GraphModule, node: fx.Node) -> None:
    """Gives a convolution the other summand as a second input, where a sum and a ReLU alone take what it puts out.

    The other summand is overwritten, so that nothing else may need it, or a view of it, later.
    """
    total = _only_user(node)
    relu = None if total is None else _only_user(total)
    if total is None or relu is None or total.target is not operator.add or not _is_relu(graph, relu):
        return
    others = [given for given in total.args if given is not node]
    if len(others) != 1 or not isinstance(others[0], fx.Node) or not _may_be_overwritten(graph, others[0], total):
        return
    with graph.graph.inserting_before(total):
        new = graph.graph.call_module(str(node.target), (node.args[0], others[0]))
    relu.replace_all_uses_with(new)
    for gone in (relu, total, node):
        graph.graph.erase_node(gone)


def _may_be_overwritten(graph: fx.GraphModule, node: fx.Node, last: fx.Node) -> bool:
    """Whether a tensor is no view of another, nothing is a view of it, and `last` is what takes it last."""
    if not _makes_anew(graph, node):
        return False
    return all(user is last or (user < last and _makes_anew(graph, user)) for user in node.users)


def _makes_anew(graph: fx.GraphModule, node: fx.Node) -> bool:
    layer: Any = _module(graph, node)
    return isinstance(layer, nn.Conv2d | FusedConvolution | nn.BatchNorm2d) or node.target in _MAKES_ANEW
