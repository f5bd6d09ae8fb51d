"""`lossatlas curvature`: the spectrum of the Hessian at a checkpoint, on this machine.

A question about the curvature is one about a surface whose only cell is θ*, so that it is read and refused as that is.
"""

from __future__ import annotations

import dataclasses
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.asked import Asked, architecture_typed
from cli.computing import compute, told_progress
from cli.library_networks import LibraryNetwork
from cli.model_folders import checkpoint_file, told_architecture
from cli.own_code import OwnCode
from cli.stopping import stopped_by_sigterm
from landscape_core.errors import InvalidRequest
from landscape_core.plane import MAX_EIGENVECTORS
from landscape_core.spectra import REPORT_SUFFIXES, CurvatureOptions

if TYPE_CHECKING:
    from landscape_core.spectra import Curvature

_SHARED = ("file", "architecture", "dataset", "split", "examples", "in_order", "seed", "preprocessing", "mean", "std", "loss")
"""Options that are those of `compute`."""

_USUAL = CurvatureOptions()


@click.command(short_help="Eigenvalues, trace and spectral density of the Hessian at a checkpoint.")
@click.option(
    "--ignore",
    type=click.Choice(["biasbn", "none"]),
    default="biasbn",
    show_default=True,
    help="biasbn: not by biases and batch norm.",
)
@click.option(
    "--top",
    type=click.IntRange(1, MAX_EIGENVECTORS),
    default=_USUAL.top,
    show_default=True,
    metavar="K",
    help="Eigenvalues of either end.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1),
    default=_USUAL.tolerance,
    show_default=True,
    metavar="SHARE",
    help="Standard error of the trace that is good enough, as a share of it.",
)
@click.option(
    "--trace-probes",
    type=click.IntRange(2, 100_000),
    default=_USUAL.trace_probes,
    show_default=True,
    metavar="N",
    help="Most random vectors for the trace.",
)
@click.option(
    "--density-probes",
    type=click.IntRange(1, 1000),
    default=_USUAL.density_probes,
    show_default=True,
    metavar="N",
    help="Random vectors for the density.",
)
@click.option(
    "--steps",
    type=click.IntRange(2, 1000),
    default=_USUAL.steps,
    show_default=True,
    metavar="N",
    help="Products with the Hessian for each of these.",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help=".json, the numbers, or .png, a picture.")
def curvature(**typed: Any) -> None:
    """Measure the curvature of the loss at the checkpoint FILE: eigenvalues of both ends of its Hessian, trace, density.

    It is of the mean loss over the examples, in evaluation mode. Each product with the Hessian takes as long as some five
    evaluations of them, and a few hundred are needed: --examples 512 is often enough.
    """
    _check_suffix(typed["out"])
    names = [option.name for option in dataclasses.fields(CurvatureOptions)]
    options = CurvatureOptions(**{name: typed.pop(name) for name in names})
    asked = Asked.typed(**_as_surface(typed))
    with stopped_by_sigterm(), tempfile.TemporaryDirectory(prefix="lossatlas-") as folder:
        found = _measured(asked, options, Path(folder))
        if asked.out is not None:
            found.save(asked.out)
    click.echo(found.summary())
    if asked.out is not None:
        click.echo(f"Wrote {asked.out}.")


_SPLIT = click.Option(
    ["--split"], type=click.Choice(["train", "test"]), default="train", show_default=True, help="Which of its parts."
)
"""That of `compute` takes both, of one plane; a Hessian is that of one."""

_shared = [_SPLIT if option.name == "split" else option for option in compute.params if option.name in _SHARED]
curvature.params = _shared + curvature.params


def _check_suffix(out: Path | None) -> None:
    if out is not None and out.suffix.lower() not in REPORT_SUFFIXES:
        named = out.suffix or "a file without a suffix"
        raise InvalidRequest(f"--out takes a file that ends in {' or '.join(REPORT_SUFFIXES)}, not {named!r}.", field="out")


def _as_surface(typed: dict[str, Any]) -> dict[str, Any]:
    """All options of `compute`: those that were typed, its defaults, and the one cell θ* along an eigenvector or anything."""
    usual = compute.make_context("compute", [f"--dataset={typed['dataset']}", "--out=.", "--", str(typed["file"])]).params
    network = architecture_typed(typed["architecture"]) or told_architecture(typed["file"])
    own = isinstance(network, OwnCode | LibraryNetwork)
    return {**usual, **typed, "curve": True, "x": "random:0" if own else "hessian:1", "y": None, "grid": "0:0:1"}


def _measured(asked: Asked, options: CurvatureOptions, folder: Path) -> Curvature:
    from cli.material import Material, settings, share_cores  # noqa: PLC0415

    share_cores()
    told = settings()
    asked = dataclasses.replace(asked, file=checkpoint_file(asked.file, folder))
    material = Material.read(asked, told.datasets_folder, folder)
    request = material.request(asked)
    code = asked.architecture if isinstance(asked.architecture, OwnCode | LibraryNetwork) else None
    material.check(request, own=code is not None)
    from landscape_core.compute import choose_device, compute_curvature  # noqa: PLC0415  torch takes a second or two

    device = choose_device(told.device)
    own = None if code is None else code.loaded(material.tensors, material.examples.facts)
    with nullcontext() if code is None else code.blamed(computing=True), told_progress(material.notes(asked)) as progress:
        found = compute_curvature(
            request, material.tensors, material.examples, options, device, told.threads, progress, own=own
        )
    return found if code is None else dataclasses.replace(found, provenance={**found.provenance, **code.provenance()})
