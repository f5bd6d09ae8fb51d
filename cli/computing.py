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

from cli.asked import Asked
from cli.library_networks import LibraryNetwork
from cli.model_folders import checkpoint_file
from cli.own_code import OwnCode
from cli.stopping import stopped_by_sigterm
from landscape_core.errors import InvalidRequest, SurfaceRejected
from landscape_core.requests import BatchNorm, Loss, Norm

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

    from cli.material import Material
    from landscape_core.requests import SurfaceRequest
    from landscape_core.results import Surface


DIRECTION_HELP = "First direction: random:SEED, towards:CHECKPOINT, principal:NUMBER, hessian:NUMBER or file:DIRECTIONS.h5."


def _only_exact(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if value != "exact":
        raise InvalidRequest(f"--budget takes exact, every example at every cell; {value!r} is not available.", field="budget")
    return value


class WithManyFiles(click.Command):
    """A command whose `--checkpoints` takes all words up to the next option, as a shell's `epoch_*.pt` makes them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Takes the words, each file with an option of its own."""
        words: list[str] = []
        listing = False
        for position, word in enumerate(args):
            if word == "--checkpoints":
                listing = True
                if position + 1 == len(args) or args[position + 1].startswith("-"):
                    raise click.BadOptionUsage(word, f"Option {word!r} requires an argument.", ctx)
                continue
            listing = listing and not word.startswith("-")
            words += ["--checkpoints", word] if listing else [word]
        return super().parse_args(ctx, words)


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
    help="A training run, in its order: its principal directions are principal:1, …; its way is projected on any plane.",
)
@click.option("--align", is_flag=True, help="Match hidden units of towards:CHECKPOINT first.")
@click.option("--curve", is_flag=True, help="One direction only.")
@click.option("--norm", type=click.Choice(get_args(Norm)), default="filter", show_default=True, help="Of random directions.")
@click.option("--ignore", type=click.Choice(["biasbn", "none"]), default="biasbn", show_default=True, help="What stays.")
@click.option("--of", type=click.Choice(["weights", "states"]), default="weights", show_default=True, help="What moves.")
@click.option("--orthogonal", is_flag=True, help="Second direction at right angles to the first.")
@click.option(
    "--batch-norm",
    type=click.Choice(get_args(BatchNorm)),
    default="fixed",
    show_default=True,
    help="Its statistics at each cell.",
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
@click.option("--budget", default="exact", callback=_only_exact, hidden=True, expose_value=False)
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
        files = _save(surfaces, typed["out"])
    for surface, file in zip(surfaces, files * (len(surfaces) // len(files)), strict=True):
        click.echo(_summary(surface, file, of_split=len(surfaces) > 1))


def _prepared(asked: Asked, folder: Path) -> tuple[Asked, Material, SurfaceRequest]:
    """What the question is computed from, and the request, known to be computable."""
    from cli.material import Material, settings, share_cores  # noqa: PLC0415

    share_cores()
    folder.mkdir()
    asked = replace(asked, file=checkpoint_file(asked.file, folder))
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


def _save(surfaces: list[Surface], out: Path) -> list[Path]:
    """Writes the surface, or those of both splits; the files that were written.

    Raises:
        SurfaceRejected: If the form cannot hold it; what was computed is then kept in one that can.
    """
    from landscape_core import formats  # noqa: PLC0415

    try:
        if len(surfaces) > 1:
            return formats.save_splits(surfaces[0], surfaces[1], out)
        formats.save(surfaces[0], out)
    except SurfaceRejected as error:
        kept = out.with_name(f"{out.name}.npz")
        files = formats.split_paths(kept) if len(surfaces) > 1 else [kept]
        for surface, file in zip(surfaces, files, strict=True):
            formats.save(surface, file)
        raise SurfaceRejected(f"{error} What was computed is kept in {' and '.join(map(str, files))}.") from None
    return [out]


def _summary(surface: Surface, out: Path, *, of_split: bool) -> str:
    import numpy as np  # noqa: PLC0415

    ny, nx = surface.loss.shape
    own = surface.provenance.get("own_loss")
    finite = surface.loss[np.isfinite(surface.loss)]
    split = [surface.request.data.split] if of_split and surface.request is not None else []
    with np.errstate(over="ignore"):
        perplexity = f" (perplexity {np.exp(own):.6g})" if own is not None and surface.has_perplexity else ""
    parts = [
        *split,
        f"{nx} points" if surface.is_curve else f"{nx} x {ny} cells",
        f"the checkpoint's own loss {own:.6g}{perplexity}" if own is not None else "the checkpoint's own loss not finite",
        f"min {finite.min():.6g}, max {finite.max():.6g}" if finite.size else "no finite loss",
        *([f"{surface.not_finite} not finite"] if surface.not_finite else []),
        *_resumed(surface),
        *_barriers(surface),
        f"{surface.provenance.get('seconds', 0):.1f} s",
    ]
    return f"Wrote {out}: {', '.join(parts)}."


def _resumed(surface: Surface) -> list[str]:
    last = surface.provenance.get("resumed", [])[-1:]
    return [f"{about['kept_cells']:,} cells kept from {about['file']}, {about['computed_cells']:,} computed" for about in last]


def _barriers(surface: Surface) -> list[str]:
    """What stands between the network and another one, for a curve that leads there."""
    found = surface.flatness().barriers if surface.is_curve else ()
    heights = [barrier.above_line for barrier in found if barrier.above_line is not None]
    return [f"barrier {height:.6g} above the line of the ends" for height in heights]
