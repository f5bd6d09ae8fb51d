"""What can be chosen in the form, made from what there is: checkpoints, architectures, data sets, preprocessings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from app.forms import CUSTOM
from app.pages import words
from app.schemas import ArchitectureInfo, CandidateInfo, CheckpointInfo, DatasetInfo

UNSEEN = {"activation", "gelu"}
"""Options that leave no trace in a checkpoint's tensors: a person must say which it is."""

LOSSES = [
    {"value": "cross_entropy", "label": "Cross-entropy"},
    {"value": "nll", "label": "Negative log-likelihood (the network's last layer is a log-softmax)"},
    {"value": "mse_softmax", "label": "Squared error of the softmax (“mse” in Li et al.'s code)"},
    {"value": "mse", "label": "Squared error of the outputs"},
    {"value": "multi_margin", "label": "Multi-class margin"},
]
METRICS = [
    {"value": "top5", "label": "Top-5 accuracy"},
    {"value": "class_accuracy", "label": "Accuracy of each class"},
]
NORMS = [
    {"value": "filter", "label": "Filter (Li et al. 2018)"},
    {"value": "layer", "label": "Layer"},
    {"value": "weight", "label": "Weight"},
    {"value": "dfilter", "label": "Filter, to length one"},
    {"value": "dlayer", "label": "Layer, to length one"},
    {"value": "none", "label": "None"},
]
DIRECTIONS = [
    {"value": "random", "label": "Random (Li et al. 2018)"},
    {"value": "towards", "label": "Towards other checkpoints"},
    {"value": "principal", "label": "Principal directions of a training run"},
    {"value": "hessian", "label": "Eigenvectors of the Hessian"},
    {"value": "file", "label": "From a file"},
]
NORM_MEANING = {
    "filter": "Each filter of the direction gets the length of the network's own filter, so that landscapes compare.",
    "layer": "Each layer of the direction gets the length of the network's own layer.",
    "weight": "Each entry of the direction is multiplied by the network's own weight.",
    "dfilter": "Each filter of the direction gets length one, whatever the network's own is.",
    "dlayer": "Each layer of the direction gets length one, whatever the network's own is.",
    "none": "The direction is taken as drawn. Flat and sharp then depend on the scale of the weights.",
}
"""One line on what each normalisation does."""


def checkpoints(known: Sequence[CheckpointInfo]) -> list[dict[str, str]]:
    """The checkpoints that a surface can be computed from, newest first."""
    usable = sorted((c for c in known if c.state == "ready" and c.candidates), key=lambda c: c.created, reverse=True)
    return [{"value": c.id, "label": f"{c.filename}  ·  {_name(c.candidates[0])}"} for c in usable]


def architectures(candidates: Sequence[CandidateInfo], known: Sequence[ArchitectureInfo]) -> list[dict[str, str]]:
    """The architectures that fit a checkpoint, with every value of the options that its tensors cannot tell."""
    options = {info.name: info.options for info in known}
    found: dict[str, str] = {}
    for candidate in candidates:
        spec = _text(candidate.name, candidate.options)
        found.setdefault(spec, _name(candidate))
        for option in sorted(UNSEEN & options.get(candidate.name, {}).keys()):
            first, *others = options[candidate.name][option]
            found[spec] = f"{_name(candidate)}, {option} {first}"
            for value in others:
                other = _text(candidate.name, {**candidate.options, option: value})
                found.setdefault(other, f"{_name(candidate)}, {option} {value}")
    return [{"value": value, "label": label} for value, label in found.items()]


def _name(candidate: CandidateInfo) -> str:
    return words.network(candidate.name, candidate.options)


def _text(name: str, options: dict[str, Any]) -> str:
    listed = ",".join(f"{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in sorted(options.items()))
    return f"{name}:{listed}" if listed else name


def datasets(known: Sequence[DatasetInfo]) -> list[dict[str, Any]]:
    """The data sets that are there, those of this server apart from those uploaded."""

    def entry(dataset: DatasetInfo) -> dict[str, str]:
        sizes = ", ".join(f"{words.count(n)} {split}" for split, n in dataset.splits.items() if n)
        return {
            "value": dataset.id,
            "label": f"{dataset.title}  ·  {words.example(dataset.shape, tokens=dataset.holds_tokens)}  ·  {sizes}",
        }

    ready = [dataset for dataset in known if dataset.state == "ready"]
    groups = (("On this server", False), ("Uploaded", True))
    listed = [{"group": name, "items": [entry(d) for d in ready if d.uploaded is up]} for name, up in groups]
    return [group for group in listed if group["items"]]


def suggested_dataset(
    candidates: Sequence[CandidateInfo], known: Sequence[DatasetInfo], current: str | None = None
) -> str | None:
    """The data set to begin with: the current one if it suits the network, else the first that does."""
    ready = [dataset for dataset in known if dataset.state == "ready"]
    fits = [dataset.id for dataset in ready if not candidates or _suits(candidates[0], dataset)]
    if current in fits:
        return current
    return fits[0] if fits else current


def _suits(candidate: CandidateInfo, dataset: DatasetInfo) -> bool:
    takes, has = candidate.input_shape, dataset.shape
    if candidate.takes_tokens or dataset.holds_tokens:
        return candidate.takes_tokens == dataset.holds_tokens and has <= takes and (dataset.classes or 0) <= candidate.classes
    same = math.prod(takes) == math.prod(has) if len(takes) == 1 else len(has) == len(takes) and takes[0] == has[0]
    return same and (dataset.classes or 0) <= candidate.classes


def preprocessings(names: Sequence[str]) -> list[dict[str, str]]:
    """The named preprocessings, and one's own."""
    text = {"none": "None: values as stored, pixels in 0 … 1"}
    return [{"value": n, "label": text.get(n, n)} for n in names] + [{"value": CUSTOM, "label": "My own mean and deviation…"}]
