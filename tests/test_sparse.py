"""Native sparse attention: it reads what Table 4 of the paper says, and computes what its equations say."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import roofline_kit as rk
from roofline_kit.tensor import leaves, replace_leaves

PUBLISHED = tomllib.loads(files("roofline_kit").joinpath("data", "published.toml").read_text("utf-8"))
SETTING = {row[1]: row[2] for row in PUBLISHED["nsa-setting"]["rows"] if row[1]}
TABLE_4 = PUBLISHED["nsa-table-4"]["rows"]  # context, tokens of full attention, tokens of sparse attention, speed-up
PAPER = {
    **{"block": SETTING["l"], "stride": SETTING["d"], "select_block": SETTING["l'"]},
    **{"selected": SETTING["n"], "window": SETTING["w"]},
}

each_context = pytest.mark.parametrize("row", TABLE_4, ids=[str(row[0]) for row in TABLE_4])

WIDTH = 128  # of keys and of values alike, so that "one token" is one number of bytes


def decode_step(S: Any, partial: bool) -> dict[str, Any]:
    """Tokens that one decoding step of the paper's model reads, by branch and as a whole."""
    groups, heads, d = SETTING["g"], SETTING["h"], WIDTH
    K, V = rk.tensors("K V", (groups, S, d))
    near = rk.tensors("K_near V_near", (groups, S, d))
    mlp = (
        rk.Tensor("positions", (PAPER["block"], d)),
        rk.Tensor("W1", (PAPER["block"] * d, d)),
        rk.Tensor("W2", (d, d)),
    )
    # The cache of compressed keys and values, which earlier steps have filled.
    shape = rk.compress(K, *mlp, stride=PAPER["stride"], partial=partial).shape
    K_cmp, V_cmp = rk.tensors("K_cmp V_cmp", shape)
    Q, gates = rk.Tensor("Q", (groups, heads, 1, d)), rk.Tensor("gates", (groups, heads, 1, 3))
    cost = rk.trace(rk.sparse_attention, Q, K, V, K_cmp, V_cmp, gates, near, **PAPER)
    full = rk.trace(rk.fuse(rk.attention), Q, *rk.tensors("K V", (groups, 1, S, d)))
    token = 2 * groups * d * 2  # bytes of one token's key and value in all groups
    pairs = {"compressed": (K_cmp, V_cmp), "selected": (K, V), "near": near}
    read = {branch: cost.loads_of(*pair) / token for branch, pair in pairs.items()}
    return read | {
        "sparse": cost.loads_of(*(x for pair in pairs.values() for x in pair)) / token,
        "full": full.loads_of(*full.steps[0].reads[1:]) / token,
    }


# --- what it reads: Table 4 --------------------------------------------------------------------------


@each_context
def test_a_decoding_step_reads_the_tokens_of_table_4(row: list[Any]) -> None:
    context, full, sparse, _ = row
    read = decode_step(context, partial=True)
    assert (read["full"], read["sparse"]) == (full, sparse)
    assert read["compressed"] == sympy.Rational(context, PAPER["stride"])
    assert read["selected"] == PAPER["selected"] * PAPER["select_block"]
    assert read["near"] == PAPER["window"]


@each_context
def test_the_expected_speed_up_is_the_ratio_of_tokens_as_printed(row: list[Any]) -> None:
    context, _, _, printed = row
    read = decode_step(context, partial=True)
    assert abs(read["full"] / read["sparse"] - sympy.Rational(str(printed))) <= sympy.Rational(1, 20)


@each_context
def test_the_paper_counts_compressed_blocks_in_three_ways_one_token_apart(row: list[Any]) -> None:
    context, _, sparse, _ = row
    l, d = PAPER["block"], PAPER["stride"]  # noqa: E741 - as in the paper
    text = (context - l) // d + PAPER["selected"] * PAPER["select_block"] + PAPER["window"]  # section 5.2
    whole = decode_step(context, partial=False)
    assert whole["compressed"] == (context - l) // d + 1  # Eq. 7
    assert (text, whole["sparse"], decode_step(context, partial=True)["sparse"]) == (sparse - 2, sparse - 1, sparse)


def test_the_tokens_follow_for_a_context_that_stays_a_symbol() -> None:
    S = rk.symbols("S")
    blocks = sympy.ceiling(S / PAPER["stride"])
    rest = PAPER["selected"] * PAPER["select_block"] + sympy.Min(S, PAPER["window"])
    assert sympy.simplify(decode_step(S, partial=True)["sparse"] - blocks - rest) == 0


