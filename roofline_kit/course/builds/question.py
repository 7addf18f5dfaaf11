"""What is a question that asks for an algorithm? A specification, and two plain functions that meet it.

The one in the kit's notation is traced, and its cost is the wanted one; the one in plain NumPy says which values
are right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy

from ...cost import Cost
from ...tensor import Tensor

Sizes = Mapping[str, int]
SLACK = sympy.Rational(1, 20)
"""Right ways to write one algorithm differ in a few additions: so much more than the wanted FLOPs is not told."""


def mapped(tree: Any, new: Callable[[Any], Any]) -> Any:
    """`new` of everything that stands in tuples and dictionaries."""
    if isinstance(tree, dict):
        return {key: mapped(x, new) for key, x in tree.items()}
    return tuple(mapped(x, new) for x in tree) if isinstance(tree, tuple) else new(tree)


def at(formula: Any, sizes: Sizes) -> Any:
    """A formula's value at these sizes, exact."""
    exact = sympy.sympify(formula)
    return exact.xreplace({s: sympy.Integer(sizes[s.name]) for s in exact.free_symbols})


def no_more(yours: Cost, wanted: Cost, sizes: Sizes) -> bool:
    """No more bytes than wanted, and no more FLOPs but for the slack: whoever needs less is right as well."""
    flops, bytes = (at(getattr(yours, what), sizes) / at(getattr(wanted, what), sizes) for what in ("flops", "bytes"))
    return bool(bytes <= 1 and flops <= 1 + SLACK)


def exactly(yours: Cost, wanted: Cost, sizes: Sizes) -> bool:
    """The same FLOPs and the same bytes at every size."""
    gaps = (sympy.expand(getattr(yours, what) - getattr(wanted, what)) for what in ("flops", "bytes"))
    return all(gap == 0 for gap in gaps)


@dataclass(frozen=True)
class Build:
    """A question that asks for an algorithm.

    title, asks : its heading and its specification, in Markdown, for the page. call : how the function is called, as in
    "softmax(S)". takes : its arguments, Tensors with open sizes, or such sizes themselves. right : an algorithm that
    meets the specification; its trace is the wanted cost. plain : the same in NumPy. draws : sizes to run it at.
    typical : sizes at which costs are compared. fits : whether a cost will do, of yours, the wanted and the typical
    sizes. learned : said when it is right. hint : when it costs too much. slips : algorithms in the kit's notation
    that students write instead, with what is said of each. without : the kit's functions that would be the answer.
    secret : whether the wanted cost, which would be a giveaway, is told beside a first try only. scale : by how much
    the last draw's values are larger. last : arrays, by name, that hold one number throughout in the last draw. below :
    of whole numbers, by the name of their array, the size that they stay below.
    """

    title: str
    asks: str
    call: str
    takes: Callable[[], tuple[Any, ...]]
    right: Callable[..., Any]
    plain: Callable[..., Any]
    draws: Sequence[Sizes]
    typical: Sizes
    learned: str
    hint: str
    fits: Callable[[Cost, Cost, Sizes], bool] = no_more
    slips: Mapping[Callable[..., Any], str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    secret: bool = False
    scale: float = 1.0
    last: Mapping[str, float] = field(default_factory=dict)
    below: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The function's name."""
        return self.call.partition("(")[0]

    def arrays(self, draw: int) -> tuple[Any, ...]:
        """Arguments to run it with, the same at each call: arrays for Tensors, numbers for sizes."""
        rng, sizes = np.random.default_rng(draw), self.draws[draw]
        scale, constants = (self.scale, self.last) if draw == len(self.draws) - 1 else (1.0, {})

        def values(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return int(at(x, sizes))
            shape = tuple(int(at(n, sizes)) for n in x.shape)
            if x.name in self.below:
                return rng.permutation(sizes[self.below[x.name]])[: shape[0]]
            if x.name in constants:
                return np.full(shape, float(constants[x.name]))
            return scale * rng.normal(size=shape)

        return tuple(mapped(x, values) for x in self.takes())
