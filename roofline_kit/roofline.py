"""Which limit binds, and how long does it take? The roofline of an accelerator (Williams, Waterman and
Patterson, "Roofline", CACM 52(4), 2009).

A program can compute no faster than the peak, and no faster than its bytes arrive: at intensity I its
performance is at most min(peak, I · bandwidth). The two limits meet at the ridge point.

A step has amounts by resource and a machine has rates by resource: the time of a step is the largest amount / rate. The
lecture's pair of resources is where one begins; more of them can be asked for by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy

from .cost import Cost, Sweep
from .hardware import Accelerator, accelerator
from .names import choose, shown
from .tensor import RESOURCES, Step


@dataclass(frozen=True)
class Roofline:
    """The limits of one accelerator for one dtype: `roofline("A10")` makes it.

    accelerator : an `Accelerator`. dtype : whose dense peak is the roof. limits : the resources that count, out of
    `RESOURCES`; where several take the same time, the first one is said to bind.

    Raises ValueError for a dtype or a resource that the accelerator has no rate for, and for unknown or repeated ones.

    >>> roof = roofline("A10")
    >>> roof.ridge
    625/3
    """

    accelerator: Accelerator
    dtype: str = "fp16"
    limits: tuple[str, ...] = ("compute", "memory")

    def __post_init__(self) -> None:
        if not isinstance(self.limits, (str, tuple, list)):
            raise TypeError(f"limits are resources in a tuple, as in ('compute', 'memory'), not {shown(self.limits)}")
        given = (self.limits,) if isinstance(self.limits, str) else tuple(self.limits)
        limits = tuple(choose("resource", name, RESOURCES) for name in given)
        if not limits or len(set(limits)) < len(limits):
            raise ValueError(f"limits are one or more resources, each once, not {self.limits!r}")
        object.__setattr__(self, "dtype", self.accelerator.spelled(self.dtype))
        there = self.accelerator.rates(self.dtype)
        for name in limits:
            if name not in there:
                raise ValueError(
                    f"{self.accelerator.name} has no rate for {name!r}: no source that we know prints one. "
                    f"It has {', '.join(there)}"
                )
        object.__setattr__(self, "limits", limits)

    def __repr__(self) -> str:
        return f"Roofline({self.accelerator.name}, {self.dtype}, limits={self.limits})"

    @cached_property
    def rates(self) -> dict[str, int]:
        """The rate of each limit, per second, in the order of `limits`.

        >>> roofline("A10", limits=("matrix", "vector", "memory")).rates["vector"]
        31200000000000
        """
        there = self.accelerator.rates(self.dtype)
        return {name: there[name] for name in self.limits}

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

        Of compute and memory, whatever else the limits are: an intensity says nothing of others.
        intensity : FLOPs per byte, a number or an array. Raises ValueError for a negative intensity or
        one that is not a number.

        >>> roof = roofline("A10")
        >>> roof.attainable(100), roof.attainable([100, 1000])
        (60000000000000.0, array([6.00e+13, 1.25e+14]))
        """
        import numpy as np

        given = np.asarray(intensity)
        try:
            values = given.astype(float) if given.dtype.kind in "iufO" else np.array(np.nan)  # SymPy's are objects
        except TypeError:  # a formula with open sizes
            values = np.array(np.nan)
        if not np.all(values >= 0):
            wanted = "a number of FLOPs per byte, 0 or more"
            raise ValueError(f"an arithmetic intensity is {wanted}, not {shown(intensity)}")
        lower = np.minimum(self.peak, values * self.bandwidth)
        return lower if lower.ndim else float(lower)

    def bound(self, cost: Any) -> Any:
        """ "memory" or "compute": which limit binds, by the amounts of the whole [mlp-bound, attn-bound].

        cost : a `Cost` or one of its steps with numbers in it, an intensity, or a `Sweep` or array of
        intensities, for which it is an array. At the ridge point itself both limits bind, and it is
        "compute", the first of the limits. With other limits than these two, it is the name of one of them.

        Raises ValueError where the cost still has open sizes, and for an intensity where other limits count.

        >>> from roofline_kit import linear, symbols, Tensor, trace
        >>> gemm = trace(linear, Tensor("X", (4096, 4096)), Tensor("W", (4096, 4096)))
        >>> roofline("A10").bound(gemm)
        'compute'
        """
        whole = isinstance(cost, (Cost, Step))
        amounts: Any = {} if isinstance(cost, Sweep) else cost.amounts if whole else {"intensity": cost}
        if open_sizes := {size for amount in amounts.values() for size in getattr(amount, "free_symbols", ())}:
            sizes = ", ".join(f"{s}=…" for s in sorted(open_sizes, key=str))
            raise ValueError(f"which limit binds depends on the sizes; put them in first: .at({sizes})")
        if whole:
            if all(amounts[name] == 0 for name in self.limits):
                raise ValueError(f"{cost.name} moves no bytes and computes nothing, so no limit binds")
            return max(self.limits, key=lambda name: sympy.Rational(amounts[name]) / self.rates[name])
        import numpy as np

        if set(self.limits) == {"compute", "memory"}:
            intensity = cost.intensity if isinstance(cost, Sweep) else cost
            self.attainable(intensity)  # raises for what is no intensity
            names = np.where(np.asarray(intensity, dtype=float) >= float(self.ridge), "compute", "memory")
            return names if names.ndim else str(names)
        if not isinstance(cost, Sweep):
            raise ValueError(f"an intensity says nothing of {', '.join(self.limits)}: give a Cost, a step or a Sweep")
        seconds = [amount / self.rates[name] for name, amount in _summed(cost, self.limits).items()]
        return np.array(self.limits)[np.argmax(seconds, axis=0)]

    def time(self, cost: Any, overlap: str = "steps") -> Any:
        """Predicted seconds: no run that takes these steps one after another is faster.

        cost : a `Cost` or a step (a float with numbers in it, a SymPy formula with open sizes) or a
        `Sweep` (an array).
        overlap : "steps", each step hides its smaller parts behind its largest one, and steps follow one another: the
        sum over steps of the largest amount / rate, of the lecture's pair max(FLOPs / peak, bytes / bandwidth).
        "ideal", everything overlaps with everything: that maximum of the whole, which is what one aggregated
        intensity promises, and a lower bound.

        >>> from roofline_kit import attention, tensors, trace
        >>> cost = trace(attention, *tensors("Q K V", (4096, 4096)))
        >>> [f"{roofline('A10').time(cost, overlap=way) * 1e3:.2f} ms" for way in ("steps", "ideal")]
        ['2.31 ms', '2.20 ms']
        """
        overlap = choose("overlap", overlap, ("steps", "ideal"))
        if not isinstance(cost, (Cost, Step, Sweep)):
            raise TypeError(f"time needs a Cost, one of its steps or a Sweep, not {shown(cost)}")
        whole = overlap == "ideal"
        if isinstance(cost, Sweep):
            import numpy as np

            parts = [_summed(cost, self.limits)] if whole else cost.amounts(self.limits)
            times = ([amounts[name] / rate for name, rate in self.rates.items()] for amounts in parts)
            return sum(np.maximum.reduce(of_step) for of_step in times)
        steps: Any = [cost] if whole or isinstance(cost, Step) else cost.steps
        seconds = sympy.Add(*(step_time(step.amounts, self.rates) for step in steps))
        return float(seconds) if seconds.is_number else seconds

    def crossing(self, cost: Cost, symbol: str, **sizes: Any) -> sympy.Expr:
        """The value of one size at which a cost crosses the ridge, with all others given [attn-bound].

        It solves intensity = ridge over the real numbers, so it is exact and rarely whole: on one side of
        it the cost is compute-bound, which is the larger one where intensity grows with the size.
        Raises ValueError for missing or unknown sizes, and where the intensity never reaches the ridge
        (it then says what it does reach) or never leaves it, and with other limits than compute and memory.

        >>> from roofline_kit import attention, symbols, tensors, trace
        >>> N, h = symbols("N h")
        >>> cost = trace(attention, *tensors("Q K V", (N, h)))
        >>> float(roofline("A10").crossing(cost, "N", h=4096))
        463.7576...
        """
        if set(self.limits) != {"compute", "memory"}:
            limits = ", ".join(self.limits)
            raise ValueError(f"a crossing is where compute and memory meet, and the limits here are {limits}")
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


