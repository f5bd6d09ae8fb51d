"""Multi-layer perceptrons of any depth: `mlp`, any chain of affine layers; option activation."""

from __future__ import annotations

from landscape_core.catalogue.affine_chains import affine_layers, mlp_renames
from landscape_core.catalogue.family import ACTIVATIONS, NEAR, ArchitectureEntry, Candidate, Family, Options, Shapes
from landscape_core.catalogue.symmetry import FIXED, Symmetry
from landscape_core.errors import InvalidRequest
from landscape_core.requests import ArchitectureSpec


class Perceptrons(Family):
    """Chains of affine layers, whatever their tensors are called."""

    key = "perceptrons"
    summary = "mlp"

    def entries(self) -> list[ArchitectureEntry]:
        """The one there is."""
        return [ArchitectureEntry(name="mlp", title="Multi-layer perceptron", options={"activation": list(ACTIVATIONS)})]

    def fit(self, spec: ArchitectureSpec, options: Options, shapes: Shapes) -> Candidate:
        """How an mlp fits a file's tensors.

        Raises:
            InvalidRequest: They form no chain of affine layers; the text says what stands in the way.
        """
        del options
        layers = affine_layers(shapes)
        widths = "-".join(str(width) for width in (layers[0].inputs, *(layer.outputs for layer in layers)))
        note = f"All tensors form a chain of affine layers, {widths}. The file does not say the activation; relu is assumed."
        return Candidate(
            architecture=spec,
            note=note,
            input_shape=(layers[0].inputs,),
            classes=layers[-1].outputs,
            renames=mlp_renames(layers),
        )

    def match(self, shapes: Shapes, filename: str) -> tuple[Candidate, ...]:
        """An mlp, if the file's tensors form a chain."""
        del filename
        try:
            return (self.fit(ArchitectureSpec(name="mlp"), {}, shapes),)
        except InvalidRequest:
            return ()

    def near_miss(self, shapes: Shapes) -> tuple[float, str] | None:
        """What breaks the chain, if the file has vectors and matrices alone."""
        if any(len(shape) not in {1, 2} for shape in shapes.values()):
            return None
        try:
            affine_layers(shapes)
        except InvalidRequest as error:
            return NEAR, f". {error}"
        return None

    def macs(self, spec: ArchitectureSpec, options: Options, shapes: Shapes, input_shape: tuple[int, ...]) -> int:
        """Multiply-accumulates of one forward pass of one example."""
        del spec, options, input_shape
        return sum(layer.inputs * layer.outputs for layer in affine_layers(shapes))

    def symmetry(self, spec: ArchitectureSpec, options: Options, shapes: Shapes) -> Symmetry:
        """The units of every layer but the last may change places."""
        del spec, options
        made, reads, layers = Symmetry(), FIXED, affine_layers(shapes)
        for index, layer in enumerate(layers):
            name = f"layers.{index}"
            writes = FIXED if index == len(layers) - 1 else made.units(name, layer.outputs)
            made.affine(name, reads, writes, bias=layer.bias is not None)
            reads = writes
        return made
