"""What does an algorithm do to memory? Arrays that know their shape, and the steps that made them.

The lecture writes attention as three lines of array notation and then counts, line by line, the
operations and the bytes. `Tensor` lets the same three lines count themselves: it is an array with a
name, a shape of SymPy expressions and no values, and every operation on it is a `Step`. Run the same
function on NumPy arrays or PyTorch tensors, and it computes.

The rules of the count, which are the lecture's:

* a step reads each distinct array in memory once, and writes its result once;
* views (`.T`, `.mT`, `reshape`, `swapaxes`) are free: they move nothing; of a slice, a step reads that part;
* what a mask hides is neither computed nor stored;
* a multiply-add is 2 FLOPs, a sum of n terms is n, and any elementwise function is 1 per element;
* Python numbers are part of the instruction: reading them costs nothing.

In the manner of a tiny autograd (Karpathy's micrograd): a tensor knows the step that made it, and a
step knows what it reads and writes. There is no list of layers and no base class.
"""

from __future__ import annotations

import functools
import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from itertools import combinations
from numbers import Number
from typing import Any, ClassVar

import sympy
from array_api_compat import array_namespace, device

from .masks import Causal
from .names import check_function, choose, shown
from .sizes import BITS, as_exact, bits_of, bytes_of, check_shape, same_size, shortened, size, whole

ROLES = ("weight", "cache", "activation")
"""What an array is to an algorithm: weights stay from call to call, a cache grows, and all else is an activation."""


def _operator(symbol: str) -> tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]:
    """The methods for `tensor symbol other` and `other symbol tensor`."""

    def apply(a: Any, b: Any) -> Any:
        return matmul(a, b) if symbol == "@" else elementwise(symbol, a, b)

    return apply, lambda self, other: apply(other, self)


class Notation:
    """Operators and methods of arrays, each of them a step: what Tensors share with arrays that are on a tape."""

    _op_priority = 20.0  # SymPy numbers leave the operation to us
    __matmul__, __rmatmul__ = _operator("@")
    __add__, __radd__ = _operator("+")
    __sub__, __rsub__ = _operator("-")
    __mul__, __rmul__ = _operator("*")
    __truediv__, __rtruediv__ = _operator("/")

    def __neg__(self) -> Any:
        return elementwise("neg", self)

    def sum(self, axis: int | None = None, keepdims: bool = False) -> Any:
        """Sum along one axis, or of all elements, as NumPy's arrays have it; a sum of n terms is n FLOPs.

        >>> Tensor("x", (3, 4)).sum(), Tensor("x", (3, 4)).sum(axis=0)
        (sum(x): fp16 (), sum(x): fp16 (4,))
        """
        return reduction("sum", self, axis, keepdims)

    def max(self, axis: int | None = None, keepdims: bool = False) -> Any:
        """Largest element along one axis, or of all; 1 operation per element. (PyTorch's own gives indices as well.)

        >>> Tensor("x", (3, 4)).max(axis=-1, keepdims=True)
        max(x): fp16 (3, 1)
        """
        return reduction("max", self, axis, keepdims)

    def mean(self, axis: int | None = None, keepdims: bool = False) -> Any:
        """Mean along one axis, or of all elements: n adds and one division.

        >>> Tensor("x", (3, 4)).mean().step.flops
        13
        """
        return mean(self, axis, keepdims)


