"""What was typed of the budget: whether all is measured, or only as much as an estimate takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from landscape_core.errors import InvalidRequest
from landscape_core.requests import LEAST_TOLERANCE, MOST_TOLERANCE, TOLERANCE


def check_budget(typed: Mapping[str, Any]) -> None:
    """Passes when nothing that is typed contradicts the budget.

    Args:
        typed: The options by their names.

    Raises:
        InvalidRequest: If something does.
    """
    if typed["budget"] == "exact":
        if typed["tolerance"] is not None:
            raise InvalidRequest("--tolerance is that of an estimate; add --budget fast, or leave it out.", field="tolerance")
        return
    if typed["curvature"] is not None:
        raise InvalidRequest(
            "--budget fast estimates losses, not eigenvalues, so leave out either --budget or --curvature.", field="budget"
        )
    if typed["resume"] is not None:
        raise InvalidRequest("--resume completes by measuring, so leave out either --resume or --budget.", field="budget")


def tolerance_typed(share: float | None) -> float:
    """The tolerance of a fast surface, as a share of the losses' range.

    Args:
        share: As typed; None if it was not.

    Raises:
        InvalidRequest: If it is out of bounds.
    """
    if share is None:
        return TOLERANCE
    if not LEAST_TOLERANCE <= share <= MOST_TOLERANCE:
        raise InvalidRequest(
            f"--tolerance takes a share of the range from {LEAST_TOLERANCE:g} to {MOST_TOLERANCE:g}, but {share:g} came.",
            field="tolerance",
        )
    return share
