"""What does a mixture of experts cost? A router, and MLPs of which each token meets a few.

The FLOPs follow from how many experts a token chooses. The bytes follow from how many *different* ones all tokens of
a step choose together, as each is read once: that depends on their values, so a trace is told, by `awake`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import sympy
from array_api_compat import array_namespace, device

from .names import choose, flag
from .ops import exp, hide, max, softmax, sum, take, top, widened
from .sizes import as_exact, check_shape, size
from .tensor import Tensor, discrete, elementwise, fuse
from .transformer import ACTIVATIONS, linear, mlp, weight_and_bias

# --- how many experts are awake -----------------------------------------------------------------------


def awake_fewest(experts: Any, per_token: Any, tokens: Any) -> sympy.Expr:
    """Different experts that are read where all tokens choose alike: those of one token.

    >>> awake_fewest(256, 8, tokens=32)
    8
    """
    return size(per_token, "per_token")


def awake_most(experts: Any, per_token: Any, tokens: Any) -> sympy.Expr:
    """Different experts that are read where the choices are spread as far as they go: Min(experts, tokens·per_token).

    >>> awake_most(256, 8, tokens=1), awake_most(256, 8, tokens=32)
    (8, 256)
    """
    return sympy.Min(size(experts, "experts"), size(tokens, "tokens") * size(per_token, "per_token"))


def awake_expected(experts: Any, per_token: Any, tokens: Any) -> sympy.Expr:
    """Different experts that are read on average, where every token chooses at random and for itself.

    A token leaves an expert out with the probability 1 - per_token/experts. Exact: of numbers, a Rational.

    >>> float(awake_expected(256, 8, tokens=32))
    163.31...
    """
    E, k, tokens = size(experts, "experts"), size(per_token, "per_token"), size(tokens, "tokens")
    return E * (1 - (1 - k / E) ** tokens)


AWAKE: dict[str, Callable[..., sympy.Expr]] = {
    "fewest": awake_fewest, "expected": awake_expected, "most": awake_most,
}  # fmt: skip


# --- the router ---------------------------------------------------------------------------------------

SCORES = ("softmax", "softmax of the chosen", "sigmoid")


@fuse
def route(
    logits: Any, per_token: Any, *, scores: str = "softmax", normalise: bool = True, offset: Any = None,
    groups: Any = 1, groups_chosen: Any = 1, scale: float = 1.0,
) -> Any:  # fmt: skip
    """The experts that each token chooses, and their weights, as one step: two arrays (..., N, per_token).

    logits : (..., N, E), a token's for each of E experts. scores : what the weights are made of, as below.
    normalise : a token's weights are divided by their sum. scale : they are multiplied by it, in the end.
    offset : (E,), added to the scores for the choice, not for the weights. groups, groups_chosen : a token chooses
    within so many of these groups of experts, those of the highest maximum, or with "sigmoid" of the highest two.

    * "softmax" of all logits: Mixtral (arXiv 2401.04088), Qwen3 (2505.09388), and DeepSeek-V2 (2405.04434) with groups.
    * "softmax of the chosen" logits alone, which are normalised anyway: gpt-oss (2508.10925).
    * "sigmoid" of each logit: DeepSeek-V3 (2412.19437) with groups and an offset, GLM-4.5 (2508.06471), Llama 4.

    Raises ValueError for unknown scores, and for numbers of experts and groups that do not fit one another.

    >>> chosen, weights = route(Tensor("logits", (10, 256)), 8, scores="sigmoid")
    >>> chosen, weights.step.flops
    (route(logits): int64 (10, 8), 12970)
    """
    scores = choose("scores", scores, SCORES)
    each = group_size(logits.shape[-1], per_token, groups, groups_chosen)
    score = softmax(logits) if scores == "softmax" else 1 / (1 + exp(-logits)) if scores == "sigmoid" else logits
    choice = score if offset is None else score + offset
    if groups != 1:
        by_group = choice.reshape(*choice.shape[:-1], groups, each)
        best = sum(_at(by_group, top(by_group, 2))) if scores == "sigmoid" else max(by_group)
        choice = hide(choice, _inside(top(best, groups_chosen), choice.shape[-1], each), -math.inf)
    chosen = top(choice, per_token)
    weights = _at(score, chosen)
    if scores == "softmax of the chosen":
        weights = softmax(weights)
    elif flag("normalise", normalise):
        total = sum(weights, keepdims=True)
        weights = weights / (total + 1e-20 if scores == "sigmoid" else total)  # sigmoids may all be 0
    return chosen, weights if scale == 1 else weights * scale


def group_size(experts: Any, per_token: Any, groups: Any, groups_chosen: Any, what: str = "route") -> Any:
    """How many experts a group has. Raises ValueError for numbers that do not fit one another; `what` begins it."""
    sizes = {"the number of experts": experts, "per_token": per_token, "groups": groups, "groups_chosen": groups_chosen}
    E, k, n, m = (size(value, f"{what}: {name}") for name, value in sizes.items())
    each = E / n
    if (E - k).is_negative:
        raise ValueError(f"{what}: {k} experts per token are more than the {E} that there are")
    if each.is_number and not each.is_Integer:
        raise ValueError(f"{what}: {n} groups do not divide {E} experts")
    if (n - m).is_negative:
        raise ValueError(f"{what}: {m} groups_chosen are more than the {n} groups")
    if (m * each - k).is_negative:
        raise ValueError(f"{what}: {k} experts per token are more than the {m * each} of {m} chosen groups")
    return int(each) if each.is_number else each


def _at(x: Any, indices: Any) -> Any:
    """The elements of rows x (..., n) at each row's own indices (..., more)."""
    return take(x.reshape(*x.shape, 1), indices).reshape(*indices.shape)


