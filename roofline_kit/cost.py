"""How many operations, how many bytes? `trace` turns an algorithm into a `Cost` of SymPy formulas.

A `Cost` is a list of steps, nothing else: its FLOPs, bytes and arithmetic intensity are sums over
them, exact at every size. `.at` puts numbers in, `.compile` makes a NumPy function for sweeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sympy

from .errors import unknown
from .tensor import INFIX, Step, Tensor, leaves, record, size, written

if TYPE_CHECKING:
    import numpy as np


def trace(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Cost:
    """The cost of `f(*args, **kwargs)`, step by step, as formulas in the sizes of its Tensors.

    f : an algorithm in array notation, the same function that computes when it is given arrays.
    args, kwargs : Tensors, and whatever else `f` takes that is not an array (a number of heads, say).

    Raises TypeError where arrays are mixed in, where `f` returns something that is not a Tensor, or
    where it asks Python to decide something that depends on an open size.

    >>> from roofline_kit import symbols, tensors, softmax
    >>> def attention(Q, K, V):
    ...     S = Q @ K.T
    ...     P = softmax(S)
    ...     return P @ V
    >>> N, h = symbols("N h")
    >>> cost = trace(attention, *tensors("Q K V", (N, h)))
    >>> cost.flops, cost.bytes
    (N**2*(4*h + 3), 8*N**2 + 8*N*h)
    """
    name = getattr(f, "__name__", type(f).__name__)
    if not callable(f):
        raise TypeError(f"trace takes a function and its Tensors; {f!r} cannot be called")
    for x in leaves((args, kwargs)):
        if hasattr(x, "shape") and not isinstance(x, Tensor):
            raise TypeError(
                f"trace reads Tensors, which are shapes without values, and was given a {type(x).__name__}. "
                f"Describe it by rk.Tensor('x', {tuple(x.shape)}); to compute, call {name} on arrays directly"
            )
    try:
        out, steps = record(f, *args, **kwargs)
    except TypeError as error:
        # What SymPy and Python say when `if`, `range` or `int` meet a size that is still a symbol.
        said = str(error)
        if "truth value of Relational" in said or "interpreted as an integer" in said or "convert symbols" in said:
            raise TypeError(
                f"{name} asks Python to decide something that depends on an open size ({said}). A trace "
                "stands for every size at once: write it as an array operation, or give numbers for "
                "that size, as in rk.Tensor('x', (128, 64))"
            ) from error
        raise
    for x in leaves(out):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name} must return Tensors for a trace, and returned {x!r}")
    return Cost(tuple(steps), name.replace("<lambda>", "cost"))


@dataclass(frozen=True, repr=False)
class Cost:
    """What an algorithm costs: its steps, and sums over them.

    `a + b` is the cost of doing both, `3 * a` of doing `a` three times. In a notebook it shows the
    table of its steps in LaTeX, in a terminal the same as text.

    >>> from roofline_kit import Tensor, symbols
    >>> N = symbols("N")
    >>> cost = trace(lambda A, B: A + B, Tensor("A", N, "fp32"), Tensor("B", N, "fp32"))
    >>> cost.flops, cost.loads, cost.stores, cost.accesses, cost.intensity
    (N, 8*N, 4*N, 3*N, 1/12)
    """

    steps: tuple[Step, ...]
    name: str = "cost"

    def _total(self, quantity: str) -> sympy.Expr:
        return tidy(sympy.Add(*(getattr(step, quantity) for step in self.steps)))

    @cached_property
    def flops(self) -> sympy.Expr:
        """Floating-point operations; a multiply-add is 2."""
        return self._total("flops")

    @cached_property
    def matmul_flops(self) -> sympy.Expr:
        """The FLOPs of matrix products alone, which is what PyTorch's FlopCounterMode counts."""
        return self._total("matmul_flops")

    @cached_property
    def loads(self) -> sympy.Expr:
        """Bytes read from memory."""
        return self._total("loads")

    @cached_property
    def stores(self) -> sympy.Expr:
        """Bytes written to memory."""
        return self._total("stores")

    @cached_property
    def bytes(self) -> sympy.Expr:
        """Bytes moved, loads and stores together."""
        return self._total("bytes")

    @cached_property
    def accesses(self) -> sympy.Expr:
        """Elements read and written."""
        return self._total("accesses")

    @cached_property
    def intensity(self) -> sympy.Expr:
        """Arithmetic intensity [ai-definition], FLOPs per byte moved.

        Raises ValueError for a cost that moves no bytes, which has none.
        """
        if self.bytes == 0:
            raise ValueError(f"{self.name} moves no bytes, so it has no arithmetic intensity")
        return sympy.factor(self.flops / self.bytes)

    @cached_property
    def symbols(self) -> tuple[sympy.Symbol, ...]:
        """The sizes that are still open, in alphabetical order."""
        free: set[Any] = set().union(
            *(t.size.free_symbols for step in self.steps for t in step.reads + step.writes),
            *(step.flops.free_symbols | step.count.free_symbols for step in self.steps),
        )
        return tuple(sorted(free, key=str))

    def __add__(self, other: Any) -> Cost:
        if not isinstance(other, Cost):
            return NotImplemented
        return Cost(self.steps + other.steps, f"{self.name} + {other.name}")

    def __radd__(self, other: Any) -> Cost:
        return self if other == 0 else NotImplemented  # so that sum(costs) works

    def __mul__(self, times: Any) -> Cost:
        if isinstance(times, Cost):
            return NotImplemented
        n = size(times, f"the number of times that {self.name} is repeated")
        steps = (
            replace(s, flops=n * s.flops, matmul_flops=n * s.matmul_flops, count=n * s.count) for s in self.steps
        )
        return Cost(tuple(steps), f"{n} × {self.name}")

    __rmul__ = __mul__

    # --- numbers ---

    def match(self, *keep: str, **values: Any) -> tuple[tuple[sympy.Symbol, ...], dict[sympy.Symbol, sympy.Expr]]:
        """The symbols named in `keep`, and the sizes in `values` by symbol; together they must be all.

        Raises ValueError that names the symbol which is missing, unknown or named twice.
        """
        symbol = {str(s): s for s in self.symbols}
        given = [*keep, *values]
        for name in given:
            if name not in symbol:
                raise ValueError(f"{self.name}: {unknown('symbol', name, symbol)}")
            if given.count(name) > 1:
                raise ValueError(f"{self.name}: the symbol {name} is named twice")
        missing = [name for name in symbol if name not in given]
        if missing:
            raise ValueError(f"{self.name} needs a value for {', '.join(missing)}; its symbols are {', '.join(symbol)}")
        return tuple(symbol[name] for name in keep), {symbol[n]: size(x, n) for n, x in values.items()}

    def at(self, **values: Any) -> Cost:
        """The same cost with numbers put in for all symbols, exact.

        Raises ValueError that names the symbol if one is missing or unknown, or if a size comes out
        fractional (3 heads of 4096/3).

        >>> from roofline_kit import attention, symbols, tensors
        >>> N, h = symbols("N h")
        >>> trace(attention, *tensors("Q K V", (N, h))).at(N=4096, h=4096).intensity
        16387/16
        """
        _, sizes = self.match(**values)
        done: dict[int, Tensor] = {}

        def put(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            if id(x) not in done:
                shape = tuple(n.xreplace(sizes) for n in x.shape)
                done[id(x)] = replace(x, shape=shape, step=None, base=put(x.base))
            return done[id(x)]

        steps = []
        for s in self.steps:
            tensors = {part: tuple(put(x) for x in getattr(s, part)) for part in ("operands", "reads", "writes")}
            numbers = {part: getattr(s, part).xreplace(sizes) for part in ("flops", "matmul_flops", "count")}
            steps.append(replace(s, **tensors, **numbers))
        return Cost(tuple(steps), self.name)

    def compile(self, *names: str, **values: Any) -> CompiledCost:
        """A NumPy function of the sizes in `names`, for sweeps over many values.

        names : the symbols that stay open, in the order of the arguments. values : the others.

        Raises as `at` does. The compiled function raises for sizes that are not positive integers.

        >>> from roofline_kit import attention, symbols, tensors
        >>> N, h = symbols("N h")
        >>> cost = trace(attention, *tensors("Q K V", (N, h)))
        >>> sweep = cost.compile("N", h=4096)
        >>> sweep([464, 4096]).intensity
        array([ 208.41157895, 1024.1875    ])
        """
        compiled = CompiledCost(self, *self.match(*names, **values))
        compiled.totals  # noqa: B018  (compiled here, once, and not in the first call)
        return compiled

    # --- display ---

    def _rows(self, show: Callable[[str, list[tuple[str, str]]], str]) -> list[tuple[str, str, Step]]:
        """Number, description and step of every row; results of earlier rows go by their number.

        show : makes the description from the operation and (name, ".T" or "") of each operand.
        """
        numbers: dict[int, str] = {}
        rows = []
        for i, step in enumerate(self.steps, start=1):
            operands = []
            for x in step.operands:
                if isinstance(x, Tensor):
                    operands.append((numbers.get(id(x.array), x.array.name), x.name[len(x.array.name) :]))
                else:
                    operands.append((str(x), ""))
            rows.append((_circled(i), show(step.operation, operands), step))
            numbers |= {id(x): _circled(i) for x in step.writes}
        return rows

    def __repr__(self) -> str:
        lines = [("", self.name, "FLOPs", "loads [B]", "stores [B]", "FLOPs/B")]
        for number, text, step in self._rows(lambda op, xs: written(op, [name + view for name, view in xs])):
            times = "" if step.count == 1 else f"  (× {step.count})"
            lines.append((number, text + times, *map(_plain, _figures(step))))
        lines.append(("", "total", *map(_plain, _figures(self))))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = [
            "  ".join([*map(str.ljust, line[:2], widths), *map(str.rjust, line[2:], widths[2:])]).rstrip()
            for line in lines
        ]
        rule = "─" * max(map(len, table))
        return "\n".join([table[0], rule, *table[1:-1], rule, table[-1]])

    def _repr_latex_(self) -> str:
        head = ["", r"\text{" + self.name.replace("_", r"\_") + "}", r"\text{FLOPs}"]
        lines = [[*head, r"\text{loads [B]}", r"\text{stores [B]}", r"\text{FLOPs/B}"]]
        for number, text, step in self._rows(_latex_step):
            times = "" if step.count == 1 else rf"\quad(\times {sympy.latex(step.count)})"
            lines.append([rf"\text{{{number}}}", text + times, *map(_latex_figure, _figures(step))])
        lines.append(["", r"\textbf{total}", *map(_latex_figure, _figures(self))])
        rows = [" & ".join(line) for line in lines]
        body = r" \\[4pt] ".join(rows[1:-1])
        return rf"$\displaystyle\begin{{array}}{{ll|rrr|r}} {rows[0]} \\ \hline {body} \\[4pt] \hline {rows[-1]} \end{{array}}$"


def _circled(i: int) -> str:
    """① for 1, and (21) after ⑳."""
    return chr(0x245F + i) if i <= 20 else f"({i})"


def _figures(x: Step | Cost) -> tuple[Any, ...]:
    """The table's four columns, of a step or of a whole cost."""
    return tidy(x.flops), tidy(x.loads), tidy(x.stores), x.intensity if x.bytes != 0 else None


def _plain(figure: Any) -> str:
    if figure is None:
        return "none"
    if figure.is_Integer:
        return f"{int(figure):,}"
    exact = not figure.is_number or (figure.is_Rational and figure.p < 100 and figure.q < 100)
    return str(figure) if exact else f"{float(figure):,.6g}"


def _latex_figure(figure: Any) -> str:
    text = _plain(figure)
    if figure is not None and text == str(figure):
        return sympy.latex(figure)
    return text.replace(",", r"\,")


def _latex_step(operation: str, operands: list[tuple[str, str]]) -> str:
    """A step as one writes it on a slide: Q Kᵀ for "Q @ K.T"."""
    names = []
    for name, view in operands:
        symbol = sympy.latex(sympy.Symbol(name)) if name.replace("_", "").isalnum() and name.isascii() else ""
        names.append((symbol or rf"\text{{{name}}}") + (r"^{\mathsf{T}}" if view == ".T" else ""))
    if operation in INFIX:
        return {"@": r"\,", "*": r" \odot "}.get(operation, f" {operation} ").join(names)
    return rf"\operatorname{{{operation.replace('_', ' ')}}}\left({', '.join(names)}\right)"


def tidy(expr: sympy.Expr) -> sympy.Expr:
    """`expr` as the lecture writes it: a sum of terms, those with the same square (or cube) together.

    >>> from roofline_kit import symbols
    >>> N, h = symbols("N h")
    >>> tidy(4*h*N**2 + 3*N**2), tidy(8*N*(N + h))
    (N**2*(4*h + 3), 8*N**2 + 8*N*h)
    """
    expr = sympy.expand(expr)
    highest: dict[sympy.Expr, Any] = {}
    for term in sympy.Add.make_args(expr):
        for base, power in term.as_powers_dict().items():
            if base.is_Symbol and power.is_Integer and power > highest.get(base, 1):
                highest[base] = power
    return sympy.collect(expr, sorted(highest, key=lambda s: (-highest[s], str(s)))) if highest else expr


# --- many sizes at once ---------------------------------------------------------------------------


@dataclass(frozen=True)
class CompiledCost:
    """A cost as a NumPy function: call it with arrays of sizes, in the order of `symbols`.

    Made by `Cost.compile`; returns a `Sweep`.
    """

    cost: Cost
    symbols: tuple[sympy.Symbol, ...]
    sizes: dict[sympy.Symbol, sympy.Expr]

    def _function(self, formulas: list[sympy.Expr]) -> Callable[..., Any]:
        formulas = [sympy.sympify(formula).xreplace(self.sizes) for formula in formulas]
        return sympy.lambdify(self.symbols, formulas, modules="numpy", cse=True)

    @cached_property
    def totals(self) -> Callable[..., Any]:
        """The function for FLOPs and bytes of the whole."""
        return self._function([self.cost.flops, self.cost.bytes])

    @cached_property
    def by_step(self) -> Callable[..., Any]:
        """The function for FLOPs and bytes of every step, made when it is first needed."""
        return self._function([x for step in self.cost.steps for x in (step.flops, step.bytes)])

    def __call__(self, *sizes: Any) -> Sweep:
        if len(sizes) != len(self.symbols):
            names = ", ".join(map(str, self.symbols))
            raise TypeError(f"the compiled {self.cost.name} takes {len(self.symbols)} sizes ({names}), not {len(sizes)}")
        import numpy as np

        arrays = np.broadcast_arrays(*(_many_sizes(x, str(s)) for x, s in zip(sizes, self.symbols, strict=True)))
        return Sweep(self, tuple(arrays))


def _many_sizes(values: Any, name: str) -> np.ndarray:
    """Sizes as an array of floats, in which FLOPs beyond 2⁶³ do not wrap around."""
    import numpy as np

    given = np.asarray(values)
    if given.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be numbers, not {values!r}")
    whole = given.dtype.kind in "iu" or bool(np.all(given == np.floor(given)))  # NaN is not equal to itself
    if not whole or not np.all((given >= 1) & (given < np.inf)):
        wrong = given[~((given >= 1) & (given < np.inf) & (given == np.floor(given)))]
        raise ValueError(f"{name} has the value {wrong.flat[0]}; a size must be a positive integer")
    return given.astype(float)


@dataclass(frozen=True, eq=False)
class Sweep:
    """A cost at many sizes: `flops`, `bytes` and `intensity` are arrays, and `steps` yields each step's."""

    compiled: CompiledCost
    sizes: tuple[np.ndarray, ...]

    def _evaluate(self, function: Callable[..., Any]) -> list[np.ndarray]:
        import numpy as np

        shape = self.sizes[0].shape if self.sizes else ()
        return [np.broadcast_to(np.asarray(value, dtype=float), shape) for value in function(*self.sizes)]

    @cached_property
    def _totals(self) -> list[np.ndarray]:
        return self._evaluate(self.compiled.totals)

    @property
    def flops(self) -> np.ndarray:
        """Floating-point operations."""
        return self._totals[0]

    @property
    def bytes(self) -> np.ndarray:
        """Bytes moved."""
        return self._totals[1]

    @cached_property
    def intensity(self) -> np.ndarray:
        """Arithmetic intensity, FLOPs per byte."""
        return self.flops / self.bytes

    @cached_property
    def steps(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """FLOPs and bytes of each step."""
        values = self._evaluate(self.compiled.by_step)
        return list(zip(values[::2], values[1::2], strict=True))
