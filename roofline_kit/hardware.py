"""What can the machine do? Peak rates and bandwidths as the vendors print them, with their sources.

The numbers stand in `accelerators.toml`, each once and each with its source. Peaks are dense; the
larger rate "with sparsity" that many datasheets print is kept apart, as `sparse`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from numbers import Real
from types import MappingProxyType

import sympy

from .errors import choose, data


@dataclass(frozen=True)
class Accelerator:
    """A GPU, a TPU or your own machine: what it can compute and move in a second.

    name : short name, as in plots. title : full name, if there is a longer one.
    peaks : dense FLOP/s by dtype. sparse : FLOP/s printed "with sparsity", never used in a roofline.
    bandwidth : bytes per second between the chip and its memory. memory : bytes.
    source : where the numbers come from. note : a pitfall.

    Raises ValueError for a rate that is not a positive finite number, naming it.

    >>> mine = Accelerator("my laptop", peaks={"fp32": 400e9}, bandwidth=40e9, memory=16e9)
    >>> mine.ridge("fp32")
    10
    """

    name: str
    peaks: Mapping[str, int] = field(hash=False)
    bandwidth: int
    memory: int
    source: str = "own"
    title: str = ""
    note: str = ""
    sparse: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(f"an Accelerator needs a name, not {self.name!r}")
        if not isinstance(self.peaks, Mapping) or not self.peaks:
            raise TypeError(f"{self.name}: peaks are FLOP/s by dtype, as in {{'fp16': 125e12}}, not {self.peaks!r}")
        for what in ("bandwidth", "memory"):
            object.__setattr__(self, what, _rate(getattr(self, what), f"{self.name}: the {what}"))
        for what in ("peaks", "sparse"):
            rates = {dtype: _rate(x, f"{self.name}: {what}, {dtype},") for dtype, x in getattr(self, what).items()}
            object.__setattr__(self, what, MappingProxyType(rates))

    def peak(self, dtype: str = "fp16") -> int:
        """Dense peak in FLOP/s.

        Raises ValueError, naming the dtypes that there are, where the vendor prints none for `dtype`.

        >>> accelerator("A10").peak("fp16")
        125000000000000
        """
        return self.peaks[choose("dtype", dtype, self.peaks, f"{self.name} has no {dtype} peak: ")]

    def ridge(self, dtype: str = "fp16") -> sympy.Rational:
        """Ridge point in FLOPs per byte, peak / bandwidth, exact [a10-ridge].

        Below it a program is memory-bound, from it on compute-bound.

        >>> accelerator("A10").ridge("fp16"), f"{accelerator('A10').ridge('fp16'):.1f}"
        (625/3, '208.3')
        """
        return sympy.Rational(self.peak(dtype), self.bandwidth)


def _rate(value: object, what: str) -> int:
    """A rate or a size of memory as an exact integer."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 1 <= value < math.inf:  # type: ignore[operator]
        raise ValueError(f"{what} must be a positive finite number, not {value!r}")
    return int(value)  # type: ignore[call-overload]


@cache
def _table() -> dict[str, Accelerator]:
    """All of accelerators.toml, by name."""
    rows = {name: dict(row) for name, row in data("accelerators.toml").items()}
    return {name: Accelerator(name, row.pop("peak"), **row) for name, row in rows.items()}


def accelerators() -> tuple[str, ...]:
    """The names that `accelerator` knows.

    >>> accelerators()[:4]
    ('A10', 'A10G', 'A40', 'A100-40GB')
    """
    return tuple(_table())


def accelerator(name: Accelerator | str) -> Accelerator:
    """The accelerator of that name; capitals, spaces and hyphens do not matter. An `Accelerator` is returned as it is.

    Raises ValueError with the nearest names where there is none.

    >>> a100 = accelerator("a100 40 GB")
    >>> a100.title, a100.bandwidth, a100.memory
    ('NVIDIA A100 40 GB SXM4 / PCIe', 1555000000000, 40000000000)
    """
    if isinstance(name, Accelerator):
        return name
    return _table()[choose("accelerator", name, _table(), see="rk.accelerators()")]
