"""Draw the picture of the README, docs/images/roofline.png, from traces like those of the notebooks."""

from pathlib import Path

import matplotlib

import roofline_kit as rk

matplotlib.use("agg")
points = {
    "linear layer": rk.trace(rk.linear, *rk.tensors("X W", (4096, 4096))),
    "attention, 32 heads": rk.trace(rk.attention, *rk.tensors("Q K V", (32, 4096, 128))),
    "attention, fused": rk.trace(rk.fuse(rk.attention), *rk.tensors("Q K V", (32, 4096, 128))),
}
ax = rk.plot_roofline(["A10"], points, title="Attention with 32 heads waits for memory, until its steps are fused")
ax.figure.savefig(Path(__file__).parent.parent / "docs" / "images" / "roofline.png", dpi=130)
