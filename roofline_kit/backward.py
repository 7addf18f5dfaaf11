"""What does training cost? The reverse pass of an algorithm, derived from it, and written in the same operations.

Backpropagation, as a tiny autograd has it (Karpathy's micrograd): `f` is called with arrays on a tape, which keeps what
was done to them. Then, from the last operation to the first, the gradient of a result becomes the gradients of its
operands, by the operation's derivative, which stands in the table `DERIVATIVES`. An array on a tape may be anything
that the kit computes with, a Tensor too: so a backward pass can be traced, run and timed like any other algorithm.

A fused step keeps only what it read, and computes the rest once more, on chip; `checkpoint` does so step by step.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import signature, unwrap
from typing import Any

import sympy
from array_api_compat import array_namespace, device

from .cost import Cost
from .derivatives import DERIVATIVES, part, reshape, sum_to, swapaxes, transposed
from .ops import store
from .tensor import (
    Notation,
    Tensor,
    elementwise,
    fuse,
    leaves,
    note_step,
    primitive,
    record,
    reduction,
    replace_leaves,
    result_of,
)

# --- what one calls -----------------------------------------------------------------------------------


def backward(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f` and the gradients of its result, as one algorithm: the forward pass, and then its steps in reverse.

    It takes what `f` takes, and `gradient`, that of what comes after with respect to the result, in the result's shape.
    A result that is a single number, a loss, needs none; nor does a trace. It returns the result, and a tuple with the
    gradients of each positional argument, in the same lists and dictionaries; None for what is no array, and for an
    array that the result does not depend on. Keyword arguments, and arrays that `f` finds elsewhere, are constants:
    token ids, say, and frozen weights.

    Raises TypeError for integers among the positional arrays; ValueError for a result that is no single array, or no
    number where no gradient is given, for a step without a derivative, and where `store` changed what is still needed.

    >>> from roofline_kit import symbols, trace
    >>> N, K, M = symbols("N K M")
    >>> cost = trace(backward(lambda X, W: X @ W), Tensor("X", (N, K)), Tensor("W", (K, M)))
    >>> cost.names(), cost.flops
    (['① X @ W', '② gradient @ W.T', '③ X.T @ gradient'], 6*K*M*N)
    """

    @functools.wraps(f)
    def both(*args: Any, gradient: Any = None, **kwargs: Any) -> Any:
        result, reverse = _forward(f, args, kwargs, gradient)
        return result, reverse()

    both.__name__ = f"{_title(f)} and backward"
    return both


@dataclass(frozen=True)
class Passes:
    """A forward and a backward pass apart: the Cost of each, and the arrays that are kept from one to the other.

    saved : what the backward pass reads and did not make, but for weights and the gradient that it begins with.

    >>> from roofline_kit import exp, symbols
    >>> passes(exp, Tensor("x", symbols("N"))).saved_bytes
    2*N
    """

    forward: Cost
    backward: Cost
    saved: tuple[Tensor, ...]

    @property
    def saved_bytes(self) -> sympy.Expr:
        """Bytes of the arrays that are kept."""
        return sympy.Add(*(x.nbytes for x in self.saved))


def passes(f: Callable[..., Any], *args: Any, gradient: Tensor | None = None, **kwargs: Any) -> Passes:
    """The forward and the backward pass of `f`, traced; args, kwargs and what it raises are those of `backward`.

    >>> from roofline_kit import attention, symbols, tensors
    >>> both = passes(attention, *tensors("Q K V", symbols("N h")))
    >>> [x.name for x in both.saved], both.backward.matmul_flops / both.forward.matmul_flops
    (['V', 'softmax(Q @ K.T)', 'K', 'Q'], 2)
    """
    (_, reverse), steps = record(_forward, f, args, kwargs, gradient)
    _, back = record(reverse)
    made = {id(x) for step in back for x in step.writes}
    kept = {id(x.root): x.root for step in back for x in step.reads if id(x.root) not in made}
    seed = reverse.keywords["seed"]
    saved = tuple(x for x in kept.values() if x.role != "weight" and x is not seed.root)
    return Passes(Cost(tuple(steps), _title(f)), Cost(tuple(back), f"{_title(f)}, backward"), saved)


