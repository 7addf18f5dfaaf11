"""Which pairs of a query and a key exist? A causal mask, a window, and keys that each stand for a block of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy

from .names import shown
from .sizes import size


@dataclass(frozen=True)
class Causal:
    """Which keys a query sees: those up to its own token. The queries are the last tokens of the context.

    window : only the nearest `window` keys, itself included (sliding-window attention); None for all.
    block, stride : of keys that each stand for `block` tokens and begin `stride` tokens apart (compressed
        ones), a query sees those whose tokens have all been seen. tokens : the length of the context,
        where it is not the number of keys.
    chunk : the context is cut into chunks of so many tokens, and a token sees those of its own (Llama 4).

    Given to `matmul` or `attention`, the hidden scores are not computed and not stored; on arrays they
    are -inf (and 0 for a query that sees no key at all, as the first ones of a context see no block).

    Raises ValueError for sizes that are not positive, and for a window or chunks over blocks or one another.

    >>> from roofline_kit import symbols
    >>> N, T = symbols("N T")
    >>> Causal().visible(N, N).factor(), Causal().visible(1, T), Causal(window=4).visible(1, 100)
    (N*(N + 1)/2, T, 4)
    >>> Causal(window=2).seen(2, 3)
    [[True, True, False], [False, True, True]]
    """

    window: Any = None
    block: Any = 1
    stride: Any = 1
    tokens: Any = None
    chunk: Any = None

    def __post_init__(self) -> None:
        for what in ("window", "block", "stride", "tokens", "chunk"):
            if getattr(self, what) is not None:
                size(getattr(self, what), f"Causal: the {what}")
        if self.window is not None and (self.block, self.stride) != (1, 1):
            raise ValueError(f"Causal: a window of {self.window} tokens over blocks of {self.block} is not modelled")
        if self.chunk is not None and (self.window, self.block, self.stride) != (None, 1, 1):
            raise ValueError(f"Causal: chunks of {self.chunk} tokens have neither a window nor blocks of keys")

    def visible(self, queries: Any, keys: Any) -> sympy.Expr:
        """How many pairs of a query and a key there are, of which the query sees the key.

        Raises TypeError and ValueError for what is no size, and for more queries than tokens.
        """
        queries, keys = size(queries, "Causal: the queries"), size(keys, "Causal: the keys")
        tokens = self._context(queries, keys)
        if queries == 1 and self.chunk is None:
            return self._row(tokens) if self.window is None else sympy.Min(tokens, self.window)
        return sympy.expand(self._all(tokens) - self._all(tokens - queries))

    def counts(self, queries: Any, keys: Any) -> tuple[sympy.Expr, tuple[sympy.Expr, ...]]:
        """`visible`, and what must be positive for it to be right, once open sizes have numbers."""
        tokens = self._context(queries, keys)
        visible = self.visible(queries, keys)
        return visible, (visible, tokens - queries + 1, keys - self._row(tokens) + 1)

    def _context(self, queries: Any, keys: Any) -> sympy.Expr:
        tokens = sympy.sympify(keys if self.tokens is None else self.tokens)
        if (tokens - queries).is_negative:
            raise ValueError(f"Causal: {queries} queries cannot be the last tokens of a context of {tokens}")
        if self.tokens is not None and (keys - self._row(tokens)).is_negative:
            raise ValueError(f"Causal: {tokens} tokens have {self._row(tokens)} keys of {self.block}, and not {keys}")
        return tokens

    def _row(self, t: Any) -> sympy.Expr:
        """Keys without a window that the t-th token sees: none before the first block is complete."""
        seen = sympy.floor((t - self.block) / sympy.sympify(self.stride)) + 1
        return sympy.Max(0, seen) if seen.is_number else seen

    def _all(self, t: Any) -> sympy.Expr:
        """Keys that the first t tokens see: groups of `stride` tokens see 1, 2, 3, … keys."""
        if self.window is not None:
            ramp = sympy.Min(t, self.window)
            return ramp * (ramp + 1) / 2 + (t - ramp) * self.window
        if self.chunk is not None:
            full = sympy.floor(t / sympy.sympify(self.chunk))
            rest = t - full * self.chunk
            return full * self.chunk * (self.chunk + 1) / 2 + rest * (rest + 1) / 2
        seeing = t - self.block + 1 if self.block == 1 else sympy.Max(0, t - self.block + 1)
        full = sympy.floor(seeing / sympy.sympify(self.stride))
        return self.stride * full * (full + 1) / 2 + (seeing - self.stride * full) * (full + 1)

    def seen(self, queries: int, keys: int) -> list[list[bool]]:
        """Row by row for each query, which of the keys it sees."""
        tokens = int(self._context(queries, keys))
        reach = self.window or tokens
        last = [j * self.stride + self.block - 1 for j in range(keys)]  # token of each key
        first = {p: p - reach + 1 if self.chunk is None else p // self.chunk * self.chunk for p in range(tokens)}
        return [[first[p] <= token <= p for token in last] for p in range(tokens - queries, tokens)]


def mask_of(causal: Any) -> Causal | None:
    """The mask that `causal` stands for. Raises TypeError for anything but True, False, None and a `Causal`."""
    if isinstance(causal, Causal):
        return causal
    if not (causal is None or isinstance(causal, bool)):
        raise TypeError(f"causal must be True, False or a Causal, not {shown(causal)}")
    return Causal() if causal else None
