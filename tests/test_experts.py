"""A mixture of experts: it computes what transformers' blocks compute, and reads each expert that was chosen once."""

from __future__ import annotations

import importlib
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from interpreter import interpret

import roofline_kit as rk
from roofline_kit.experts import awake_expected, awake_fewest, awake_most
from roofline_kit.ops import take

H, M, E, K = 12, 5, 8, 3

# --- what it computes: transformers' own blocks with random weights ------------------------------------

SIZES = {
    **{"hidden_size": H, "num_attention_heads": 2, "num_key_value_heads": 2, "num_experts_per_tok": K},
    **{"intermediate_size": M, "moe_intermediate_size": M, "n_shared_experts": 2},
    **{"num_local_experts": E, "num_experts": E, "n_routed_experts": E, "attn_implementation": "eager"},
}
DEEPSEEK = {"n_group": 4, "topk_group": 2, "routed_scaling_factor": 2.5}
GROUPED = {"groups": 4, "groups_chosen": 2, "scale": 2.5}
SIGMOID = {"scores": "sigmoid", **GROUPED}
LLAMA_4 = {"scores": "sigmoid", "normalise": False, "inputs_scaled": True}
# The folder of transformers, its block, what its configuration says, and how the kit says the same.
KINDS: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "Mixtral": ("mixtral", "MixtralSparseMoeBlock", {}, {}),
    "Qwen3": ("qwen3_moe", "Qwen3MoeSparseMoeBlock", {"norm_topk_prob": True}, {}),
    "Qwen3, not normalised": (
        *("qwen3_moe", "Qwen3MoeSparseMoeBlock", {"norm_topk_prob": False}, {"normalise": False}),
    ),
    "gpt-oss": ("gpt_oss", "GptOssMLP", {}, {"scores": "softmax of the chosen", "activation": "clipped"}),
    "DeepSeek-V3": ("deepseek_v3", "DeepseekV3MoE", DEEPSEEK, SIGMOID),
    "DeepSeek-V3, not normalised": (
        *("deepseek_v3", "DeepseekV3MoE", DEEPSEEK | {"norm_topk_prob": False}, SIGMOID | {"normalise": False}),
    ),
    "DeepSeek-V2": (
        *("deepseek_v2", "DeepseekV2Moe", DEEPSEEK | {"topk_method": "group_limited_greedy"}),
        GROUPED | {"normalise": False},
    ),
    "DeepSeek-V2, greedy": (
        *("deepseek_v2", "DeepseekV2Moe", {"topk_method": "greedy"}, {"normalise": False}),
    ),
    "GLM-4.5": (
        *("glm4_moe", "Glm4MoeMoE", {"n_group": 1, "topk_group": 1, "routed_scaling_factor": 1.5}),
        {"scores": "sigmoid", "scale": 1.5},
    ),
    "Llama 4": ("llama4", "Llama4TextMoe", {"num_experts_per_tok": 1}, {"per_token": 1, **LLAMA_4}),
    "Llama 4 with all experts": ("llama4", "Llama4TextMoe", {"num_experts_per_tok": E}, {"per_token": E, **LLAMA_4}),
}  # fmt: skip
CONFIGS = {
    **{"mixtral": "MixtralConfig", "qwen3_moe": "Qwen3MoeConfig", "gpt_oss": "GptOssConfig"},
    **{"deepseek_v3": "DeepseekV3Config", "deepseek_v2": "DeepseekV2Config", "glm4_moe": "Glm4MoeConfig"},
    **{"llama4": "Llama4TextConfig"},
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def theirs(torch: Any, transformers: Any, kind: str) -> Any:
    """A block of transformers in float64, each of its parameters and buffers random."""
    folder, block, sizes, _ = KINDS[kind]
    config = getattr(transformers, CONFIGS[folder])(**(SIZES | sizes))
    config._experts_implementation = "eager"  # the default is invisible to the counter of FLOPs
    module = importlib.import_module(f"transformers.models.{folder}.modeling_{folder}")
    block = getattr(module, block)(config).to(torch.float64).eval()
    torch.manual_seed(1701)
    with torch.no_grad():
        for x in (*block.parameters(), *block.buffers()):
            x.normal_(0, 0.5)
    return block


def weights_of(block: Any) -> dict[str, Any]:
    """The weights of a block of transformers, as `experts` takes them."""
    routed, router = block.experts, getattr(block, "gate", None) or block.router
    w = {"router": router.weight.T}
    if hasattr(routed, "gate_up_proj_bias"):  # gpt-oss, where columns of gate and up alternate
        w["router"] = router.weight.T, router.bias
        for i, name in enumerate(("expert_gate", "expert_up")):
            w[name] = routed.gate_up_proj[..., i::2], routed.gate_up_proj_bias[..., i::2]
        return w | {"expert_down": (routed.down_proj, routed.down_proj_bias)}
    alike = routed.gate_up_proj.shape[1] == H  # Llama 4 keeps its matrices as we do, and others transposed
    both, down = routed.gate_up_proj, routed.down_proj
    both, down = (both, down) if alike else (both.mT, down.mT)
    w |= {"expert_gate": both[..., :M], "expert_up": both[..., M:], "expert_down": down}
    if hasattr(router, "e_score_correction_bias"):
        w["router_offset"] = router.e_score_correction_bias
    shared = getattr(block, "shared_experts", None) or getattr(block, "shared_expert", None)
    if shared is not None:
        w |= {f"shared_{name}": getattr(shared, f"{name}_proj").weight.T for name in ("gate", "up", "down")}
    return w


def mapped(f: Any, tree: Any) -> Any:
    """Each array of weights by name, also in pairs, by f."""
    if isinstance(tree, dict):
        return {name: mapped(f, x) for name, x in tree.items()}
    return tuple(map(f, tree)) if isinstance(tree, tuple) else f(tree)


def described(w: Any) -> Any:
    return mapped(lambda x: rk.Tensor("w", tuple(x.shape), role="weight"), w)


@pytest.mark.torch
@each_kind
def test_a_mixture_is_the_block_of_transformers_with_the_same_weights(torch: Any, transformers: Any, kind: str) -> None:
    block, options = theirs(torch, transformers, kind), {"per_token": K} | KINDS[kind][3]
    X = torch.randn(2, 7, H, dtype=torch.float64) * (8 if kind == "gpt-oss" else 1)  # so that something is clipped
    with torch.no_grad():
        expected = block(X)
        expected = (expected[0] if isinstance(expected, tuple) else expected).reshape(2, 7, H)
        computed = rk.experts(X, weights_of(block), **options)
        arrays = mapped(lambda x: x.numpy(), weights_of(block))
    assert isinstance(computed, torch.Tensor)
    for ours in (computed, torch.from_numpy(rk.experts(X.numpy(), arrays, **options))):
        torch.testing.assert_close(ours, expected, rtol=2e-6, atol=2e-6)  # the router of transformers is in float32


@pytest.mark.torch
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "Llama 4"])  # there each expert runs on each token
def test_matmul_flops_equal_what_pytorch_counts_with_difference_0(torch: Any, transformers: Any, kind: str) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    block, options = theirs(torch, transformers, kind), {"per_token": K} | KINDS[kind][3]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        block(torch.randn(2, 7, H, dtype=torch.float64))
    cost = rk.trace(rk.experts, rk.Tensor("X", (2, 7, H)), described(weights_of(block)), **options)
    assert cost.matmul_flops == counter.get_total_flops() > 0