@discrete
@fuse
def _inside(groups: Any, experts: Any, each: Any) -> Any:
    """Which experts are in one of a token's groups (..., n) of `each`; of Tensors, which have no values, None."""
    if isinstance(groups, Tensor):
        return None
    xp = array_namespace(groups)
    group = xp.arange(int(experts), device=device(groups)) // each
    return xp.any(groups[..., None] == group, axis=-2)


# --- the experts --------------------------------------------------------------------------------------


def experts(
    X: Any, w: Any, *, per_token: Any, activation: str = "silu", awake: Any = None, inputs_scaled: bool = False,
    **routing: Any,
) -> Any:  # fmt: skip
    """A mixture of experts: each token's MLPs are those that it chooses, and their outputs are added, weighted.

    X : (..., N, h). w : weights by name: router (h, E); expert_up (E, h, m), expert_down (E, m, h) and, for gated MLPs,
    expert_gate (E, h, m); each alone or in a pair with a bias, of experts (E, m) or (E, h); router_offset (E,), the
    `offset` of `route`; shared_up, shared_down and shared_gate, an MLP that every token meets.
    activation : as of `mlp`, or "clipped", that of gpt-oss. routing : scores, normalise, groups, … of `route`.
    inputs_scaled : what is multiplied by its weight is an expert's input, as in Llama 4, and not its output.
    awake : how many different experts all tokens wake, each of which is read once: a size, an exact expression, or
    "fewest", "expected" or "most", as `awake_fewest` and so on say; None for "most". FLOPs do not depend on it.

    Shazeer et al., "Outrageously large neural networks", arXiv 1701.06538; shared ones: DeepSeekMoE, 2401.06066.

    Raises ValueError for shapes that do not fit, for more awake experts than there are or are chosen, for fewer
    than one token chooses, and as `route` does.

    >>> from roofline_kit import trace
    >>> X, up, down = Tensor("X", (32, 4096)), Tensor("W1", (256, 4096, 2048)), Tensor("W2", (256, 2048, 4096))
    >>> w = {"router": Tensor("R", (4096, 256)), "expert_up": up, "expert_down": down}
    >>> w["expert_gate"] = Tensor("W3", up.shape)
    >>> cost = trace(experts, X, w, per_token=8, awake="expected")
    >>> cost.matmul_flops, float(cost.loads_of(up) / up.nbytes)
    (12952010752, 0.6379...)
    """
    act = choose("activation", activation, [*ACTIVATIONS, "clipped"])
    _check_shapes(X.shape[-1], w, act)
    chosen, weights = route(
        linear(X, *weight_and_bias(w["router"])), per_token, offset=w.get("router_offset"), **routing
    )
    number = _number_awake(awake, w["expert_up"], per_token, math.prod(X.shape[:-1]))

    def product(X: Any, name: str) -> Any:
        return expert_product(X, *weight_and_bias(w[name]), chosen, number)

    X_each = X.reshape(*X.shape[:-1], 1, X.shape[-1])
    if flag("inputs_scaled", inputs_scaled):
        X_each = scaled(X_each, weights)
    if "expert_gate" not in w:
        hidden = ACTIVATIONS[act](product(X_each, "expert_up"))
    elif act == "clipped":
        hidden = clipped(product(X_each, "expert_gate"), product(X_each, "expert_up"))
    else:
        hidden = ACTIVATIONS[act](product(X_each, "expert_gate")) * product(X_each, "expert_up")
    out = product(hidden, "expert_down")
    out = sum(out, axis=-2) if inputs_scaled else combine(out, weights)
    return out + mlp(X, w["shared_up"], w["shared_down"], w.get("shared_gate"), act) if "shared_up" in w else out


