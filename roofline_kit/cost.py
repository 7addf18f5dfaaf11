"""How many operations, how many bytes? `trace` turns an algorithm into a `Cost` of SymPy formulas.

A `Cost` is a list of steps, nothing else: its FLOPs, bytes and arithmetic intensity are sums over
them, exact at every size. `.at` puts numbers in, `.compile` makes a NumPy function for sweeps, `.rows` and
`.to_latex` are for other programs and for a paper.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from numbers import Number
from typing import Any

import sympy

from .names import check_function, shown, unknown
from .sizes import certain, shortened, size, whole
from .tensor import COUNTED, INFIX, RESOURCES, Step, Tensor, factored, leaves, notation, record


def trace(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Cost:
    """The cost of `f(*args, **kwargs)`, step by step, as formulas in the sizes of its Tensors.

    f : an algorithm in array notation, the same function that computes when it is given arrays.
    args, kwargs : Tensors, and whatever else `f` takes that is not an array (a number of heads, say).

    Raises TypeError for what is no function, where arrays are mixed in, where `f` returns something that is not a
    Tensor, or where it asks Python to decide something that depends on an open size. (`==` and `%` of an open
    size cannot be caught: SymPy answers `==` by form, and takes any formula for true.)

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
    check_function("trace(f, x)", f)
    name = getattr(f, "__name__", type(f).__name__)
    given = leaves((args, kwargs))
    for x in given:
        if hasattr(x, "shape") and not isinstance(x, (Tensor, Number)):
            what = f"a {type(x).__name__}. Describe it by rk.Tensor('x', {tuple(x.shape)})"
            raise TypeError(f"trace reads Tensors, and was given {what}; to compute, call {name} on arrays directly")
    try:
        out, steps = record(f, *args, **kwargs)
    except TypeError as error:
        if given and not any(isinstance(x, Tensor) for x in given):
            what = f"{name} was given none of them: rk.Tensor('x', (3, 4)) describes an array of that shape"
            raise TypeError(f"trace reads Tensors, and {what}") from error
        if not _met_an_open_size(error):
            raise
        raise TypeError(
            f"{name} asks for something that depends on an open size ({error}). A trace stands for every size at once: "
            "write it as an array operation (a root of a size n as n**0.5), or give that size a number, as in (128, 64)"
        ) from error
    for x in leaves(out):
        if not isinstance(x, Tensor) and (x is not None or out is None):  # of several results, some may be none
            raise TypeError(f"{name} must return Tensors for a trace, and returned {x!r}")
    return Cost(tuple(steps), name.replace("<lambda>", "cost"))


_FORMULAS = {"Symbol", "Add", "Mul", "Pow", "Mod", "floor", "ceiling", "Min", "Max"}
"""The types of open sizes and of what can be computed from them, as Python and NumPy name them in errors."""


