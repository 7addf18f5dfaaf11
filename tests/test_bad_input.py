"""What cannot be is refused where it enters, with a sentence that names it and says what would do."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy

import roofline_kit as rk
from roofline_kit.names import unknown

N, h, H = rk.symbols("N h H")
x = rk.Tensor("x", (N, h))
ATTENTION = rk.trace(rk.attention, *rk.tensors("Q K V", (N, h)))
A10 = rk.roofline("A10")
MASKED = rk.matmul(rk.Tensor("Q", (6, 4)), rk.Tensor("K", (6, 4)).T, rk.Causal())
FOUR = rk.tensors("A B", (4, 4))
Say = tuple[type[Exception], Callable[[], Any], tuple[str, ...]]


def refuses(cases: dict[str, Say]) -> pytest.MarkDecorator:
    """One test for each case: what is refused, by which error, with which words in its message."""
    return pytest.mark.parametrize(("error", "call", "words"), cases.values(), ids=cases)


def check(error: type[Exception], call: Callable[[], Any], words: tuple[str, ...]) -> None:
    with pytest.raises(error) as raised:
        call()
    assert type(raised.value) is error
    message = str(raised.value)
    assert all(word in message for word in words), message


# --- sizes -------------------------------------------------------------------------------------------

SIZES: dict[str, tuple[Any, type[Exception], tuple[str, ...]]] = {
    "zero": (0, ValueError, ("0", "positive integer")),
    "negative": (-4, ValueError, ("-4", "positive integer")),
    "fractional": (2.5, TypeError, ("2.5", "float", "an integer or a symbol")),
    "a float that happens to be whole": (4.0, TypeError, ("4.0", "float")),
    "NaN": (math.nan, TypeError, ("nan", "float")),
    "infinite": (math.inf, TypeError, ("inf", "float")),
    "a string": ("4096", TypeError, ("'4096'", "str", "symbol")),
    "a name": ("N", TypeError, ("'N'", "rk.symbols")),
    "a boolean": (True, (TypeError, ValueError), ("True", "size")),  # type: ignore[dict-item]
    "None": (None, TypeError, ("None", "a symbol from rk.symbols")),
    "a fraction of SymPy": (sympy.Rational(7, 2), ValueError, ("7/2", "positive integer")),
    "a float of SymPy": (sympy.Float(4), ValueError, ("4.0", "positive integer")),
    "a formula with a float in it": (N * 0.5, ValueError, ("0.5*N", "positive integer")),
    "NaN of SymPy": (sympy.nan, ValueError, ("nan", "positive integer")),
    "infinity of SymPy": (sympy.oo, ValueError, ("oo", "positive integer")),
    "a negative formula": (-N, ValueError, ("-N", "positive integer")),
    "a float of NumPy": (np.float64(4), TypeError, ("4.0", "float64")),
}
each_size = pytest.mark.parametrize(("size", "error", "words"), SIZES.values(), ids=SIZES)


@each_size
def test_a_tensor_refuses_a_size_that_is(size: Any, error: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(error) as raised:
        rk.Tensor("weights", (3, size))
    assert all(word in str(raised.value) for word in ("weights", "size 1", *words)), raised.value


@each_size
def test_a_cost_refuses_a_number_for_a_symbol_that_is(size: Any, error: Any, words: tuple[str, ...]) -> None:
    for ask in (ATTENTION.at, ATTENTION.compile):
        with pytest.raises(error) as raised:
            ask(N=4096, h=size)
        assert all(word in str(raised.value) for word in ("h ", *words)), raised.value


@each_size
def test_a_cost_is_not_repeated_a_number_of_times_that_is(size: Any, error: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(error) as raised:
        ATTENTION * size
    assert all(word in str(raised.value) for word in ("attention", *words)), raised.value


def test_integers_of_numpy_and_sympy_are_sizes() -> None:
    assert rk.Tensor("x", (np.int64(3), sympy.Integer(4), 5)).size == 60


@refuses(
    {
        "a symbol that may be negative": (
            TypeError,
            lambda: rk.Tensor("x", sympy.Symbol("n")),
            ("x", "n", "rk.symbols('n')"),
        ),
        "symbols that are not in a string": (TypeError, lambda: rk.symbols(3), ("3", "symbols('N h')")),
        "no symbols": (TypeError, lambda: rk.symbols(" "), ("symbols('N h')",)),
        "tensors that are not in a string": (TypeError, lambda: rk.tensors(["Q"], N), ("['Q']", "tensors('Q K V'")),
        "no tensors": (TypeError, lambda: rk.tensors("", N), ("tensors('Q K V'",)),
        "a tensor without a name": (TypeError, lambda: rk.Tensor("", N), ("''", "name")),
        "a name that is no string": (TypeError, lambda: rk.Tensor(3, N), ("3", "name")),
        "a shape that is a string": (TypeError, lambda: rk.Tensor("x", "N"), ("x", "'N'", "str")),
        "an unknown dtype": (ValueError, lambda: rk.Tensor("x", N, "float16"), ("'float16'", "did you mean", "'fp16'")),
        "a dtype of NumPy": (ValueError, lambda: rk.Tensor("x", N, np.float16), ("float16", "by its name", "'fp16'")),
        "a half dtype": (ValueError, lambda: rk.Tensor("x", N, "bf61"), ("'bf61'", "did you mean 'bf16'")),
    }
)
def test_tensors_refuse(error: Any, call: Any, words: Any) -> None:
    check(error, call, words)


# --- shapes ------------------------------------------------------------------------------------------


@refuses(
    {
        "products whose inner sizes differ": (
            ValueError,
            lambda: rk.Tensor("Q", (N, h)) @ rk.Tensor("W", (4, h)),
            ("Q: fp16 (N, h)", "W: fp16 (4, h)", "h is not 4", "Q @ W.T would fit"),
        ),
        "products of batches whose inner sizes differ": (
            ValueError,
            lambda: rk.Tensor("Q", (H, N, h)) @ rk.Tensor("K", (H, N, h)),
            ("Q: fp16 (H, N, h)", "K: fp16 (H, N, h)", "Q @ K.mT would fit"),
        ),
        "products that no transpose would help": (
            ValueError,
            lambda: rk.Tensor("Q", (2, 3)) @ rk.Tensor("K", (4, 5)),
            ("Q: fp16 (2, 3)", "K: fp16 (4, 5)", "3 is not 4"),
        ),
        "products of batches of other sizes": (
            ValueError,
            lambda: rk.Tensor("Q", (2, N, h)) @ rk.Tensor("K", (3, h, N)),
            ("Q: fp16 (2, N, h)", "K: fp16 (3, h, N)", "2 and 3 cannot be broadcast"),
        ),
        "sums of shapes that differ": (
            ValueError,
            lambda: rk.Tensor("a", (N, 3)) + rk.Tensor("b", (N, 4)),
            ("a: fp16 (N, 3)", "b: fp16 (N, 4)", "3 and 4 cannot be broadcast"),
        ),
        "sums of open sizes that may differ": (
            ValueError,
            lambda: rk.Tensor("a", N) * rk.Tensor("b", h),
            ("a: fp16 (N,)", "b: fp16 (h,)", "N and h"),
        ),
        "attention whose keys are narrower": (
            ValueError,
            lambda: rk.trace(rk.attention, x, rk.Tensor("K", (N, 4)), x),
            ("x: fp16 (N, h)", "K.T: fp16 (4, N)", "h is not 4"),
        ),
        "a weight that does not fit a norm": (
            ValueError,
            lambda: rk.layer_norm(x, rk.Tensor("w", 7)),
            ("w: fp16 (7,)", "h and 7 cannot be broadcast"),
        ),
        "a product with a number": (TypeError, lambda: x @ 3, ("matmul", "3")),
        "a product with an array of no dimensions": (
            TypeError,
            lambda: x @ rk.Tensor("s", ()),
            ("matmul", "s: fp16 ()"),
        ),
        "a transpose of three dimensions": (
            ValueError,
            lambda: rk.Tensor("Q", (2, 3, 4)).T,
            ("Q", "3 dimensions", ".mT"),
        ),
        "a transpose of a vector": (ValueError, lambda: rk.Tensor("v", 3).mT, ("v: fp16 (3,)", "two dimensions")),
        "a reshape that changes the size": (
            ValueError,
            lambda: x.reshape(N, h, 2),
            ("x: fp16 (N, h)", "N*h elements", "2*N*h"),
        ),
        "a reshape with two open sizes": (ValueError, lambda: x.reshape(-1, -1), ("x: fp16 (N, h)", "only one", "-1")),
        "a reshape into parts that do not divide": (
            ValueError,
            lambda: rk.Tensor("v", 4096).reshape(3, -1),
            ("4096/3", "positive integer"),
        ),
        "a reshape to zero": (ValueError, lambda: x.reshape(0, -1), ("x", "0", "positive integer")),
        "a reshape to a negative size": (ValueError, lambda: x.reshape(-2, -1), ("x", "-2", "positive integer")),
        "a reshape to a float": (TypeError, lambda: x.reshape(2.0, -1), ("x", "2.0", "float")),
        "a reshape to a string": (TypeError, lambda: x.reshape("N", -1), ("x", "'N'", "str")),
        "an axis that does not exist": (ValueError, lambda: rk.sum(x, axis=2), ("axis 2", "x: fp16 (N, h)")),
        "a softmax over an axis that does not exist": (
            ValueError,
            lambda: rk.softmax(x, axis=-3),
            ("axis -3", "x: fp16 (N, h)"),
        ),
        "an axis that is no integer": (ValueError, lambda: rk.max(x, axis=0.5), ("axis", "x: fp16 (N, h)", "0.5")),
        "a swap with an axis that does not exist": (ValueError, lambda: x.swapaxes(0, 5), ("axis 5", "x: fp16 (N, h)")),
        "two dtypes of the same width": (
            ValueError,
            lambda: rk.Tensor("a", N, "fp16") + rk.Tensor("b", N, "bf16"),
            ("a: fp16 (N,)", "b: bf16 (N,)", "which should the result have"),
        ),
    }
)
def test_operations_refuse(error: Any, call: Any, words: Any) -> None:
    check(error, call, words)


# --- parts, masks and indices ------------------------------------------------------------------------

y = rk.Tensor("y", (10, 4))
q, k = rk.Tensor("q", (5, 4)), rk.Tensor("k", (3, 4))
Qs, Ks = rk.Tensor("Q", (N, 4)), rk.Tensor("K", (H, 4))
LATE = rk.trace(rk.attention, Qs, Ks, Ks, rk.Causal())
STORED = rk.trace(rk.store, rk.Tensor("k", (N, 4)), rk.Tensor("K", (H, 4)))
WEIGHTS = rk.softmax(rk.matmul(q, y.mT, rk.Causal()))
indices = rk.Tensor("i", (3, 2), "int64")


@refuses(
    {
        "parts that overlap": (ValueError, lambda: y[:5] + y[3:8], ("y[:5]", "y[3:8]", "overlap", "cut once")),
        "overlapping parts in a fused step": (
            ValueError,
            lambda: rk.trace(rk.fuse(lambda y: rk.exp(y[:5]) @ y[4:].mT), y),
            ("y[:5]", "y[4:]", "overlap"),
        ),
        "a part that sticks out": (ValueError, lambda: y[:11], ("[:11]", "sticks out", "y: fp16 (10, 4)")),
        "a part that begins before": (ValueError, lambda: y[-11:], ("[-11:]", "sticks out", "y: fp16 (10, 4)")),
        "a part that sticks out at every size": (ValueError, lambda: x[: N + 1], ("[:N + 1]", "x: fp16 (N, h)")),
        "a part of no rows": (ValueError, lambda: y[5:5], ("y[5:5]", "size 0 is 0", "positive integer")),
        "a part that ends before it begins": (ValueError, lambda: y[6:2], ("y[6:2]", "-4", "positive integer")),
        "a part of half a row": (TypeError, lambda: y[1.5:], ("y[1.5:]", "1.5", "float")),
        "an end in words, which is not evaluated": (TypeError, lambda: y[:"1 / 0"], ("y[:1 / 0]", "'1 / 0'", "str")),
        "a part that is empty at these sizes": (
            ValueError,
            lambda: rk.trace(rk.exp, x[100:]).at(N=10, h=3),
            ("N - 100 is -90", "positive integer"),
        ),
        "an index": (TypeError, lambda: y[3], ("y: fp16 (10, 4)", "no values", "Slices such as", "and not 3")),
        "every second row": (TypeError, lambda: y[::2], ("y: fp16", "Slices such as", "slice(None, None, 2)")),
        "a new dimension": (TypeError, lambda: y[None], ("y: fp16", "Slices such as", "not None")),
        "slices of too many dimensions": (TypeError, lambda: y[:, :, :1], ("y: fp16 (10, 4)", "Slices such as")),
        "a mask of a vector": (
            TypeError,
            lambda: rk.matmul(rk.Tensor("v", 4), y.mT, rk.Causal()),
            ("matmul", "without a mask", "v: fp16 (4,)"),
        ),
        "a mask of a product with a vector": (
            TypeError,
            lambda: rk.matmul(y, rk.Tensor("v", 4), rk.Causal()),
            ("matmul", "without a mask", "v: fp16 (4,)"),
        ),
        "a mask that is none": (TypeError, lambda: rk.matmul(y, y.mT, True), ("mask is True", "Causal")),
        "a mask of arrays that is none": (
            TypeError,
            lambda: rk.attention(np.ones((5, 4)), np.ones((5, 4)), np.ones((5, 4)), 1),
            ("mask is 1", "Causal"),
        ),
        "a mask of masked scores": (
            ValueError,
            lambda: rk.matmul(WEIGHTS, y, rk.Causal()),
            ("masked scores such as softmax(q @ y.T): fp16 (5, 10)", "on the left, once"),
        ),
        "masked scores on the right": (ValueError, lambda: q.mT @ WEIGHTS, ("softmax(q @ y.T)", "on the left")),
        "masked scores plus a whole matrix": (
            ValueError,
            lambda: WEIGHTS + rk.Tensor("b", (5, 10)),
            ("b: fp16 (5, 10)", "masked scores", "columns"),
        ),
        "masked scores times others": (
            ValueError,
            lambda: WEIGHTS * rk.matmul(q, y.mT, rk.Causal(window=2)),
            ("*", "masked scores"),
        ),
        "masked scores plus their transpose": (ValueError, lambda: MASKED + MASKED.T, ("masked differently",)),
        "masked scores times themselves in reverse": (
            ValueError,
            lambda: rk.exp(MASKED) * rk.flip(MASKED, -1),
            ("masked differently",),
        ),
        "as many masked scores as others that are elsewhere": (  # 7 of 16
            ValueError,
            lambda: (
                rk.matmul(FOUR[0], FOUR[1].T, rk.Causal(window=2)) + rk.matmul(FOUR[0], FOUR[1].T, rk.Causal(chunk=3))
            ),
            ("+", "masked differently"),
        ),
        "masked scores to store": (TypeError, lambda: rk.store(MASKED, into=rk.Tensor("S", (9, 6))), ("store", "mask")),
        "rows of masked scores": (
            TypeError,
            lambda: rk.take(MASKED, rk.Tensor("i", 3, "int64")),
            ("take", "without a mask"),
        ),
        "a sink for each key": (
            ValueError,
            lambda: rk.softmax(q @ y.mT, sinks=rk.Tensor("s", 10)),
            ("sinks", "(5, 10)", "(5, 1)"),
        ),
        "a sink for each key of arrays": (
            ValueError,
            lambda: rk.softmax(np.ones((5, 10)), sinks=np.ones(10)),
            ("sinks", "(5, 10)", "(5, 1)"),
        ),
        "sinks of more heads than arrays have": (
            ValueError,
            lambda: rk.softmax(np.ones((5, 10)), sinks=np.ones((8, 1, 1))),
            ("sinks", "(8, 5, 1)", "(5, 1)"),
        ),
        "sinks of more heads than there are": (
            ValueError,
            lambda: rk.softmax(q @ y.mT, sinks=rk.Tensor("s", (8, 1, 1))),
            ("sinks", "(8, 5, 1)", "(5, 1)"),
        ),
        "a sum over columns of masked scores": (
            ValueError,
            lambda: rk.sum(WEIGHTS, axis=0),
            ("sum", "softmax(q @ y.T)", "along their rows"),
        ),
        "more queries than keys": (
            ValueError,
            lambda: rk.attention(q, k, k, rk.Causal()),
            ("5 queries", "context of 3"),
        ),
        "more queries than keys in arrays": (
            ValueError,
            lambda: rk.attention(np.ones((5, 4)), np.ones((3, 4)), np.ones((3, 4)), rk.Causal()),
            ("5 queries", "context of 3"),
        ),
        "more queries than keys at these sizes": (ValueError, lambda: LATE.at(N=5, H=3), ("H - N + 1", "-1")),
        "more queries than keys in a sweep": (ValueError, lambda: LATE.compile("N", H=3)([3, 5]), ("N + 1", "-1.0")),
        "more queries than tokens": (ValueError, lambda: rk.Causal(tokens=4).seen(5, 9), ("5 queries", "of 4")),
        "fewer keys than the tokens have": (
            ValueError,
            lambda: rk.Causal(block=4, stride=2, tokens=24).visible(1, 7),
            ("24 tokens", "11 keys", "not 7"),
        ),
        "a window of no tokens": (ValueError, lambda: rk.Causal(window=0), ("window is 0", "positive integer")),
        "a window over blocks": (ValueError, lambda: rk.Causal(window=3, block=4), ("window of 3", "blocks of 4")),
        "a stride of zero": (ValueError, lambda: rk.Causal(stride=0), ("stride is 0", "positive integer")),
        "half a block": (TypeError, lambda: rk.Causal(block=2.5), ("block is 2.5", "float")),
        "a number of tokens in words": (TypeError, lambda: rk.Causal(tokens="N"), ("tokens is 'N'", "str")),
        "windows that leave rows out": (ValueError, lambda: rk.windows(y, 2, 3), ("length 2", "every 3", "leave")),
        "indices that are no integers": (
            TypeError,
            lambda: rk.take(rk.Tensor("E", (8, 4)), rk.Tensor("i", 3, "fp16")),
            ("indices i: fp16 (3,)", "integers"),
        ),
        "a shape without an order": (TypeError, lambda: rk.Tensor("x", {3, 4}), ("x: a shape", "{3, 4}")),
        "windows that begin at no number": (TypeError, lambda: rk.windows(x, 2, 1, start=math.nan), ("start", "nan")),
        "windows that begin too late": (ValueError, lambda: rk.windows(y, 4, 2, start=8), ("from 8 on is 0",)),
        "a part of masked scores": (ValueError, lambda: MASKED[:5], ("masked scores", "(5, 6)", "(6, 6)")),
        "masked scores in another shape": (ValueError, lambda: MASKED.reshape(3, 12), ("masked scores", "(3, 12)")),
        "a masked row that meets a column": (
            ValueError,
            lambda: rk.matmul(rk.Tensor("q", (1, 4)), rk.Tensor("K", (6, 4)).T, rk.Causal()) + rk.Tensor("c", (5, 1)),
            ("masked scores", "(1, 6)", "(5, 6)"),
        ),
        "pairs of a query and a key of no queries": (
            ValueError,
            lambda: rk.Causal().visible(-1, 5),
            ("queries is -1",),
        ),
        "pairs of half a query and a key": (TypeError, lambda: rk.Causal().visible(2.5, 5), ("queries is 2.5",)),
        "windows longer than the array": (
            ValueError,
            lambda: rk.windows(y, 11, 3),
            ("windows of 11 in 10 rows from 0 on is 0",),
        ),
        "windows longer than an array of numbers": (
            ValueError,
            lambda: rk.windows(np.ones((10, 4)), 11, 3),
            ("windows of 11 in 10 rows from 0 on is 0", "positive integer"),
        ),
        "windows of a vector": (
            ValueError,
            lambda: rk.windows(rk.Tensor("v", 4), 2, 1),
            ("rows and columns", "(4,)", "reshape(-1, 1)"),
        ),
        "windows of a vector of numbers": (
            ValueError,
            lambda: rk.windows(np.ones(4), 2, 1),
            ("(4,)", "reshape(-1, 1)"),
        ),
        "windows of three sizes": (ValueError, lambda: rk.windows(y, (2, 2, 2), 1), ("pairs", "(2, 2, 2)")),
        "windows wider than the array": (
            ValueError,
            lambda: rk.windows(y, (3, 5), 1),
            ("windows of 5 in 4 columns from 0 on is 0", "positive integer"),
        ),
        "an intensity that depends on a size": (ValueError, lambda: A10.attainable(N / 4), ("number", "not N/4")),
        "limits that are none": (TypeError, lambda: rk.roofline("A10", limits=None), ("('compute', 'memory')", "None")),
        "names of sizes in a list": (ValueError, lambda: ATTENTION.compile(["N"], h=4), ("by its name", "['N']")),
        "a size beyond floats": (ValueError, lambda: ATTENTION.compile("N", h=4)([10**400]), ("N", "floats", ".at(")),
        "a cost beyond floats": (ValueError, lambda: ATTENTION.compile("N", h=4)([1e200]), ("floats", ".at(")),
        "a shape in place of a Tensor": (
            TypeError,
            lambda: rk.trace(rk.exp, (3, 4)),
            ("exp was given none", "rk.Tensor"),
        ),
        "windows that do not move": (ValueError, lambda: rk.windows(y, 2, 0), ("stride of windows is 0",)),
        "a mean along a dimension that is not there": (ValueError, lambda: rk.mean(y, axis=2), ("axis 2", "y: fp16")),
        "layer norm of a number": (ValueError, lambda: rk.layer_norm(rk.Tensor("x", ())), ("axis -1", "x: fp16 ()")),
        "True for an axis": (ValueError, lambda: rk.sum(y, True), ("axis True",)),
        "the largest of a number": (ValueError, lambda: rk.top(rk.Tensor("x", ()), 1), ("top", "single number")),
        "tiles of a vector": (ValueError, lambda: rk.tiled(rk.exp, 2)(rk.Tensor("v", 4)), ("(4,)", "reshape(-1, 1)")),
        "windows that leave columns out": (ValueError, lambda: rk.windows(y, (2, 2), (1, 3)), ("every 3 columns",)),
        "one array to concatenate": (TypeError, lambda: rk.concatenate(y), ("rk.concatenate((a, b))", "y: fp16")),
        "nothing to concatenate": (TypeError, lambda: rk.concatenate(()), ("rk.concatenate((a, b))", "not ()")),
        "a number to concatenate": (TypeError, lambda: rk.concatenate((y, 3)), ("concatenate", "numbers", "3")),
        "masked scores to concatenate": (TypeError, lambda: rk.concatenate((WEIGHTS, WEIGHTS)), ("masked scores",)),
        "columns of another length to concatenate": (
            ValueError,
            lambda: rk.concatenate((y, rk.Tensor("z", (3, 5)))),
            ("along axis 0", "y: fp16 (10, 4)", "z: fp16 (3, 5)"),
        ),
        "a vector and a matrix to concatenate": (
            ValueError,
            lambda: rk.concatenate((rk.Tensor("v", 4), y)),
            ("along axis 0", "v: fp16 (4,)", "y: fp16 (10, 4)"),
        ),
        "an axis to concatenate along that does not exist": (
            ValueError,
            lambda: rk.concatenate((y, y), axis=2),
            ("axis 2", "y: fp16 (10, 4)"),
        ),
        "a Tensor and an array to concatenate": (
            TypeError,
            lambda: rk.concatenate((y, np.ones((3, 4)))),
            ("concatenate mixes", "y: fp16 (10, 4)", "ndarray"),
        ),
        "no windows": (
            ValueError,
            lambda: rk.windows(y, 2, 1, count=0),
            ("2 in 10 rows from 0 on is 0", "positive integer"),
        ),
        "indices that do not begin as the rows": (
            ValueError,
            lambda: rk.take(rk.Tensor("E", (2, 10, 4)), indices),
            ("(3, 2)", "(2,)", "(2, 10, 4)"),
        ),
        "rows of a vector": (ValueError, lambda: rk.take(rk.Tensor("v", 4), indices), ("(3, 2)", "(4,)")),
        "rows of a vector of numbers": (ValueError, lambda: rk.take(np.ones(4), np.ones(2, int)), ("(2,)", "(4,)")),
        "the highest five of four": (ValueError, lambda: rk.top(y, 5), ("5", "more than", "4 elements", "(10, 4)")),
        "the highest five of four numbers": (ValueError, lambda: rk.top(np.ones((10, 4)), 5), ("5", "4 elements")),
        "the highest five of too few": (ValueError, lambda: rk.trace(rk.top, x, 5).at(N=2, h=4), ("h - 4", "0")),
        "the highest none": (ValueError, lambda: rk.top(y, 0), ("top: the number is 0", "positive integer")),
        "the highest none of numbers": (ValueError, lambda: rk.top(np.ones((10, 4)), 0), ("top: the number is 0",)),
        "the highest minus one": (ValueError, lambda: rk.top(np.ones((10, 4)), -1), ("top: the number is -1",)),
        "rows of another length to store": (
            ValueError,
            lambda: rk.store(rk.Tensor("k", (1, 5)), y),
            ("(1, 5)", "does not fit", "(10, 4)"),
        ),
        "more rows than there is room for": (
            ValueError,
            lambda: rk.store(rk.Tensor("k", (11, 4)), y),
            ("(11, 4)", "does not fit", "(10, 4)"),
        ),
        "more numbers than there is room for": (
            ValueError,
            lambda: rk.store(np.ones((11, 4)), np.ones((10, 4))),
            ("(11, 4)", "does not fit", "(10, 4)"),
        ),
        "more rows than there is room for at these sizes": (
            ValueError,
            lambda: STORED.at(N=5, H=3),
            ("H - N + 1 is -1", "positive integer"),
        ),
        "a vector to store": (ValueError, lambda: rk.store(rk.Tensor("v", 4), y), ("(4,)", "does not fit", "(10, 4)")),
        "a store in a fused step": (
            ValueError,
            lambda: rk.trace(rk.fuse(rk.store), k, y),
            ("store", "steps of their own"),
        ),
        "tiles in a fused step": (
            ValueError,
            lambda: rk.trace(rk.fuse(rk.tiled(rk.exp, 2)), y),
            ("tiled", "steps of their own"),
        ),
        "tiles that do not divide the rows": (
            ValueError,
            lambda: rk.trace(rk.tiled(rk.exp, 3), y),
            ("tiles of 3 rows", "y: fp16 (10, 4)", "10/3"),
        ),
        "tiles that do not divide at these sizes": (
            ValueError,
            lambda: rk.trace(rk.tiled(rk.exp, 3), x).at(N=4, h=1),
            ("N/3", "4/3", "positive integer"),
        ),
        "tiles in words": (TypeError, lambda: rk.tiled(rk.exp, "2"), ("tiles of 2 rows", "'2'", "str")),
        "tiles whose rows are lost": (ValueError, lambda: rk.tiled(rk.sum, 2)(y), ("a row for each of the 2 rows",)),
        "tiles with two results": (
            ValueError,
            lambda: rk.tiled(lambda x: (x, x), 2)(y),
            ("a row for each of the 2 rows", "not be ("),
        ),
        "bytes of an array that is not read": (ValueError, lambda: ATTENTION.loads_of(y), ("does not read y: fp16",)),
        "bytes of an array before it had numbers": (
            ValueError,
            lambda: ATTENTION.at(N=8, h=4).loads_of(ATTENTION.steps[0].reads[0]),
            ("attention does not read Q", "cost.at"),
        ),
        "tiles of no rows": (ValueError, lambda: rk.trace(rk.tiled(rk.exp, 0), y), ("tiles of 0 rows", "positive")),
    }
)
def test_parts_masks_and_indices_refuse(error: Any, call: Any, words: Any) -> None:
    check(error, call, words)


# --- the transformer ----------------------------------------------------------------------------------


def mha(make: Any = rk.Tensor, k: int = 12, **options: Any) -> Any:
    """Attention over 12 columns, whose keys and values have k."""
    shapes = {"X": (4, 12), "W_q": (12, 12), "W_k": (12, k), "W_v": (12, k), "W_o": (12, 12)}
    return rk.multi_head_attention(*(make(name, shape) for name, shape in shapes.items()), **options)


def numbers(name: str, shape: tuple[int, ...]) -> Any:
    return np.ones(shape)


def sparse(
    make: Any = rk.Tensor, queries: int = 1, tokens: int = 24, keys: int = 11, gates: Any = None, near: Any = None,
    **sizes: Any,
) -> Any:  # fmt: skip
    options: dict[str, Any] = {"block": 4, "stride": 2, "select_block": 4, "selected": 3, "window": 5} | sizes
    shapes = {"Q": (2, 3, queries, 5), "K": (2, tokens, 5), "V": (2, tokens, 5), "C": (2, keys, 5), "D": (2, keys, 5)}
    shapes["gates"] = gates or (2, 3, queries, 3)
    options["near"] = near and tuple(make(name, near) for name in ("K_near", "V_near"))
    return rk.sparse_attention(*(make(name, shape) for name, shape in shapes.items()), **options)


G = rk.symbols("G")
W, W_kv = rk.Tensor("W", (h, h)), rk.Tensor("W_kv", (h, h * G / H))
GQA = rk.trace(rk.multi_head_attention, x, W, W_kv, W_kv, W, heads=H, kv_heads=G)

TRANSFORMER: dict[str, tuple[Callable[..., Any], dict[str, Any], type[Exception], tuple[str, ...]]] = {
    "heads that do not divide the width": (mha, {"heads": 5}, ValueError, ("12 columns", "5 heads", "12 / 5")),
    "kv_heads that do not divide heads": (mha, {"heads": 4, "kv_heads": 3}, ValueError, ("4 heads", "3 kv_heads")),
    "more kv_heads than heads": (mha, {"heads": 4, "kv_heads": 8}, ValueError, ("4 heads", "8 kv_heads")),
    "no heads": (mha, {"heads": 0}, ValueError, ("0 heads", "positive integer")),
    "no kv_heads": (mha, {"heads": 4, "kv_heads": 0}, ValueError, ("0 kv_heads", "positive integer")),
    "negative heads": (mha, {"heads": -4}, ValueError, ("-4 heads", "positive integer")),
    "a float of heads": (mha, {"heads": 2.0}, TypeError, ("2.0 heads", "float")),
    "heads in words": (mha, {"heads": "4"}, TypeError, ("'4'", "str")),
    "key heads that are too wide": (
        mha,
        {"heads": 4, "kv_heads": 2},
        ValueError,
        ("2 K heads have head_dim 6", "4 Q heads 3", "kv_heads · 3 columns"),
    ),
    "kv_heads that do not divide the keys": (
        mha,
        {"heads": 4, "kv_heads": 2, "k": 5},
        ValueError,
        ("5 columns", "2 heads", "5 / 2"),
    ),
    "too few selected blocks": (sparse, {"selected": 2}, ValueError, ("selected is 2", "first and two near")),
    "more selected blocks than there are": (sparse, {"selected": 7}, ValueError, ("24 tokens", "6 blocks of 4", "7")),
    "selected blocks of half a stride": (sparse, {"select_block": 3}, ValueError, ("3 tokens", "strides of 2")),
    "blocks of half a stride": (sparse, {"block": 3}, ValueError, ("blocks of 3", "strides of 2")),
    "a stride larger than a block": (sparse, {"stride": 8}, ValueError, ("blocks of 4", "strides of 8")),
    "no stride": (sparse, {"stride": 0}, ValueError, ("stride is 0", "positive integer")),
    "no window": (sparse, {"window": 0}, ValueError, ("window is 0", "positive integer")),
    "fewer compressed keys than the context has": (sparse, {"keys": 7}, ValueError, ("24 tokens", "11 keys", "not 7")),
    "gates for five branches": (sparse, {"gates": (2, 3, 1, 5)}, ValueError, ("gates", "(2, 3, 1, 5)", "(2, 3, 1, 3)")),
    "gates of more rows": (sparse, {"gates": (2, 3, 5, 3)}, ValueError, ("gates", "(2, 3, 5, 3)", "(2, 3, 1, 3)")),
    "near keys of another context": (sparse, {"near": (2, 30, 5)}, ValueError, ("near", "(2, 30, 5)", "(2, 24, 5)")),
    "more queries than tokens": (sparse, {"queries": 25}, ValueError, ("25 queries", "context of 24")),
}


@pytest.mark.parametrize("make", [rk.Tensor, numbers])
@pytest.mark.parametrize(("call", "options", "error", "words"), TRANSFORMER.values(), ids=TRANSFORMER)
def test_the_transformer_refuses_in_tensors_and_in_arrays(
    call: Any, options: Any, error: Any, words: Any, make: Any
) -> None:
    check(error, lambda: call(make, **options), words)


@refuses(
    {
        "kv_heads that do not divide heads": (ValueError, lambda: GQA.at(N=4, h=12, H=4, G=3), ("H/G", "4/3")),
        "heads that do not divide the width": (ValueError, lambda: GQA.at(N=4, h=12, H=5, G=5), ("h/H", "12/5")),
        "more kv_heads than heads": (ValueError, lambda: GQA.at(N=4, h=16, H=4, G=8), ("H/G", "1/2")),
        "an unknown activation": (
            ValueError,
            lambda: rk.mlp(x, W, W, activation="glu"),
            ("'glu'", "did you mean 'gelu'", "'silu'"),
        ),
        "an odd head_dim to rotate": (
            ValueError,
            lambda: rk.rotary(*(rk.Tensor(name, (4, 7)) for name in ("X", "cos", "sin"))),
            ("7 numbers of a head", "in pairs", "positive integer"),
        ),
        "positions of another width": (
            ValueError,
            lambda: rk.compress(
                y, *(rk.Tensor(n, s) for n, s in (("p", (4, 6)), ("U", (16, 6)), ("D", (6, 4)))), stride=2
            ),
            ("4 and 6 cannot be broadcast",),
        ),
        "fewer tokens than a block": (
            ValueError,
            lambda: rk.compress(k, *(rk.Tensor(n, s) for n, s in (("p", (4, 4)), ("U", (16, 6)), ("D", (6, 4))))),
            ("windows of 4 in 3 rows", "positive integer"),
        ),
    }
)
def test_the_transformer_refuses(error: Any, call: Any, words: Any) -> None:
    check(error, call, words)


# --- tracing -----------------------------------------------------------------------------------------

MIXED = ("x: fp16 (N, h)", "rk.Tensor(", "rk.exp, not np.exp")
OPEN = ("depends on an open size", "every size at once", "give that size a number")
NO_VALUES = ("x: fp16 (N, h)", "no values", "array operation")


@refuses(
    {
        "what is no function": (TypeError, lambda: rk.trace(3, x), ("trace(f, x)", "without calling it", "an int")),
        "what is called already": (TypeError, lambda: rk.trace(rk.exp(x)), ("trace(f, x)", "a Tensor")),
        "an array": (
            TypeError,
            lambda: rk.trace(rk.exp, np.ones((3, 4))),
            ("ndarray", "rk.Tensor('x', (3, 4))", "call exp on arrays"),
        ),
        "an array in a list": (TypeError, lambda: rk.trace(lambda xs: xs[0], [np.ones(3)]), ("ndarray", "rk.Tensor(")),
        "an array among the keywords": (
            TypeError,
            lambda: rk.trace(rk.layer_norm, x, weight=np.ones(3)),
            ("ndarray", "rk.Tensor("),
        ),
        "a result that is not a Tensor": (TypeError, lambda: rk.trace(lambda x: 3, x), ("must return Tensors", "3")),
        "no result": (TypeError, lambda: rk.trace(lambda x: None, x), ("must return Tensors", "None")),
        "an array that meets a Tensor": (TypeError, lambda: rk.trace(lambda x: x + np.ones(3), x), ("ndarray", *MIXED)),
        "a Tensor that meets an array": (
            TypeError,
            lambda: rk.trace(lambda x: np.ones(3) @ x, x),
            ("np.matmul", *MIXED),
        ),
        "a function of NumPy": (TypeError, lambda: rk.trace(lambda x: np.exp(x), x), ("np.exp", *MIXED)),
        "a sum of NumPy": (TypeError, lambda: rk.trace(lambda x: np.sum(x), x), ("np.sum", *MIXED)),
        "NumPy's concatenate": (TypeError, lambda: np.concatenate((x, x)), ("np.concatenate", *MIXED)),
        "an axis of a method that does not exist": (ValueError, lambda: x.sum(axis=2), ("axis 2", "x: fp16 (N, h)")),
        "a conversion to an array": (TypeError, lambda: rk.trace(lambda x: np.asarray(x), x), ("NumPy", *MIXED)),
        "an array in a fused function": (
            TypeError,
            lambda: rk.trace(rk.fuse(lambda x: x * np.ones(3)), x),
            ("ndarray", *MIXED),
        ),
        "`if` on an open size": (TypeError, lambda: rk.trace(lambda x: x if x.shape[0] > 4 else -x, x), OPEN),
        "`range` of an open size": (TypeError, lambda: rk.trace(lambda x: [x for _ in range(x.shape[0])], x), OPEN),
        "`int` of an open size": (TypeError, lambda: rk.trace(lambda x: x * int(x.shape[0]), x), OPEN),
        "`math.sqrt` of an open size": (TypeError, lambda: rk.trace(lambda x: x / math.sqrt(x.shape[-1]), x), OPEN),
        "`float` of an open size": (TypeError, lambda: rk.trace(lambda x: x / float(x.shape[-1]), x), OPEN),
        "an index that is an open size": (TypeError, lambda: rk.trace(lambda x: [x, x][x.shape[0]], x), OPEN),
        "a list as long as an open size": (TypeError, lambda: rk.trace(lambda x: [x] * x.shape[0], x), OPEN),
        "`range` of a rounded size": (TypeError, lambda: rk.trace(lambda x: list(range(x.shape[0] // 2)), x), OPEN),
        "`round` of an open size": (TypeError, lambda: rk.trace(lambda x: x * round(x.shape[0] / 2), x), OPEN),
        "a function of NumPy on an open size": (
            TypeError,
            lambda: rk.trace(lambda x: x * np.sqrt(x.shape[0]), x),
            OPEN,
        ),
        "`if` on a Tensor": (TypeError, lambda: rk.trace(lambda x: x if x else -x, x), NO_VALUES),
        "a loop over a Tensor": (TypeError, lambda: rk.trace(lambda x: [-row for row in x], x), NO_VALUES),
        "an index into a Tensor": (TypeError, lambda: rk.trace(lambda x: x[0], x), NO_VALUES),
        "a Tensor as a number": (TypeError, lambda: rk.trace(lambda x: math.sqrt(x), x), NO_VALUES),
        "a Tensor plus a string": (TypeError, lambda: x + "y", ("x: fp16 (N, h)", "str")),
        "a Tensor plus None": (TypeError, lambda: x + None, ("x: fp16 (N, h)", "NoneType")),
    }
)
def test_a_trace_refuses(error: Any, call: Any, words: Any) -> None:
    check(error, call, words)


def test_errors_of_the_traced_function_itself_pass_through() -> None:
    with pytest.raises(TypeError, match="missing 2 required positional arguments"):
        rk.trace(rk.attention, x)
    with pytest.raises(ZeroDivisionError):
        rk.trace(lambda x: 1 / 0, x)
    with pytest.raises(TypeError, match=r"^'float' object cannot be interpreted as an integer$"):
        rk.trace(lambda x: [x for _ in range(1.5)], x)


def test_loads_of_takes_arrays_and_not_their_names() -> None:
    check(TypeError, lambda: ATTENTION.loads_of("Q"), ("loads_of(K, V)", "'Q'"))


def test_no_table_and_no_array_stands_in_an_error() -> None:
    for call in (
        lambda: rk.model(ATTENTION), lambda: rk.roofline(ATTENTION), lambda: A10.time([ATTENTION]),
        lambda: rk.Tensor("x", (np.ones(100), 3)), lambda: rk.symbols(ATTENTION), lambda: rk.tensors(ATTENTION, N),
        lambda: ATTENTION.at(N=np.ones(100)), lambda: rk.explore_roofline([ATTENTION]),
        lambda: rk.concatenate(np.ones((100, 3))), lambda: rk.attention(x, x, x, causal=ATTENTION),
    ):  # fmt: skip
        with pytest.raises((TypeError, ValueError)) as raised:
            call()
        assert len(str(raised.value)) < 250 and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda f: rk.fuse(f),
        lambda f: rk.tiled(f, 4),
        lambda f: rk.backward(f),
        lambda f: rk.checkpoint(f),
        lambda f: rk.passes(f, x),
        lambda f: rk.measure(f, np.ones(3)),
    ],
    ids=["fuse", "tiled", "backward", "checkpoint", "passes", "measure"],
)
def test_a_function_is_given_itself_and_not_its_result(call: Any, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.id
    check(TypeError, lambda: call(rk.exp(x)), (f"{name}(f", "without calling it", "was given a Tensor"))


def test_a_trace_that_fails_leaves_no_trace_behind() -> None:
    with pytest.raises(ZeroDivisionError):
        rk.trace(lambda x: rk.exp(x) * (1 / 0), x)
    assert len(rk.trace(rk.exp, x).steps) == 1


def test_what_can_be_traced_can_be_computed_for_vectors_too() -> None:
    def norm(v: Any) -> Any:
        return rk.sqrt(rk.sum(v * v))

    assert rk.trace(norm, rk.Tensor("v", N)).flops == 2 * N + 1
    assert norm(np.array([3.0, 4.0])) == 5.0


def test_a_number_of_numpy_may_stand_on_either_side() -> None:
    assert rk.trace(lambda x: x * np.sqrt(64), x).flops == rk.trace(lambda x: np.sqrt(64) * x, x).flops


# --- costs -------------------------------------------------------------------------------------------


def heads(x: Any) -> Any:
    """Scores of H heads; what is written has N·N·H elements whether or not H divides h."""
    split = x.reshape(N, H, h / H).swapaxes(0, 1)
    return split @ split.mT


@refuses(
    {
        "two missing symbols of a sweep": (ValueError, lambda: ATTENTION.compile(), ("a value for N, h", "are N, h")),
        "the bound of a size that was left open": (
            ValueError,
            lambda: A10.bound(ATTENTION.at(N=4)),
            ("depends on the sizes", ".at(h=…)"),
        ),
        "heads that do not divide, before all sizes are there": (
            ValueError,
            lambda: rk.trace(heads, x).at(h=4096, H=3),
            ("h/H is 4096/3", "positive integer"),
        ),
        "an unknown symbol": (ValueError, lambda: ATTENTION.at(N=4, h=4, M=4), ("unknown symbol 'M'", "'N', 'h'")),
        "a symbol in the wrong case": (ValueError, lambda: ATTENTION.at(n=4, h=4), ("'n'", "did you mean 'N'")),
        "a missing symbol of a sweep": (ValueError, lambda: ATTENTION.compile("N"), ("needs a value for h",)),
        "an unknown symbol of a sweep": (ValueError, lambda: ATTENTION.compile("N", "M", h=4), ("unknown symbol 'M'",)),
        "a symbol that is open and given": (ValueError, lambda: ATTENTION.compile("N", N=4, h=4), ("N", "twice")),
        "a symbol that is open twice": (ValueError, lambda: ATTENTION.compile("N", "N", h=4), ("N", "twice")),
        "heads that do not divide": (
            ValueError,
            lambda: rk.trace(heads, x).at(N=4, h=4096, H=3),
            ("4096/3", "positive integer"),
        ),
        "heads that do not divide in a sweep": (
            ValueError,
            lambda: rk.trace(heads, x).compile("H", N=4, h=4096)([2, 3, 4]),
            ("3",),
        ),
        "heads that do not divide where they cancel": (
            ValueError,
            lambda: rk.trace(lambda x: rk.exp(x.reshape(N, H, h / H)), x).at(N=4, h=4096, H=3),
            ("4096/3", "positive integer"),
        ),
        "a fractional size in a sweep": (ValueError, lambda: ATTENTION.compile("N", h=4)([1, 2.5]), ("N", "2.5")),
        "a size of zero in a sweep": (ValueError, lambda: ATTENTION.compile("N", h=4)([4, 0]), ("N", "0", "positive")),
        "a negative size in a sweep": (ValueError, lambda: ATTENTION.compile("N", h=4)(-3), ("N", "-3", "positive")),
        "NaN in a sweep": (ValueError, lambda: ATTENTION.compile("N", h=4)([4.0, math.nan]), ("N", "nan")),
        "infinity in a sweep": (ValueError, lambda: ATTENTION.compile("N", h=4)([math.inf]), ("N", "inf")),
        "a string in a sweep": (TypeError, lambda: ATTENTION.compile("N", h=4)("4"), ("N", "'4'")),
        "a boolean in a sweep": (TypeError, lambda: ATTENTION.compile("N", h=4)(True), ("N", "True")),
        "too few sizes for a sweep": (TypeError, lambda: ATTENTION.compile("N", "h")(4), ("N, h", "1")),
        "too many sizes for a sweep": (TypeError, lambda: ATTENTION.compile("N", h=4)(4, 4), ("N", "2")),
        "the intensity of nothing": (
            ValueError,
            lambda: rk.trace(lambda x: x.T, x).intensity,
            ("moves no bytes", "no arithmetic intensity"),
        ),
        "a sum with a number": (TypeError, lambda: ATTENTION + 1, ("+", "Cost", "int")),
        "a product of costs": (TypeError, lambda: ATTENTION * ATTENTION, ("*", "Cost")),
    }
)
def test_costs_refuse(error: Any, call: Any, words: Any) -> None:
    check(error, call, words)


# --- machines ----------------------------------------------------------------------------------------


def machine(**fields: Any) -> rk.Accelerator:
    return rk.Accelerator(**({"name": "mine", "peaks": {"fp32": 4e11}, "bandwidth": 4e10, "memory": 16e9} | fields))


@refuses(
    {
        "an unknown accelerator": (ValueError, lambda: rk.accelerator("A11"), ("'A11'", "did you mean", "'A10'")),
        "a family of accelerators": (
            ValueError,
            lambda: rk.accelerator("A100"),
            ("'A100'", "did you mean 'A100-40GB' or 'A100-80GB-SXM' or 'A100-80GB-PCIe'"),
        ),
        "part of a name": (ValueError, lambda: rk.accelerator("4090"), ("'4090'", "did you mean 'RTX-4090'")),
        "a name like no other": (ValueError, lambda: rk.accelerator("abacus"), ("'abacus'", "see rk.accelerators()")),
        "an accelerator without a name": (ValueError, lambda: rk.accelerator(""), ("''", "see rk.accelerators()")),
        "an accelerator that is None": (ValueError, lambda: rk.accelerator(None), ("None", "by its name")),
        "an unknown accelerator of a roofline": (
            ValueError,
            lambda: rk.roofline("H10O-SXM"),
            ("did you mean 'H100-SXM'",),
        ),
        "an unknown dtype": (ValueError, lambda: rk.accelerator("A10").peak("fp61"), ("A10", "'fp61'", "'fp16'")),
        "a dtype that the machine lacks": (ValueError, lambda: rk.roofline("T4", "bf16"), ("T4", "bf16", "'fp16'")),
        "a dtype that is None": (ValueError, lambda: rk.accelerator("A10").ridge(None), ("A10", "None", "by its name")),
        "a machine without a name": (TypeError, lambda: machine(name=""), ("needs a name", "''")),
        "a machine without peaks": (TypeError, lambda: machine(peaks={}), ("mine", "{}", "fp16")),
        "one peak for all dtypes": (TypeError, lambda: machine(peaks=4e11), ("mine", "peaks", "4", "fp16")),
        "a negative peak": (ValueError, lambda: machine(peaks={"fp32": -1}), ("mine", "fp32", "-1", "positive")),
        "a peak of NaN": (ValueError, lambda: machine(peaks={"fp32": math.nan}), ("mine", "fp32", "nan", "positive")),
        "a peak in words": (ValueError, lambda: machine(peaks={"fp32": "4e11"}), ("mine", "fp32", "'4e11'", "number")),
        "a bandwidth of zero": (ValueError, lambda: machine(bandwidth=0), ("mine", "bandwidth", "0", "positive")),
        "an infinite bandwidth": (ValueError, lambda: machine(bandwidth=math.inf), ("mine", "bandwidth", "inf")),
        "a peak in TFLOP/s": (
            ValueError,
            lambda: machine(peaks={"fp16": 312}),
            ("mine", "peaks, fp16", "312 FLOP/s", "did you mean 312e12?"),
        ),
        "a sparse peak in TFLOP/s": (
            ValueError,
            lambda: machine(sparse={"fp16": 989.5}),
            ("mine", "sparse, fp16", "989.5 FLOP/s", "did you mean 989.5e12?"),
        ),
        "a bandwidth in GB/s": (
            ValueError,
            lambda: machine(bandwidth=900),
            ("mine", "bandwidth", "900 bytes/s", "did you mean 900e9?"),
        ),
        "a bandwidth in TB/s": (
            ValueError,
            lambda: machine(bandwidth=3.35),
            ("mine", "bandwidth", "3.35 bytes/s", "did you mean 3.35e12?"),
        ),
        "a memory in GB": (
            ValueError,
            lambda: machine(memory=80),
            ("mine", "memory", "80 bytes", "did you mean 80e9?"),
        ),
        "negative watts": (ValueError, lambda: machine(watts=-1), ("mine", "watts", "-1", "positive")),
        "a price in words": (ValueError, lambda: machine(dollars_per_hour="2"), ("mine", "dollars_per_hour", "'2'")),
        "a price of nothing": (ValueError, lambda: machine(dollars_per_hour=0), ("mine", "dollars_per_hour", "not 0")),
        "a memory of None": (ValueError, lambda: machine(memory=None), ("mine", "memory", "None", "number")),
        "a negative number of neighbours": (ValueError, lambda: machine(node=-3), ("mine", "node", "-3")),
        "neighbours in words": (ValueError, lambda: machine(node="8"), ("mine", "node", "'8'")),
        "negative seconds": (ValueError, lambda: rk.accelerator("A10").joules(-1), ("seconds", "-1", "0 or more")),
        "seconds of NaN": (ValueError, lambda: rk.accelerator("A10").joules(math.nan), ("seconds", "nan")),
        "a boolean rate": (ValueError, lambda: machine(bandwidth=True), ("mine", "bandwidth", "True")),
        "a sparse peak that is none": (
            ValueError,
            lambda: machine(sparse={"fp32": 0}),
            ("mine", "sparse", "fp32", "0"),
        ),
    }
)
def test_machines_refuse(error: Any, call: Any, words: Any) -> None:
    check(error, call, words)


@refuses(
    {
        "a negative intensity": (ValueError, lambda: A10.attainable(-1), ("-1", "0 or more")),
        "a negative intensity among others": (ValueError, lambda: A10.attainable([3, -2]), ("-2", "0 or more")),
        "a negative exact intensity": (ValueError, lambda: A10.bound(sympy.Integer(-1)), ("-1", "0 or more")),
        "an intensity that is NaN": (ValueError, lambda: A10.attainable(math.nan), ("nan", "0 or more")),
        "an intensity in words": (ValueError, lambda: A10.attainable("100"), ("'100'", "0 or more")),
        "intensities in words": (ValueError, lambda: A10.attainable(["1", "2"]), ("['1', '2']", "0 or more")),
        "an intensity that is True": (ValueError, lambda: A10.bound(True), ("True", "0 or more")),
        "a crossing of other limits": (
            ValueError,
            lambda: rk.roofline("A10", limits=("vector", "memory")).crossing(ATTENTION, "N", h=4096),
            ("compute and memory", "vector, memory"),
        ),
        "a bound of NaN": (ValueError, lambda: A10.bound(math.nan), ("nan", "0 or more")),
        "a bound at open sizes": (ValueError, lambda: A10.bound(ATTENTION), ("depends on the sizes", ".at(N=…, h=…)")),
        "a bound of an open step": (ValueError, lambda: A10.bound(ATTENTION.steps[0]), (".at(N=…, h=…)",)),
        "a bound of nothing": (ValueError, lambda: A10.bound(rk.trace(lambda x: x, x)), ("moves no bytes",)),
        "an unknown overlap": (
            ValueError,
            lambda: A10.time(ATTENTION, overlap="idael"),
            ("'idael'", "did you mean 'ideal'"),
        ),
        "the time of a number": (TypeError, lambda: A10.time(3), ("3", "Cost")),
        "a crossing of an unknown size": (
            ValueError,
            lambda: A10.crossing(ATTENTION, "M", h=4),
            ("unknown symbol 'M'",),
        ),
        "a crossing with sizes missing": (ValueError, lambda: A10.crossing(ATTENTION, "N"), ("needs a value for h",)),
        "a crossing that never happens": (
            ValueError,
            lambda: A10.crossing(ATTENTION, "N", h=128),
            ("attention", "208.3", "0.499 at N = 1", "64.38 for large N"),
        ),
    }
)
def test_rooflines_refuse(error: Any, call: Any, words: Any) -> None:
    check(error, call, words)


def test_a_module_without_a_name_says_so() -> None:
    with pytest.raises(AttributeError, match="'roofline_kit' has no attribute 'plot_rooflines'"):
        rk.plot_rooflines  # noqa: B018


@pytest.mark.parametrize("indices", [[[3], [0]], [[0], [5]]])
def test_no_row_is_taken_from_a_neighbour_in_the_batch(indices: list[list[int]]) -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    assert np.array_equal(rk.take(x, np.array([[2], [-1]])), x[:, 2:])
    with pytest.raises(IndexError):
        rk.take(x, np.array(indices))


def test_tiles_of_masked_scores_are_refused() -> None:
    scores = rk.tiled(lambda Q, K: rk.matmul(Q, K.mT, rk.Causal()), 2)
    with pytest.raises(ValueError, match="tiled"):
        scores(*rk.tensors("Q K", (8, 4)))


def test_a_crossing_that_cannot_be_solved_for_says_so() -> None:
    B, S = rk.symbols("B S")
    with pytest.raises(ValueError, match="cannot solve this for S; look for it in a sweep"):
        rk.roofline("A10").crossing(rk.model("mistral-7b").decode(B, S), "S", B=64)


# --- names of which there are many ---------------------------------------------------------------------

MANY_SIZES = rk.trace(rk.exp, rk.Tensor("x", rk.symbols(" ".join(f"n{i}" for i in range(20)))))


@refuses(
    {
        "accelerators": (
            ValueError,
            lambda: rk.accelerator("A11"),
            ("did you mean 'A10'", f"For all {len(rk.accelerators())}, see"),
        ),
        "accelerators like none": (ValueError, lambda: rk.accelerator("zz"), ("Nearest: '", "see rk.accelerators()")),
        "models": (
            ValueError,
            lambda: rk.model("llama 2 8b"),
            ("did you mean 'llama-3-8b'", "For all 37, see rk.models()"),
        ),
        "models by their maker": (ValueError, lambda: rk.model("Meta Llama 2"), ("did you mean 'llama-2-7b' or",)),
        "symbols": (ValueError, lambda: MANY_SIZES.at(n20=4), ("did you mean 'n2", "For all 20, see its .symbols")),
        "symbols of a sweep": (ValueError, lambda: MANY_SIZES.compile("m1"), ("For all 20, see its .symbols",)),
        "accelerators of an explorer": (
            ValueError,
            lambda: rk.explore_batch().checked({"accelerator": "A41"}),
            ("'A41'", "did you mean 'A40'", "see the list 'accelerator' in the chart"),
        ),
        "controls of an explorer": (
            ValueError,
            lambda: rk.explore_roofline({"x": MANY_SIZES}, **{f"n{i}": 8 for i in range(20)}).checked({"batch": 4}),
            ("unknown control 'batch'", "For all 23, see its .state"),
        ),
        "questions": (
            ValueError,
            lambda: rk.check("02.softmix", 1),
            ("'02.softmax'", "see the rk.check and rk.build lines"),
        ),
        "topics": (ValueError, lambda: rk.lecture.numbers("softmax"), ("'softmax'", "see rk.lecture.numbers()")),
        "tables": (
            ValueError,
            lambda: rk.published("nsa-table-5"),
            ("'nsa-table-4'", "see roofline_kit/data/published.toml"),
        ),
    }
)
def test_of_many_names_a_message_gives_the_nearest_few_and_says_how_to_see_the_rest(
    error: Any, call: Any, words: Any
) -> None:
    check(error, call, words)
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value).count("'") <= 14 and len(str(raised.value)) < 300, raised.value


@pytest.mark.parametrize("count", [1, 12, 13, 400])
def test_no_message_grows_with_the_number_of_names(count: int) -> None:
    names = [f"name{i}" for i in range(count)]
    for given in ("name", "other", "", 3):
        message = unknown("kind", given, names, see="names()")
        assert (f"For all {count}, see names()" in message) == (count > 12)
        assert all(repr(name) in message for name in names if count <= 12)
        assert len(message) < 400 and "see" not in unknown("kind", given, names)
