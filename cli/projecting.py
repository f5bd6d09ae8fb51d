"""`lossatlas project`: where the checkpoints of a training run stand on a plane; nothing is measured, so no data are needed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.asked import architecture_typed, check_out, missing
from cli.asked_plane import AskedPlane
from cli.library_networks import LibraryNetwork
from cli.own_code import OwnCode
from cli.parsing import parse_direction
from cli.plane_options import DIRECTION_HELP, WithManyFiles, scaled_directions
from cli.runs import with_run_unpacked
from landscape_core.errors import InvalidRequest, NotFound
from landscape_core.requests import Normalisation

if TYPE_CHECKING:
    from landscape_core.compute import DerivedDirections
    from landscape_core.requests import SurfaceRequest

FORMS = (".h5", ".json", ".csv")


@click.command(cls=WithManyFiles, short_help="Project a training run on a plane.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--checkpoints",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILES...",
    help="In their order, or one .zip.",
)
@click.option("--architecture", metavar="NAME[:OPTION=VALUE]", default="infer", show_default=True, help="As for compute.")
@click.option("--x", metavar="DIRECTION", default="principal:1", show_default=True, help=DIRECTION_HELP)
@click.option("--y", metavar="DIRECTION", help="Second direction, alike.  [default: principal:2]")
@click.option("--directions", type=click.Path(path_type=Path), metavar="DIRS.h5", help="Both from this file.")
@scaled_directions
@click.option("--directions-out", type=click.Path(path_type=Path), metavar="DIRS.h5", help="Where the directions go, too.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help=".h5, .json or .csv")
def project(**typed: Any) -> None:
    """Project the CHECKPOINTS of a training run that ends at FILE on a plane through it, and write their places to a file.

    Places are by least squares, in units of the directions, as the axes of a surface are. The .h5 has the form of
    the original code (proj_xcoord, proj_ycoord); --directions-out writes its file of principal directions.
    """
    asked, out, directions_out = _asked(typed), typed["out"], typed["directions_out"]
    given = [asked.file, *asked.companions, *asked.direction_files]
    for path in given:
        if not path.is_file():
            raise NotFound(missing(path))
    check_out(out, given, forms=FORMS)
    if directions_out is not None:
        check_out(directions_out, [*given, out], said="--directions-out", forms=(".h5",))
    with tempfile.TemporaryDirectory(prefix="lossatlas-") as folder:
        request, found, names = _projected(asked, Path(folder))
    click.echo(_written(request, found, names, out, directions_out))


def _asked(typed: dict[str, Any]) -> AskedPlane:
    architecture = architecture_typed(typed["architecture"])
    if isinstance(architecture, OwnCode | LibraryNetwork):
        raise InvalidRequest("lossatlas project takes catalogued networks; leave out FILE.py:FACTORY.", field="architecture")
    if typed["curve"] and typed["y"] is not None:
        raise InvalidRequest("--curve has one direction, so leave out either --y or --curve.", field="plane.y")
    if typed["directions"] is not None:
        if typed["x"] != "principal:1" or typed["y"] is not None:
            raise InvalidRequest("--directions gives both directions, so leave out either it or --x and --y.", field="plane")
        x = y = typed["directions"]
    else:
        x = parse_direction(typed["x"], "--x")
        y = parse_direction("principal:2" if typed["y"] is None else typed["y"], "--y")
    how = Normalisation(norm=typed["norm"], ignore=typed["ignore"], of=typed["of"])
    asked = AskedPlane(
        file=typed["file"],
        architecture=architecture,
        x=x,
        y=None if typed["curve"] else y,
        align=False,
        run=typed["checkpoints"],
        normalisation=how,
        orthogonal=False,
    )
    asked.check_run()
    return asked


def _projected(asked: AskedPlane, folder: Path) -> tuple[SurfaceRequest, DerivedDirections, list[str]]:
    """The plane, its directions with the run's places, and the names of the run's files."""
    from cli.checkpoint_files import CheckpointFiles  # noqa: PLC0415
    from cli.material import share_cores  # noqa: PLC0415

    share_cores()
    asked = with_run_unpacked(asked, folder)
    files = CheckpointFiles.read_files(asked, folder)
    request = files.projection_request(asked)
    from landscape_core.compute import project as projected  # noqa: PLC0415  torch takes a second or two

    found = projected(request, files.tensors, files.directions, files.checkpoint_tensors)
    return request, found, files.named(found.about)["trajectory"]["names"]


def _written(
    request: SurfaceRequest, found: DerivedDirections, names: list[str], out: Path, directions_out: Path | None
) -> str:
    """Writes the files; what was written, in a sentence."""
    from landscape_core import formats  # noqa: PLC0415  h5py takes a tenth of a second to import
    from landscape_core.projection import Projection  # noqa: PLC0415

    trajectory = found.about["trajectory"]
    run = Projection.read({**trajectory, "names": names}, len(request.plane.specs))
    assert run is not None  # noqa: S101  it was just made
    formats.save_projection(run, out)
    if directions_out is not None:
        formats.directions_h5(found.x, found.y, directions_out, formats.principal_values(request.plane, trajectory))
    shares = [f"{100 * share:.4g} %" for share in trajectory["explained_variance_ratio"] if share is not None]
    also = "" if directions_out is None else f" and {directions_out}"
    return f"Wrote {out}{also}: {len(run)} checkpoints, variance along the directions {', '.join(shares) or 'not known'}."