def _summed(sweep: Sweep, resources: tuple[str, ...]) -> dict[str, Any]:
    """What a sweep takes of these resources, all steps together."""
    each = sweep.amounts(resources)
    return {name: sum(amounts[name] for amounts in each) for name in resources}


def step_time(amounts: Mapping[str, Any], rates: Mapping[str, Any], **how: Any) -> sympy.Expr:
    """Seconds of one step, which hides its smaller parts behind its largest: numbers or formulas.

    amounts, rates : by resource; those that have a rate count. how : evaluate=False, where SymPy shall not look for
    the largest.

    >>> step_time({"compute": 2 * 10**12, "memory": 10**9}, {"compute": 10**12, "memory": 10**12})
    2
    """
    seconds = [sympy.sympify(amounts[name]) / rate for name, rate in rates.items()]
    # Of numbers, SymPy's own takes its time to see which is the largest.
    return max(seconds) if all(x.is_Rational for x in seconds) else sympy.Max(*seconds, **how)


def roofline(
    machine: Accelerator | str, dtype: str = "fp16", limits: tuple[str, ...] = ("compute", "memory")
) -> Roofline:
    """The roofline of an accelerator, given by itself or by its name.

    limits : the resources that count, in order. Raises ValueError for an unknown accelerator or resource, or one that
    it has no rate for, with the nearest names.

    >>> roofline("H100-SXM", "fp8").peak
    1978900000000000
    """
    return Roofline(accelerator(machine), dtype, limits)