@dataclass(frozen=True, eq=False, repr=False)
class Tensor(Notation):
    """An array in memory: a name, a shape and a dtype, but no values.

    name : how formulas and tables call it.
    shape : sizes, each an int, a symbol or an expression; `()` is a single number.
    dtype : one of "fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "nvfp4", "mxfp4", "int64", "int32", "int8", "int4".
    base : for a view, the array in memory that it looks at; None for an array of its own.
    visible : of masked scores, how many of the last two dimensions' elements exist; None where all do. What is
        expected of many choices at random is a fraction, kept to 128 binary digits.
    pattern : of masked scores, which elements exist: the mask, and how views turned it; None where that is not known.
    whole, cut : for a part of an array, that array, and which part.
    role : "weight", "cache" or "activation"; of a view or a part, its root's. What is computed has the dtype of the
        activations: weights and caches may be stored in another one, and are widened on the way.

    Raises TypeError or ValueError for a size, dtype or role that cannot be, naming it.

    >>> from roofline_kit import symbols
    >>> N, h = symbols("N h")
    >>> Q = Tensor("Q", (N, h))
    >>> Q, Q.size, Q.nbytes
    (Q: fp16 (N, h), N*h, 2*N*h)
    """

    name: str
    shape: tuple[sympy.Expr, ...]
    dtype: str = "fp16"
    base: Tensor | None = None
    visible: sympy.Expr | None = None
    whole: Tensor | None = None
    cut: Any = None
    role: str = "activation"
    pattern: tuple[Any, ...] | None = None
    _made_by: ClassVar[Step | None] = None  # no field, or whoever walks over the fields of a step walks in a circle
    _repeats: ClassVar[Tensor | None] = None  # of a view in which something stands many times, that

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(f"a Tensor needs a name, not {self.name!r}")
        if isinstance(self.shape, (set, frozenset, dict)):
            raise TypeError(f"{self.name}: a shape is a tuple of sizes in their order, not {shown(self.shape)}")
        single = isinstance(self.shape, str) or not hasattr(self.shape, "__iter__")  # N alone is a vector, as in NumPy
        entries: tuple[Any, ...] = (self.shape,) if single else tuple(self.shape)
        object.__setattr__(self, "shape", tuple(size(n, f"{self.name}: size {i}") for i, n in enumerate(entries)))
        object.__setattr__(self, "dtype", choose("dtype", self.dtype, BITS))
        object.__setattr__(self, "visible", shortened(self.visible))
        role = self.role if self.root is self else self.root.role
        object.__setattr__(self, "role", choose("role", role, ROLES))

    @property
    def array(self) -> Tensor:
        """The array in memory that this tensor is, or is a view of."""
        return self if self.base is None else self.base

    @property
    def root(self) -> Tensor:
        """The array in memory that this tensor is, views, or is a part of."""
        return self.array if self.array.whole is None else self.array.whole

    @property
    def step(self) -> Step | None:
        """The step that made it; None for an input."""
        return self.root._made_by

    @property
    def written(self) -> str:
        """Its name as a part of a formula: a view of a sum is (a + b).T."""
        view = self.name[len(self.root.name) :]
        return f"({self.root.name}){view}" if view and _is_infix(self.root.name) else self.name

    def __getstate__(self) -> dict[str, Any]:
        """A copy is an array of its own, without the steps before it, of which there may be thousands."""
        return {name: value for name, value in vars(self).items() if name != "_made_by"}

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> sympy.Expr:
        """Number of elements."""
        return _elements(self.shape, self.visible)

    @property
    def nbytes(self) -> sympy.Expr:
        """Bytes in memory: elements times bytes per element."""
        return bytes_of(self.dtype) * self.size

    def __repr__(self) -> str:
        return f"{self.name}: {self.dtype} ({', '.join(map(str, self.shape))}{',' * (self.ndim == 1)})"

    # Views: another way to look at the same memory, so they cost nothing.

    def view(self, shape: tuple[Any, ...], suffix: str = "") -> Tensor:
        """The same memory in another shape; suffix : what the name gets.

        Raises ValueError for masked scores whose rows and columns would be others.
        """
        in_a_line = self.visible is not None and len(shape) == 1  # of those that exist
        if self.visible is not None and not in_a_line:
            check_shape(f"a view of the masked scores {self}: its rows and columns", tuple(shape[-2:]), self.shape[-2:])
        visible, pattern = (None, None) if in_a_line else (self.visible, self.pattern)
        return Tensor(self.name + suffix, shape, self.dtype, self.array, visible, pattern=pattern)

    def turned(self, how: str) -> Tensor:
        """The same view, which of masked scores turned which of them exist; twice the same way turns it back."""
        before = self.pattern
        if before is None:
            return self
        return replace(self, pattern=before[:-1] if before[-1] == how else (*before, how))

    def repeated(self, shape: tuple[Any, ...]) -> Tensor:
        """A view in a larger shape of as many dimensions, in which it stands many times where its own size is 1."""
        view = self.view(shape)
        object.__setattr__(view, "_repeats", self)
        return view

    @property
    def T(self) -> Tensor:
        """The transpose of a matrix, a free view. For more dimensions use `.mT`."""
        if self.ndim != 2:
            raise ValueError(f".T is for matrices, and {self} has {self.ndim} dimensions; .mT swaps the last two")
        return self.mT

    @property
    def mT(self) -> Tensor:
        """The last two dimensions swapped, a free view."""
        if self.ndim < 2:
            raise ValueError(f".mT needs two dimensions, and {self} has {self.ndim}")
        back = self.name == self.array.name + ".T"
        *lead, rows, columns = self.shape
        name = self.array.name if back else self.name + ".T"
        view = Tensor(name, (*lead, columns, rows), self.dtype, self.array, self.visible, pattern=self.pattern)
        return view.turned("T")

    def swapaxes(self, a: int, b: int) -> Tensor:
        """Dimensions `a` and `b` swapped, a free view."""
        order = list(self.shape)
        a, b = (axis_of(self, axis) for axis in (a, b))
        order[a], order[b] = order[b], order[a]
        view, (first, last) = self.view(tuple(order)), sorted((a - self.ndim, b - self.ndim))
        if last < -2 or first == last:  # of heads, which are masked alike
            return view
        return view.turned("T" if first == -2 else f"swapaxes({first}, {last})")

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in another shape (one size may be -1), a free view: this splits heads.

        Raises ValueError where the number of elements would change.

        >>> from roofline_kit import symbols
        >>> N, H, d = symbols("N H d")
        >>> Tensor("x", (N, H * d)).reshape(N, H, -1).swapaxes(0, 1)
        x: fp16 (H, N, d)
        """
        wanted = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        elements = self.size if len(wanted) == 1 else sympy.Mul(*self.shape)
        rest = elements / sympy.Mul(*(size(n, f"reshape of {self.name}") for n in wanted if n != -1))
        if list(wanted).count(-1) > 1:
            raise ValueError(f"reshape of {self}: only one size can be -1, not {wanted}")
        wanted = tuple((sympy.cancel(rest) if rest.has(sympy.Add) else rest) if n == -1 else n for n in wanted)
        view = self.view(wanted)
        if not same_size(view.size, self.size):
            raise ValueError(f"cannot reshape {self} of {self.size} elements to {view.shape} of {view.size}; try a -1")
        return view

    def __getitem__(self, index: Any) -> Tensor:
        """A part of the array, cut out by slices without a step: a step that reads it reads that part alone.

        Raises TypeError for an index that is no slice, ValueError for a part that is empty or sticks out.

        >>> from roofline_kit import symbols
        >>> N, h = symbols("N h")
        >>> x = Tensor("x", (N, h))
        >>> x[-1:], x[..., : h / 2]
        (x[-1:]: fp16 (1, h), x[..., :h/2]: fp16 (N, h/2))
        """
        given, bounds = self._bounds(index)
        if all(start == 0 and same_size(stop, n) for (start, stop), n in zip(bounds, self.shape, strict=True)):
            return self
        name, shape = self.name + _slices(given), tuple(stop - start for start, stop in bounds)
        if self.visible is not None:
            check_shape(f"a part of the masked scores {self}: its rows and columns", shape[-2:], self.shape[-2:])
        if self._repeats is not None:  # cut first, and then repeated: a part has no more in memory than it repeats
            cuts = zip(self._repeats.shape, bounds, strict=True)
            return self._repeats[tuple(slice(0, 1) if n == 1 else slice(*ends) for n, ends in cuts)].repeated(shape)
        if self.base is not None and not same_size(self.size, self.base.size):
            # Of windows that show rows twice, a part is a view as well: no cut of the array has these elements.
            return replace(self, name=name, shape=shape, cut=(self, *bounds))
        cut = (self.cut if self.base is None else self, *bounds)
        return Tensor(name, shape, self.dtype, None, self.visible, self.root, cut, pattern=self.pattern)

    def _bounds(self, index: Any) -> tuple[tuple[Any, ...], list[tuple[sympy.Expr, sympy.Expr]]]:
        """The slices of an index as they were given, and where they begin and end in each dimension."""
        given = index if isinstance(index, tuple) else (index,)
        rest = (slice(None),) * (self.ndim + (... in given) - len(given))
        at = given.index(...) if ... in given else len(given)
        items = (*given[:at], *rest, *given[at + 1 :])
        if len(items) != self.ndim or not all(isinstance(i, slice) and i.step in (None, 1) for i in items):
            raise TypeError(f"{self} {_NO_VALUES}. Slices such as [:, -1:] cut it, and not {shown(index)}")
        bounds = []
        for i, n in zip(items, self.shape, strict=True):
            given_ends = (0 if i.start is None else i.start, n if i.stop is None else i.stop)
            ends = [as_exact(end, f"{self.name}{_slices(given)}: an end") for end in given_ends]
            start, stop = (n + end if end.is_negative else end for end in ends)
            if (n - stop).is_negative or start.is_negative:
                raise ValueError(f"{_slices(given)} sticks out of {self}")
            bounds.append((start, stop))
        return given, bounds

    @property
    def within(self) -> list[sympy.Expr]:
        """What must be positive for a part to lie within its array, where open sizes leave that open."""
        inside: list[sympy.Expr] = []
        cut = self.cut or self.array.cut
        while cut is not None:
            whole, *bounds = cut  # of a view, of a part, or of the array itself
            if isinstance(whole, Tensor):
                shape, cut = whole.shape, whole.cut or whole.array.cut
            else:
                shape = self.root.shape if whole is None else tuple(stop - start for start, stop in whole[1:])
                cut = whole
            inside += [room + 1 for (start, stop), n in zip(bounds, shape, strict=True) for room in (start, n - stop)]
        return [room for room in inside if not room.is_positive]

    def _no_values(self, *_: Any) -> Any:
        raise TypeError(f"{self} {_NO_VALUES}")

    __bool__ = __iter__ = __float__ = __int__ = _no_values

    # NumPy and PyTorch ask these when one of their functions or arrays meets a Tensor.

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError(f"NumPy cannot compute with {self}, which has no values. {_MIXED}")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **__: Any) -> Any:
        symbol = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}.get(ufunc.__name__)
        if symbol and method == "__call__":  # a NumPy number met us, as in np.float64(2) * x
            return elementwise(symbol, *inputs)
        raise TypeError(f"np.{ufunc.__name__} cannot compute with {self}, which has no values. {_MIXED}")

    def __array_function__(self, function: Any, *_: Any) -> Any:
        raise TypeError(f"np.{function.__name__} cannot compute with {self}, which has no values. {_MIXED}")

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise TypeError(f"torch.{function.__name__} cannot compute with Tensors, which have no values. {_MIXED}")


_NO_VALUES = """has a shape but no values, so Python cannot test it, loop over it, index it or turn it into a \
number. A trace stands for every input at once: what depends on values must be an array operation"""

_MIXED = """Tracing takes Tensors only, running takes arrays only: to trace, describe the array by \
rk.Tensor(name, its shape); to compute, pass arrays for all. Take functions from the kit: rk.exp, not np.exp"""


def _elements(shape: tuple[sympy.Expr, ...], visible: sympy.Expr | None) -> sympy.Expr:
    return sympy.Mul(*shape) if visible is None else sympy.Mul(*shape[:-2], visible)


def _slices(items: tuple[Any, ...]) -> str:
    """Slices as they are written, [..., -1:]."""
    ends = [(x.start, x.stop) if isinstance(x, slice) else x for x in items]
    return f"[{', '.join('...' if x is ... else ':'.join('' if end is None else str(end) for end in x) for x in ends)}]"


def _distinct(reads: list[Tensor]) -> tuple[Tensor, ...]:
    """The parts of memory that are read, each once. Raises ValueError where parts may overlap."""
    parts = {(id(x.root), x.cut): x for x in reads}
    wholes = {root for root, cut in parts if cut is None}
    kept = [x for (root, cut), x in parts.items() if cut is None or root not in wholes]
    for a, b in combinations([x for x in kept if x.cut is not None], 2):
        apart = [
            (start - stop).is_nonnegative
            for (first, last), (begin, end) in zip(a.cut[1:], b.cut[1:], strict=False)
            for start, stop in ((begin, last), (first, end))
        ]
        if a.root is b.root and not (a.cut[0] is b.cut[0] and any(apart)):
            raise ValueError(f"{a.name} and {b.name} may overlap, so what is read is unclear: cut once, and use that")
    return tuple(kept)


def tensors(names: str, shape: Any, dtype: str = "fp16") -> Any:
    """Several input tensors of one shape; names as in `symbols`.

    >>> from roofline_kit import symbols
    >>> N, h = symbols("N h")
    >>> Q, K, V = tensors("Q K V", (N, h))
    >>> V
    V: fp16 (N, h)
    """
    if not isinstance(names, str) or not names.replace(",", " ").split():
        raise TypeError(f"tensors takes names in one string, as in tensors('Q K V', (N, h)), not {shown(names)}")
    made = tuple(Tensor(name, shape, dtype) for name in names.replace(",", " ").split())
    return made if len(made) > 1 or "," in names else made[0]


@dataclass(frozen=True, eq=False)
class Step:
    """One pass over memory: read the operands, compute, write the result.

    operation : what it does, "@", "+", "exp" or the name of a fused function.
    operands : the tensors (views too) and numbers it was written with.
    reads, writes : the distinct arrays in memory that it reads and writes, each once.
    flops : floating-point operations. matmul_flops : those of matrix products among them, which is
        what PyTorch's FlopCounterMode counts, and those of products with a vector, which it leaves out.
    special : how often exp, tanh or a square root is evaluated, each of them 1 of the FLOPs as well.
    count : how often the step is repeated; every quantity includes it.

    >>> from roofline_kit import symbols
    >>> N, h = symbols("N h")
    >>> S = Tensor("Q", (N, h)) @ Tensor("K", (N, h)).T
    >>> S.step.name, S.step.flops, S.step.loads, S.step.stores
    ('Q @ K.T', 2*N**2*h, 4*N*h, 2*N**2)
    """

    operation: str
    operands: tuple[Any, ...]
    reads: tuple[Tensor, ...]
    writes: tuple[Tensor, ...]
    flops: sympy.Expr
    matmul_flops: sympy.Expr = field(default_factory=lambda: sympy.Integer(0))
    sizes: frozenset[sympy.Expr] = frozenset()
    count: sympy.Expr = field(default_factory=lambda: sympy.Integer(1))
    special: sympy.Expr = field(default_factory=lambda: sympy.Integer(0))

    @property
    def name(self) -> str:
        """The step as it was written."""
        return notation(self.operation, [getattr(x, "written", str(x)) for x in self.operands])

    @property
    def loads(self) -> sympy.Expr:
        """Bytes read from memory."""
        return self.count * sympy.Add(*(t.nbytes for t in self.reads))

    @property
    def stores(self) -> sympy.Expr:
        """Bytes written to memory."""
        return self.count * sympy.Add(*(t.nbytes for t in self.writes))

    @property
    def bytes(self) -> sympy.Expr:
        """Bytes moved, loads and stores together."""
        return self.loads + self.stores

    @property
    def accesses(self) -> sympy.Expr:
        """Elements read and written."""
        return self.count * sympy.Add(*(t.size for t in self.reads + self.writes))

    @property
    def intensity(self) -> sympy.Expr:
        """Arithmetic intensity, FLOPs per byte."""
        return factored(self.flops / self.bytes)

    @property
    def amounts(self) -> dict[str, sympy.Expr]:
        """How much it takes of each of the `RESOURCES`, by name.

        >>> from roofline_kit import symbols, softmax
        >>> softmax(Tensor("S", (symbols("N"),))).step.amounts
        {'compute': 3*N, 'matrix': 0, 'vector': 3*N, 'exp': N, 'memory': 4*N}
        """
        rest = self.flops - self.matmul_flops
        return dict(zip(RESOURCES, (self.flops, self.matmul_flops, rest, self.special, self.bytes), strict=True))

    def __mul__(self, times: sympy.Expr) -> Step:
        repeated = {part: times * getattr(self, part) for part in (*COUNTED, "count")}
        return replace(self, **repeated)

    def __repr__(self) -> str:
        return f"Step({self.name}: {self.flops} FLOPs, {self.loads} B read, {self.stores} B written)"


def factored(ratio: sympy.Expr) -> sympy.Expr:
    """A formula as a product; a number as it is, which SymPy would take apart first."""
    return ratio if ratio.is_Rational else sympy.factor(ratio)


RESOURCES = {
    "compute": "FLOP",
    "matrix": "FLOP",
    "vector": "FLOP",
    "exp": "op",
    "memory": "B",
}
"""What a step takes an amount of, and in which unit: "compute" is all FLOPs, as the lecture counts them; "matrix" and
"vector" are those inside and outside of matrix products; "exp" is exp, tanh and square roots; "memory" is bytes."""

COUNTED = (
    "flops",
    "matmul_flops",
    "special",
)  # of what a step computes; its bytes follow from what it reads and writes
SPECIAL = {"exp", "log", "tanh", "sqrt"}  # what a GPU has units of its own for
INFIX = {"@", "+", "-", "*", "/"}
OPERATORS: dict[str, Callable[..., Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "neg": operator.neg,
}  # fmt: skip


def notation(operation: str, operands: list[str], longest: int = 48) -> str:
    """An operation and the names of its operands as one reads it in code; "…" for what gets too long."""
    short = [name if len(name) <= longest else "…" for name in operands]
    if operation in INFIX:
        return f" {operation} ".join(f"({name})" if _is_infix(name) else name for name in short)
    return f"{operation}({', '.join(short)})"


def _is_infix(name: str) -> bool:
    """Whether `name` has an operator outside of a call's parentheses, so that it needs some of its own."""
    if " " not in name:
        return False
    while (rest := re.sub(r"\([^()]*\)", "", name)) != name:
        name = rest
    return " " in name


