"""What was typed after `lossatlas compute` or `curvature`, checked as far as it can be before anything is read or computed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from cli.asked_budget import check_budget, tolerance_typed
from cli.asked_plane import AskedPlane
from cli.library_networks import LIBRARIES, LibraryNetwork
from cli.model_folders import holds_checkpoint, told_architecture
from cli.own_code import OwnCode
from cli.parsing import parse_direction, parse_grid, parse_standardisation
from landscape_core.errors import InvalidRequest, NotFound
from landscape_core.requests import (
    ArchitectureSpec,
    BatchNorm,
    Budget,
    Grid,
    HessianDirection,
    Metric,
    Normalisation,
    Precision,
    Standardisation,
)

SUFFIXES = (".npz", ".h5", ".csv", ".json", ".png", ".vtp", ".stl", ".glb")
"""What a surface is written as: `formats.WRITABLE`, named here so that a refusal need not import h5py."""

WITH_AREA = (".stl", ".glb")
"""Those of them that cannot hold a curve."""

_DEFAULT_GRIDS = {False: "-1:1:51x-1:1:51", True: "-1:1:51"}


@dataclass(frozen=True)
class Asked(AskedPlane):
    """The typed question.

    Attributes:
        dataset: A catalogued name, or the path of an `.npz`.
        split: `train`, `test` or `both`.
        seed: None keeps the data set's own order.
        preprocessing: None to take the data set's usual one.
        metrics: What else is counted of every cell.
        batch_norm: Which statistics it has at a cell.
        precision: How its forward pass is rounded.
        grid: None to take that of the half-done surface.
        resume: A half-done surface that is completed.
        curvature: Over how many examples the eigenvalues at every cell are measured; None for none.
        budget: Whether all is measured, or only what an estimate takes.
        tolerance: Of the estimate: root mean square error as a share of the range.
        out: Where the answer goes; None for nowhere.
    """

    dataset: str | Path
    split: str
    examples: int | None
    seed: int | None
    preprocessing: str | Standardisation | None
    loss: str
    metrics: tuple[str, ...]
    batch_norm: BatchNorm
    precision: Precision
    grid: Grid | None
    resume: Path | None
    curvature: int | None
    budget: Budget
    tolerance: float
    out: Path | None

    @classmethod
    def typed(cls, **typed: Any) -> Asked:
        """The question in the options of `lossatlas compute`, by their names.

        Raises:
            InvalidRequest: If options contradict each other or cannot be read, or nothing can be written to `--out`.
            NotFound: If a file or data set does not exist.
        """
        curve = typed["curve"]
        _check_together(typed)
        asked = cls(
            file=typed["file"],
            architecture=architecture_typed(typed["architecture"]) or told_architecture(typed["file"]),
            dataset=_dataset(typed["dataset"]),
            split=typed["split"],
            examples=typed["examples"],
            seed=None if typed["in_order"] else (typed["seed"] or 0),
            preprocessing=_preprocessing(typed["preprocessing"], typed["mean"], typed["std"]),
            loss=typed["loss"],
            metrics=_metrics(typed["metrics"]),
            x=parse_direction(typed["x"], "--x"),
            y=None if curve else parse_direction("random:2" if typed["y"] is None else typed["y"], "--y"),
            align=typed["align"],
            run=typed["checkpoints"],
            normalisation=Normalisation(norm=typed["norm"], ignore=typed["ignore"], of=typed["of"]),
            orthogonal=typed["orthogonal"],
            batch_norm=typed["batch_norm"],
            precision=typed["precision"],
            grid=_grid(typed["grid"], curve=curve, resumed=typed["resume"] is not None),
            resume=typed["resume"],
            curvature=typed["curvature"],
            budget=typed["budget"],
            tolerance=tolerance_typed(typed["tolerance"]),
            out=typed["out"],
        )
        asked.check_run()
        asked.check_align()
        asked.check_split()
        asked.check_files()
        return asked

    def check_files(self) -> None:
        """Passes when all that is to be read is there, and what is asked for can be written.

        Raises:
            NotFound: If a file does not exist.
            InvalidRequest: If nothing can be written to a file, or it cannot hold what is asked for.
        """
        data = [self.dataset] if isinstance(self.dataset, Path) else []
        if not holds_checkpoint(self.file) and not self.file.is_file():
            raise NotFound(missing(self.file))
        begun = [] if self.resume is None else [self.resume]
        given = [*data, *self.direction_files, *self.companions, *begun]
        for path in given:
            if not path.is_file():
                raise NotFound(missing(path))
        own = [self.architecture.path] if isinstance(self.architecture, OwnCode) else []
        for out in self.files:
            check_out(out, [self.file, *given, *own])
        if self.out is not None and self.grid is not None:
            _check_area(self.out, self.grid)

    @property
    def files(self) -> list[Path]:
        """What is written: `out`, or one file for each split where `out`'s form does not hold both."""
        if self.out is None:
            return []
        if self.split != "both" or self.out.suffix.lower() == ".h5":
            return [self.out]
        return [self.out.with_name(f"{self.out.stem}.{split}{self.out.suffix}") for split in ("train", "test")]

    def by_split(self) -> list[Asked]:
        """The questions to be answered one after the other: for both splits two, on one plane."""
        return [replace(self, split=split) for split in ("train", "test")] if self.split == "both" else [self]

    def check_split(self) -> None:
        """Passes when the plane is the same for all splits that are asked for.

        Raises:
            InvalidRequest: If not.
        """
        if self.split == "both" and any(isinstance(typed, HessianDirection) for typed in (self.x, self.y)):
            raise InvalidRequest(
                "Hessian directions are those of one split's loss, so --split both has no plane in common with them; "
                "give --split train or test, or directions of another kind.",
                field="data.split",
            )


