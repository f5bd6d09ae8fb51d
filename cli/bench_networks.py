"""Networks that `lossatlas bench` is given, read as `lossatlas compute` reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cli.asked import Asked
from cli.library_networks import LibraryNetwork
from cli.model_folders import checkpoint_file
from cli.own_code import OwnCode
from landscape_core.errors import InvalidRequest

if TYPE_CHECKING:
    from benchmarks.fast_budget import Trained


def trained_networks(
    given: Sequence[tuple[Path, str, str]], points: int | None, quick: bool, folder: Path
) -> Iterator[Trained]:
    """The surfaces that are asked for around these networks.

    Args:
        given: Checkpoint, data set and preprocessing of each, as `lossatlas compute` takes them.
        points: Of both axes; None for the usual number.
        quick: A small one.
        folder: For the canonical forms of what is read; empty.

    Raises:
        LandscapeError: As of `lossatlas compute`.
    """
    from benchmarks.fast_budget import GIVEN, GIVEN_QUICK, Trained  # noqa: PLC0415  torch takes a second or two
    from cli.computing import compute  # noqa: PLC0415
    from cli.material import Material, settings  # noqa: PLC0415

    usual, most = GIVEN_QUICK if quick else GIVEN
    for number, (file, dataset, preprocessing) in enumerate(given):
        own = folder / str(number)
        own.mkdir()
        axis = f"-1:1:{points or usual}"
        options = {
            "--dataset": dataset,
            "--preprocessing": preprocessing,
            "--grid": f"{axis}x{axis}",
            "--out": own / "none.npz",
        }
        words = [str(word) for option in options.items() for word in option]
        asked = Asked.typed(**compute.make_context("bench", [*words, "--", str(file)]).params)
        if isinstance(asked.architecture, OwnCode | LibraryNetwork):
            raise InvalidRequest(f"{file} is built by a library; --network takes networks of the catalogue.", field="network")
        asked = replace(asked, file=checkpoint_file(asked.file, own))
        material = Material.read(asked, settings().datasets_folder, own)
        asked = replace(asked, examples=min(most, material.examples.facts.splits["train"]))
        request = material.request(asked)
        material.check(request, own=False)
        yield Trained(file.stem, material.tensors, material.examples, request)
