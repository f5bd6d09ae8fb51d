"""What a browser is told of a fast surface: how much of it is estimated, and how well."""

from __future__ import annotations

from typing import Any

import numpy as np

from landscape_core.results import NOT_COMPUTED, Surface


def estimate_of(surface: Surface) -> dict[str, Any] | None:
    """How much is estimated, and how well; None where nothing is.

    Args:
        surface: Perhaps imported: what its provenance says is not to be trusted, so that only numbers are taken over.

    Returns:
        `cells` that are estimated, `undecided` holes among them, the estimated root mean square errors as shares of the range
        (`share`) and of the logarithm's (`log_share`), and `cost`, the share of an exact surface's. Numbers, or None.
    """
    if not surface.estimated:
        return None
    about = surface.provenance.get("fast")
    found: dict[str, Any] = about if isinstance(about, dict) else {}
    told = found.get("estimated_rmse")
    errors: dict[str, Any] = told if isinstance(told, dict) else {}
    return {
        "cells": surface.estimated,
        "undecided": int((surface.state == NOT_COMPUTED).sum()),
        "share": _number(errors.get("share_of_range")),
        "log_share": _number(errors.get("share_of_log_range")),
        "cost": _number(found.get("cost_share")),
    }


def _number(value: Any) -> float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and np.isfinite(value) else None
