"""Measures the surfaces of two networks on equal terms, and draws them side by side, as figure 1 of Li et al. 2018 does.

    python recipes/paper_pair.py resnet56.t7 resnet56_noshort.t7 CIFAR10.npz FOLDER [--examples 500] [--grid -1:1:51x-1:1:51]

Both are computed by `lossatlas compute` with random, filter-normalised directions of the seeds 1 and 2, on the device that
LOSSATLAS_DEVICE names (the best there is unless it is set). A surface that is already in FOLDER is taken as it is, so an
interrupted run goes on with the second.

    NAME.npz    one for each network, named after its file
    pair.png    both, with one scale of log10 loss

With --gallery app/gallery, each of the two that `EXHIBITS` knows also becomes a folder of the gallery that comes with
Loss Atlas: surface, picture and text, but not the network.

Prints, as a table: maximum, loss at the centre, and the share of cells at which the surface curves downwards
(`landscape_core.negative_curvature`), within half a unit of the centre and everywhere.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

from cli.main import main as lossatlas
from landscape_core import Surface, load, negative_curvature
from landscape_core.formats import npz
from landscape_core.formats.png import render_png

NEAR = 0.5
"""How far from the centre a cell is near it, in units of the directions."""


EXHIBITS = {
    "resnet56": (
        "ResNet-56 on CIFAR-10",
        (
            "A network of 56 layers whose blocks add their input to their output. Around it the loss is nearly convex: compare "
            "it with the same network without these shortcuts."
        ),
    ),
    "resnet56_noshort": (
        "ResNet-56 without shortcuts",
        (
            "The same 56 layers, trained without shortcuts. Around it the loss is chaotic: compare it with the network that "
            "has them."
        ),
    ),
}
"""Title and description of the networks of the paper, by the stems of their files."""

LICENCE = (
    "The network was trained and published by Hao Li, Zheng Xu, Gavin Taylor, Christoph Studer and Tom Goldstein with the code "
    "of their paper (MIT licence); it does not come with Loss Atlas. The data are from CIFAR-10 (Krizhevsky 2009)."
)


def exhibit(name: str, surface: Surface, folder: Path) -> None:
    """Makes one surface a folder of the gallery."""
    request = surface.request
    if request is None:
        sys.exit(f"{name}.npz does not say how it was made.")
    title, description = EXHIBITS[name]
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "surface.npz").write_bytes(npz.dump(surface))
    (folder / name / "preview.png").write_bytes(render_png(surface))
    about = {
        "title": title,
        "description": description,
        "architecture": str(request.architecture),
        "dataset_text": "CIFAR-10",
        "loss": request.loss,
        "made_by": f"recipes/paper_pair.py: {request.data.examples} training images; {surface.provenance['program']}",
        "licence": LICENCE,
    }
    (folder / name / "about.json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n")


def measured(checkpoint: Path, arguments: argparse.Namespace) -> Surface:
    """The surface of one network, computed if its file is not there yet."""
    out = arguments.folder / f"{checkpoint.stem}.npz"
    if not out.exists():
        words = ["compute", str(checkpoint), "--dataset", str(arguments.data), "--examples", str(arguments.examples)]
        words += ["--preprocessing", arguments.preprocessing, "--grid", arguments.grid, "--out", str(out)]
        if status := lossatlas(words):
            sys.exit(status)
    return load(out)


def row(name: str, surface: Surface) -> str:
    """One line of the table."""
    near, whole = negative_curvature(surface, radius=NEAR), negative_curvature(surface)
    centre = surface.loss[np.abs(surface.y).argmin(), np.abs(surface.x).argmin()]
    return f"| {name} | {np.nanmax(surface.loss):.4g} | {centre:.3g} | {near.share:.1%} | {whole.share:.1%} |"


def draw(surfaces: dict[str, Surface], path: Path) -> None:
    """Both surfaces side by side, with one scale of heights and colours: log10 of the loss."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  after the back end was chosen

    heights = {name: np.log10(surface.loss) for name, surface in surfaces.items()}
    low, high = (f([f(z) for z in heights.values()]) for f in (np.nanmin, np.nanmax))
    figure = plt.figure(figsize=(12, 5.4), layout="constrained")
    for place, (name, z) in enumerate(heights.items(), 1):
        axes = figure.add_subplot(1, 2, place, projection="3d")
        x, y = np.meshgrid(surfaces[name].x, surfaces[name].y)
        axes.plot_surface(x, y, z, cmap="viridis", vmin=low, vmax=high, rcount=len(z), ccount=len(z[0]), linewidth=0)
        axes.set(title=name, zlim=(low, high), xlabel="α", ylabel="β", zlabel="log₁₀ loss")
        axes.view_init(elev=32, azim=-55)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(words: list[str]) -> None:
    """Measures, draws and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("first", "second", "data", "folder"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--preprocessing", default="cifar10-li2018")
    parser.add_argument("--grid", default="-1:1:51x-1:1:51")
    parser.add_argument("--gallery", type=Path)
    arguments = parser.parse_args(words)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    surfaces = {file.stem: measured(file, arguments) for file in (arguments.first, arguments.second)}
    draw(surfaces, arguments.folder / "pair.png")
    print(f"| network | maximum | centre | curves downwards within {NEAR:g} | everywhere |\n|---|---|---|---|---|")
    for name, surface in surfaces.items():
        print(row(name, surface))
        if arguments.gallery and name in EXHIBITS:
            exhibit(name, surface, arguments.gallery)


if __name__ == "__main__":
    main(sys.argv[1:])