def checkpoint(f: Callable[..., Any], early_stop: bool = True) -> Callable[..., Any]:
    """`f`, of which a backward pass keeps the inputs only: before its own steps in reverse, it takes them once more.

    early_stop : of the steps that are taken again, only those that are needed, as PyTorch has it by default: the last
    product of a layer is not. False: all of them (PyTorch's reentrant checkpoints). Nothing else about `f` changes.

    Chen et al., "Training deep nets with sublinear memory cost", arXiv 1604.06174.

    >>> from roofline_kit import attention, symbols, tensors
    >>> both = passes(checkpoint(attention), *tensors("Q K V", symbols("N h")))
    >>> [x.name for x in both.saved], both.backward.matmul_flops / both.forward.matmul_flops
    (['V', 'Q', 'K'], 5/2)
    """

    @functools.wraps(f)
    def again(*args: Any, **kwargs: Any) -> Any:
        return f(*args, **kwargs)

    again.__dict__["again"] = (f, early_stop)
    return primitive(again)


# --- the tape -----------------------------------------------------------------------------------------


class Tape:
    """The operations of a forward pass in their order, each an `Entry`.

    late : results are computed when they are asked for, and what nobody needs is never computed. on_chip : all of it is
    part of one fused step already, and what is fused within is no step of its own.
    """

    numbers = itertools.count()

    def __init__(self, late: bool = False, on_chip: bool = False) -> None:
        self.late, self.on_chip, self.number = late, on_chip, next(self.numbers)
        self.entries: list[Entry] = []
        self.changed: dict[Any, int] = {}  # memory that `store` wrote to: how many entries there were then

    def reverse(self, found: dict[int, Any], wanted: list[Taped]) -> list[Any]:
        """Gradients of the wanted arrays. found : those of results, by the id of the array on the tape."""
        for entry in reversed(self.entries):
            if any(id(x) in found for x in entry.results):
                for x, g in entry.back(found):
                    if g is not None:
                        found[id(x)] = g if id(x) not in found else found[id(x)] + g
        return [found.get(id(x)) for x in wanted]


