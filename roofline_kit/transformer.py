"""The transformer as array algorithms: each function can be traced, run and timed.

Nothing here knows a formula. The functions say what is computed, in the notation of the lecture, and
`trace` reads off what it costs.
"""

from typing import Any

from .tensor import softmax


def attention(Q: Any, K: Any, V: Any) -> Any:
    """The lecture's Algorithm 0, standard attention: every intermediate goes to memory and back.

    Q, K, V : (..., N, h); for self-attention of the lecture all have the same shape. Returns
    (..., N, h). As in the lecture, scores are not scaled and not masked: a scale of 1/√h belongs into
    the weights that made Q.

    Raises ValueError where the shapes do not match.

    >>> from roofline_kit import symbols, tensors, trace
    >>> N, h = symbols("N h")
    >>> trace(attention, *tensors("Q K V", (N, h))).intensity
    N*(4*h + 3)/(8*(N + h))
    """
    S = Q @ K.mT
    P = softmax(S)
    return P @ V


def linear(X: Any, W: Any) -> Any:
    """A linear layer, the GEMM that an MLP is made of: X (..., N, K) times W (K, M) is (..., N, M).

    Raises ValueError where the inner sizes differ.

    >>> from roofline_kit import Tensor, symbols, trace
    >>> N, K, M = symbols("N K M")
    >>> trace(linear, Tensor("X", (N, K)), Tensor("W", (K, M))).bytes
    2*K*M + 2*K*N + 2*M*N
    """
    return X @ W