@pytest.mark.torch
@each_kind
def test_a_mixture_stays_on_the_device_of_its_arrays(torch: Any, transformers: Any, kind: str) -> None:
    """On "meta" nothing has values; as on a GPU, an array that was made on the CPU does not fit."""
    w = mapped(lambda x: x.detach().to("meta"), weights_of(theirs(torch, transformers, kind)))
    X = torch.empty(2, 7, H, dtype=torch.float64, device="meta")
    out = rk.experts(X, w, **({"per_token": K} | KINDS[kind][3]))
    assert (out.device.type, out.dtype, out.shape) == ("meta", torch.float64, X.shape)


# --- what it costs: executed element by element ---------------------------------------------------------


def made(*, bias: bool = False, gated: bool = True, offset: bool = False, shared: bool = False) -> dict[str, Any]:
    """Weights of a tiny mixture."""
    random, h, m, n = np.random.default_rng(2401), 4, 3, 6
    shapes: dict[str, tuple[int, ...]] = {"router": (h, n), "expert_up": (n, h, m), "expert_down": (n, m, h)}
    shapes |= {"expert_gate": (n, h, m)} if gated else {}
    w: dict[str, Any] = {name: random.normal(size=shape) for name, shape in shapes.items()}
    if bias:
        w = {name: (x, random.normal(size=(*x.shape[:-2], x.shape[-1]))) for name, x in w.items()}
    w |= {"router_offset": random.normal(size=n)} if offset else {}
    ends = {"shared_gate": (h, 2), "shared_up": (h, 2), "shared_down": (2, h)} if shared else {}
    return w | {name: random.normal(size=shape) for name, shape in ends.items()}


COUNTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "softmax": ({}, {"per_token": 2}),
    "not normalised, without a gate": ({"gated": False}, {"per_token": 2, "normalise": False, "activation": "relu"}),
    "of the chosen, with biases": (
        *({"bias": True}, {"per_token": 2, "scores": "softmax of the chosen", "activation": "clipped"}),
    ),
    "sigmoid, groups, offset, shared": (
        {"offset": True, "shared": True},
        {"per_token": 3, "scores": "sigmoid", "groups": 3, "groups_chosen": 2, "scale": 2.5},
    ),
    "groups of softmax": ({}, {"per_token": 2, "groups": 2, "groups_chosen": 1, "activation": "gelu"}),
    "inputs scaled": ({}, {"per_token": 1, "scores": "sigmoid", "normalise": False, "inputs_scaled": True}),
}


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize("tokens", [(1,), (5,), (2, 3)])
def test_flops_loads_and_stores_are_those_of_the_choices_that_were_made(name: str, tokens: tuple[int, ...]) -> None:
    w, options = made(**COUNTED[name][0]), COUNTED[name][1]
    X = np.random.default_rng(6).normal(size=(*tokens, 4))
    arrays = [X, *(x for pair in w.values() for x in (pair if isinstance(pair, tuple) else (pair,)))]

    def f(X: Any, *flat: Any) -> Any:
        rest = iter(flat)
        return rk.experts(X, mapped(lambda _: next(rest), w), **options)

    routing = {key: value for key, value in options.items() if key not in ("activation", "inputs_scaled", "per_token")}
    router = w["router"] if isinstance(w["router"], tuple) else (w["router"], 0.0)
    chosen, _ = rk.route(X @ router[0] + router[1], options["per_token"], offset=w.get("router_offset"), **routing)
    choices = np.unique(chosen)
    counts = interpret(f, *arrays)
    np.testing.assert_allclose(counts.result, rk.experts(X, w, **options), rtol=1e-10, atol=1e-12)

    def cost(awake: Any) -> rk.Cost:
        return rk.trace(rk.experts, rk.Tensor("X", X.shape), described(w), **options, awake=awake)

    exact = cost(len(choices))
    assert (exact.flops, exact.matmul_flops) == (counts.flops, counts.matmul_flops)
    assert (exact.loads, exact.stores) == (counts.loads, counts.stores)
    assert sum(step.special for step in exact.steps) == counts.special
    most, fewest = cost("most"), cost("fewest")
    assert fewest.loads <= exact.loads <= most.loads and fewest.loads <= cost("expected").loads <= most.loads
    if len(choices) > options["per_token"]:  # the counts say something of the choices
        assert fewest.loads < exact.loads


def test_an_expert_s_matrix_is_read_as_often_as_said_and_never_all_in_silence() -> None:
    N, h, m, E, k, awake = rk.symbols("N h m E k awake")
    X, up, down = rk.Tensor("X", (N, h)), rk.Tensor("W1", (E, h, m)), rk.Tensor("W2", (E, m, h))
    w = {
        "router": rk.Tensor("R", (h, E)),
        "expert_up": up,
        "expert_down": down,
        "expert_gate": rk.Tensor("W3", up.shape),
    }
    for said, wanted in (
        (None, sympy.Min(E, N * k)),
        ("fewest", k),
        ("expected", E * (1 - (1 - k / E) ** N)),
        (awake, awake),
        (awake / 2, awake / 2),
    ):
        cost = rk.trace(rk.experts, X, w, per_token=k, awake=said)
        assert sympy.simplify(cost.loads_of(up) / (2 * h * m) - wanted) == 0
        assert set(cost.symbols) == {N, h, m, E, k} | wanted.free_symbols
        sizes = {"N": 5, "h": 16, "m": 4, "E": 256, "k": 8} | ({"awake": 21} if wanted.has(awake) else {})
        assert float(cost.at(**sizes).bytes) == cost.compile(**sizes)().bytes
        assert sympy.expand(cost.matmul_flops - 2 * N * h * E - 6 * N * k * h * m) == 0
    numbers = {"N": 32, "h": 16, "m": 4, "E": 256, "k": 8}
    cost = rk.trace(rk.experts, X, w, per_token=k, awake=awake)
    assert float(cost.at(**numbers, awake=164).bytes) == cost.compile("awake", **numbers)([164]).bytes[0]
    known = {str(symbol): symbol for symbol in (N, h, m, E, k)}

    def put(x: rk.Tensor) -> rk.Tensor:
        at = {known[name]: number for name, number in numbers.items()}
        return rk.Tensor(x.name, tuple(n.xreplace(at) for n in x.shape))

    direct = rk.trace(rk.experts, put(X), mapped(put, w), per_token=8, awake=164)
    assert [(step.name, step.flops, step.bytes) for step in cost.at(**numbers, awake=164).steps] == [
        (step.name, step.flops, step.bytes) for step in direct.steps
    ]
    for wrong in (257, 300):
        with pytest.raises(ValueError, match="positive integer"):
            cost.at(**numbers, awake=wrong)