def _grid(text: str | None, *, curve: bool, resumed: bool) -> Grid | None:
    if text is None and resumed:
        return None
    return parse_grid(_DEFAULT_GRIDS[curve] if text is None else text, curve=curve)


def _check_together(typed: Mapping[str, Any]) -> None:
    """Passes when no two of the typed options contradict each other."""
    curve = typed["curve"]
    if curve and typed["y"] is not None:
        raise InvalidRequest("--curve has one direction, so leave out either --y or --curve.", field="plane.y")
    if curve and typed["orthogonal"]:
        raise InvalidRequest(
            "--curve has one direction, so leave out either --orthogonal or --curve.", field="plane.orthogonal"
        )
    if typed["batch_norm"] == "reestimated" and typed["of"] == "states":
        raise InvalidRequest(
            "Re-estimated statistics take the place of moved ones, so leave out either --batch-norm or --of states.",
            field="batch_norm",
        )
    if typed["batch_norm"] == "reestimated" and typed["curvature"] is not None:
        raise InvalidRequest(
            "Eigenvalues are those with fixed statistics, so leave out either --batch-norm or --curvature.", field="curvature"
        )
    check_budget(typed)
    if typed["precision"] != "float32" and typed["curvature"] is not None:
        raise InvalidRequest(
            "Eigenvalues are measured in float32, so leave out either --precision or --curvature.", field="precision"
        )
    if typed["in_order"] and typed["seed"] is not None:
        raise InvalidRequest("--in-order takes no permutation, so leave out either --seed or --in-order.", field="data.seed")


def architecture_typed(text: str | None) -> ArchitectureSpec | OwnCode | LibraryNetwork | None:
    """The network that `--architecture` names; None for the one that fits.

    Args:
        text: As typed.

    Raises:
        InvalidRequest: If there is no such network, or it is written otherwise.
        NotFound: If there is no such file of code.
    """
    from landscape_core.catalogue import canonical  # noqa: PLC0415

    if text is None or text == "infer":
        return None
    if text.partition(":")[0] in LIBRARIES:
        return LibraryNetwork.typed(text)
    if ".py" in text:
        return OwnCode.typed(text)
    try:
        return canonical(ArchitectureSpec.parse(text))
    except ValidationError:
        raise InvalidRequest(
            f"--architecture takes NAME, NAME:OPTION=VALUE, FILE.py:FACTORY, torchvision:NAME or timm:NAME, but {text!r} came.",
            field="architecture",
        ) from None


def _dataset(text: str) -> str | Path:
    from landscape_core.catalogue import dataset_entry  # noqa: PLC0415

    if text.lower().endswith(".npz") or "/" in text:
        return Path(text)
    return dataset_entry(text).id


def _metrics(text: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    unknown = [name for name in names if name not in get_args(Metric)]
    if unknown:
        raise InvalidRequest(
            f"There is no metric {unknown[0]!r}; --metrics takes {', '.join(get_args(Metric))}, with commas between.",
            field="metrics",
        )
    return names


def _preprocessing(name: str | None, mean: str | None, std: str | None) -> str | Standardisation | None:
    from landscape_core.catalogue import standardisation  # noqa: PLC0415

    given = parse_standardisation(mean, std)
    if name is None:
        return given
    if given is not None:
        raise InvalidRequest("Give either --preprocessing or --mean and --std, not both.", field="data.preprocessing")
    standardisation(name)
    return name


def missing(path: Path) -> str:
    """Says that there is no file at a path."""
    return f"{path} is a folder; name the file in it." if path.is_dir() else f"There is no file {path}."


def _check_area(out: Path, grid: Grid) -> None:
    points = min(grid.x.points, 1 if grid.y is None else grid.y.points)
    if out.suffix.lower() in WITH_AREA and points < 2:
        raise InvalidRequest(
            f"--out takes {out.suffix} for grids of at least 2 x 2 points: a curve has no area; write it as .npz or .vtp.",
            field="out",
        )


def check_out(out: Path, given: list[Path], said: str = "--out", forms: tuple[str, ...] = SUFFIXES) -> None:
    """Refuses a file that nothing can be written to.

    Args:
        out: The file; it may exist.
        given: What is read to make it, which it must not replace.
        said: How the command line names it.
        forms: The suffixes that it may have.

    Raises:
        InvalidRequest: If it has no known form, is one of those given, or its folder takes no file.
    """
    if out.suffix.lower() not in forms:
        named = out.suffix or "a file without a suffix"
        raise InvalidRequest(f"{said} takes a file that ends in {', '.join(forms)}, not {named!r}.", field="out")
    try:
        overwrites = out.exists() and any(out.samefile(path) for path in given)
        with tempfile.TemporaryFile(dir=out.resolve().parent):
            pass
    except OSError as error:
        raise InvalidRequest(f"Nothing can be written to {out} ({error.strerror}); name another file.", field="out") from None
    if out.is_dir():
        raise InvalidRequest(f"{said} takes a file, but {out} is a folder.", field="out")
    if overwrites:
        raise InvalidRequest(f"{said} would overwrite {out}, from which the surface is made; name another file.", field="out")
