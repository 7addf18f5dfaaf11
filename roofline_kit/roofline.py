"""Which limit binds, and how long does it take? The roofline of an accelerator (Williams, Waterman and
Patterson, "Roofline", CACM 52(4), 2009).

A program can compute no faster than the peak, and no faster than its bytes arrive: at intensity I its
performance is at most min(peak, I · bandwidth). The two limits meet at the ridge point.
"""

from dataclasses import dataclass
from typing import Any

import sympy

from .cost import Cost, Sweep
from .hardware import Accelerator, accelerator
from .names import choose
from .tensor import Step


@dataclass(frozen=True)
class Roofline:
    """The two limits of one accelerator for one dtype: `roofline("A10")` makes it.

    accelerator : an `Accelerator`. dtype : whose dense peak is the roof.

    >>> roof = roofline("A10")
    >>> roof.ridge
    625/3
    """

    accelerator: Accelerator
    dtype: str = "fp16"

    def __post_init__(self) -> None:
        self.accelerator.peak(self.dtype)  # raises for a dtype that it does not have

    @property
    def peak(self) -> int:
        """The flat roof, FLOP/s."""
        return self.accelerator.peak(self.dtype)

    @property
    def bandwidth(self) -> int:
        """The slope of the slanted roof, bytes/s."""
        return self.accelerator.bandwidth

    @property
    def ridge(self) -> sympy.Rational:
        """Where they meet, FLOPs per byte [a10-ridge]."""
        return self.accelerator.ridge(self.dtype)

    def attainable(self, intensity: Any) -> Any:
        """The performance that the roofline allows, min(peak, intensity · bandwidth), in FLOP/s.

        intensity : FLOPs per byte, a number or an array. Raises ValueError for a negative intensity or
        one that is not a number.

        >>> roof = roofline("A10")
        >>> roof.attainable(100), roof.attainable([100, 1000])
        (60000000000000.0, array([6.00e+13, 1.25e+14]))
        """
        import numpy as np

        values = np.asarray(intensity, dtype=float)
        if not np.all(values >= 0):
            raise ValueError(f"an arithmetic intensity is a number of FLOPs per byte, 0 or more, not {intensity}")
        lower = np.minimum(self.peak, values * self.bandwidth)
        return lower if lower.ndim else float(lower)

    def bound(self, cost: Any) -> Any:
        """ "memory" or "compute": which limit binds, by the intensity of the whole [mlp-bound, attn-bound].

        cost : a `Cost` or one of its steps with numbers in it, an intensity, or a `Sweep` or array of
        intensities, for which it is an array. At the ridge point itself both limits bind, and it is
        "compute".

        Raises ValueError where the cost still has open sizes.

        >>> from roofline_kit import linear, symbols, Tensor, trace
        >>> gemm = trace(linear, Tensor("X", (4096, 4096)), Tensor("W", (4096, 4096)))
        >>> roofline("A10").bound(gemm)
        'compute'
        """
        intensity = cost.intensity if isinstance(cost, (Cost, Step, Sweep)) else cost
        if getattr(intensity, "free_symbols", None):
            sizes = ", ".join(f"{s}=…" for s in sorted(intensity.free_symbols, key=str))
            raise ValueError(f"which limit binds depends on the sizes; put them in first: .at({sizes})")
        self.attainable(intensity)  # raises for what is no intensity
        import numpy as np

        names = np.where(np.asarray(intensity, dtype=float) >= float(self.ridge), "compute", "memory")
        return names if names.ndim else str(names)

    def time(self, cost: Any, overlap: str = "steps") -> Any:
        """Predicted seconds: no run that takes these steps one after another is faster.

        cost : a `Cost` or a step (a float with numbers in it, a SymPy formula with open sizes) or a
        `Sweep` (an array).
        overlap : "steps", each step hides its smaller part behind its larger one, and steps follow
        one another: the sum over steps of max(FLOPs / peak, bytes / bandwidth). "ideal", everything
        overlaps with everything: that maximum of the whole, which is what one aggregated intensity
        promises, and a lower bound.

        >>> from roofline_kit import attention, tensors, trace
        >>> cost = trace(attention, *tensors("Q K V", (4096, 4096)))
        >>> [f"{roofline('A10').time(cost, overlap=way) * 1e3:.2f} ms" for way in ("steps", "ideal")]
        ['2.31 ms', '2.20 ms']
        """
        overlap = choose("overlap", overlap, ("steps", "ideal"))
        if not isinstance(cost, (Cost, Step, Sweep)):
            raise TypeError(f"time needs a Cost, one of its steps or a Sweep, not {cost!r}")
        whole = overlap == "ideal" or isinstance(cost, Step)
        if isinstance(cost, Sweep):
            import numpy as np

            parts = [(cost.flops, cost.bytes)] if whole else cost.steps
            return sum(np.maximum(flops / self.peak, moved / self.bandwidth) for flops, moved in parts)
        steps: Any = [cost] if whole else cost.steps  # type: ignore[union-attr]
        seconds = sympy.Add(*(step_time(s.flops, s.bytes, self.peak, self.bandwidth) for s in steps))
        return float(seconds) if seconds.is_number else seconds

    def crossing(self, cost: Cost, symbol: str, **sizes: Any) -> sympy.Expr:
        """The value of one size at which a cost crosses the ridge, with all others given [attn-bound].

        It solves intensity = ridge over the real numbers, so it is exact and rarely whole: on one side of
        it the cost is compute-bound, which is the larger one where intensity grows with the size.
        Raises ValueError for missing or unknown sizes, and where the intensity never reaches the ridge
        (it then says what it does reach) or never leaves it.

        >>> from roofline_kit import attention, symbols, tensors, trace
        >>> N, h = symbols("N h")
        >>> cost = trace(attention, *tensors("Q K V", (N, h)))
        >>> float(roofline("A10").crossing(cost, "N", h=4096))
        463.7576...
        """
        (open_size,), fixed = cost.match(symbol, **sizes)
        x = sympy.Dummy(symbol, positive=True)  # not an integer: solve would drop 463.8
        intensity = cost.intensity.xreplace(fixed).xreplace({open_size: x})
        try:
            roots = [root for root in sympy.solve(intensity - self.ridge, x) if root.is_real and root >= 1]
        except NotImplementedError:
            raise ValueError(f"{cost.name}: SymPy cannot solve this for {symbol}; look for it in a sweep") from None
        if len(roots) != 1:
            first, last = intensity.subs(x, 1), sympy.limit(intensity, x, sympy.oo)
            reach = f"goes from {float(first):.4g} at {symbol} = 1 to {float(last):.4g} for large {symbol}"
            ridge = f"{float(self.ridge):.4g} of {self.accelerator.name}"
            raise ValueError(f"{cost.name} {reach}, and does not cross the {ridge} exactly once")
        return roots[0]


def step_time(flops: Any, moved: Any, peak: Any, bandwidth: Any, **how: Any) -> sympy.Expr:
    """Seconds of one step, which hides its smaller part behind its larger one: numbers or formulas.

    how : evaluate=False, where SymPy shall not look for the larger one.

    >>> step_time(2 * 10**12, 10**9, peak=10**12, bandwidth=10**12)
    2
    """
    return sympy.Max(sympy.sympify(flops) / peak, sympy.sympify(moved) / bandwidth, **how)


def roofline(machine: Accelerator | str, dtype: str = "fp16") -> Roofline:
    """The roofline of an accelerator, given by itself or by its name.

    Raises ValueError for an unknown accelerator or a dtype it has no peak for, with the nearest names.

    >>> roofline("H100-SXM", "fp8").peak
    1978900000000000
    """
    return Roofline(accelerator(machine), dtype)