@fuse
def expert_product(X: Any, W: Any, b: Any, chosen: Any, awake: Any) -> Any:
    """Rows X (..., N, 1 or k, n) times the matrices of W (E, n, m) that a token chose, in one step: (..., N, k, m)."""
    E, n, m = W.shape

    def theirs(W: Any) -> Any:
        return widened(take(W, chosen, awake), X.dtype)

    out = X.reshape(*X.shape[:-1], 1, n) @ theirs(W.reshape(E, n * m)).reshape(*chosen.shape, n, m)
    out = out.reshape(*chosen.shape, m)
    return out if b is None else out + theirs(b)


@fuse
def clipped(gate: Any, up: Any) -> Any:
    """gate·sigmoid(1.702·gate)·(up + 1), gate up to 7 and up from -7 to 7: gpt-oss' activation, 8 FLOPs per element.

    >>> clipped(Tensor("gate", 10), Tensor("up", 10)).step.flops
    80
    """
    gate, up = elementwise("clip", gate, -math.inf, 7.0), elementwise("clip", up, -7.0, 7.0)
    return gate / (1 + exp(-1.702 * gate)) * (up + 1)


@fuse
def scaled(X: Any, weights: Any) -> Any:
    """A token (..., N, 1, h) once for each of its experts, times the expert's weight (..., N, k)."""
    return X * weights.reshape(*weights.shape, 1)


@fuse
def combine(outputs: Any, weights: Any) -> Any:
    """Outputs of a token's experts (..., N, k, h), times their weights (..., N, k), added up."""
    return sum(scaled(outputs, weights), axis=-2)


def _check_shapes(h: Any, w: Any, activation: str) -> None:
    """Raises ValueError with the name of a weight that does not fit the others."""
    E, m = weight_and_bias(w["router"])[0].shape[-1], weight_and_bias(w["expert_up"])[0].shape[-1]
    if activation == "clipped" and "expert_gate" not in w:
        raise ValueError("experts: the activation 'clipped' needs an expert_gate")
    shapes = {"router": (h, E), "expert_gate": (E, h, m), "expert_up": (E, h, m), "expert_down": (E, m, h)}
    for name, wanted in shapes.items():
        W, b = weight_and_bias(w.get(name))
        for what, x, fits in ((name, W, wanted), (f"the bias of {name}", b, (*wanted[:-2], wanted[-1]))):
            if x is not None:
                check_shape(f"experts: {what}", tuple(x.shape), fits)


def _number_awake(awake: Any, W: Any, per_token: Any, tokens: Any) -> sympy.Expr:
    """How many experts are awake. Raises ValueError for fewer than one token's."""
    E, k = weight_and_bias(W)[0].shape[0], size(per_token, "experts: per_token")
    awake = "most" if awake is None else awake
    if isinstance(awake, str):
        return AWAKE[choose("awake", awake, AWAKE)](E, k, tokens)
    exact = as_exact(awake, "experts: awake")
    if (exact - k).is_negative:
        raise ValueError(f"experts: {awake} awake experts are fewer than the {k} that one token chooses")
    return exact
