"""`lossatlas compute`: a surface from a checkpoint file, on this machine.

what was typed ── Asked (checked without opening a file) ── Material (read by the inert reader) ── SurfaceRequest ── Surface
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from cli.answering import save_answers, summary
from cli.asked import Asked
from cli.library_networks import LibraryNetwork
from cli.model_folders import checkpoint_file
from cli.own_code import OwnCode
from cli.plane_options import DIRECTION_HELP, WithManyFiles, scaled_directions
from cli.runs import with_run_unpacked
from cli.stopping import stopped_by_sigterm
from landscape_core.requests import BatchNorm, Loss, Precision

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

    from cli.material import Material
    from landscape_core.requests import SurfaceRequest
    from landscape_core.results import Surface


@click.command(cls=WithManyFiles, short_help="Compute a surface or curve on this machine.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--architecture",
    metavar="NAME[:OPTION=VALUE]|FILE.py:FACTORY",
    default="infer",
    show_default=True,
    help="As in mlp:activation=tanh, torchvision:NAME or timm:NAME; or your own code.",
)
@click.option("--dataset", required=True, metavar="NAME|FILE.npz", help="A catalogued data set, or an .npz with x and y.")
@click.option(
    "--split",
    type=click.Choice(["train", "test", "both"]),
    default="train",
    show_default=True,
    help="Which of its parts; both measure one plane, written into one .h5, else into NAME.train and NAME.test files.",
)
@click.option("--examples", type=click.IntRange(1, 100_000_000), metavar="N", help="How many; the whole split if not given.")
@click.option("--in-order", is_flag=True, help="Take the examples in the data set's own order.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    metavar="N",
    help="Of the permutation the examples are taken from.  [default: 0]",
)
@click.option("--preprocessing", metavar="NAME", help="As in cifar10-li2018 or none; else the data set's usual one.")
@click.option("--mean", metavar="0.49,0.48,0.45", help="Per channel, with --std, instead of --preprocessing.")
@click.option("--std", metavar="0.25,0.24,0.26", help="Per channel.")
@click.option("--loss", type=click.Choice(get_args(Loss)), default="cross_entropy", show_default=True, help="Per example.")
@click.option("--metrics", metavar="NAMES", help="Counted beside loss and accuracy: top5, class_accuracy, with commas between.")
@click.option("--x", metavar="DIRECTION", default="random:1", show_default=True, help=DIRECTION_HELP)
@click.option("--y", metavar="DIRECTION", help="Second direction, alike.  [default: random:2]")
@click.option(
    "--checkpoints",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILES...",
    help="A training run, in its order, or as one .zip: principal:1, … are its directions; its way is projected on any plane.",
)
@click.option("--align", is_flag=True, help="Match hidden units of towards:CHECKPOINT first.")
@scaled_directions
@click.option("--orthogonal", is_flag=True, help="Second direction at right angles to the first.")
@click.option(
    "--batch-norm",
    type=click.Choice(get_args(BatchNorm)),
    default="fixed",
    show_default=True,
    help="Its statistics at each cell.",
)
@click.option(
    "--precision",
    type=click.Choice(get_args(Precision)),
    default="float32",
    show_default=True,
    help="Of the network's forward pass; in another than float32 five cells are held against it.",
)
@click.option("--grid", metavar="GRID", help="As in -1:1:51x-1:1:51, or -1:1:51 with --curve; these are the defaults.")
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="HALF.h5",
    help="A half-done surface file: its grid is taken, its cells are kept, only what is not there is computed.",
)
@click.option(
    "--curvature",
    type=click.IntRange(1, 100_000_000),
    metavar="N",
    help="Also the Hessian's extreme eigenvalues at every cell, over the first N examples: as long as 200 evaluations of them.",
)
@click.option(
    "--budget",
    type=click.Choice(["exact", "fast"]),
    default="exact",
    show_default=True,
    help="Every example at every cell, or as few as an estimate takes, with its error.",
)
@click.option(
    "--tolerance",
    type=float,
    metavar="SHARE",
    help="Of --budget fast: root mean square error over the range.  [default: 0.005]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help=".npz, .h5, .csv, .json, .png, .vtp, .stl or .glb",
)
def compute(**typed: Any) -> None:
    """Compute the loss surface around the checkpoint FILE, or a curve through it, and write it to a file.

    The file is only read: no code in it runs. --architecture net.py:build runs your own net.py, whose
    build() gives the network.

    FILE may be a model's folder as Hugging Face has it, with a config.json beside safetensors. Models other
    than GPT-2 are built by the library transformers, if it is installed.
    """
    asked = Asked.typed(**typed)
    with stopped_by_sigterm(), tempfile.TemporaryDirectory(prefix="lossatlas-") as folder:
        questions = [
            _prepared(one, Path(folder) / one.split) for one in asked.by_split()
        ]  # all are read before any is computed
        surfaces = [_computed(*question) for question in questions]
        files = save_answers(surfaces, typed["out"])
    for surface, file in zip(surfaces, files * (len(surfaces) // len(files)), strict=True):
        click.echo(summary(surface, file, of_split=len(surfaces) > 1))


def _prepared(asked: Asked, folder: Path) -> tuple[Asked, Material, SurfaceRequest]:
    """What the question is computed from, and the request, known to be computable."""
    from cli.material import Material, settings, share_cores  # noqa: PLC0415

    share_cores()
    folder.mkdir()
    asked = with_run_unpacked(replace(asked, file=checkpoint_file(asked.file, folder)), folder)
    material = Material.read(asked, settings().datasets_folder, folder)
    request = material.request(asked)
    material.check(request, own=isinstance(asked.architecture, OwnCode | LibraryNetwork))
    return asked, material, request


def _computed(asked: Asked, material: Material, request: SurfaceRequest) -> Surface:
    from cli.material import settings  # noqa: PLC0415
    from landscape_core.compute import choose_device, compute_surface  # noqa: PLC0415  torch takes a second or two

    told = settings()
    device = choose_device(told.device)
    code = asked.architecture if isinstance(asked.architecture, OwnCode | LibraryNetwork) else None
    own = None if code is None else code.loaded(material.tensors, material.examples.facts)
    with nullcontext() if code is None else code.blamed(computing=True), told_progress(material.notes(asked)) as progress:
        surface = compute_surface(
            request,
            material.tensors,
            material.examples,
            material.directions,
            device,
            told.threads,
            progress,
            own=own,
            checkpoints=material.checkpoint_tensors,
            resume=material.half,
        )
    about = material.named(surface.provenance)
    return replace(surface, provenance=about if code is None else {**about, **code.provenance()})


@contextmanager
def told_progress(notes: list[str]) -> Iterator[Callable[[float], None]]:
    """Says the notes once something has been computed, so that a refusal stands alone; then, if someone looks, draws a bar."""
    steps = 10_000
    with ExitStack() as stack:
        bars: list[ProgressBar[int]] = []

        def tell(share: float) -> None:
            if not bars:
                for note in notes:
                    click.echo(note, err=True)
                hidden = not sys.stderr.isatty()
                bar = click.progressbar(length=steps, label="Computing", file=sys.stderr, hidden=hidden)
                bars.append(stack.enter_context(bar))
            bars[0].update(round(share * steps) - bars[0].pos)

        yield tell