_recording: ContextVar[list[Step] | None] = ContextVar("recording", default=None)
"""The steps of the trace in progress, if there is one."""


def record(f: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, list[Step]]:
    """Call `f`, and return its result with the steps it took, in the order in which it took them.

    >>> from roofline_kit import exp, symbols
    >>> N = symbols("N")
    >>> out, steps = record(lambda x: exp(x) + 1, Tensor("x", N))
    >>> [step.name for step in steps]
    ['exp(x)', 'exp(x) + 1']
    """
    steps: list[Step] = []
    token = _recording.set(steps)
    try:
        return f(*args, **kwargs), steps
    finally:
        _recording.reset(token)


def note_step(step: Step) -> None:
    """Tell the results of a step, and the trace in progress, about it."""
    for result in step.writes:
        object.__setattr__(result, "_made_by", step)
    recording = _recording.get()
    if recording is not None:
        recording.append(step)


def result_of(
    operation: str, operands: tuple[Any, ...], shape: Any, flops: Any, *, matmul_flops: Any = 0, special: Any = 0,
    dtype: str = "", visible: Any = None, pattern: Any = None, reads: Sequence[Tensor] = (), sizes: Iterable[Any] = (),
) -> Tensor:  # fmt: skip
    """The result of one step, recorded in the trace that is in progress.

    matmul_flops, special : of the step. dtype, visible, pattern : of the result; the widest of the operands' dtypes and
    the pattern of the masked one unless given.
    reads : what it reads, where these are not the operands. sizes : what must be positive besides the shapes.
    """
    inputs = [x for x in operands if isinstance(x, Tensor)]
    if visible is not None and pattern is None:
        pattern = next((x.pattern for x in inputs if x.pattern is not None), None)
    name = notation(operation, [x.written if isinstance(x, Tensor) else str(x) for x in operands])
    out = Tensor(name, shape, dtype or _common_dtype(operation, inputs), visible=visible, pattern=pattern)
    for x in inputs:
        if x.step and not any(x.root is result.root for result in x.step.writes):
            raise ValueError(f"{x} was never stored: the fused {x.step.name} must return it")
    inside = [room for x in inputs for room in x.within]
    read = _distinct(list(reads) or [x.array for x in inputs])
    checked = {n for x in (*inputs, *read, out) for n in x.shape} | {size(n, operation) for n in (*sizes, *inside)}
    counted = {"flops": flops, "matmul_flops": matmul_flops, "special": special}
    exact = {part: sympy.sympify(value) for part, value in counted.items()}
    note_step(Step(operation, operands, read, (out,), sizes=frozenset(checked), **exact))
    return out


