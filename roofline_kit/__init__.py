"""Write an algorithm once in array notation, and read its roofline.

>>> import roofline_kit as rk
>>> N, h = rk.symbols("N h")
>>> cost = rk.trace(rk.attention, *rk.tensors("Q K V", (N, h)))
>>> cost.flops, cost.bytes
(N**2*(4*h + 3), 8*N**2 + 8*N*h)
>>> rk.roofline("A10").bound(cost.at(N=4096, h=4096))
'compute'
"""

from typing import Any

from . import lecture
from .cost import CompiledCost, Cost, Sweep, trace
from .hardware import Accelerator, accelerator, accelerators
from .roofline import Roofline, roofline
from .tensor import (
    Step,
    Tensor,
    exp,
    fuse,
    gelu,
    layer_norm,
    matmul,
    max,
    mean,
    relu,
    rms_norm,
    silu,
    softmax,
    sqrt,
    sum,
    symbols,
    tanh,
    tensors,
)
from .transformer import attention, linear

_PICTURES = ("plot_roofline",)

__all__ = [
    "Accelerator", "CompiledCost", "Cost", "Roofline", "Step", "Sweep", "Tensor",
    "accelerator", "accelerators", "attention", "exp", "fuse", "gelu", "layer_norm", "lecture",
    "linear", "matmul", "max", "mean", "relu", "rms_norm", "roofline", "silu", "softmax", "sqrt",
    "sum", "symbols", "tanh", "tensors", "trace", *_PICTURES,
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Pictures draw in Matplotlib, so they are imported when one is asked for."""
    if name in _PICTURES:
        from . import plots

        return getattr(plots, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