def _met_an_open_size(error: TypeError) -> bool:
    """Whether a formula refused to become a number or a truth, or a function that needs one met a formula."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    refused = frame.f_locals.get("self")
    if isinstance(refused, sympy.Basic):
        return bool(refused.free_symbols)
    # Not ceiling(N/2): that is a shape in an error of our own, and ceiling alone is a type.
    named = re.findall(r"\b\w+\b(?!\()", str(error))
    return not _FORMULAS.isdisjoint(named)


def _circled(i: int) -> str:
    return chr(0x245F + i) if i <= 10 else f"[{i}]"  # ① to ⑩; many fonts have no ⑪


def _total(quantity: str, doc: str) -> Any:
    """A property of a `Cost`: the sum of one quantity over its steps."""

    def total(self: Cost) -> sympy.Expr:
        return tidy(sympy.Add(*(getattr(step, quantity) for step in self.steps)))

    total.__doc__ = doc
    return cached_property(total)


@dataclass(frozen=True, repr=False)
class Cost:
    """What an algorithm costs: its steps, and sums over them.

    `a + b` is the cost of doing both, `3 * a` of doing `a` three times. In a notebook it shows the
    table of its steps in LaTeX, in a terminal the same as text; "…" stands for a formula that is too long for it.

    >>> from roofline_kit import Tensor, symbols
    >>> N = symbols("N")
    >>> cost = trace(lambda A, B: A + B, Tensor("A", N, "fp32"), Tensor("B", N, "fp32"))
    >>> cost.flops, cost.loads, cost.stores, cost.accesses, cost.intensity
    (N, 8*N, 4*N, 3*N, 1/12)
    """

    steps: tuple[Step, ...]
    name: str = "cost"

    flops = _total("flops", "Floating-point operations; a multiply-add is 2.")
    matmul_flops = _total("matmul_flops", "The FLOPs of matrix products: PyTorch's FlopCounterMode, plus vectors.")
    loads = _total("loads", "Bytes read from memory.")
    stores = _total("stores", "Bytes written to memory.")
    bytes = _total("bytes", "Bytes moved, loads and stores together.")
    accesses = _total("accesses", "Elements read and written.")

    @cached_property
    def amounts(self) -> dict[str, sympy.Expr]:
        """How much it takes of each resource, by name: sums over its steps' `amounts`.

        >>> from roofline_kit import attention, symbols, tensors
        >>> N, h = symbols("N h")
        >>> amounts = trace(attention, *tensors("Q K V", (N, h))).amounts
        >>> amounts["matrix"], amounts["vector"], amounts["exp"]
        (4*N**2*h, 3*N**2, N**2)
        """
        each = [step.amounts for step in self.steps]
        return {name: tidy(sympy.Add(*(amounts[name] for amounts in each))) for name in RESOURCES}

    @cached_property
    def intensity(self) -> sympy.Expr:
        """Arithmetic intensity [ai-definition], FLOPs per byte moved.

        Raises ValueError for a cost that moves no bytes, which has none.
        """
        if self.bytes == 0:
            raise ValueError(f"{self.name} moves no bytes, so it has no arithmetic intensity")
        return factored(self.flops / self.bytes)

    @cached_property
    def symbols(self) -> tuple[sympy.Symbol, ...]:
        """The sizes that are still open, in alphabetical order."""
        return tuple(sorted(set().union(*(n.free_symbols for n in self.sizes)), key=str))

    @cached_property
    def sizes(self) -> set[sympy.Expr]:
        """All sizes in the shapes that the steps work on, inside of fused ones too, and how often they are repeated."""
        return {n for step in self.steps for n in (*step.sizes, step.count)}

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
        name = f"({self.name})" if " " in self.name else self.name
        return Cost(tuple(step * n for step in self.steps), f"{n} × {name}")

    __rmul__ = __mul__

    def loads_of(self, *tensors: Tensor) -> sympy.Expr:
        """Bytes read of these arrays, in whole or in part: what a decode step reads of the KV cache, say.

        Raises ValueError for an array that is not read, TypeError for what is none. (Ask before `.at`, which makes
        arrays of its own.)

        >>> from roofline_kit import attention, symbols, tensors
        >>> N, h = symbols("N h")
        >>> Q, K, V = tensors("Q K V", (N, h))
        >>> trace(attention, Q, K, V).loads_of(K, V)
        4*N*h
        """
        read = [(step.count, x) for step in self.steps for x in step.reads]
        for t in tensors:
            if not isinstance(t, Tensor):
                raise TypeError(f"loads_of takes arrays of the trace, as in loads_of(K, V), not {shown(t)}")
            if not any(x.root is t.root for _, x in read):
                raise ValueError(f"{self.name} does not read {t}; the arrays of a cost.at(…) are others than cost's")
        roots = {id(t.root) for t in tensors}
        return tidy(sympy.Add(*(count * x.nbytes for count, x in read if id(x.root) in roots)))

    def names(self) -> list[str]:
        """The steps as the table writes them, results of earlier ones by their number.

        >>> from roofline_kit import attention, tensors
        >>> trace(attention, *tensors("Q K V", (64, 8))).names()
        ['① Q @ K.T', '② softmax(①)', '③ ② @ V']
        """
        return [f"{number} {text}" for number, text in self._texts(_plain_step)]

    def rows(self) -> list[dict[str, Any]]:
        """The steps as plain dictionaries, for pandas, csv or json: `pd.DataFrame(cost.rows())`.

        name, operation : text. reads, writes : names of arrays. count : how often. flops, matmul_flops, loads, stores,
        bytes : of all repetitions, ints where they are numbers and SymPy formulas where sizes are open. intensity :
        FLOPs per byte, a float or a formula, None for a step that moves nothing.

        >>> from roofline_kit import attention, symbols, tensors
        >>> N, h = symbols("N h")
        >>> cost = trace(attention, *tensors("Q K V", (N, h)))
        >>> [(row["operation"], row["flops"]) for row in cost.rows()]
        [('@', 2*N**2*h), ('softmax', 3*N**2), ('@', 2*N**2*h)]
        >>> cost.at(N=64, h=16).rows()[0]["reads"], cost.at(N=64, h=16).rows()[0]["bytes"]
        (['Q', 'K'], 12288)
        """
        return [
            {
                "name": step.name,
                "operation": step.operation,
                "reads": [x.name for x in step.reads],
                "writes": [x.name for x in step.writes],
                "count": _native(step.count),
                **{what: _native(tidy(getattr(step, what))) for what in ("flops", "matmul_flops")},
                **{what: _native(tidy(getattr(step, what))) for what in ("loads", "stores", "bytes")},
                "intensity": _native(step.intensity) if step.bytes != 0 else None,
            }
            for step in self.steps
        ]

    # --- numbers ---

    def match(self, *keep: str, **values: Any) -> tuple[tuple[sympy.Symbol, ...], dict[sympy.Symbol, sympy.Expr]]:
        """The symbols named in `keep`, and the sizes in `values` by symbol; together they must be all.

        Raises ValueError that names the symbol which is missing, unknown or named twice.
        """
        symbol, sizes = {str(s): s for s in self.symbols}, self._sizes(keep, values)
        missing = [name for name in symbol if name not in (*keep, *values)]
        if missing:
            raise ValueError(f"{self.name} needs a value for {', '.join(missing)}; its symbols are {', '.join(symbol)}")
        return tuple(symbol[name] for name in keep), sizes

    def _sizes(self, keep: Sequence[str], values: dict[str, Any]) -> dict[sympy.Symbol, sympy.Expr]:
        """The sizes in `values` by symbol. Raises ValueError for a name that is unknown or given twice."""
        symbol, given = {str(s): s for s in self.symbols}, [*keep, *values]
        for name in given:
            if not isinstance(name, str) or name not in symbol:
                raise ValueError(f"{self.name}: {unknown('symbol', name, symbol, see='its .symbols')}")
            if given.count(name) > 1:
                raise ValueError(f"{self.name}: the symbol {name} is named twice")
        sizes = {symbol[name]: size(x, name) for name, x in values.items()}
        if not all(n.is_number for n in sizes.values()):
            raise ValueError(f"{self.name}: sizes must be numbers here, not {values}")
        return sizes

    def at(self, **values: Any) -> Cost:
        """The same cost with numbers put in, exact. Sizes that are not given stay open; `at()` changes nothing.

        Raises ValueError for an unknown symbol, and if a size comes out fractional (3 heads of 4096/3).

        >>> from roofline_kit import attention, symbols, tensors
        >>> N, h = symbols("N h")
        >>> cost = trace(attention, *tensors("Q K V", (N, h)))
        >>> cost.at(N=4096, h=4096).intensity
        16387/16
        >>> cost.at(h=4096).flops, cost.at(h=4096).symbols
        (16387*N**2, (N,))
        """
        if not values:
            return self
        sizes = self._sizes((), values)
        for n in self.sizes:
            value = n.xreplace(sizes)
            if not (value.is_Integer and value.p > 0):  # it takes longer to write a formula down than to put numbers in
                size(value, f"{self.name}: {n}")
        done: dict[int, Tensor] = {}

        def put(x: Any) -> Any:
            if isinstance(x, sympy.Expr):
                return x.xreplace(sizes)
            if isinstance(x, (tuple, frozenset)):
                return type(x)(map(put, x))
            if isinstance(x, Tensor) and id(x) not in done:
                new = {part: put(getattr(x, part)) for part in ("shape", "base", "whole", "visible")}
                done[id(x)] = replace(x, **new)
            return done.get(id(x), x)

        parts = ("operands", "reads", "writes", *COUNTED, "sizes", "count")
        return Cost(tuple(replace(s, **{part: put(getattr(s, part)) for part in parts}) for s in self.steps), self.name)

    def compile(self, *names: str, **values: Any) -> CompiledCost:
        """A NumPy function of the sizes in `names`, for sweeps over many values.

        names : the symbols that stay open, in the order of the arguments. values : the others.

        Raises ValueError for a symbol that is missing, unknown or named twice. The compiled function raises for
        sizes that are not positive integers.

        >>> from roofline_kit import attention, symbols, tensors
        >>> N, h = symbols("N h")
        >>> cost = trace(attention, *tensors("Q K V", (N, h)))
        >>> sweep = cost.compile("N", h=4096)
        >>> sweep([464, 4096]).intensity
        array([ 208.43114035, 1024.1875    ])
        """
        return CompiledCost(self, *self.match(*names, **values))

    # --- display ---

    def _table(
        self, show: Callable[..., str], figure: Callable[[Any], str], numbered: Callable[[int], str] = _circled
    ) -> list[list[str]]:
        """A head, a row for each step, and the total. Results of earlier rows go by their number.

        show : a step's text, from its operation and the (name, ".T" or "") of its operands. figure : a
        number's or formula's text. numbered : the text of a step's number.
        """
        texts = self._texts(show, numbered)
        head = ["", self.name, "FLOPs", "loads [B]", "stores [B]", "FLOPs/B"]
        rows = zip([*texts, ("", "total")], self._all_figures, strict=True)
        return [head, *([*text, *map(figure, figures)] for text, figures in rows)]

    @cached_property
    def _all_figures(self) -> list[tuple[Any, ...]]:
        """The figures of each step and of the whole, found once: a notebook shows them as LaTeX and as text."""
        return [*map(_figures, self.steps), _figures(self)]

    def _texts(self, show: Callable[..., str], numbered: Callable[[int], str] = _circled) -> list[tuple[str, str]]:
        """Number and text of each step, as `_table` has them; no figure is computed for them."""
        numbers: dict[int, str] = {}
        texts = []
        for i, step in enumerate(self.steps, start=1):
            number = numbered(i)
            operands = []
            for x in step.operands:
                root = x.root.name if isinstance(x, Tensor) else str(x)
                view = x.name[len(root) :] if isinstance(x, Tensor) else ""
                name = x.written[: len(x.written) - len(view)] if isinstance(x, Tensor) else root
                operands.append((numbers.get(id(getattr(x, "root", x)), name), view))
            times = "" if step.count == 1 else f"  (× {step.count})"
            texts.append((number, show(step.operation, operands) + times))
            numbers |= dict.fromkeys((id(t) for t in step.writes if t.whole is None), number)
        return texts

    def __repr__(self) -> str:
        lines = self._table(_plain_step, _plain)
        table = aligned(lines, left=2)
        rule = "─" * max(map(len, table))
        return "\n".join([table[0], rule, *table[1:-1], rule, table[-1]])

    def to_latex(self) -> str:
        r"""The step table as LaTeX for a paper: a `tabular` of plain ASCII, which needs the package amsmath.

        Unlike the table in a notebook it shows every formula, however long.

        >>> from roofline_kit import Tensor, exp, symbols
        >>> print(trace(exp, Tensor("x", symbols("N"))).to_latex())
        \begin{tabular}{llrrrr}
         & exp & FLOPs & loads [B] & stores [B] & FLOPs/B \\ \hline
        (1) & $\operatorname{exp}\left(x\right)$ & $N$ & $2 N$ & $2 N$ & $\frac{1}{4}$ \\
        \hline
         & total & $N$ & $2 N$ & $2 N$ & $\frac{1}{4}$ \\
        \end{tabular}
        """
        head, *steps, total = self._table(_latex_step, _whole_figure, "({})".format)
        rows = [["", _escaped(self.name), *head[2:]]]
        for number, what, *figures in steps:
            what = what.replace("  (×", r"\quad(\times")
            rows.append([number, f"${what}$", *(f"${figure}$" for figure in figures)])
        rows.append(["", "total", *(f"${figure}$" for figure in total[2:])])
        lines = [f"{' & '.join(row)} \\\\" for row in rows]
        body = "\n".join([rf"{lines[0]} \hline", *lines[1:-1], r"\hline", lines[-1]])
        return f"\\begin{{tabular}}{{llrrrr}}\n{body}\n\\end{{tabular}}"

    def _repr_latex_(self) -> str:
        head, *steps, total = self._table(_latex_step, _latex_figure)
        rows = [" & ".join([_text(number), *cells]).replace("  (×", r"\quad(×") for number, *cells in steps]
        head_row, total_row = " & ".join(map(_heading, head)), " & ".join(["", r"\textbf{total}", *total[2:]])
        body = r" \\[4pt] ".join([*rows, r"\hline " + total_row])
        return rf"$\displaystyle\begin{{array}}{{ll|rrr|r}} {head_row} \\ \hline {body} \end{{array}}$"


def aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Rows of cells as lines of text; the first `left` columns are aligned on the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ([*map(str.ljust, row[:left], widths), *map(str.rjust, row[left:], widths[left:])] for row in rows)
    return ["  ".join(cells).rstrip() for cells in padded]


def _escaped(words: str) -> str:
    return re.sub(r"([_%&#$])", r"\\\1", words).replace("×", r"$\times$")


def _text(words: str) -> str:
    """Words as LaTeX text."""
    return r"\text{" + re.sub(r"([_%&#$])", r"\\\1", words) + "}"


def _heading(words: str) -> str:
    """The same for MathJax, which shows a backslash that stands before "_" inside of a text."""
    return r"\_".join(_text(part) if part else "" for part in words.split("_"))


def _figures(x: Step | Cost) -> tuple[Any, ...]:
    """The table's four columns, of a step or of a whole cost."""
    return tidy(x.flops), tidy(x.loads), tidy(x.stores), x.intensity if x.bytes != 0 else None