def _common_dtype(operation: str, inputs: list[Tensor]) -> str:
    """The dtype of the result: the widest of the activations, and a floating-point one before any integer."""
    deciding = [x for x in inputs if x.role == "activation"] or inputs
    if len({x.dtype for x in deciding}) == 1:
        return deciding[0].dtype
    rank = {x.dtype: (not x.dtype.startswith("int"), bits_of(x.dtype)) for x in deciding}
    widest = sorted(deciding, key=lambda x: rank[x.dtype])[-1]
    for x in deciding:
        if x.dtype != widest.dtype and rank[x.dtype] == rank[widest.dtype]:
            raise ValueError(f"{operation}: {x} and {widest} have dtypes of one width; which should the result have?")
    return widest.dtype


def leaves(tree: Any) -> list[Any]:
    """What stands in nested tuples, lists and dictionaries, in order."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if not isinstance(tree, (tuple, list)):
        return [tree]
    found: list[Any] = []
    for item in tree:
        found += leaves(item) if isinstance(item, (tuple, list, dict)) else (item,)
    return found


def replace_leaves(tree: Any, new: Callable[[Any], Any]) -> Any:
    """The same nested tuples, lists and dictionaries, with something new for each of their `leaves`."""
    if isinstance(tree, dict):
        return {key: replace_leaves(item, new) for key, item in tree.items()}
    if isinstance(tree, (tuple, list)):
        items = [replace_leaves(item, new) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    return new(tree)


def _owner(method: str, items: Iterable[Any]) -> Any:
    """That method of the class of one of the arrays among nested items, where one has it."""
    for x in items:
        if isinstance(x, (tuple, list, dict)):
            if found := _owner(method, x.values() if isinstance(x, dict) else x):
                return found
        elif hasattr(type(x), method):
            return getattr(type(x), method)
    return None


def primitive(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f`, an operation that a class of arrays may take over: one that has `__operation__(f, args, kwargs)`."""

    @functools.wraps(f)
    def operation(*args: Any, **kwargs: Any) -> Any:
        owner = _owner("__operation__", (*args, *kwargs.values()))
        return owner(operation, args, kwargs) if owner else f(*args, **kwargs)

    return operation


