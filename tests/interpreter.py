"""What does an algorithm really do? Execute it scalar by scalar in plain Python, and count.

This is the oracle for the traced formulas, so it shares nothing with them: it has no symbols and no
formulas, and knows of the kit only the names of the composed functions, which it executes its own way.

>>> counts = interpret(lambda a, b: a + b, np.ones(8), np.ones(8), dtype_bytes=4)
>>> counts.flops, counts.loads, counts.stores, counts.accesses
(8, 64, 32, 24)
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np


@dataclass
class Counts:
    """Operations, bytes loaded and stored, elements touched; and the result that was computed."""

    flops: int = 0
    matmul_flops: int = 0
    special: int = 0
    loads: Any = 0
    stores: Any = 0
    accesses: int = 0
    result: Any = None


def arithmetic(cls: type) -> type:
    """Give `cls` the operators + - * / out of its method `apply(f, *operands)`."""
    for name in ("add", "sub", "mul", "truediv"):
        f = getattr(operator, name)
        setattr(cls, f"__{name}__", lambda self, other, f=f: self.apply(f, self, other))
        setattr(cls, f"__r{name}__", lambda self, other, f=f: self.apply(f, other, self))
    cls.__neg__ = lambda self: self.apply(operator.neg, self)
    return cls


@arithmetic
class Real:
    """A number that counts each operation at the moment when it is executed."""

    def __init__(self, value: float, counts: Counts) -> None:
        self.value, self.counts = value, counts

    def apply(self, f: Callable[..., float], *operands: Any) -> Real:
        self.counts.flops += 1
        return Real(f(*(x.value if isinstance(x, Real) else x for x in operands)), self.counts)


class Cell:
    """One address in memory: the number that stands there, and its width in bytes."""

    def __init__(self, value: float, width: Any) -> None:
        self.value, self.width = value, width


def constant(value: float) -> Cell:
    """A number that stands in the program, not in memory: it has no width, and reading it loads nothing."""
    return Cell(value, 0)


class Machine:
    """A chip and its memory. The rules, which are the lecture's:

    * Within one step, each address is loaded when it is first needed, and not again.
    * A step is one primitive operation, or one whole function that was fused.
    * At the end of a step, each address of its result that it made is stored, once. What else it made
      never left the chip: it is neither stored nor loaded.
    * Views are other ways to walk over the same addresses: they do nothing. A slice is a view too. Where a
      window sticks out of its array, there are zeros of the program, which are loaded from nowhere.
    * What a mask hides is no number: it is not computed, not stored, and skipped by what comes next, also
      through a view. Only a window sees zeros there.
    * A gather loads a row for each of its indices, also where two of them are equal: queries that choose
      the same block do not share it, unless it says that they do. What the step has on chip is not loaded.
      To find the n largest of a row, each number is looked at once.
      Arithmetic with indices finds addresses, and is no floating-point operation.
    * A multiply-add is two operations, a sum of n terms is n additions that start from zero, any
      elementwise function is one operation.
    * For softmax, as in the lecture, the maximum and its subtraction are not counted.
    """

    def __init__(self) -> None:
        self.counts = Counts()
        self.depth = 0
        self.loaded: set[Cell] = set()
        self.made: set[Cell] = set()

    @contextmanager
    def step(self) -> Iterator[list[Any]]:
        """One step; what it returns is put into the list. A step inside of a step is a part of it."""
        result: list[Any] = []
        self.depth += 1
        yield result
        self.depth -= 1
        if self.depth == 0:
            stored = {cell for x in leaves(result) if isinstance(x, Array) for cell in x.cells} & self.made
            self.counts.loads += sum(cell.width for cell in self.loaded)
            self.counts.stores += sum(cell.width for cell in stored)
            self.counts.accesses += len(self.loaded) + len(stored)
            self.loaded, self.made = set(), set()

    def load(self, cell: Cell | None) -> Real | None:
        """The number in a cell; None where a mask hides it."""
        if cell is None:
            return None
        if cell not in self.made and cell.width:
            self.loaded.add(cell)
        return Real(cell.value, self.counts)

    def make(self, shape: tuple[int, ...], values: list[Real | None], *inputs: Array) -> Array:
        """A new array, whose elements are as wide as the widest of the inputs; None for what is hidden."""
        width = max(cell.width for x in inputs for cell in x.cells if cell)
        cells = [None if x is None else Cell(x.value, width) for x in values]
        self.made.update(cell for cell in cells if cell)
        return Array(self, shape, cells)


@arithmetic
class Array:
    """A shape, and the addresses of the elements in row-major order; None for those that a mask hides."""

    dtype, device = float, None

    def __init__(self, machine: Machine, shape: tuple[int, ...], cells: list[Cell | None]) -> None:
        assert math.prod(shape) == len(cells)
        self.machine, self.shape, self.cells = machine, shape, cells

    ndim = property(lambda self: len(self.shape))

    def __array_namespace__(self, api_version: Any = None) -> Any:
        return Namespace

    @staticmethod
    def __fuse__(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        machine = next(x for x in leaves((args, kwargs)) if isinstance(x, Array)).machine
        with machine.step() as result:
            result.append(OWN.get(f.__name__, f)(*args, **kwargs))
        return result[0]

    @staticmethod
    def __operation__(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A primitive of the kit that has no name in NumPy is one step, too."""
        return (Array.__fuse__ if f.__name__ in BACKWARD else lambda f, *given: f(*given[0], **given[1]))(
            f.__wrapped__, args, kwargs
        )

    def at(self, index: tuple[int, ...]) -> Real | None:
        """The element at an index of all dimensions, aligned at the end; where the size is 1, any index will do."""
        flat = 0
        for i, n in zip(index[len(index) - len(self.shape) :], self.shape, strict=True):
            flat = flat * n + (i if n > 1 else 0)
        return self.machine.load(self.cells[flat])

    def sum(self, axis: int | None = None, keepdims: bool = False) -> Array:
        return Namespace.sum(self, axis, keepdims)

    def max(self, axis: int | None = None, keepdims: bool = False) -> Array:
        return Namespace.max(self, axis, keepdims)

    def mean(self, axis: int | None = None, keepdims: bool = False) -> Array:
        """n additions and a division in one step."""
        with self.machine.step() as result:
            out = self.sum(axis, keepdims)
            result.append(out / (len(self.cells) // len(out.cells)))
        return result[0]

    def apply(self, f: Callable[..., Real], *operands: Any) -> Array:
        """A primitive operation, element by element."""
        arrays = [x for x in operands if isinstance(x, Array)]
        shape = np.broadcast_shapes(*(x.shape for x in arrays))
        with self.machine.step() as result:
            indices = product(*map(range, shape))
            loaded = ([x.at(i) if isinstance(x, Array) else x for x in operands] for i in indices)
            values = [None if any(x is None for x in row) else f(*row) for row in loaded]
            result.append(self.machine.make(shape, values, *arrays))
        return result[0]

    def by_rows(
        self, f: Callable[..., list[Real]], axis: int, *weights: Array | None, reduces: bool = False, others: Any = ()
    ) -> Array:
        """An operation that makes a row of numbers out of each row along an axis, or reduces it to one number.

        others : arrays that `f` looks into by itself.
        """
        x = self._walk(self._places().swapaxes(axis, -1))
        *lead, n = x.shape
        with self.machine.step() as result:
            params = [w and [w.at((i,)) for i in range(n)] for w in weights]
            rows = []
            for i in product(*map(range, lead)):
                row = [x.at((*i, j)) for j in range(n)]
                seen = [y for y in row if y is not None]
                new = f(seen, *params) if seen else []
                if reduces:
                    rows.append(new or [None])
                else:  # a row again, in which the hidden ones keep their places
                    numbers = iter(new)
                    rows.append([y and next(numbers) for y in row] if len(seen) < n else new)
            inputs = [x, *filter(None, weights), *others]
            out = self.machine.make((*lead, len(rows[0])), [y for row in rows for y in row], *inputs)
            result.append(out._walk(out._places().swapaxes(axis, -1)))
        return result[0]

    def __matmul__(self, other: Array) -> Array:
        return self.times(other)

    def times(self, other: Array, seen: list[list[bool]] | None = None) -> Array:
        """The matrix product; where it is not `seen`, nothing is computed."""
        a = self.reshape(1, -1) if len(self.shape) == 1 else self
        b = other.reshape(-1, 1) if len(other.shape) == 1 else other
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        (n, inner), m = a.shape[-2:], b.shape[-1]
        before, values = self.machine.counts.flops, []
        with self.machine.step() as result:
            for *i, row, column in product(*map(range, lead), range(n), range(m)):
                left = [a.at((*i, row, k)) for k in range(inner)]  # a query is loaded before it looks for keys
                if seen and not seen[row][column]:
                    values.append(None)
                    continue
                total: Any = Real(0.0, self.machine.counts)
                for k, x in enumerate(left):
                    if x is not None:
                        total = total + x * b.at((*i, k, column))
                values.append(total)
            out = self.machine.make((*lead, n, m), values, a, b)
            out.shape = lead + self.shape[-2:-1] + other.shape[len(other.shape) - 1 :] * (b is other)
            result.append(out)
        self.machine.counts.matmul_flops += self.machine.counts.flops - before
        return result[0]

    # Views.

    def _places(self) -> np.ndarray:
        return np.arange(len(self.cells)).reshape(self.shape)

    def _walk(self, places: np.ndarray) -> Array:
        """The same addresses in another order."""
        return type(self)(self.machine, places.shape, [self.cells[i] for i in places.flat])

    def reshape(self, *shape: Any) -> Array:
        wanted = shape[0] if isinstance(shape[0], tuple) else shape
        return self._walk(self._places().reshape([int(n) for n in wanted]))

    def swapaxes(self, a: int, b: int) -> Array:
        return self._walk(self._places().swapaxes(a, b))

    mT = T = property(lambda self: self.swapaxes(-1, -2))

    def __getitem__(self, index: Any) -> Array:
        return self._walk(self._places()[index])

    def __setitem__(self, index: Any, new: Array) -> None:
        """A step that writes into memory: what it stores are the cells of the part."""
        part = self[index]
        with self.machine.step() as result:
            for i, cell in zip(np.ndindex(part.shape), part.cells, strict=True):
                cell.value = new.at(i).value
                self.machine.made.add(cell)
            result.append(part)

    def numpy(self) -> np.ndarray:
        return np.array([cell.value for cell in self.cells]).reshape(self.shape)


class Indices(Array):
    """An array of integers that say where to read. Arithmetic with them finds addresses, and is not counted."""

    dtype = int

    def apply(self, f: Callable[..., Any], *operands: Any) -> np.ndarray:
        for cell in self.cells:
            self.machine.load(cell)
        return f(*(x.numpy().astype(int) if isinstance(x, Indices) else x for x in operands))


def gather(x: Array, indices: Array, axis: int, once: bool = False) -> Array:
    """The rows at indices that stand in memory, as a step. once : a row is loaded once, not for each index."""
    with x.machine.step() as result:
        for cell in indices.cells:
            x.machine.load(cell)
        places = np.take_along_axis(x._places(), indices.numpy().astype(int), axis)
        there = x.machine.made | x.machine.loaded
        cells = [x.cells[i] for i in places.flat if x.cells[i].width and x.cells[i] not in there]
        x.machine.loaded.update(cells if once else (Cell(0.0, cell.width) for cell in cells))  # or anew each time
        values = [Real(x.cells[i].value, x.machine.counts) for i in places.flat]
        result.append(x.machine.make(places.shape, values, x))
    return result[0]


def choose(where: np.ndarray, one: Any, other: Any) -> Array:
    """One or the other, where the program itself knows which: a view, with constants for what are no addresses."""
    machine = next(x.machine for x in (one, other) if isinstance(x, Array))
    cells = []
    for x in (one, other):
        kept = [*map(constant, x.flat)] if isinstance(x, np.ndarray) else [cell or constant(0.0) for cell in x.cells]
        places = np.arange(len(kept)).reshape(x.shape)
        cells.append([kept[i] for i in np.broadcast_to(places, np.broadcast_shapes(one.shape, other.shape)).flat])
    shape = np.broadcast_shapes(one.shape, other.shape)
    chosen = np.broadcast_to(where, shape).flat
    return Array(machine, shape, [a if first else b for first, a, b in zip(chosen, *cells, strict=True)])


def inside(groups: Indices, experts: int, each: int) -> np.ndarray:
    """Which experts are in one of a row's groups of `each`."""
    chosen = groups.numpy().astype(int)
    return (chosen[..., None] == np.arange(experts) // each).any(axis=-2)


def hide(x: Array, mask: Any, value: float) -> Array:
    """The scores, with a constant where the program knows that they are not seen; what a Causal hides is not there."""
    return choose(mask, x, np.full(x.shape, value)) if isinstance(mask, np.ndarray) else x


def concatenate(arrays: list[Array], axis: int) -> Array:
    """One array of the addresses of several."""
    cells = [cell for x in arrays for cell in x.cells]
    starts = np.cumsum([0, *(len(x.cells) for x in arrays)])
    places = np.concat([start + x._places() for start, x in zip(starts, arrays, strict=False)], axis)
    return Array(arrays[0].machine, (len(cells),), cells)._walk(places)


def joined(arrays: tuple[Array, ...], axis: int = 0) -> Array:
    """A copy of several arrays in one: each number is loaded and stored, and nothing is computed."""
    view = concatenate(list(arrays), axis)
    numbers = [view.machine.load(cell) for cell in view.cells]
    return view.machine.make(view.shape, numbers, *arrays)


class Ranking:
    """The order of each row, of which only the part is made that is asked for."""

    def __init__(self, x: Array) -> None:
        self.x = x

    def __getitem__(self, index: Any) -> Indices:
        def order(row: list[Real]) -> list[Real]:
            for y in row:
                y.counts.flops += 1
            best = sorted(range(len(row)), key=lambda i: -row[i].value)[index[-1]]
            return [Real(i, row[0].counts) for i in best]

        with self.x.machine.step() as result:
            out = self.x.by_rows(order, -1)
            for cell in out.cells:
                cell.width = 8
            result.append(Indices(out.machine, out.shape, out.cells))
        return result[0]


# --- functions of numbers and of rows of numbers -----------------------------------------------------


def exp(x: Real) -> Real:
    x.counts.special += 1
    return x.apply(lambda value: math.exp(value) if value < 709 else math.inf, x)


def sqrt(x: Real) -> Real:
    x.counts.special += 1
    return x.apply(math.sqrt, x)


def tanh(x: Real) -> Real:
    x.counts.special += 1
    return x.apply(math.tanh, x)


def add_up(row: list[Any]) -> Any:
    total: Any = 0.0
    for x in row:
        total = total + x
    return total


def largest(row: list[Any]) -> Any:
    most: Any = -math.inf
    for x in row:
        most = x.apply(max, most, x)
    return most


def softmax(row: list[Real], sink: Real | None = None) -> list[Real]:
    most = max(x.value for x in [*row, sink] if x is not None)  # not counted, as in the lecture
    powers = [exp(Real(x.value - most, x.counts)) for x in row]
    total = add_up(powers)
    if sink is not None:
        total = total + exp(Real(sink.value - most, sink.counts))
    return [power / total for power in powers]


def softmax_of(x: Array, axis: int = -1, sinks: Array | None = None) -> Array:
    """By rows, each with its own sink, which is read again with every row of its head."""
    if sinks is None:
        return x.by_rows(softmax, axis)
    assert axis == -1
    rows = iter(list(product(*map(range, x.shape[:-1]))))
    return x.by_rows(lambda row: softmax(row, sinks.at((*next(rows), 0))), axis, others=[sinks])


def layer_norm(row: list[Real], weight: Any, bias: Any, eps: float) -> list[Real]:
    average = add_up(row) / len(row)
    row = [x - average for x in row]
    spread = sqrt(add_up([x * x for x in row]) / len(row) + eps)
    row = [x / spread for x in row]
    row = row if weight is None else [x * w for x, w in zip(row, weight, strict=True)]
    return row if bias is None else [x + b for x, b in zip(row, bias, strict=True)]


def rms_norm(row: list[Real], weight: Any, eps: float) -> list[Real]:
    root = sqrt(add_up([x * x for x in row]) / len(row) + eps)
    row = [x / root for x in row]
    return row if weight is None else [x * w for x, w in zip(row, weight, strict=True)]


def gelu(x: Real) -> Real:
    return x * 0.5 * (tanh((x + x * x * x * 0.044715) * (2 / math.pi) ** 0.5) + 1)


def reduction(f: Callable[[list[Any]], Any]) -> Callable[..., Array]:
    def reduce(x: Array, axis: int | None = -1, keepdims: bool = False) -> Array:
        if axis is None:
            out = reduce(x.reshape(-1), -1, keepdims)
            return out.reshape((1,) * x.ndim) if keepdims else out
        out, axis = x.by_rows(lambda row: [f(row)], axis, reduces=True), axis % len(x.shape)
        out.shape = out.shape if keepdims else x.shape[:axis] + x.shape[axis + 1 :]
        return out

    return reduce


class Namespace:
    """The primitive functions, as the kit finds them for an `Array`."""

    exp, sqrt, tanh = (staticmethod(lambda x, f=f: x.apply(f, x)) for f in (exp, sqrt, tanh))
    sum, max = staticmethod(reduction(add_up)), staticmethod(reduction(largest))
    argsort = staticmethod(lambda x, axis, descending, stable: Ranking(x))
    take = staticmethod(lambda x, rows, axis: x._walk(x._places().take(rows, axis)))  # the program says which
    take_along_axis, where, flip = (
        staticmethod(gather),
        staticmethod(choose),
        staticmethod(lambda x, axis: x._walk(np.flip(x._places(), axis))),
    )
    asarray, arange = staticmethod(np.asarray), staticmethod(np.arange)
    clip = staticmethod(lambda x, low, high: x.apply(lambda y: y.apply(lambda z: min(max(z, low), high), y), x))
    zeros_like = staticmethod(lambda x: np.zeros(x.shape))
    full_like = staticmethod(lambda x, value: np.full(x.shape, value))
    concat = staticmethod(concatenate)
    sign = staticmethod(lambda x: x.apply(lambda y: y.apply(lambda z: (z > 0) - (z < 0), y), x))
    broadcast_to = staticmethod(lambda x, shape: x._walk(np.broadcast_to(x._places(), shape)))
    astype = staticmethod(lambda x, dtype: x)
    isdtype = staticmethod(lambda dtype, kind: dtype is float and kind == "real floating")


def placed(x: Array, shape: tuple[int, ...], index: Any) -> Array:
    """Zeros, but for x: all of it is stored."""
    values = [Real(0.0, x.machine.counts) for _ in range(math.prod(shape))]
    for place, i in zip(np.arange(len(values)).reshape(shape)[index].flat, np.ndindex(x.shape), strict=True):
        values[place] = x.at(i)
    return x.machine.make(shape, values, x)


def rows_added(x: Array, indices: Array, rows: int, flops: int = 1) -> Array:
    """Row by row, each added to the one that its index names. flops : 0 where a product has added them up already."""
    (*lead, _, m), before = x.shape, x.machine.counts.flops
    sums = {i: Real(0.0, x.machine.counts) for i in np.ndindex(*lead, rows, m)}
    for *i, n in np.ndindex(indices.shape):
        for column in range(m):
            there = (*i, int(indices.at((*i, n)).value), column)
            sums[there] = sums[there] + x.at((*i, n, column))
    if not flops:
        x.machine.counts.flops = before
    return x.machine.make((*lead, rows, m), list(sums.values()), x)


def windows_added(x: Array, rows: int, stride: int, start: int) -> Array:
    """Each row of a window added to the row of the array that it showed; what stuck out is added, and dropped."""
    *lead, _, _, m = x.shape
    sums = {i: Real(0.0, x.machine.counts) for i in np.ndindex(*lead, rows, m)}
    for *i, window, row, column in np.ndindex(x.shape):
        there = (*i, start + window * stride + row, column)
        sums[there] = sums.get(there, Real(0.0, x.machine.counts)) + x.at((*i, window, row, column))
    return x.machine.make((*lead, rows, m), [sums[i] for i in np.ndindex(*lead, rows, m)], x)


def same(a: Array, b: Array) -> Array:
    """1 where two numbers agree: one comparison."""
    return a.apply(lambda x, y: x.apply(operator.eq, x, y), a, b)


BACKWARD = {f.__name__: f for f in (placed, rows_added, windows_added, same)}

OWN: dict[str, Callable[..., Array]] = BACKWARD | {
    "softmax": softmax_of,
    "layer_norm": lambda x, weight=None, bias=None, eps=1e-5: x.by_rows(
        lambda row, w, b: layer_norm(row, w, b, eps), -1, weight, bias
    ),
    "rms_norm": lambda x, weight=None, eps=1e-6: x.by_rows(lambda row, w: rms_norm(row, w, eps), -1, weight),
    "gelu": lambda x: x.apply(gelu, x),
    "silu": lambda x: x.apply(lambda y: y / (exp(-y) + 1), x),
    "_seen_products": lambda a, b, mask: a.times(b, mask.seen(a.shape[-2], b.shape[-1])),
    "hide": hide,
    "_inside": inside,
    "concatenate": joined,
    "_each_row_once": lambda x, indices: gather(x, indices, -2, once=True),
    "relu": lambda x: x.apply(lambda y: y.apply(max, y, 0.0), x),
}
"""The composed functions once more, as loops over numbers."""


def leaves(tree: Any) -> Iterator[Any]:
    """What stands in nested tuples, lists and dictionaries."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, (tuple, list)):
        for item in tree:
            yield from leaves(item)
    else:
        yield tree


def interpret(f: Callable[..., Any], *arrays: np.ndarray, dtype_bytes: Any = 2) -> Counts:
    """Execute `f` on the numbers in `arrays` one by one, and count what was done.

    dtype_bytes : the width of an element in memory, one number for all arrays or one for each.
    """
    machine = Machine()
    widths = dtype_bytes if isinstance(dtype_bytes, (tuple, list)) else [dtype_bytes] * len(arrays)
    inputs = [
        Array(machine, x.shape, [Cell(float(value), width) for value in x.flat])
        for x, width in zip(arrays, widths, strict=True)
    ]
    out = f(*inputs)
    machine.counts.result = tuple(x.numpy() for x in out) if isinstance(out, tuple) else out.numpy()
    return machine.counts