def _plain(figure: Any) -> str:
    if figure is None:
        return "none"
    if figure.is_Integer:
        return f"{int(figure):,}"
    exact = not figure.is_number or (figure.is_Rational and figure.p < 100 and figure.q < 100)
    if not exact:
        return f"{float(figure):,.6g}"
    text = str(figure)
    return text if len(text) <= 48 else "…"


def _latex_figure(figure: Any) -> str:
    text = _plain(figure)
    return sympy.latex(figure) if text == str(figure) else text.replace(",", r"\,")


def _whole_figure(figure: Any) -> str:
    """A figure in LaTeX; a formula in full."""
    if figure is None:
        return r"\text{none}"
    return _latex_figure(figure) if figure.is_number else sympy.latex(figure)


def _native(figure: sympy.Expr) -> Any:
    """A number as Python has it, an int or a float; a formula as it is."""
    if not figure.is_number:
        return figure
    return int(figure) if figure.is_Integer else float(figure)


def _plain_step(operation: str, operands: list[tuple[str, str]]) -> str:
    return notation(operation, [name + view for name, view in operands])


def _latex_step(operation: str, operands: list[tuple[str, str]]) -> str:
    """A step as one writes it on a slide: Q Kᵀ for "Q @ K.T"."""
    word = re.compile(r"[A-Za-z]\w*", re.ASCII)
    symbols = [sympy.latex(sympy.Symbol(name)) if word.fullmatch(name) else _text(name) for name, _ in operands]
    names = [symbol + r"^{\mathsf{T}}" * (view == ".T") for symbol, (_, view) in zip(symbols, operands, strict=True)]
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
    expr = sympy.sympify(expr)
    if expr.is_Rational:
        return expr
    expr = sympy.expand(expr)
    highest: dict[sympy.Expr, Any] = {}
    for term in sympy.Add.make_args(expr):
        for base, power in term.as_powers_dict().items():
            if base.is_Symbol and power.is_Integer and power > highest.get(base, 1):
                highest[base] = power
    return sympy.collect(expr, sorted(highest, key=lambda s: (-highest[s], str(s)))) if highest else expr