def discrete(f: Callable[..., Any]) -> Callable[..., Any]:
    """A primitive that decides something: its result stays the same for small changes, and so has no gradient."""
    f.__dict__["discrete"] = True
    return primitive(f)


def fuse(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f` as one step: it reads its inputs once, writes its results once, and keeps the rest on chip.

    FLOPs stay the same; bytes can only fall. Arrays pass through: `f` computes as before. A class of
    arrays may define `__fuse__(f, args, kwargs)` to be told where a fused step begins and ends.

    Raises TypeError for what is no function.

    >>> from roofline_kit import exp, symbols
    >>> N = symbols("N")
    >>> y = fuse(lambda x: exp(x) * x + 1)(Tensor("x", N))
    >>> y.step.flops, y.step.loads, y.step.stores
    (3*N, 2*N, 2*N)
    """
    check_function("fuse(f)", f)

    @functools.wraps(f)
    def fused(*args: Any, **kwargs: Any) -> Any:
        owner = _owner("__fuse__", (*args, *kwargs.values()))
        return owner(f, args, kwargs) if owner else _fuse_steps(f, args, kwargs)

    fused.__dict__["one_step"] = True
    return fused


def _fuse_steps(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    out, steps = record(f, *args, **kwargs)
    if not steps:
        return out  # arrays were computed, or nothing was done
    if any(step.operation == "store" or step.count != 1 for step in steps):
        raise ValueError("store and tiled are steps of their own, and cannot be a part of a fused one")
    on_chip = {id(t) for step in steps for t in step.writes}
    read = _distinct([t for step in steps for t in step.reads if id(t.root) not in on_chip])
    operation = getattr(f, "__name__", type(f).__name__).replace("<lambda>", "fused")
    operands = tuple(x for x in leaves((args, kwargs)) if isinstance(x, Tensor))
    name = notation(operation, [x.written for x in operands])

    # By the array or part that they are (a view of): what is returned twice is written once.
    made_here = [x.array for x in leaves(out) if isinstance(x, Tensor) and id(x.root) in on_chip]
    results = {
        (id(x.root), x.cut): Tensor(name, x.shape, x.dtype, visible=x.visible, pattern=x.pattern)
        for x in _distinct(made_here)
    }
    counted = {part: sympy.Add(*(getattr(step, part) for step in steps)) for part in COUNTED}
    sizes = frozenset[sympy.Expr]().union(*(step.sizes for step in steps))
    whole = Step(operation, operands, read, tuple(results.values()), sizes=sizes, **counted)
    for inner in (t for step in steps for t in step.writes):
        object.__setattr__(inner, "_made_by", whole)
    note_step(whole)

    def stored(x: Any) -> Any:
        if not isinstance(x, Tensor) or id(x.root) not in on_chip:
            return x
        if x._repeats is not None:
            return stored(x._repeats).repeated(x.shape)
        array = results.get((id(x.root), x.array.cut))
        if array is None:  # a part of what is stored as a whole
            array = replace(x.array, name=name + x.array.name[len(x.root.name) :], whole=results[id(x.root), None])
        return array if x.base is None else replace(x, name=array.name + x.name[len(x.array.name) :], base=array)

    return replace_leaves(out, stored)


def tiled(f: Callable[..., Any], rows: Any) -> Callable[..., Any]:
    """`f` for one tile of its first argument's rows after the other; the other arguments are read anew each time.

    f : a function of arrays whose first has shape (..., n, m), and whose result has a row for each of
    its rows. rows : how many rows a tile has; a trace needs a number that divides n.

    Raises TypeError for what is no function, and as `size` does; a call raises ValueError where the tiles do not fit.

    >>> from roofline_kit import symbols
    >>> N, d, B = symbols("N d B")
    >>> by_tiles = tiled(fuse(lambda Q, K: Q @ K.T), B)
    >>> _, (step,) = record(by_tiles, *tensors("Q K", (N, d)))
    >>> sympy.expand(step.loads)
    2*N*d + 2*N**2*d/B
    """
    check_function("tiled(f, rows)", f)
    rows = size(rows, f"tiles of {rows} rows: the number")

    @primitive
    def by_tiles(x: Any, *others: Any) -> Any:
        if len(x.shape) < 2:
            raise ValueError(f"tiled goes over rows, and {tuple(x.shape)} has none; reshape(-1, 1) makes rows")
        n = x.shape[-2]
        if not tracing("tiled", x, *others):
            tiles = [f(x[..., i : i + int(rows), :], *others) for i in range(0, n, int(rows))]
            return array_namespace(*tiles).concat(tiles, axis=-2)
        times = size(n / rows, f"the number of tiles of {rows} rows in {x}")
        if times == 1:
            return f(x, *others)
        out, steps = record(f, x[..., :rows, :], *others)
        if getattr(out, "shape", ())[-2:-1] != (rows,) or out.visible is not None:
            raise ValueError(f"tiled: the result must have a row for each of the {rows} rows of a tile, not be {out}")
        for step in steps:
            note_step(step * times)
        return Tensor(out.name, (*out.shape[:-2], n, out.shape[-1]), out.dtype)

    by_tiles.__dict__["tile"] = (f, rows)  # for a backward pass, which goes by tiles as well
    return by_tiles


def _is_scalar(x: Any) -> bool:
    return isinstance(x, (Number, sympy.Expr)) and not isinstance(x, bool)


def tracing(operation: str, *operands: Any) -> bool:
    """Whether to trace (all Tensors) or to compute (all arrays); mixtures are refused."""
    traced = [x for x in operands if isinstance(x, Tensor)]
    others = [x for x in operands if not isinstance(x, Tensor) and not _is_scalar(x)]
    if traced and others:
        kind = f"{type(others[0]).__module__}.{type(others[0]).__name__}"
        raise TypeError(f"{operation} mixes the Tensor {traced[0]} with a {kind}. {_MIXED}")
    return bool(traced)


def axis_of(x: Tensor, axis: Any) -> int:
    """`axis` of `x` counted from the front."""
    number = whole(axis)
    if number is None or not -x.ndim <= number < x.ndim:
        raise ValueError(f"axis {axis!r} does not exist in {x}")
    return number % x.ndim


def _broadcast(operation: str, inputs: list[Tensor], shapes: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    """NumPy's broadcasting: align at the end; sizes must be equal, or one of them 1."""
    out: list[Any] = []
    for i in range(1, 1 + max(len(shape) for shape in shapes)):
        wide = [shape[-i] for shape in shapes if len(shape) >= i and shape[-i] != 1]
        if any(not same_size(n, wide[0]) for n in wide[1:]):
            names, sizes = (" and ".join(map(str, items)) for items in (inputs, dict.fromkeys(wide)))
            raise ValueError(f"{operation}: the shapes of {names} do not match: {sizes} cannot be broadcast")
        out.insert(0, wide[0] if wide else sympy.Integer(1))
    return tuple(out)


@primitive
def elementwise(operation: str, *operands: Any, flops: int = 1) -> Any:
    """One step that costs `flops` per element of its result."""
    if not tracing(operation, *operands):
        computes = OPERATORS.get(operation) or getattr(array_namespace(*operands), operation)
        return computes(*operands)
    inputs = [x for x in operands if isinstance(x, Tensor)]
    shape = _broadcast(operation, inputs, [x.shape for x in inputs])
    masks = [x.visible for x in inputs if x.visible is not None]
    patterns = {x.pattern for x in inputs if x.pattern is not None}
    for x in inputs:
        one_line = x.visible is None and (x.ndim < 2 or 1 in x.shape[-2:])
        if masks and x.visible != masks[0] and not one_line:
            raise ValueError(
                f"{operation}: {x} meets masked scores; only numbers, columns, rows or the like of them may"
            )
        if x.visible is not None:
            check_shape(f"{operation}: the masked scores {x} among {shape}", x.shape[-2:], shape[-2:])
    if len(patterns) > 1:
        raise ValueError(f"{operation}: {' and '.join(map(str, inputs))} are masked differently")
    visible = masks[0] if masks else None
    elements = _elements(shape, visible)
    special = elements if operation in SPECIAL else 0
    return result_of(operation, operands, shape, flops * elements, special=special, visible=visible)


@primitive
def reduction(operation: str, x: Any, axis: int | None, keepdims: bool = False) -> Any:
    """One step that combines the elements along `axis`, or all: 1 operation for each element read."""
    if axis is None:
        out = reduction(operation, x.reshape(-1), -1)
        return out.reshape((1,) * len(x.shape)) if keepdims else out
    if not tracing(operation, x):
        return getattr(array_namespace(x), operation)(x, axis=axis, keepdims=keepdims)
    axis = axis_of(x, axis)
    shape = x.shape[:axis] + (1,) * keepdims + x.shape[axis + 1 :]
    if x.visible is not None and axis == x.ndim - 2:
        raise ValueError(f"{operation}: masked scores such as {x} are combined along their rows, not their columns")
    return result_of(operation, (x,), shape, x.size, visible=x.visible if axis < x.ndim - 2 else None)


@primitive
def matmul(a: Any, b: Any, mask: Causal | None = None) -> Any:
    """The matrix product a @ b, with NumPy's broadcasting on leading dimensions.

    (..., n, k) @ (..., k, m) costs 2·n·k·m FLOPs for each of the broadcast leading elements
    [gemm-flops]: a multiply-add is 2 FLOPs. Vectors work as in NumPy. With a mask, n are queries and m
    keys, and the products that the mask hides are not computed; on arrays they are -inf.

    Raises ValueError with both shapes where the inner sizes differ.

    >>> from roofline_kit import symbols
    >>> N, K, M = symbols("N K M")
    >>> matmul(Tensor("X", (N, K)), Tensor("W", (K, M))).step.flops
    2*K*M*N
    """
    if not isinstance(mask, Causal | None):
        raise TypeError(f"matmul: the mask is {mask!r}; it must be a Causal, or None")
    if not tracing("matmul", a, b):
        return a @ b if mask is None else _seen_products(a, b, mask)
    if not all(isinstance(x, Tensor) and x.ndim > (mask is not None) for x in (a, b)):
        raise TypeError(f"matmul multiplies matrices and (without a mask) vectors, not a single number: {a} and {b}")
    rows, cols = a.shape[-2:-1], b.shape[-1:] if b.ndim > 1 else ()
    inner, other = a.shape[-1], b.shape[-2] if b.ndim > 1 else b.shape[0]
    if not same_size(inner, other):
        fits = b.ndim > 1 and same_size(inner, b.shape[-1])
        hint = f"; {a.name} @ {b.name}.{'T' if b.ndim == 2 else 'mT'} would fit" if fits else ""
        raise ValueError(f"matmul: the shapes of {a} and {b} do not match: {inner} is not {other}{hint}")
    lead = _broadcast("matmul", [a, b], [a.shape[:-2], b.shape[:-2]])
    shape = lead + rows + cols
    if b.visible is not None or (a.visible is not None and mask is not None):
        raise ValueError(f"matmul: masked scores such as {b if b.visible is not None else a} stand on the left, once")
    visible, context = mask.counts(a.shape[-2], b.shape[-1]) if mask else (None, ())
    pattern = (mask,) if mask else None
    flops = 2 * inner * _elements(shape, visible)
    if a.visible is not None:  # of masked scores, also transposed, each element that exists meets each column
        flops = 2 * a.size * sympy.Mul(*lead, *cols) / sympy.Mul(*a.shape[:-2])
    return result_of("@", (a, b), shape, flops, matmul_flops=flops, visible=visible, pattern=pattern, sizes=context)


@fuse
def _seen_products(a: Any, b: Any, mask: Causal) -> Any:
    """a @ b of arrays, with -inf where the mask hides it."""
    products, xp = a @ b, array_namespace(a, b)
    seen = xp.asarray(mask.seen(*products.shape[-2:]), device=device(products))
    hidden = xp.where(xp.any(seen, axis=-1, keepdims=True), -math.inf, 0.0)
    return xp.where(seen, products, xp.astype(hidden, products.dtype))


@fuse
def mean(x: Any, axis: int | None = -1, keepdims: bool = False) -> Any:
    """Mean along one axis, or of all elements with axis=None: n adds and one division.

    >>> from roofline_kit import symbols
    >>> N, h = symbols("N h")
    >>> mean(Tensor("x", (N, h))).step.flops
    N*h + N
    """
    total = reduction("sum", x, axis, keepdims)
    return total / (math.prod(x.shape) if axis is None else x.shape[axis])
