"""What does latent attention cost? Keys and values that all heads share, in a cache of a few hundred numbers a token.

Two algorithms with one result. Expanded, each head's keys and values are computed from the latent, as in training;
absorbed, the matrix that would compute them is multiplied into queries and outputs, and the latent itself is attended.
"""

from __future__ import annotations

from typing import Any

from .masks import Causal, mask_of
from .names import flag
from .ops import softmax, store, widened
from .sizes import check_shape, size
from .tensor import fuse, matmul
from .transformer import equal_share, linear, merge_heads, norm, queries, rotary, split_heads, weight_and_bias


def latent_attention(
    X: Any, w: Any, *, heads: Any, rotation: tuple[Any, Any], cache: tuple[Any, Any] | None = None,
    causal: bool | Causal | None = False, fused: bool = False, absorbed: bool = False, scale: Any = None,
    eps: float = 1e-6,
) -> Any:  # fmt: skip
    """Multi-head latent attention (MLA) of DeepSeek-V2 and V3, expanded or absorbed.

    X : (..., N, h). w : weights by name, as below, each alone or in a pair with a bias. rotation : (cos, sin) of
    `rotary`, each (N, rope). cache : latents (..., T, r) and rotated keys (..., T, rope) of the context, whose last N
    rows X's own are stored into. causal : as `multi_head_attention` has it. fused : scores stay on chip.
    absorbed : kv_up meets queries and outputs, and not the whole context. scale : of the scores, 1/√(nope + rope)
    unless given. eps : of the norms.

    * query (h, heads·(nope + rope)); or, through a latent of its own, query_down (h, q), query_norm (q,) and query_up
      (q, heads·(nope + rope)). The last rope numbers of a head are those that are rotated.
    * kv_down (h, r + rope), kv_norm (r,): a token's latent of r numbers, and its rotated key for all heads.
    * kv_up (r, heads·(nope + v)), output (heads·v, h). v need not be nope + rope.

    DeepSeek-AI, "DeepSeek-V2", arXiv 2405.04434, section 2.1; absorbed, as its section 2.1.2 says.

    Raises ValueError where the shapes of the weights do not fit one another, naming the weight.

    >>> from roofline_kit import Tensor, trace
    >>> X, cos, latent, rotated = (Tensor("x", shape) for shape in ((1, 7168), (1, 64), (1000, 512), (1000, 64)))
    >>> shapes = {"query": (7168, 24576), "kv_down": (7168, 576), "kv_up": (512, 32768), "output": (16384, 7168)}
    >>> w = {name: Tensor(name, shape) for name, shape in shapes.items()} | {"kv_norm": Tensor("g", 512)}
    >>> how = {"heads": 128, "rotation": (cos, cos), "cache": (latent, rotated)}
    >>> [trace(latent_attention, X, w, **how, absorbed=absorbed).matmul_flops for absorbed in (False, True)]
    [34231812096, 907542528]
    """
    nope, rope, v, r = _widths(X.shape[-1], w, heads, rotation[0].shape[-1])
    scale = (nope + rope) ** -0.5 if scale is None else scale
    hidden, W_q = (X, w["query"]) if "query" in w else (_query_latent(X, w, eps), w["query_up"])
    Q, Q_rope = _parts(split_heads(queries(hidden, *weight_and_bias(W_q), scale), heads), nope)
    latent, K_rope = _parts(linear(X, *weight_and_bias(w["kv_down"])), r)
    Q_rope, latent, K_rope = rotary(Q_rope, *rotation), norm(latent, w["kv_norm"], eps), rotary(K_rope, *rotation)
    dtype = latent.dtype
    if cache is not None:
        latent, K_rope = store(latent, into=cache[0]), store(K_rope, into=cache[1])

    W, b = weight_and_bias(w["kv_up"])
    W_k, W_v = _parts(split_heads(W, heads), nope)
    if flag("absorbed", absorbed):
        Q, K, V = Q @ W_k.mT, _for_all_heads(latent), _for_all_heads(latent)
    else:
        K, V = _parts(split_heads(expand(latent, W, b, dtype), heads), nope)
    mask = mask_of(causal)
    out = (fuse(attend) if flag("fused", fused) else attend)(Q, Q_rope, K, _for_all_heads(K_rope), V, mask)
    if absorbed:  # a bias of keys adds the same to all scores of a query, which softmax does not see
        out = linear(out, W_v, None if b is None else _parts(b.reshape(heads, 1, nope + v), nope)[1])
    return linear(merge_heads(out), *weight_and_bias(w["output"]))


@fuse
def latent_scores(Q: Any, Q_rope: Any, K: Any, K_rope: Any, mask: Causal | None) -> Any:
    """What queries and keys have in common, in their plain parts and in those that are rotated, as one step."""
    return matmul(Q, K.mT, mask) + matmul(Q_rope, K_rope.mT, mask)


def attend(Q: Any, Q_rope: Any, K: Any, K_rope: Any, V: Any, mask: Causal | None) -> Any:
    """Attention whose keys have two parts."""
    P = softmax(latent_scores(Q, Q_rope, K, K_rope, mask))
    return P @ V


@fuse
def expand(latent: Any, W: Any, b: Any, dtype: Any) -> Any:
    """Keys and values of all heads, computed anew from the latent, which a cache may keep in another dtype."""
    return linear(widened(latent, dtype), W, b)


def _parts(X: Any, n: Any) -> tuple[Any, Any]:
    """The first n columns, and the others."""
    return X[..., :n], X[..., n:]


def _query_latent(X: Any, w: Any, eps: float) -> Any:
    """What the heads' queries are made of, where they have a latent of their own."""
    return norm(linear(X, *weight_and_bias(w["query_down"])), w["query_norm"], eps)


def _for_all_heads(X: Any) -> Any:
    """(..., T, d) as (..., 1, T, d), a view: all heads read the same."""
    return X.reshape(*X.shape[:-2], 1, *X.shape[-2:])


def _widths(h: Any, w: Any, heads: Any, rope: Any) -> tuple[Any, Any, Any, Any]:
    """Widths of a head's plain part, its rotated part and its values, and of the latent.

    Raises ValueError with the name of a weight that does not fit the others.
    """
    shapes = {name: tuple(weight_and_bias(x)[0].shape) for name, x in w.items()}
    latent, query = shapes["kv_norm"][-1], "query" if "query" in w else "query_up"

    def share(name: str, less: Any, what: str) -> Any:
        columns = f"the {shapes[name][-1]} columns of {name} cannot be split into {heads} heads"
        each = equal_share(shapes[name][-1], heads, columns) - less
        size(each, f"latent attention: of each head's part of {name}, {less} less, {what}")
        return each

    nope = share(query, rope, "what is not rotated")
    v = share("kv_up", nope, "the value")
    wanted = {"kv_down": (h, latent + rope), "kv_up": (latent, heads * (nope + v)), "output": (heads * v, h)}
    if query == "query_up":
        between = shapes["query_norm"][-1]
        wanted |= {"query_down": (h, between), "query_up": (between, heads * (nope + rope))}
    else:
        wanted |= {"query": (h, heads * (nope + rope))}
    for name, fits in wanted.items():
        check_shape(f"latent attention: {name}", shapes[name], fits)
    return nope, rope, v, latent