# --- many sizes at once ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class CompiledCost:
    """A cost as a NumPy function: call it with sizes or arrays of sizes, in the order of `symbols`.

    Made by `Cost.compile`, and compiled in the first call; returns a `Sweep`. Raises TypeError or
    ValueError for what is no size.

    >>> from roofline_kit import Tensor, exp, symbols
    >>> trace(exp, Tensor("x", symbols("N"))).compile("N")([1, 2]).flops
    array([1., 2.])
    """

    cost: Cost
    symbols: tuple[sympy.Symbol, ...]
    sizes: dict[sympy.Symbol, sympy.Expr]
    functions: dict[tuple[str, ...], Callable[..., Any]] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Functions cannot be copied; they are compiled again."""
        return {"cost": self.cost, "symbols": self.symbols, "sizes": self.sizes, "functions": {}}

    def _function(self, formulas: list[sympy.Expr]) -> Callable[..., Any]:
        import numpy as np

        numbers = list(map(self._put, formulas))
        # Not modules="numpy", which imports every corner of NumPy and takes ten times as long the first time.
        return sympy.lambdify(self.symbols, numbers, modules=[vars(np)], printer=_printer(), cse=True)

    def _put(self, formula: Any) -> sympy.Expr:
        """A formula with the sizes that are known."""
        known = sympy.sympify(formula).xreplace(self.sizes)
        return _floored_once(known.xreplace({x: shortened(x) for x in known.atoms(sympy.Rational)}))

    @cached_property
    def totals(self) -> Callable[..., Any]:
        """FLOPs and bytes of the whole."""
        return self._function([self.cost.flops, self.cost.bytes])

    def by_step(self, resources: tuple[str, ...]) -> Callable[..., Any]:
        """The amounts of these resources, of every step, one after the other; compiled when they are first needed."""
        if resources not in self.functions:
            each = [step.amounts for step in self.cost.steps]
            self.functions[resources] = self._function([amounts[name] for amounts in each for name in resources])
        return self.functions[resources]

    @cached_property
    def fractions(self) -> dict[sympy.Expr, Callable[..., Any]]:
        """Sizes that may come out fractional, zero or negative, such as h/heads and N - 1, as functions."""
        return {n: self._function([_one_division(n, "divide")]) for n in self.cost.sizes if not certain(n)}

    def __call__(self, *sizes: Any) -> Sweep:
        """The cost at these sizes, each a number or an array; arrays are broadcast."""
        import numpy as np

        if len(sizes) != len(self.symbols):
            raise TypeError(f"the compiled {self.cost.name} takes {self.symbols}, not {len(sizes)} sizes")
        arrays = np.broadcast_arrays(*(_many_sizes(x, str(s)) for x, s in zip(sizes, self.symbols, strict=True)))
        for n, function in self.fractions.items():
            _many_sizes(function(*arrays), str(n))
        return Sweep(self, tuple(arrays), *_evaluate(self.totals, arrays))


def _one_division(formula: sympy.Expr, function: str) -> sympy.Expr:
    """A fraction as a call of NumPy's: as floats, N/3 - 11/3 is less than 1 for some N for which (N - 11)/3 is 1."""
    return sympy.Function(function, real=True)(*sympy.fraction(sympy.together(formula)))


