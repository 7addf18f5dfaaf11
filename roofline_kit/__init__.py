"""Write an algorithm once in array notation, and read its roofline.

>>> import roofline_kit as rk
>>> N, h = rk.symbols("N h")
>>> cost = rk.trace(rk.attention, *rk.tensors("Q K V", (N, h)))
>>> cost.flops, cost.bytes
(N**2*(4*h + 3), 8*N**2 + 8*N*h)
>>> rk.roofline("A10").bound(cost.at(N=4096, h=4096))
'compute'
"""

from . import alone as alone  # first: it decides where all else is imported from

from importlib import import_module
from typing import Any

from .backward import Passes, backward, checkpoint, passes
from .configs import model, models
from .cost import CompiledCost, Cost, Sweep, trace
from .decoder import decoder_layer
from .experts import experts, route
from .hardware import Accelerator, accelerator, accelerators
from .latent import latent_attention
from .masks import Causal
from .models import Model
from .ops import astype, concatenate, exp, flip, gelu, layer_norm, log, max, relu, rms_norm, silu, softmax, sqrt, store
from .ops import squared_relu, sum, take, tanh, top, windows
from .roofline import Roofline, roofline
from .sizes import symbols
from .sparse import compress, sparse_attention
from .tensor import Step, Tensor, fuse, matmul, mean, tensors, tiled
from .transformer import alibi, attention, linear, merge_heads, mlp, multi_head_attention, norm, rotary, split_heads

# The rooms beside the kit, each opened when it is first asked for: what they need takes time to import.
_ROOMS = {
    "course.build": ("build",),
    "course.lecture": ("lecture", "published"),
    "course.lessons": ("answer", "check"),
    "course.progress": ("progress",),
    "explorers.attention": ("explore_attention",),
    "explorers.batch": ("explore_batch",),
    "explorers.roofline": ("explore_roofline",),
    "explorers.sparse": ("explore_sparse",),
    "explorers.training": ("explore_training",),
    "measuring": ("Measurement", "Point", "Published", "ceilings", "measure", "measured"),
    "pictures.machine": ("plot_machine",),
    "pictures.plots": ("plot_roofline", "plot_stack", "plot_sweep"),
}
_LATER = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "Accelerator", "Causal", "CompiledCost", "Cost", "Model", "Passes", "Roofline", "Step", "Sweep", "Tensor",
    "accelerator", "accelerators", "alibi", "astype", "attention", "backward", "checkpoint", "compress",
    "concatenate", "decoder_layer", "exp", "experts", "flip", "fuse", "gelu", "latent_attention", "layer_norm",
    "linear", "log", "matmul", "max", "mean", "merge_heads", "mlp", "model", "models", "multi_head_attention",
    "norm", "passes", "relu", "rms_norm", "roofline", "rotary", "route", "silu", "softmax", "sparse_attention",
    "split_heads", "sqrt", "squared_relu", "store", "sum", "symbols", "take", "tanh", "tensors", "tiled", "top",
    "trace", "windows",
    *_LATER,
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "__version__":  # not asked for at each import: it takes a while to find
        return import_module("importlib.metadata").version("roofline-kit")
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f".{_LATER[name]}", __name__)
    return getattr(module, name, module)


def __dir__() -> list[str]:
    return sorted(__all__)
