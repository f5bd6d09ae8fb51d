"""What stands on the card of an archive of checkpoints, and where its button leads."""

from __future__ import annotations

from datetime import UTC, datetime

from app.pages.checkpoints import runs
from app.schemas import CheckpointInfo, MemberInfo


def run_with(*networks: str | None) -> CheckpointInfo:
    """An archive whose members are of these networks; None is a file that cannot be used."""
    members = tuple(
        MemberInfo(id=None, filename=f"{n}.pt", size_bytes=9, state="rejected", problem="It is not a checkpoint.")
        if network is None
        else MemberInfo(id=f"{n:064x}", filename=f"{n}.pt", size_bytes=9, state="ready", network=network)
        for n, network in enumerate(networks, 1)
    )
    return CheckpointInfo(
        id="a" * 64, filename="run.zip", size_bytes=9, state="ready", format="zip", members=members, created=datetime.now(UTC)
    )


def test_a_run_of_one_network_leads_to_its_surface():
    button = runs.new_surface(run_with("mlp", "mlp", None))
    assert (button.href, button.children[1].children) == (f"/new?run={'a' * 64}", "New surface of this run")


def test_an_archive_with_one_usable_checkpoint_leads_to_a_surface_of_that():
    button = runs.new_surface(run_with(None, "mlp", None))
    assert (button.href, button.children[1].children) == (f"/new?checkpoint={2:064x}", "New surface of its checkpoint")
    assert "One checkpoint alone makes no trajectory." in str(runs.verdict(run_with(None, "mlp")))


def test_an_archive_of_several_networks_or_of_none_has_no_button():
    assert runs.new_surface(run_with("mlp", "mlp:activation=tanh")) is None
    assert runs.new_surface(run_with(None)) is None