def _floored_once(formula: sympy.Expr) -> sympy.Expr:
    """A formula whose floors and ceilings are of one division each, and so exact in floats."""
    floors = {x: _one_division(_floored_once(x.args[0]), "floor_divide") for x in formula.atoms(sympy.floor)}
    ceilings = {x: -_one_division(_floored_once(-x.args[0]), "floor_divide") for x in formula.atoms(sympy.ceiling)}
    return formula.xreplace(floors | ceilings)


@cache
def _printer() -> Any:
    """NumPy's printer, which divides last: as floats, h·(1/49) is less than 1 for h = 49."""
    from sympy.printing.numpy import NumPyPrinter

    class Printer(NumPyPrinter):  # type: ignore[misc]
        def _print_Mul(self, product: sympy.Mul) -> str:
            over, under = sympy.fraction(product)
            if under == 1:
                return str(super()._print_Mul(product))
            return f"({self._print(over)})/({self._print(under)})"

    return Printer({"fully_qualified_modules": False, "inline": True, "allow_unknown_functions": True})


def _many_sizes(values: Any, name: str) -> Any:
    """Sizes as an array of floats, in which FLOPs beyond 2⁶³ do not wrap around."""
    import numpy as np

    given = np.asarray(values)
    if given.dtype.kind == "O" and all(whole(n) is not None for n in given.flat):
        if max(map(int, given.flat)) > sys.float_info.max:
            raise ValueError(f"{name} is larger than floats can be; .at(…) is exact at any size")
        given = given.astype(float)  # integers from 2⁶⁴ on
    if given.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be numbers, not {shown(values)}")
    right = (given >= 1) & (given < np.inf) & (given.dtype.kind != "f" or given == np.floor(given))
    if not right.all():
        raise ValueError(f"{name} has the value {given[~right].flat[0]}; a size must be a positive integer")
    return given.astype(float)


