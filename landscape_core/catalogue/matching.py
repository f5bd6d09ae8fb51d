"""Which architectures fit a file's tensors, what stands in the way of the others, and what one example costs. No torch."""

from __future__ import annotations

from landscape_core.catalogue.comparison import Comparison
from landscape_core.catalogue.families import FAMILIES
from landscape_core.catalogue.family import DAMAGED, Candidate, Shapes, listed
from landscape_core.catalogue.networks import family_of, known_names, resolve
from landscape_core.requests import ArchitectureSpec


def fit(spec: ArchitectureSpec, shapes: Shapes) -> Candidate:
    """How this architecture fits a file's tensors.

    Args:
        spec: The architecture.
        shapes: The file's names and shapes, in the file's order.

    Returns:
        Its sizes, and how the file's names go with the network's.

    Raises:
        InvalidRequest: There is no such architecture or option, or it does not fit; the text says what differs.

    Example:
        >>> fit(ArchitectureSpec(name="mlp"), {"a.weight": (5, 4), "b.weight": (3, 5)}).classes
        3
        >>> from landscape_core.errors import InvalidRequest
        >>> try:
        ...     fit(ArchitectureSpec(name="mlp"), {"a.weight": (5, 4), "b.weight": (3, 6)})
        ... except InvalidRequest as error:
        ...     print(error)
        The checkpoint is no chain of affine layers: a.weight gives 5 numbers, but b.weight takes 6.
    """
    options = resolve(spec)
    return family_of(spec.name).fit(spec, options, shapes)


def match(shapes: Shapes, filename: str = "") -> tuple[Candidate, ...]:
    """The architectures that fit a file's tensors exactly, best first; empty if none does.

    Where tensors cannot tell two networks apart (as ResNets with parameter-free shortcuts from those with none), all are
    given, and the note says how they differ and which was put first. Nothing is guessed about a file that nearly fits a
    network known by name.

    Args:
        shapes: The file's names (container and prefixes removed) and shapes, in the file's order.
        filename: The file's name; "noshort" in it puts a network without shortcuts first.

    Example:
        >>> [str(c.architecture) for c in match({"fc1.weight": (5, 4), "fc2.weight": (3, 5)})]
        ['mlp']
    """
    for family in FAMILIES:
        found = family.match(shapes, filename)
        if found and not (family.guesses and _is_nearly_known(shapes)):
            return found
    return ()


def _is_nearly_known(shapes: Shapes) -> bool:
    """Whether at least half of the file's tensors are those of a network that is no guess."""
    near = [family.near_miss(shapes) for family in FAMILIES if not family.guesses]
    return any(found is not None and found[0] >= DAMAGED for found in near)


def explain_no_match(shapes: Shapes) -> str:
    """One sentence for a file that fits no architecture: the nearest one, and what is missing, unexpected or of other shape.

    Args:
        shapes: The file's names and shapes.

    Example:
        >>> explain_no_match({})
        "The file holds no tensors, so no architecture fits; give a checkpoint with the network's parameters."
    """
    if not shapes:
        return "The file holds no tensors, so no architecture fits; give a checkpoint with the network's parameters."
    near = [found for family in FAMILIES if (found := family.near_miss(shapes)) is not None]
    if near:
        return f"No catalogued architecture fits{max(near, key=lambda found: found[0])[1]}"
    some = listed([f"{name} {tuple(shape)}" for name, shape in shapes.items()])
    return f"No catalogued architecture has tensors like this file's ({some}); there are {known_names()}."


def nearest(shapes: Shapes) -> Comparison | None:
    """The catalogued network that has most of a file's tensors, held against the file; None if none has any.

    Args:
        shapes: The file's names and shapes.

    Example:
        >>> nearest({"something": (1, 2)}) is None
        True
    """
    found = [comparison for family in FAMILIES if (comparison := family.nearest(shapes)) is not None]
    return max(found, key=lambda each: (each.same, -each.missing - each.reshaped), default=None)


# ---- what is given to it, and what that costs ------------------------------------------------------------------------


def size_problem(architecture: ArchitectureSpec, shapes: Shapes, height: int, width: int) -> str | None:
    """Why images of this height and width cannot be given to a network that fits, to go on after “images of 5 x 5, ”.

    Args:
        architecture: An architecture that fits.
        shapes: The file's names and shapes, in the file's order.
        height: Of one image.
        width: Of one image.

    Raises:
        InvalidRequest: There is no such architecture or option.
    """
    return family_of(architecture.name).size_problem(architecture, resolve(architecture), shapes, height, width)


def macs_per_example(architecture: ArchitectureSpec, shapes: Shapes, input_shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of one forward pass of one example, in convolutions and affine layers.

    Args:
        architecture: An architecture that fits.
        shapes: The file's names and shapes, in the file's order.
        input_shape: (channels, height, width) or (features,) of one example.

    Raises:
        InvalidRequest: The architecture does not fit the shapes.

    Example:
        >>> macs_per_example(ArchitectureSpec(name="mlp"), {"a.weight": (5, 4), "b.weight": (3, 5)}, (4,))
        35
    """
    fit(architecture, shapes)
    return family_of(architecture.name).macs(architecture, resolve(architecture), shapes, input_shape)
