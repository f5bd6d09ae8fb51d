"""The curvature of a loss, as it is answered: eigenvalues of its Hessian, their sum, and how they are spread.

H is the Hessian of the mean loss by the parameters that are varied; λ1 ≥ λ2 ≥ … ≥ λn are its eigenvalues.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from landscape_core.errors import InvalidRequest

REPORT_SUFFIXES = (".json", ".png")
"""What a curvature is written as."""


@dataclass(frozen=True)
class CurvatureOptions:
    """How much is found out, and how exactly.

    Attributes:
        top: How many eigenvalues of either end, 1 … 20; all if there are fewer.
        tolerance: The standard error of the trace that is good enough, as a share of the trace.
        trace_probes: Most random vectors for the trace, 2 or more.
        density_probes: Random vectors for the density, 1 or more.
        steps: Products with the Hessian for each of these, 2 or more.
    """

    top: int = 5
    tolerance: float = 0.05
    trace_probes: int = 100
    density_probes: int = 4
    steps: int = 60

    def __post_init__(self) -> None:
        limits = {"top": (1, 20), "trace_probes": (2, 100_000), "density_probes": (1, 1000), "steps": (2, 1000)}
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise InvalidRequest(f"{name} should be a whole number in {least} … {most:,}, but {value!r} came.", field=name)
        if not isinstance(self.tolerance, int | float) or not 0 <= self.tolerance <= 1:
            raise InvalidRequest(f"tolerance should be a share in 0 … 1, but {self.tolerance!r} came.", field="tolerance")


@dataclass(frozen=True)
class TraceEstimate:
    """The sum of all eigenvalues, estimated (Hutchinson 1990, Commun. Stat. Simul. Comput. 19).

    Attributes:
        value: The mean of zᵀ H z over random vectors z of entries ±1.
        stderr: Its standard error, s/√probes.
        probes: How many random vectors there were.
    """

    value: float
    stderr: float
    probes: int


@dataclass(frozen=True)
class SpectralDensity:
    """How the eigenvalues are spread: φ(t) = 1/n Σ g(t − λi), g a Gaussian; its integral is 1.

    Attributes:
        eigenvalues: (points,) t, evenly spaced from below the smallest to above the largest eigenvalue.
        density: (points,) φ(t), the mean over probes.
        stderr: (points,) its standard error over probes; NaN for a single one.
        width: Standard deviation of g, in units of an eigenvalue.
        probes: How many random vectors there were.
        steps: Most products with the Hessian for one of them.
    """

    eigenvalues: Float64[np.ndarray, " points"]
    density: Float64[np.ndarray, " points"]
    stderr: Float64[np.ndarray, " points"]
    width: float
    probes: int
    steps: int


@dataclass(frozen=True)
class Curvature:
    """The curvature of a mean loss at θ*.

    Attributes:
        largest: (top,) the largest eigenvalues, largest first.
        smallest: (top,) the smallest eigenvalues, smallest first.
        error: Most distance of any of them from an eigenvalue: the largest ‖H v − λ v‖, in units of an eigenvalue.
        trace: Their sum.
        density: How they are spread.
        parameters: n: of how many parameters the Hessian is.
        examples: Over how many the mean is.
        loss: That mean; NaN where it is not finite.
        products: How many products with the Hessian it took.
        provenance: How it was measured. JSON-able.

    Example:
        >>> import landscape_core as lc
        >>> data = [(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.zeros(2, 1))]
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> squared = lambda out, y: ((out - y) ** 2).mean(dim=1)
        >>> found = lc.curvature(model, squared, data, top=2, trace_probes=4, density_probes=1)
        >>> found.parameters, found.examples, found.largest.round(5).tolist(), found.negative_share
        (2, 2, [4.0, 1.0], 0.0)
    """

    largest: Float64[np.ndarray, " top"]
    smallest: Float64[np.ndarray, " top"]
    error: float
    trace: TraceEstimate
    density: SpectralDensity
    parameters: int
    examples: int
    loss: float
    products: int
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def negative_share(self) -> float:
        """|λmin/λmax| where λmin < 0 (Li et al. 2018, section 6, figure 7), else 0: there is none. NaN where λmax is 0."""
        lowest, highest = float(self.smallest[0]), float(self.largest[0])
        if lowest >= 0:
            return 0.0
        return abs(lowest / highest) if highest else math.nan

    def summary(self) -> str:
        """What a person wants to know, in a few lines."""
        ends = {"Largest": self.largest, "Smallest": self.smallest}
        listed = [f"{name + ' eigenvalues':22}{'  '.join(f'{v:.6g}' for v in values)}" for name, values in ends.items()]
        sign = "" if self.smallest[0] < 0 else " (no eigenvalue is negative)"
        trace, spread = self.trace, self.density
        return "\n".join(
            [
                f"{'Loss':22}{self.loss:.6g} over {self.examples:,} examples",
                f"{'Parameters':22}{self.parameters:,}",
                *listed,
                f"{'|λmin/λmax|':22}{self.negative_share:.4g}{sign}",
                f"{'Trace':22}{trace.value:.6g} ± {trace.stderr:.2g} ({_count(trace.probes, 'probe')})",
                f"{'Density':22}{_count(spread.probes, 'probe')} of {spread.steps:,} steps, broadened by {spread.width:.2g}",
                f"{'Products':22}{self.products:,} with the Hessian",
            ]
        )

    def to_json(self) -> dict[str, Any]:
        """All of it in JSON's types; what is not finite is null."""
        told = {**asdict(self), "negative_share": self.negative_share}
        return {name: _plain(value) for name, value in told.items()}

    def save(self, path: str | Path) -> None:
        """Writes it: the numbers (`.json`), or a picture of the spectrum (`.png`). The file is there whole or not at all.

        Args:
            path: An existing file is replaced.

        Raises:
            InvalidRequest: There is no such form.
        """
        from landscape_core.formats import write_atomically  # noqa: PLC0415  h5py takes a tenth of a second to import

        path = Path(path)
        if path.suffix.lower() == ".json":
            content = json.dumps(self.to_json(), allow_nan=False, indent=1).encode() + b"\n"
        elif path.suffix.lower() == ".png":
            from landscape_core.formats.spectrum_png import render_spectrum  # noqa: PLC0415  matplotlib takes half a second

            content = render_spectrum(self)
        else:
            named, forms = path.suffix or "a file without a suffix", " or ".join(REPORT_SUFFIXES)
            raise InvalidRequest(f"A curvature is written as {forms}, not as {named!r}.", field="out")
        write_atomically(path, content, private=False)


def _count(number: int, of: str) -> str:
    return f"{number:,} {of}{'' if number == 1 else 's'}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