def test_a_prefill_counts_for_every_query_what_a_decoding_step_counts_for_one() -> None:
    groups, heads, d, S = 2, 3, 16, 4096
    K, K_cmp = rk.Tensor("K", (groups, S, d)), rk.Tensor("K_cmp", (groups, S // PAPER["stride"] - 1, d))

    def cost(n: int) -> rk.Cost:
        shapes = {"Q": (groups, heads, n, d), "gates": (groups, heads, n, 3)}
        Q, gates = (rk.Tensor(name, shape) for name, shape in shapes.items())
        return rk.trace(rk.sparse_attention, Q, K, K, K_cmp, K_cmp, gates, **PAPER)

    one, two = cost(1), cost(2)
    selected = [next(step for step in x.steps if step.operation == "selected_branch") for x in (one, two)]
    assert selected[1].matmul_flops == 2 * selected[0].matmul_flops > 0
    assert selected[0].matmul_flops == 4 * d * groups * heads * PAPER["selected"] * PAPER["select_block"]


# --- what it computes: the paper's equations, as loops -------------------------------------------------


def softmax(scores: list[float]) -> np.ndarray:
    e = np.exp(np.array(scores) - max(scores))
    return e / e.sum()


def phi(rows: np.ndarray, positions: np.ndarray, up: np.ndarray, down: np.ndarray) -> np.ndarray:
    """The MLP that compresses a block, with its positions inside of the block (section 3.3.1)."""
    x = (rows + positions).reshape(-1) @ up
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) @ down


def equations(
    Q: np.ndarray, K: np.ndarray, V: np.ndarray, mlps: Any, gates: np.ndarray, near: Any, sizes: dict[str, int]
) -> tuple[np.ndarray, list[list[int]]]:
    """One group of heads: Q (heads, n, d) of the last n of S tokens; the output, and the blocks each query chose."""
    block, stride, length = sizes["block"], sizes["stride"], sizes["select_block"]
    (heads, n, _), S = Q.shape, len(K)
    out, choices = np.zeros((heads, n, V.shape[-1])), []
    for i in range(n):
        t = S - n + i  # the query's token, counted from 0
        # Equation 7: blocks of `block` tokens, `stride` apart, all of whose tokens the query has seen.
        starts = [s for s in range(0, S, stride) if s + block <= t + 1]
        K_cmp, V_cmp = ([phi(X[s : s + block], *mlp) for s in starts] for X, mlp in zip((K, V), mlps, strict=True))
        # Equation 8, for each head; equation 10 adds the heads of the group up.
        P = [softmax([Q[head, i] @ k for k in K_cmp]) if starts else np.zeros(0) for head in range(heads)]
        # Equation 9: a selection block collects each compression block, weighted by the strides they share.
        blocks = range(-(-S // length))
        importance = []
        for j in blocks:
            shared = [max(0, min(s + block, (j + 1) * length) - max(s, j * length)) // stride for s in starts]
            importance.append(sum(float(P[head] @ np.array(shared)) for head in range(heads)) if starts else 0.0)
        # Equation 11: the first, the query's own and the one before it, and those of most importance.
        own = t // length
        forced = {0, own, max(own - 1, 0)}
        others = sorted((j for j in blocks if j < own and j not in forced), key=lambda j: -importance[j])
        chosen = sorted([*forced, *others[: sizes["selected"] - len(forced)]])
        choices.append(chosen)
        for head in range(heads):
            branches = [sum((p * v for p, v in zip(P[head], V_cmp, strict=True)), np.zeros(V.shape[-1]))]
            tokens = [token for j in chosen for token in range(j * length, min((j + 1) * length, t + 1))]
            window = range(max(0, t - sizes["window"] + 1), t + 1)
            for keys, values, seen in ((K, V, tokens), (*near, window)):
                p = softmax([Q[head, i] @ keys[token] for token in seen])
                branches.append(sum(x * values[token] for x, token in zip(p, seen, strict=True)))
            out[head, i] = sum(gate * branch for gate, branch in zip(gates[head, i], branches, strict=True))
    return out, choices


SMALL = {"block": 8, "stride": 4, "select_block": 16, "selected": 3, "window": 10}
GROUPS, HEADS, D, D_V = 2, 3, 5, 4


def inputs(S: int, n: int, sizes: dict[str, int], seed: int = 2502) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    block = sizes["block"]
    shapes = {"Q": (GROUPS, HEADS, n, D), "gates": (GROUPS, HEADS, n, 3), "K": (GROUPS, S, D), "V": (GROUPS, S, D_V)}
    made: dict[str, Any] = {name: random.normal(size=shape) for name, shape in shapes.items()}
    made["near"] = random.normal(size=(GROUPS, S, D)), random.normal(size=(GROUPS, S, D_V))
    made["mlps"] = [
        tuple(random.normal(size=shape) for shape in ((block, width), (block * width, 6), (6, width)))
        for width in (D, D_V)
    ]
    return made


def kit(x: dict[str, Any], sizes: dict[str, int], partial: bool = False) -> np.ndarray:
    compressed = (
        rk.compress(X, *mlp, stride=sizes["stride"], partial=partial)
        for X, mlp in zip((x["K"], x["V"]), x["mlps"], strict=True)
    )
    return rk.sparse_attention(x["Q"], x["K"], x["V"], *compressed, x["gates"], x["near"], **sizes)


def last(x: dict[str, Any], n: int) -> dict[str, Any]:
    """The same with the last n queries only."""
    return x | {name: x[name][..., -n:, :] for name in ("Q", "gates")}


def close(computed: Any, expected: Any) -> None:
    np.testing.assert_allclose(computed, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("S", "n", "sizes"),
    [
        (96, 1, SMALL),
        (96, 96, SMALL),  # from the first token on, which sees no block at all
        (90, 90, SMALL),  # the last selection block is not full, nor is the last compression block
        (93, 5, SMALL),
        (96, 96, SMALL | {"selected": 5, "window": 3}),
        (96, 96, SMALL | {"selected": 6, "window": 200}),
        (80, 80, {"block": 4, "stride": 4, "select_block": 8, "selected": 4, "window": 7}),
        (80, 80, {"block": 12, "stride": 4, "select_block": 12, "selected": 4, "window": 7}),
    ],
)
def test_the_result_is_that_of_the_paper_s_equations(S: int, n: int, sizes: dict[str, int]) -> None:
    x = inputs(S, n, sizes)
    expected, choices = zip(
        *(
            equations(x["Q"][g], x["K"][g], x["V"][g], x["mlps"], x["gates"][g], [near[g] for near in x["near"]], sizes)
            for g in range(GROUPS)
        ),
        strict=True,
    )
    for partial in (False, True):  # blocks that are not whole are never seen
        close(kit(x, sizes, partial), np.stack(expected))
    # The comparison says something about the choice only if groups choose differently.
    free = sizes["selected"] > 3 and -(-S // sizes["select_block"]) > sizes["selected"]
    assert not free or choices[0] != choices[1]


def test_a_selection_block_weighs_overlapping_compression_blocks_1_2_2_2_1_with_the_paper_s_sizes() -> None:
    l, d, length = PAPER["block"], PAPER["stride"], PAPER["select_block"]  # noqa: E741 - as in the paper
    j, S = 3, 640
    overlaps = [max(0, min(s + l, (j + 1) * length) - max(s, j * length)) // d for s in range(0, S - l + 1, d)]
    assert [n for n in overlaps if n] == [1, 2, 2, 2, 1]
    # Equation 9 as printed, with j and the blocks both counted from 1.
    counted = [0] * len(overlaps)
    for m in range(length // d):
        for n in range(l // d):
            counted[(length // d) * (j + 1) - m - n - 1] += 1
    assert counted == overlaps


@settings(max_examples=10)
@given(S=st.integers(48, 100), n=st.integers(1, 40), selected=st.integers(3, 6), window=st.integers(1, 120))
def test_any_sizes_give_the_result_of_the_equations(S: int, n: int, selected: int, window: int) -> None:
    sizes = SMALL | {"selected": selected, "window": window}
    assume(-(-S // sizes["select_block"]) >= selected)
    x = inputs(S, n, sizes, seed=S)
    expected, _ = equations(*(x[k][1] for k in "QKV"), x["mlps"], x["gates"][1], [y[1] for y in x["near"]], sizes)
    close(kit(x, sizes)[1], expected)


def only(branch: int, x: dict[str, Any]) -> dict[str, Any]:
    """The same with the gates of one branch open and of the others closed."""
    gates = np.zeros_like(x["gates"])
    gates[..., branch] = 1
    return x | {"gates": gates}


def full_causal(x: dict[str, Any], K: np.ndarray, V: np.ndarray) -> np.ndarray:
    return rk.attention(x["Q"], K[:, None], V[:, None], rk.Causal())


@pytest.mark.parametrize("n", [1, 96])
def test_selecting_every_block_is_full_causal_attention(n: int) -> None:
    sizes = SMALL | {"selected": 96 // SMALL["select_block"]}
    x = inputs(96, n, sizes)
    close(kit(only(1, x), sizes), full_causal(x, x["K"], x["V"]))


@pytest.mark.parametrize("n", [1, 96])
@pytest.mark.parametrize("window", [96, 1000])
def test_a_window_over_the_whole_context_is_full_causal_attention_of_its_own_keys(n: int, window: int) -> None:
    sizes = SMALL | {"window": window}
    x = inputs(96, n, sizes)
    close(kit(only(2, x), sizes), full_causal(x, *x["near"]))


def test_without_keys_of_its_own_the_window_reads_those_of_the_selection() -> None:
    x = inputs(96, 96, SMALL)
    close(kit(x | {"near": None}, SMALL), kit(x | {"near": (x["K"], x["V"])}, SMALL))


@pytest.mark.parametrize("S", [96, 90])
def test_a_decoding_step_computes_the_last_row_of_the_prefill(S: int) -> None:
    x = inputs(S, S, SMALL)
    everything = kit(x, SMALL)
    for n in (1, 7):
        close(kit(last(x, n), SMALL), everything[..., -n:, :])


def test_each_row_of_a_prefill_is_a_decoding_step_at_its_context() -> None:
    x = inputs(96, 96, SMALL)
    everything = kit(x, SMALL)
    for context in (48, 63, 64, 65, 95):  # from the shortest context with as many blocks as are selected
        short = x | {name: x[name][..., :context, :] for name in ("Q", "gates", "K", "V")}
        short["near"] = tuple(y[..., :context, :] for y in x["near"])
        close(kit(last(short, 1), SMALL), everything[..., context - 1 : context, :])


@pytest.mark.parametrize("changed", [1, 15, 16, 50, 95])
def test_changing_a_later_token_changes_nothing_before_it_and_its_own_row(changed: int) -> None:
    x = inputs(96, 96, SMALL)
    later = {name: x[name].copy() for name in ("K", "V")}
    near = tuple(y.copy() for y in x["near"])
    for array in (*later.values(), *near):
        array[:, changed:] += np.random.default_rng(1).normal(size=array[:, changed:].shape)
    before, after = kit(x, SMALL), kit(x | later | {"near": near}, SMALL)
    close(after[..., :changed, :], before[..., :changed, :])
    assert np.abs(after[..., changed, :] - before[..., changed, :]).min() > 1e-9


def test_the_first_tokens_see_no_block_and_get_numbers_all_the_same() -> None:
    x = inputs(96, 96, SMALL)
    first = SMALL["block"] - 1  # tokens before the first whole block ends
    assert np.isfinite(kit(x, SMALL)).all()
    compressed = kit(only(0, x), SMALL)
    assert not compressed[..., :first, :].any() and np.abs(compressed[..., first:, :]).min(axis=-1).all()
    # The very first token sees itself alone, in both other branches.
    close(kit(only(1, x), SMALL)[..., 0, :], np.repeat(x["V"][:, None, 0], HEADS, axis=1))
    close(kit(only(2, x), SMALL)[..., 0, :], np.repeat(x["near"][1][:, None, 0], HEADS, axis=1))


# --- compression -------------------------------------------------------------------------------------


@given(S=st.integers(8, 60), stride=st.integers(1, 8))
def test_compressed_rows_are_the_mlp_of_their_blocks_and_partial_ones_are_filled_with_zeros(
    S: int, stride: int
) -> None:
    sizes = SMALL | {"stride": stride}
    x = inputs(S, 1, sizes)
    block, mlp = sizes["block"], x["mlps"][0]
    padded = np.concatenate([x["K"], np.zeros((GROUPS, block, D))], axis=1)
    for partial, count in ((False, (S - block) // stride + 1), (True, -(-S // stride))):
        computed = rk.compress(x["K"], *mlp, stride=stride, partial=partial)
        expected = [[phi(K[i * stride : i * stride + block], *mlp) for i in range(count)] for K in padded]
        close(computed, expected)
        traced = rk.compress(rk.Tensor("K", (GROUPS, S, D)), *(rk.Tensor("w", w.shape) for w in mlp), **{
            "stride": stride, "partial": partial,
        })  # fmt: skip
        assert traced.shape == computed.shape


# --- the way back -------------------------------------------------------------------------------------


@pytest.mark.torch
@pytest.mark.parametrize("n", [1, 5, 64])
@pytest.mark.parametrize("partial", [False, True])
def test_gradients_are_those_of_pytorch(torch: Any, n: int, partial: bool) -> None:
    """Through the choice of blocks no gradient goes; through what was chosen, the compression and the gates it does."""
    x = last(inputs(64, 64, SMALL), n)
    gradient = np.random.default_rng(1).normal(size=(GROUPS, HEADS, n, D_V))
    result, (ours,) = rk.backward(lambda x: kit(x, SMALL, partial))(x, gradient=gradient)
    theirs = replace_leaves(x, lambda array: torch.tensor(array, requires_grad=True))
    kit(theirs, SMALL, partial).backward(torch.tensor(gradient))
    close(result, kit(x, SMALL, partial))
    assert [a.shape for a in leaves(ours)] == [a.shape for a in leaves(x)]
    for one, other in zip(leaves(ours), leaves(theirs), strict=True):
        close(one, other.grad.numpy())
    assert all(np.abs(one).max() > 1e-3 for one in leaves(ours))


@pytest.mark.parametrize("n", [1, 8192])
def test_back_each_pair_of_query_and_key_takes_five_products_for_two(n: int) -> None:
    """Its score once more, the gradients of the query and of the key; that of the value, and that of the weight."""
    d_k, d_v, T = SETTING["d_k"], SETTING["d_v"], 8192
    widths = {"K": (T, d_k), "V": (T, d_v), "K_cmp": (T // SETTING["d"], d_k), "V_cmp": (T // SETTING["d"], d_v)}
    K, V, K_cmp, V_cmp = (rk.Tensor(name, (SETTING["g"], *shape)) for name, shape in widths.items())
    Q, gates = (rk.Tensor(name, (SETTING["g"], SETTING["h"], n, m)) for name, m in (("Q", d_k), ("gates", 3)))
    sparse = rk.passes(rk.sparse_attention, Q, K, V, K_cmp, V_cmp, gates, (K, V), **PAPER)

    def full_attention(Q: Any, K: Any, V: Any) -> Any:
        return rk.attention(Q, *(x.reshape(x.shape[0], 1, *x.shape[1:]) for x in (K, V)), rk.Causal())

    full = rk.passes(rk.fuse(full_attention), Q, K, V)
    five_for_two = sympy.Rational(3 * d_k + 2 * d_v, d_k + d_v)
    for both in (sparse, full):
        assert both.backward.matmul_flops == five_for_two * both.forward.matmul_flops > 0
    same = rk.passes(rk.fuse(full_attention), Q, K, rk.Tensor("V", K.shape))
    assert same.backward.matmul_flops == sympy.Rational(5, 2) * same.forward.matmul_flops


def test_the_compression_adds_little_to_both_passes() -> None:
    """As page 06 says, which leaves it out; with a hidden layer as wide as a key, of which the paper says nothing."""
    block, stride, groups, heads = (SETTING[name] for name in ("l", "d", "g", "h"))
    for T in (row[0] for row in PUBLISHED["nsa-figure-6"]["rows"]):
        shapes = {"K": (T, SETTING["d_k"]), "V": (T, SETTING["d_v"])}
        K, V = (rk.Tensor(name, (groups, *shape)) for name, shape in shapes.items())
        both = [
            rk.passes(
                lambda X, *mlp: rk.compress(X, *mlp, stride=stride), x,
                *(rk.Tensor("w", shape) for shape in ((block, d), (block * d, d), (d, d))),
            )
            for x, d in ((K, SETTING["d_k"]), (V, SETTING["d_v"]))
        ]  # fmt: skip
        K_cmp, V_cmp = (rk.Tensor("cmp", (groups, T // stride, x.shape[-1])) for x in (K, V))
        Q, gates = (rk.Tensor(name, (groups, heads, T, m)) for name, m in (("Q", SETTING["d_k"]), ("gates", 3)))
        attention = rk.passes(rk.sparse_attention, Q, K, V, K_cmp, V_cmp, gates, (K, V), **PAPER)
        for way in ("forward", "backward"):
            added = sum(getattr(one, way).flops for one in both)
            assert 0 < added < getattr(attention, way).flops / 50


# --- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stride": 3}, "blocks of 8 tokens are not whole strides of 3"),
        ({"select_block": 18}, "blocks of 18 tokens are not whole strides of 4"),
        ({"selected": 2}, "selected is 2; the first and two near blocks are always read"),
        ({"selected": 7}, "96 tokens are 6 blocks of 16, fewer than 7"),
        ({"window": 0}, "(window|size 1) is 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_on_arrays_and_in_a_trace(wrong: dict[str, int], message: str) -> None:
    x = inputs(96, 1, SMALL)
    arrays = [x["Q"], x["K"], x["V"], *(np.zeros((GROUPS, 23, width)) for width in (D, D_V)), x["gates"]]
    tensors = [rk.Tensor(f"x{i}", array.shape) for i, array in enumerate(arrays)]
    for given_as in (arrays, tensors):
        with pytest.raises(ValueError, match=message):
            rk.sparse_attention(*given_as, **(SMALL | wrong))