def _evaluate(function: Callable[..., Any], sizes: Sequence[Any]) -> list[Any]:
    """The function's values as arrays of the sizes' shape, also where they do not depend on the sizes."""
    import numpy as np

    shape = np.shape(sizes[0]) if sizes else ()
    with np.errstate(over="ignore", invalid="ignore"):
        found = [np.broadcast_to(np.asarray(value, dtype=float), shape) for value in function(*sizes)]
    if not all(np.isfinite(values).all() for values in found):
        raise ValueError("at these sizes the numbers are larger than floats can be; .at(…) is exact at any size")
    return found


@dataclass(frozen=True, eq=False)
class Sweep:
    """A cost at many sizes, with arrays for formulas; made by calling a `CompiledCost`.

    >>> from roofline_kit import Tensor, exp, symbols
    >>> sweep = trace(exp, Tensor("x", symbols("N"))).compile("N")([1, 2])
    >>> sweep.bytes, sweep.intensity
    (array([4., 8.]), array([0.25, 0.25]))
    """

    compiled: CompiledCost
    sizes: tuple[Any, ...]
    flops: Any
    bytes: Any

    @property
    def intensity(self) -> Any:
        """Arithmetic intensity, FLOPs per byte."""
        return self.flops / self.bytes

    def amounts(self, resources: tuple[str, ...] = ("compute", "memory")) -> list[dict[str, Any]]:
        """What each step takes of these resources, as arrays by name."""
        values = iter(_evaluate(self.compiled.by_step(resources), self.sizes))
        return [{name: next(values) for name in resources} for _ in self.compiled.cost.steps]