class Taped(Notation):
    """An array on a tape: it can do what arrays can, and each operation becomes an entry."""

    def __init__(self, tape: Tape, value: Any = None, entry: Entry | None = None, age: int | None = None) -> None:
        self.tape, self.entry, self._value = tape, entry, value
        self.age = len(tape.entries) if age is None else age

    @property
    def value(self) -> Any:
        """The array itself, computed now where that was put off. Raises ValueError where `store` has changed it."""
        if self._value is None and self.entry is not None:
            self._value = self.entry.compute()
        if self.tape.changed and self.tape.changed.get(_memory(self._value), -1) > self.age:
            raise ValueError(
                f"{_name(self._value)} was changed by store, and its old values are needed: store into a copy of it, "
                "and go on with what store returns"
            )
        return self._value

    @property
    def shape(self) -> Any:
        """Its shape; where computing it was put off, that of a trace."""
        if self._value is None and self.entry is not None:
            return tuple(int(n) if n.is_Integer else n for n in self.entry.described.shape)
        return getattr(self._value, "shape", ())

    @property
    def visible(self) -> Any:
        """Of masked scores in a trace, how many exist."""
        return getattr(getattr(self._described, "array", None), "visible", None)

    @property
    def _described(self) -> Any:
        return self.entry.described if self._value is None and self.entry is not None else self._value

    def __iter__(self) -> Iterator[Any]:
        if self.entry is None or not isinstance(self.value, tuple):
            raise TypeError("an array on a tape has no values that Python could loop over")
        self.entry.out = tuple(Taped(self.tape, x) if _is_floating(x) else x for x in self.value)
        return iter(self.entry.out)

    ndim = property(lambda self: len(self.shape))
    dtype = property(lambda self: self.value.dtype)
    device = property(lambda self: device(self.value))
    mT = T = property(lambda self: transposed(self))

    def reshape(self, *shape: Any) -> Any:
        """The same elements in another shape."""
        return reshape(self, tuple(shape[0]) if isinstance(shape[0], (tuple, list)) else shape)

    def swapaxes(self, a: int, b: int) -> Any:
        """Two dimensions swapped."""
        return swapaxes(self, a, b)

    def __getitem__(self, index: Any) -> Any:
        return part(self, index)

    def __array_namespace__(self, api_version: Any = None) -> Any:
        return array_namespace(self.value)

    def _unknown(self, function: Any, *_: Any, **__: Any) -> Any:
        name = getattr(function, "__name__", function)
        raise TypeError(f"{name} has no derivative here: take functions of the kit, as rk.exp and not np.exp")

    __array_ufunc__ = __array_function__ = _unknown

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return cls._unknown(function, function)

    # What `primitive` and `fuse` call.

    @staticmethod
    def __operation__(f: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        return Entry(f, args, kwargs).done()

    @staticmethod
    def __fuse__(f: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if f not in DERIVATIVES and innermost(args, kwargs).on_chip:
            return f(*args, **kwargs)
        return Entry(fuse(f), args, kwargs, fused=True).done()


def innermost(*trees: Any) -> Tape:
    """The tape that was begun last, of those that arrays are on: a backward pass of a backward pass has two."""
    return max((x.tape for x in leaves(trees) if isinstance(x, Taped)), key=lambda tape: tape.number)


class Entry:
    """One operation on a tape: what it took, what it gave, and how a gradient goes back.

    f : the operation. args, kwargs : what it took; arrays on this tape are Taped. out : what it gave.
    """

    f: Any
    out: Any = None

    def __init__(self, f: Callable[..., Any], args: Any, kwargs: Any, fused: bool = False) -> None:
        self.f, self.args, self.kwargs, self.fused = f, args, kwargs, fused
        self.tape = innermost(args, kwargs)
        self.age = len(self.tape.entries)
        for x in leaves((args, kwargs)) if self.tape.changed else ():
            if not self.is_mine(x) and _memory(x) in self.tape.changed:
                raise ValueError(f"{_name(x)} was changed by store: go on with what store returns")

    def is_mine(self, x: Any) -> bool:
        """Whether x is on this tape."""
        return isinstance(x, Taped) and x.tape is self.tape

    def constant(self, x: Any) -> Any:
        """x as if it were on the tape, if it is not."""
        return x if self.is_mine(x) else Taped(self.tape, x, age=self.age)

    def compute(self) -> Any:
        """The operation, carried out on the arrays themselves."""
        args, kwargs = replace_leaves((self.args, self.kwargs), lambda x: x.value if self.is_mine(x) else x)
        return self.f(*args, **kwargs)

    @functools.cached_property
    def described(self) -> Any:
        """The result without its values, read off a trace, which computes nothing."""

        def as_tensor(x: Any) -> Any:
            x = x._described if isinstance(x, Taped) else x
            dtype = x.dtype if isinstance(x, Tensor) else "fp16"  # of arrays, it does not matter here
            return Tensor("x", tuple(x.shape), dtype, visible=getattr(x, "visible", None)) if _is_array(x) else x

        args, kwargs = replace_leaves((self.args, self.kwargs), as_tensor)
        out, _ = record(self.f, *args, **kwargs)
        return out

    def done(self) -> Any:
        """What the operation gives: an array on the tape, or several; what is discrete, as it is."""
        if self.tape.late:
            self.tape.entries.append(self)
            self.out = Taped(self.tape, None, self)
            return self.out
        value = self.compute()
        if hasattr(self.f, "discrete"):
            return value
        self.tape.entries.append(self)
        if unwrap(self.f) is unwrap(store):
            self.tape.changed[_memory(value)] = len(self.tape.entries)
        self.out = replace_leaves(value, lambda x: Taped(self.tape, x) if _is_floating(x) else x)
        return self.out

    @property
    def results(self) -> list[Taped]:
        """The arrays on the tape that it gave."""
        return [x for x in leaves(self.out) if isinstance(x, Taped)]

    def back(self, found: dict[int, Any]) -> Iterator[tuple[Taped, Any]]:
        """The operands that are on this tape, each with its gradient. found : gradients by the id of the array."""
        f = unwrap(self.f)
        key = self.args[0] if f in (unwrap(elementwise), unwrap(reduction)) else f
        if key in DERIVATIVES:
            return self.by_rule(DERIVATIVES[key], found[id(self.out)])
        if self.fused or hasattr(self.f, "again"):
            return self.once_more([found.get(id(x)) for x in leaves(self.out)])
        if hasattr(self.f, "tile"):
            tile, rows = self.f.tile
            return self.by_tiles(tile, rows, found[id(self.out)])
        if hasattr(self.f, "discrete"):
            return iter(())
        raise ValueError(f"{key if isinstance(key, str) else key.__name__} has no known derivative")

    def by_rule(self, rules: tuple[Any, ...], g: Any) -> Iterator[tuple[Taped, Any]]:
        """By a row of the table: for each operand a function of the result's gradient, the result and the operands."""
        bound = _signature(self.f).bind(*self.args, **self.kwargs)
        bound.apply_defaults()
        operands = bound.args[1:] if isinstance(bound.args[0], str) else bound.args
        known = [replace_leaves(x, self.constant) for x in operands]
        for operand, rule in zip(operands, rules, strict=False):
            if rule and any(map(self.is_mine, leaves(operand))):
                for x, gradient in zip(leaves(operand), leaves(rule(g, self.out, *known)), strict=True):
                    if self.is_mine(x) and gradient is not None:
                        yield x, sum_to(gradient, x.shape)

    def once_more(self, gradients: list[Any]) -> Iterator[tuple[Taped, Any]]:
        """By the operation itself on a tape of its own: in one step where it was fused, or step by step.

        gradients : for each leaf of what it gave, or None.
        """
        mine = [x for x in leaves((self.args, self.kwargs)) if self.is_mine(x)]
        f, late = (self.f.__wrapped__, True) if self.fused else self.f.again

        def reverse(values: list[Any], gradients: list[Any]) -> list[Any]:
            tape = Tape(late, on_chip=self.fused)
            inputs = [Taped(tape, x) for x in values]
            fresh = iter(inputs)
            args, kwargs = replace_leaves((self.args, self.kwargs), lambda x: next(fresh) if self.is_mine(x) else x)
            out = leaves(f(*args, **kwargs))
            found: dict[int, Any] = {}
            for x, g in zip(out, gradients, strict=True):
                if g is not None:
                    found[id(x)] = g if id(x) not in found else found[id(x)] + g
            return tape.reverse(found, inputs)

        reverse.__name__ = f"{_title(f)}_backward"
        go = fuse(reverse) if self.fused else reverse
        yield from zip(mine, go([x.value for x in mine], gradients), strict=True)

    def by_tiles(self, f: Callable[..., Any], rows: Any, g: Any) -> Iterator[tuple[Taped, Any]]:
        """By tiles of rows, as forward: each adds its part to the gradients of the arrays that all tiles share."""
        x, *others = (self.constant(a).value for a in self.args)
        wanted = [True, *map(self.is_mine, self.args[1:])]  # the first one's is there in any case

        def tile_backward(x: Any, g: Any, others: list[Any], sums: list[Any]) -> list[Any]:
            tape = Tape(late=True)
            arrays = [Taped(tape, a) if want else a for a, want in zip((x, *others), wanted, strict=True)]
            found = {id(f(*arrays)): g}
            first, *rest = tape.reverse(found, [a for a in arrays if isinstance(a, Taped)])
            return [first, *(total if d is None else total + d for total, d in zip(sums, rest, strict=True))]

        step = fuse(tile_backward) if hasattr(f, "one_step") else tile_backward
        shared = [a for a, want in zip(others, wanted[1:], strict=True) if want]
        first, *rest = _sum_of_tiles(step, rows, x, g, others, shared)
        yield from zip(filter(self.is_mine, self.args[1:]), rest, strict=True)
        if self.is_mine(self.args[0]):
            yield self.args[0], first


def _sum_of_tiles(step: Any, rows: Any, x: Any, g: Any, others: list[Any], shared: list[Any]) -> list[Any]:
    """One tile of rows of x and g after the other; the gradients of what is shared grow in memory."""
    if isinstance(x, Tensor):
        sums = [result_of("zeros", (), a.shape, 0, dtype=a.dtype) for a in shared]
        (first, *rest), steps = record(step, x[..., :rows, :], g[..., :rows, :], others, sums)
        for one in steps:
            note_step(one * (x.shape[-2] / rows))
        return [Tensor(first.name, x.shape, first.dtype), *(Tensor(a.name, a.shape, a.dtype) for a in rest)]
    xp, firsts = array_namespace(x), []
    sums = [xp.zeros_like(a) for a in shared]
    for i in range(0, x.shape[-2], int(rows)):
        first, *sums = step(x[..., i : i + int(rows), :], g[..., i : i + int(rows), :], others, sums)
        firsts.append(first)
    return [xp.concat(firsts, axis=-2), *sums]


# --- small things -------------------------------------------------------------------------------------


def _forward(f: Callable[..., Any], args: Any, kwargs: Any, gradient: Any) -> tuple[Any, Callable[[], Any]]:
    """The result of `f`, and a function that goes back."""
    tape, inputs = Tape(), []

    def watched(x: Any) -> Any:
        if not _is_array(x):
            return x
        if not _is_floating(x):
            raise TypeError(f"{_name(x)} is of {x.dtype}, which has no gradient: give it by its keyword, as a constant")
        inputs.append(Taped(tape, x))
        return inputs[-1]

    out = f(*replace_leaves(args, watched), **kwargs)
    if not isinstance(out, Taped):
        what = "several arrays" if isinstance(out, (tuple, list, dict)) else "nothing that depends on its arrays"
        raise ValueError(f"{_title(f)} must return one array to have a gradient, and returned {what}")
    seed = _seed(f, out.value, gradient)

    def reverse(seed: Any) -> Any:
        gradients = iter(tape.reverse({id(out): seed}, inputs))
        return replace_leaves(args, lambda x: next(gradients) if _is_array(x) else None)

    return out.value, functools.partial(reverse, seed=seed)


def _seed(f: Callable[..., Any], y: Any, gradient: Any) -> Any:
    """The gradient that a backward pass begins with: the given one, or 1 for a number."""
    if gradient is not None:
        if tuple(gradient.shape) != tuple(y.shape):
            raise ValueError(
                f"{_title(f)}: a gradient of {tuple(gradient.shape)} is not of the result's {tuple(y.shape)}"
            )
        return gradient
    if isinstance(y, Tensor):
        return Tensor("gradient", y.shape, y.dtype, visible=y.visible)
    if tuple(y.shape) != ():
        raise ValueError(
            f"{_title(f)} returns an array of {tuple(y.shape)}, and only a number has a gradient by itself: return a "
            "loss, such as its sum, or give the array's own as gradient=…, in that shape"
        )
    return array_namespace(y).ones_like(y)


def _title(f: Callable[..., Any]) -> str:
    return getattr(f, "__name__", type(f).__name__).replace("<lambda>", "forward")


def _name(x: Any) -> str:
    return x.name if isinstance(x, Tensor) else f"an array of {tuple(x.shape)}"


def _is_array(x: Any) -> bool:
    return hasattr(x, "shape") and hasattr(x, "dtype")


def _is_floating(x: Any) -> bool:
    if not _is_array(x):
        return False
    return (
        not x.dtype.startswith("int")
        if isinstance(x.dtype, str)
        else array_namespace(x).isdtype(x.dtype, "real floating")
    )


def _memory(x: Any) -> Any:
    """What two arrays have in common where one is a view of the other."""
    if isinstance(x, Taped):
        return _memory(x.value)
    if isinstance(x, Tensor):
        return id(x.root)
    if hasattr(x, "untyped_storage"):
        return x.untyped_storage().data_ptr()
    while getattr(x, "base", None) is not None:
        x = x.base
    return id(x)


_signature = functools.cache(signature)
