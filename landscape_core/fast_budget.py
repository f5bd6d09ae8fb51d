"""The `fast` budget: which examples are seen at which cells, and the surface that is made of them. numpy only.

A control variate over several grids. All cells see the first chunk of the examples; each further chunk c is seen at the grid
of a level ℓ(c) only, coarser for later, longer chunks. With A(c) the mean over the chunks 0 … c,

    L̂ = g⁻¹( g(A(0)) + Σ_c I_ℓ(c)[ g(A(c)) − g(A(c − 1)) ] )

where I_ℓ interpolates from a level's grid to all cells, and g is the identity (additive) or ln (multiplicative). The sum is
that of multilevel Monte Carlo (Giles 2015, *Multilevel Monte Carlo methods*, section 1.3). At cells that have seen everything
L̂ is the measurement itself.

What interpolation loses is measured, not assumed. E(c) = g(S(c)) − g(A(c − 1)), where S(c) is the mean over chunk c alone, is
of the same kind as a term of the sum. Its variance is that of a single example's loss times 1/n(c) + 1/N(c − 1), a term's that
times 1/N(c − 1) − 1/N(c), with n(c) examples in a chunk and N(c) up to its end. A pilot sees the chunks at finer grids the
shorter they are, so every E(c) shows what coarser levels lose: R_ℓ² is the mean near a cell of the squares of E(c) − I_ℓ[E(c)],
each divided by its variance, and

    Σ_c (1/N(c − 1) − 1/N(c)) R_ℓ(c)²

the estimated squared error of a cell. That form and kernel are taken for which it is least; levels are raised where that lowers
it most for its cost, until the tolerance is met. All follows from the tallies, so every process decides alike.
"""

from __future__ import annotations

from collections.abc import Sequence

from landscape_core.fast_trial import MARGIN, Estimate, Trial
from landscape_core.ladder import Depths, Ladder
from landscape_core.results import Tally
from landscape_core.telescoping import KERNELS, Form, Means


def next_depths(ladder: Ladder, depths: Depths, tallies: Sequence[Tally]) -> Depths | None:
    """What shall have been seen next; None once the error is small enough, or everything has been seen.

    Args:
        ladder: The surface's.
        depths: What has been seen; `ladder.nothing` at first.
        tallies: Of each chunk over the whole grid; only what is within `depths` is read.
    """
    if depths == ladder.nothing:
        return ladder.pilot()
    if ladder.is_exact(depths):
        return None
    trials = tried(ladder, depths, tallies)
    if min(trial.estimate.excess(ladder.tolerance) for trial in trials) <= MARGIN:
        return None
    possible = [trial for trial in trials if trial.estimate.log != float("inf")] or trials
    return min((trial.deeper() for trial in possible), key=lambda wanted: (ladder.share(wanted), wanted))


def best(ladder: Ladder, trials: Sequence[Trial]) -> Estimate:
    """That of the forms tried whose estimated error is least.

    Args:
        ladder: The surface's.
        trials: From `tried`.
    """
    return min((trial.estimate for trial in trials), key=lambda estimate: estimate.excess(ladder.tolerance))


def tried(ladder: Ladder, depths: Depths, tallies: Sequence[Tally]) -> list[Trial]:
    """Every form that the losses allow: logarithms only where they are positive.

    Args:
        ladder: The surface's.
        depths: What has been seen.
        tallies: Of each chunk over the whole grid; only what is within `depths` is read.
    """
    losses = Means.of(ladder, depths, [tally.loss_sum for tally in tallies])
    forms = [Form("additive", kernel) for kernel in KERNELS]
    if losses.are_positive:
        forms += [Form("multiplicative", kernel) for kernel in KERNELS]
    return [Trial(ladder, depths, form, losses) for form in forms]