def test_256_experts_of_which_32_tokens_choose_8_are_not_all_read() -> None:
    """TileOPs issue 2127: with all of them, a card would move 132 TB/s."""
    assert round(float(awake_expected(256, 8, 32)), 1) == 163.3
    up = rk.Tensor("W1", (256, 16, 4))
    w = {"router": rk.Tensor("R", (16, 256)), "expert_up": up, "expert_down": rk.Tensor("W2", (256, 4, 16))}
    cost = rk.trace(rk.experts, rk.Tensor("X", (32, 16)), w, per_token=8, awake="expected")
    assert abs(cost.loads_of(up) / (awake_expected(256, 8, 32) * 16 * 4 * 2) - 1) < 1e-30


def test_what_many_tokens_are_expected_to_read_can_be_printed() -> None:
    """As an exact fraction it has more digits than Python prints."""
    cost = rk.model("deepseek-v3").decode(4096, 1000, awake="expected")
    for shown in (repr(cost), cost._repr_latex_(), cost.to_latex(), *map(repr, cost.steps)):
        assert shown
    assert len(str(cost.bytes)) < 100
    N, S = rk.symbols("N S")
    every = rk.model("deepseek-v3").decode(N, S, awake="expected")
    assert every.at(N=4096, S=1000).bytes == every.at(N=4096).at(S=1000).bytes == cost.bytes
    assert every.compile("S", N=4096)([1000]).bytes == [float(cost.bytes)]
    assert every.compile(N=4096, S=1000)().bytes == float(cost.bytes)
    W, chosen = rk.Tensor("W", (256, 1)), rk.Tensor("chosen", (N, 8), "int64")
    for tokens in (1, 12, 100, 4096):
        exact = awake_expected(256, 8, tokens)
        read = rk.trace(take, W, chosen, exact).loads_of(W)
        assert abs(read / (2 * exact) - 1) <= sympy.Rational(1, 2**127) and (read == 2 * exact) == (tokens < 100)


@given(experts=st.integers(1, 5), data=st.data(), tokens=st.integers(1, 3))
def test_the_expectation_is_that_of_all_choices_that_there_are(experts: int, data: st.DataObject, tokens: int) -> None:
    per_token = data.draw(st.integers(1, experts))
    one = list(combinations(range(experts), per_token))
    awake = [len(set().union(*choices)) for choices in product(one, repeat=tokens)]
    expected = awake_expected(experts, per_token, tokens)
    assert expected == sympy.Rational(sum(awake), len(awake))
    assert awake_fewest(experts, per_token, tokens) == min(awake) <= expected
    assert expected <= max(awake) == awake_most(experts, per_token, tokens)


def test_experts_in_another_width_are_widened_on_the_way() -> None:
    X = rk.Tensor("X", (6, 4), "bf16")
    for dtype, bits in (("fp8", 8), ("int4", sympy.Rational(33, 8)), ("fp16", 16), ("fp32", 32)):
        w = mapped(lambda x, dtype=dtype: rk.Tensor("w", x.shape, dtype, role="weight"), made(bias=True))
        out, cost = rk.experts(X, w, per_token=2), rk.trace(rk.experts, X, w, per_token=2, awake=4)
        assert out.dtype == "bf16" and not out.step.reads[0].dtype.startswith("fp")
        assert [8 * cost.loads_of(x) for x in w["expert_up"]] == [4 * 4 * 3 * bits, 4 * 3 * bits]


