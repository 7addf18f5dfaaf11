"""What was done to an array? A tape keeps the operations of a forward pass, and how each of them goes back.

An array on a tape, `Taped`, can do what the kit's arrays can. What is done to it becomes an `Entry`: what it took, and
what it gave. From the last entry to the first, the gradient of what it gave becomes gradients of what it took:

* by a row of the table `DERIVATIVES`;
* for a fused step or a checkpoint, by doing the same once more on a tape of its own, of which only as much is computed
  as its derivatives ask for;
* for tiles, tile by tile.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from inspect import signature
from typing import Any

from array_api_compat import array_namespace, device

from .derivatives import DERIVATIVES, part, reshape, sum_to, swapaxes, transposed
from .ops import store
from .tensor import (
    Notation,
    Tensor,
    elementwise,
    fuse,
    leaves,
    matmul,
    note_step,
    record,
    reduction,
    replace_leaves,
    result_of,
)


class Tape:
    """The operations of a forward pass in their order, each an `Entry`.

    again : it is not the first one, but done once more for a backward pass. late : results are computed when they are
    asked for, and what nobody needs is never computed. in_order : then with all that come before them, needed or not.
    on_chip : all of it is part of one fused step already, and what is fused within is no step of its own.
    """

    numbers = itertools.count()

    def __init__(
        self, again: bool = False, late: bool = False, in_order: bool = False, on_chip: bool = False
    ) -> None:  # fmt: skip
        self.again, self.late, self.in_order, self.on_chip = again, late, in_order, on_chip
        self.number = next(self.numbers)
        self.entries: list[Entry] = []
        self.changed: dict[Any, int] = {}  # memory that `store` wrote to: how many entries there were then

    def before(self, last: Entry, known: Callable[[Entry], bool]) -> list[Entry]:
        """What an entry needs that is not known yet, and itself, in their order."""
        wanted, waiting = set(), [last]
        while waiting:
            entry = waiting.pop()
            if entry not in wanted and not known(entry):
                wanted.add(entry)
                waiting += [x.entry for x in leaves((entry.args, entry.kwargs)) if entry.is_mine(x) and x.entry]
        return [entry for entry in self.entries[: last.age + 1] if entry in wanted]

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
            self.entry.compute_late()
        if self.tape.changed and self.tape.changed.get(_memory(self._value), -1) > self.age:
            raise ValueError(
                f"{name_of(self._value)} was changed by store, and its old values are needed: store into a copy of it, "
                "and go on with what store returns"
            )
        return self._value

    @property
    def shape(self) -> Any:
        """Its shape; where computing it was put off, that of a trace."""
        shape = getattr(self._described, "shape", ())
        if self._value is not None or self.entry is None:
            return shape
        return tuple(int(n) if getattr(n, "is_Integer", False) else n for n in shape)

    @property
    def visible(self) -> Any:
        """Of masked scores in a trace, how many exist."""
        return getattr(getattr(self._described, "array", None), "visible", None)

    @property
    def _described(self) -> Any:
        if self._value is None and self.entry is not None:
            for entry in self.tape.before(self.entry, lambda entry: not entry.is_late or entry.described is not None):
                entry.describe()
        return self.entry.described if self._value is None and self.entry is not None else self._value

    def __iter__(self) -> Iterator[Any]:
        if self.entry is None or not isinstance(self.value, tuple):
            return iter(self._no_values())
        if isinstance(self.entry.out, tuple):  # unpacked before
            return iter(self.entry.out)
        self.entry.out = tuple(Taped(self.tape, x) if is_floating(x) else x for x in self.value)
        return iter(self.entry.out)

    def _no_values(self) -> Any:
        raise TypeError("an array on a tape has no values that Python could test, loop over or turn into a number")

    def _incomparable(self, other: Any) -> Any:
        raise TypeError("a comparison has no derivative: compare the arrays themselves, outside of the algorithm")

    __bool__ = __float__ = __int__ = _no_values
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _incomparable
    __hash__ = object.__hash__

    ndim = property(lambda self: len(self.shape))
    dtype = property(lambda self: self.value.dtype)
    device = property(lambda self: device(self.value))
    mT = property(lambda self: transposed(self))

    @property
    def T(self) -> Any:
        """The transpose of a matrix."""
        if self.ndim != 2:  # NumPy turns all dimensions around, and nobody means that
            raise ValueError(f".T is for matrices, and this has the shape {tuple(self.shape)}; .mT swaps the last two")
        return transposed(self)

    def reshape(self, *shape: Any) -> Any:
        """The same elements in another shape."""
        return reshape(self, tuple(shape[0]) if isinstance(shape[0], (tuple, list)) else shape)

    def swapaxes(self, a: int, b: int) -> Any:
        """Two dimensions swapped."""
        return swapaxes(self, a, b)

    def __getitem__(self, index: Any) -> Any:
        slices = [i for i in (index if isinstance(index, tuple) else (index,)) if i is not ...]
        if not all(isinstance(i, slice) and i.step in (None, 1) for i in slices):
            raise TypeError(f"slices such as [:, -1:] cut an array on a tape, and not {index!r}; rk.take takes rows")
        return part(self, index)

    def __array_namespace__(self, api_version: Any = None) -> Any:
        return array_namespace(self.value)

    # NumPy and PyTorch ask these when one of their arrays, a constant here, or one of their functions meets us.

    @staticmethod
    def _met(function: Any, operands: Any, options: Any) -> Any:
        name = function.__name__
        if name not in _THEIR_NAMES or options:
            what = f"{name} with {', '.join(options)}" if options else name
            raise TypeError(f"{what} has no derivative here: take functions of the kit, as rk.exp and not np.exp")
        return matmul(*operands) if name == "matmul" else elementwise(_THEIR_NAMES[name], *operands)

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, **options: Any) -> Any:
        return self._met(ufunc if method == "__call__" else getattr(ufunc, method), operands, options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return self._met(function, args, kwargs)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return cls._met(function, args, kwargs or {})

    # What `primitive` and `fuse` call.

    @staticmethod
    def __operation__(f: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        return Entry(f, args, kwargs).done()

    @staticmethod
    def __fuse__(f: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if f not in DERIVATIVES and innermost(args, kwargs).on_chip:
            return f(*args, **kwargs)
        return Entry(fuse(f), args, kwargs, fused=True).done()


_THEIR_NAMES = {
    "add": "+", "subtract": "-", "sub": "-", "multiply": "*", "mul": "*", "divide": "/", "div": "/", "matmul": "@",
}  # fmt: skip


def innermost(*trees: Any) -> Tape:
    """The tape that was begun last, of those that arrays are on: a backward pass of a backward pass has two."""
    return max((x.tape for x in leaves(trees) if isinstance(x, Taped)), key=lambda tape: tape.number)


class Entry:
    """One operation on a tape: what it took, what it gave, and how a gradient goes back.

    f : the operation. args, kwargs : what it took; arrays on this tape are Taped. out : what it gave. described : its
    result without values, where computing it was put off and its shape was asked for.
    """

    f: Any
    out: Any = None
    described: Any = None

    def __init__(self, f: Callable[..., Any], args: Any, kwargs: Any, fused: bool = False) -> None:
        self.f, self.args, self.kwargs, self.fused = f, args, kwargs, fused
        self.tape = innermost(args, kwargs)
        self.age = len(self.tape.entries)

    def is_mine(self, x: Any) -> bool:
        """Whether x is on this tape."""
        return isinstance(x, Taped) and x.tape is self.tape

    def constant(self, x: Any) -> Any:
        """x as if it were on the tape, if it is not."""
        return x if self.is_mine(x) else Taped(self.tape, x, age=self.age)

    def compute(self) -> Any:
        """The operation, carried out on the arrays themselves."""
        args, kwargs = replace_leaves((self.args, self.kwargs), lambda x: x.value if self.is_mine(x) else x)
        out = self.f(*args, **kwargs)
        if any(map(self.is_mine, leaves(out))):
            raise ValueError(
                f"{title(self.f)} reads an array that gets a gradient and is not among its arguments: fused functions, "
                "checkpoints and tiles are given all such arrays"
            )
        return out

    @property
    def is_late(self) -> bool:
        """Whether its result is still to be computed."""
        return isinstance(self.out, Taped) and self.out.entry is self and self.out._value is None

    def compute_late(self) -> None:
        """Computes the result now, with what it needs or, in order, with all that comes before it."""
        if self.tape.in_order:
            entries = self.tape.entries[: self.age + 1]
        else:
            entries = self.tape.before(self, lambda entry: not entry.is_late)
        for entry in entries:
            if entry.is_late:
                entry.out._value = entry.compute()

    def describe(self) -> None:
        """Finds the result without its values, read off a trace, which computes nothing."""

        def as_tensor(x: Any) -> Any:
            x = x._described if isinstance(x, Taped) else x
            if isinstance(x, Tensor):
                return Tensor("x", x.shape, x.dtype, visible=x.visible, role=x.role)
            return Tensor("x", tuple(x.shape)) if is_array(x) else x  # the dtype of an array does not matter here

        args, kwargs = replace_leaves((self.args, self.kwargs), as_tensor)
        try:
            self.described, _ = record(self.f, *args, **kwargs)
        except (TypeError, ValueError):  # constants that it finds elsewhere, or what only arrays can do
            self.described = self.out.value

    def done(self) -> Any:
        """What the operation gives: an array on the tape, or several; what is discrete, as it is."""
        stores = self.f is store
        if stores:
            self.check_store(**_signature(self.f).bind(*self.args, **self.kwargs).arguments)
        if self.tape.late:
            self.tape.entries.append(self)
            self.out = Taped(self.tape, None, self)
            return self.out
        value = self.compute()
        if hasattr(self.f, "discrete"):
            return value
        self.tape.entries.append(self)
        if stores:
            self.tape.changed[_memory(value)] = len(self.tape.entries)
        self.out = replace_leaves(value, lambda x: Taped(self.tape, x) if is_floating(x) else x)
        return self.out

    def check_store(self, x: Any, into: Any) -> None:
        """Raises ValueError where a store would be done twice, or where what it writes to is not on the tape."""
        if self.tape.again:
            raise ValueError(
                f"{name_of(into)}: store cannot be done again, so it is no part of a fused step or checkpoint"
            )
        if not self.is_mine(into):
            raise ValueError(
                f"{name_of(into)}, which store writes to, is a constant here, and what is read of it later would have "
                "no gradient: give it as a positional argument, and go on with what store returns"
            )

    @property
    def results(self) -> list[Taped]:
        """The arrays on the tape that it gave."""
        return [x for x in leaves(self.out) if isinstance(x, Taped)]

    def back(self, found: dict[int, Any]) -> Iterator[tuple[Taped, Any]]:
        """The operands that are on this tape, each with its gradient. found : gradients by the id of the array."""
        key = self.args[0] if self.f in (elementwise, reduction) else self.f.__wrapped__
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
        taken = [x for x in leaves((self.args, self.kwargs)) if isinstance(x, Taped)]  # on other tapes, too
        mine = [x for x in taken if self.is_mine(x)]
        f, late = (self.f.__wrapped__, True) if self.fused else self.f.again

        def reverse(values: list[Any], gradients: list[Any]) -> list[Any]:
            tape = Tape(again=True, late=late, in_order=not self.fused, on_chip=self.fused)
            fresh = [Taped(tape, x) if self.is_mine(old) else x for old, x in zip(taken, values, strict=True)]
            inputs = [x for old, x in zip(taken, fresh, strict=True) if self.is_mine(old)]
            following = iter(fresh)
            trees = replace_leaves((self.args, self.kwargs), lambda x: next(following) if isinstance(x, Taped) else x)
            out = leaves(f(*trees[0], **trees[1]))
            found: dict[int, Any] = {}
            for x, g in zip(out, gradients, strict=True):
                if g is not None:
                    found[id(x)] = g if id(x) not in found else found[id(x)] + g
            return tape.reverse(found, inputs)

        reverse.__name__ = f"{title(f)}_backward"
        go = fuse(reverse) if self.fused else reverse
        values = [x.value if self.is_mine(x) else x for x in taken]
        yield from zip(mine, go(values, gradients), strict=True)

    def by_tiles(self, f: Callable[..., Any], rows: Any, g: Any) -> Iterator[tuple[Taped, Any]]:
        """By tiles of rows, as forward: each adds its part to the gradients of the arrays that all tiles share."""
        if any(isinstance(a, (tuple, list, dict)) for a in self.args):
            raise ValueError("tiled: each array is an argument of its own in a backward pass, and not in a tuple")
        x, *others = (self.constant(a).value for a in self.args)
        wanted = [True, *map(self.is_mine, self.args[1:])]  # the first one's is there in any case

        def tile_backward(x: Any, g: Any, others: list[Any], sums: list[Any]) -> list[Any]:
            tape = Tape(again=True, late=True)
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
    """One tile of rows of x and g after the other; the gradients of what is shared grow in memory.

    None for an array that no tile depends on.
    """
    if isinstance(x, Tensor):
        return _sum_of_traced_tiles(step, rows, x, g, others, shared)
    xp, firsts = array_namespace(x), []
    zeros = [xp.zeros_like(a) for a in shared]
    sums = zeros
    for i in range(0, x.shape[-2], int(rows)):
        first, *sums = step(x[..., i : i + int(rows), :], g[..., i : i + int(rows), :], others, sums)
        firsts.append(first)
    joined = None if firsts[0] is None else xp.concat(firsts, axis=-2)
    return [joined, *(None if a is zero else a for a, zero in zip(sums, zeros, strict=True))]


def _sum_of_traced_tiles(step: Any, rows: Any, x: Tensor, g: Tensor, others: list[Any], shared: list[Any]) -> list[Any]:
    """The same of Tensors: one tile's steps, so many times as there are tiles."""
    zeros, begin = record(lambda: [result_of("zeros", (), a.shape, 0, dtype=a.dtype) for a in shared])
    (first, *sums), steps = record(step, x[..., :rows, :], g[..., :rows, :], others, zeros)
    used = [a is not zero for a, zero in zip(sums, zeros, strict=True)]
    for one in itertools.compress(begin, used):
        note_step(one)
    for one in steps:
        note_step(one * (x.shape[-2] / rows))
    joined = None if first is None else Tensor(first.name, x.shape, first.dtype)
    return [joined, *(Tensor(a.name, a.shape, a.dtype) if use else None for a, use in zip(sums, used, strict=True))]


# --- small things -------------------------------------------------------------------------------------


def title(f: Callable[..., Any]) -> str:
    """What an algorithm is called."""
    return getattr(f, "__name__", type(f).__name__).replace("<lambda>", "forward")


def name_of(x: Any) -> str:
    """What an array is called."""
    return x.name if isinstance(x, Tensor) else f"an array of {tuple(x.shape)}"


def is_array(x: Any) -> bool:
    """Whether x is an array, or a Tensor."""
    return hasattr(x, "shape") and hasattr(x, "dtype")


def is_floating(x: Any) -> bool:
    """Whether x is an array of what can have a gradient."""
    if not is_array(x):
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
