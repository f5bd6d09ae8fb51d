"""The catalogued architectures by name: which there are, what a name with its options stands for. No torch."""

from __future__ import annotations

from landscape_core.catalogue.families import FAMILIES
from landscape_core.catalogue.family import ArchitectureEntry, Family, Shapes
from landscape_core.catalogue.symmetry import Symmetry
from landscape_core.errors import InvalidRequest
from landscape_core.requests import ArchitectureSpec


def architectures() -> list[ArchitectureEntry]:
    """All catalogued architectures.

    Example:
        >>> {"resnet56", "resnet56_noshort", "vgg9", "mlp"} <= {entry.name for entry in architectures()}
        True
    """
    return [entry for family in FAMILIES for entry in family.entries()]


def known_names() -> str:
    """What names there are, in short."""
    return ", ".join(family.summary for family in FAMILIES)


def family_of(name: str) -> Family:
    """The family of the architecture of this name.

    Raises:
        InvalidRequest: There is no such architecture.
    """
    for family in FAMILIES:
        if family.entry(name) is not None:
            return family
    raise InvalidRequest(f"There is no architecture {name!r}; choose one of {known_names()}.", field="architecture.name")


def resolve(spec: ArchitectureSpec) -> dict[str, str]:
    """The value of every option of a catalogued architecture, defaults included.

    Args:
        spec: A name with some options.

    Raises:
        InvalidRequest: There is no such architecture, option or value.

    Example:
        >>> resolve(ArchitectureSpec(name="mlp"))
        {'activation': 'relu'}
        >>> resolve(ArchitectureSpec.parse("mlp:activation=tanh"))
        {'activation': 'tanh'}
    """
    entry = family_of(spec.name).entry(spec.name)
    options = {} if entry is None else entry.options
    chosen = {name: values[0] for name, values in options.items()}
    for name, value in spec.options.items():
        if name not in options:
            listed = ", ".join(f"{key} ({'|'.join(values)})" for key, values in options.items()) or "none"
            raise InvalidRequest(
                f"{spec.name} has no option {name!r}; its options are: {listed}.", field="architecture.options"
            )
        if str(value) not in options[name]:
            raise InvalidRequest(
                f"{spec.name}'s option {name} is one of {', '.join(options[name])}, but {value!r} was given.",
                field="architecture.options",
            )
        chosen[name] = str(value)
    return chosen


def canonical(spec: ArchitectureSpec) -> ArchitectureSpec:
    """The same architecture with its default options left out, so that one question has one digest.

    Args:
        spec: A name with some options.

    Raises:
        InvalidRequest: There is no such architecture, option or value.

    Example:
        >>> [str(canonical(ArchitectureSpec.parse(f"mlp:activation={name}"))) for name in ("relu", "tanh")]
        ['mlp', 'mlp:activation=tanh']
    """
    defaults = resolve(ArchitectureSpec(name=spec.name))
    return ArchitectureSpec(name=spec.name, options={k: v for k, v in resolve(spec).items() if v != defaults[k]})


def symmetry_of(spec: ArchitectureSpec, shapes: Shapes, field: str | None = None) -> Symmetry:
    """Which hidden units of a network may change places, under its own names.

    Args:
        spec: A catalogued architecture, which fits.
        shapes: The file's names and shapes, in the file's order.
        field: The part of a request that asks for it.

    Raises:
        InvalidRequest: There is no such architecture or option, or nothing is known of its hidden units.
    """
    family = family_of(spec.name)
    found = family.symmetry(spec, resolve(spec), shapes)
    if found is None:
        known = ", ".join(other.summary for other in FAMILIES if type(other).symmetry is not Family.symmetry)
        raise InvalidRequest(
            f"Hidden units are matched in {known}, but which of {spec.name}'s may change places is not known here; "
            "ask for the direction without matching.",
            field=field,
        )
    return found
