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


class Machine:
    """A chip and its memory. The rules, which are the lecture's:

    * Within one step, each address is loaded when it is first needed, and not again.
    * A step is one primitive operation, or one whole function that was fused.
    * At the end of a step, each address of its result that it made is stored, once. What else it made
      never left the chip: it is neither stored nor loaded.
    * Views are other ways to walk over the same addresses: they do nothing.
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
            stored = {cell for x in leaves(result) for cell in x.cells} & self.made
            self.counts.loads += sum(cell.width for cell in self.loaded)
            self.counts.stores += sum(cell.width for cell in stored)
            self.counts.accesses += len(self.loaded) + len(stored)
            self.loaded, self.made = set(), set()

    def load(self, cell: Cell) -> Real:
        if cell not in self.made:
            self.loaded.add(cell)
        return Real(cell.value, self.counts)

    def make(self, shape: tuple[int, ...], values: list[Any], *inputs: Array) -> Array:
        """A new array, whose elements are as wide as the widest of the inputs."""
        width = max(cell.width for x in inputs for cell in x.cells)
        cells = [Cell(x.value, width) for x in values]
        self.made.update(cells)
        return Array(self, shape, cells)


@arithmetic
class Array:
    """A shape, and the addresses of the elements in row-major order."""

    def __init__(self, machine: Machine, shape: tuple[int, ...], cells: list[Cell]) -> None:
        assert math.prod(shape) == len(cells)
        self.machine, self.shape, self.cells = machine, shape, cells

    def __array_namespace__(self, api_version: Any = None) -> Any:
        return Namespace

    @staticmethod
    def __fuse__(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        machine = next(x for x in leaves((args, kwargs)) if isinstance(x, Array)).machine
        with machine.step() as result:
            result.append(OWN.get(f.__name__, f)(*args, **kwargs))
        return result[0]

    def __getitem__(self, index: tuple[int, ...]) -> Real:
        """The element at an index of all dimensions, aligned at the end; where the size is 1, any index will do."""
        flat = 0
        for i, n in zip(index[len(index) - len(self.shape) :], self.shape, strict=True):
            flat = flat * n + (i if n > 1 else 0)
        return self.machine.load(self.cells[flat])

    def apply(self, f: Callable[..., Real], *operands: Any) -> Array:
        """A primitive operation, element by element."""
        arrays = [x for x in operands if isinstance(x, Array)]
        shape = np.broadcast_shapes(*(x.shape for x in arrays))
        with self.machine.step() as result:
            indices = product(*map(range, shape))
            values = [f(*(x[i] if isinstance(x, Array) else x for x in operands)) for i in indices]
            result.append(self.machine.make(shape, values, *arrays))
        return result[0]

    def by_rows(self, f: Callable[..., list[Real]], axis: int, *weights: Array | None) -> Array:
        """An operation that makes a row of numbers out of each row along an axis."""
        x = self.swapaxes(axis, -1)
        *lead, n = x.shape
        with self.machine.step() as result:
            params = [w and [w[i,] for i in range(n)] for w in weights]
            rows = [f([x[*i, j] for j in range(n)], *params) for i in product(*map(range, lead))]
            out = self.machine.make((*lead, len(rows[0])), [y for row in rows for y in row], x, *filter(None, weights))
            result.append(out.swapaxes(axis, -1))
        return result[0]

    def __matmul__(self, other: Array) -> Array:
        a = self.reshape(1, -1) if len(self.shape) == 1 else self
        b = other.reshape(-1, 1) if len(other.shape) == 1 else other
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        (n, inner), m = a.shape[-2:], b.shape[-1]
        before, values = self.machine.counts.flops, []
        with self.machine.step() as result:
            for *i, row, column in product(*map(range, lead), range(n), range(m)):
                total: Any = 0.0
                for k in range(inner):
                    total = total + a[*i, row, k] * b[*i, k, column]
                values.append(total)
            out = self.machine.make((*lead, n, m), values, a, b)
            result.append(out.reshape(lead + self.shape[-2:-1] + other.shape[len(other.shape) - 1 :] * (b is other)))
        self.machine.counts.matmul_flops += self.machine.counts.flops - before
        return result[0]

    # Views.

    def reshape(self, *shape: Any) -> Array:
        wanted = shape[0] if isinstance(shape[0], tuple) else shape
        known = math.prod(n for n in wanted if n != -1)
        return Array(self.machine, tuple(len(self.cells) // known if n == -1 else n for n in wanted), self.cells)

    def swapaxes(self, a: int, b: int) -> Array:
        places = np.arange(len(self.cells)).reshape(self.shape).swapaxes(a, b)
        return Array(self.machine, places.shape, [self.cells[i] for i in places.flat])

    mT = T = property(lambda self: self.swapaxes(-1, -2))

    def numpy(self) -> np.ndarray:
        return np.array([cell.value for cell in self.cells]).reshape(self.shape)


# --- functions of numbers and of rows of numbers -----------------------------------------------------


def exp(x: Real) -> Real:
    return x.apply(lambda value: math.exp(value) if value < 709 else math.inf, x)


def sqrt(x: Real) -> Real:
    return x.apply(math.sqrt, x)


def tanh(x: Real) -> Real:
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


def softmax(row: list[Real]) -> list[Real]:
    most = max(x.value for x in row)  # not counted, as in the lecture
    powers = [exp(Real(x.value - most, x.counts)) for x in row]
    total = add_up(powers)
    return [power / total for power in powers]


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
    def reduce(x: Array, axis: int = -1, keepdims: bool = False) -> Array:
        out, axis = x.by_rows(lambda row: [f(row)], axis), axis % len(x.shape)
        return out if keepdims else out.reshape(x.shape[:axis] + x.shape[axis + 1 :])

    return reduce


class Namespace:
    """The primitive functions, as the kit finds them for an `Array`."""

    exp, sqrt, tanh = (staticmethod(lambda x, f=f: x.apply(f, x)) for f in (exp, sqrt, tanh))
    sum, max = staticmethod(reduction(add_up)), staticmethod(reduction(largest))


OWN: dict[str, Callable[..., Array]] = {
    "softmax": lambda x, axis=-1: x.by_rows(softmax, axis),
    "layer_norm": lambda x, weight=None, bias=None, eps=1e-5: x.by_rows(
        lambda row, w, b: layer_norm(row, w, b, eps), -1, weight, bias
    ),
    "rms_norm": lambda x, weight=None, eps=1e-6: x.by_rows(lambda row, w: rms_norm(row, w, eps), -1, weight),
    "gelu": lambda x: x.apply(gelu, x),
    "silu": lambda x: x.apply(lambda y: y / (exp(-y) + 1), x),
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