# --- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_token": 7}, "7 experts per token are more than the 6"),
        ({"per_token": 0}, "per_token is 0"),
        ({"groups": 4}, "4 groups do not divide 6 experts"),
        ({"groups": 2, "groups_chosen": 3}, "3 groups_chosen are more than the 2 groups"),
        ({"groups": 6, "groups_chosen": 1}, "2 experts per token are more than the 1 of 1 chosen groups"),
        ({"scores": "softmax of all"}, "unknown scores 'softmax of all'; did you mean 'softmax"),
        ({"activation": "tanh"}, "unknown activation 'tanh'"),
        ({"router": (5, 6)}, r"router has the shape \(5, 6\), and must have \(4, 6\)"),
        ({"router": ((4, 6), (1,))}, r"the bias of router has the shape \(1,\), and must have \(6,\)"),
        ({"expert_up": (5, 4, 3)}, r"expert_up has the shape \(5, 4, 3\), and must have \(6, 4, 3\)"),
        ({"expert_down": (6, 4, 3)}, r"expert_down has the shape \(6, 4, 3\), and must have \(6, 3, 4\)"),
        ({"expert_up": ((6, 4, 3), (4,))}, r"the bias of expert_up has the shape \(4,\), and must have \(6, 3\)"),
        ({"expert_gate": None, "activation": "clipped"}, "'clipped' needs an expert_gate"),
    ],
)
def test_what_does_not_fit_is_refused_on_arrays_and_in_a_trace(options: dict[str, Any], message: str) -> None:
    shapes = {name: x.shape for name, x in made().items()}
    shapes |= {name: options[name] for name in options if name in shapes}
    how = {"per_token": 2} | {name: x for name, x in options.items() if name not in shapes}
    for make in (np.zeros, lambda shape: rk.Tensor("x", shape)):
        w = {
            name: tuple(map(make, shape)) if isinstance(shape[0], tuple) else make(shape)
            for name, shape in shapes.items()
            if shape is not None
        }
        with pytest.raises(ValueError, match=message):
            rk.experts(make((3, 4)), w, **how)


@pytest.mark.parametrize(
    ("awake", "message"),
    [
        (7, "7 distinct rows are more than the 6 that there are"),
        (1, "1 awake experts are fewer than the 2 that one token chooses"),
        (0, "0 awake experts are fewer"),
        (-1, "-1 awake experts are fewer"),
        (5, "5 distinct rows are more than the 4 that are asked for"),
        (sympy.Rational(9, 2), "9/2 distinct rows are more than the 4 that are asked for"),
        ("all", "unknown awake 'all'"),
    ],
)
def test_numbers_of_awake_experts_that_cannot_be_are_refused(awake: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rk.trace(rk.experts, rk.Tensor("X", (2 if awake != 7 else 9, 4)), described(made()), per_token=2, awake=awake)


def test_rows_that_are_taken_more_than_once_are_read_as_often_as_said() -> None:
    table, ids = np.arange(12.0).reshape(6, 2), np.array([[5, 0], [5, 1]])
    assert np.array_equal(rk.take(table, ids, distinct=3), rk.take(table, ids))
    scores = np.array([[1.0, 0, 0, 0, 0, 2], [0, 1, 0, 0, 0, 2]])
    for distinct, rows in ((None, 4), (3, 3)):
        counts = interpret(lambda x, s, distinct=distinct: rk.take(x, rk.top(s, 2), distinct), table, scores)
        assert np.array_equal(counts.result, table[ids])
        assert counts.loads == 2 * scores.size + 8 * ids.size + 2 * 2 * rows
    x, where = rk.Tensor("E", (6, 2)), rk.Tensor("ids", (2, 2), "int64")
    for distinct in (1, sympy.Rational(5, 2), 3, rk.symbols("n"), 4):
        step = rk.take(x, where, distinct).step
        assert (step.loads, step.stores) == (2 * 2 * distinct + 8 * 4, 2 * 4 * 2)
    for wrong, kind in ((0, ValueError), (-2, ValueError), (5, ValueError), (sympy.Rational(-1, 2), ValueError),
                        (True, ValueError), (2.5, TypeError), ("3", TypeError), (sympy.Float(2.5), ValueError),
                        (sympy.Symbol("n"), TypeError)):  # fmt: skip
        with pytest.raises(kind, match="distinct"):
            rk.take(x, where, wrong)
