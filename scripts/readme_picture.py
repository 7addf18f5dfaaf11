"""Draw the pictures of the README from traces like those of the notebooks: roofline.png, measured.png and explorer.png.

They go to docs/images. The last is a photograph of the live explorer, and needs a browser (scripts/install_tools.sh)
and Playwright.
"""

import shutil
from pathlib import Path

import matplotlib
from playwright.sync_api import sync_playwright

import roofline_kit as rk
from roofline_kit.measuring import error_by_length

matplotlib.use("agg")
points = {
    "linear layer": rk.trace(rk.linear, *rk.tensors("X W", (4096, 4096))),
    "attention, 32 heads": rk.trace(rk.attention, *rk.tensors("Q K V", (32, 4096, 128))),
    "attention, fused": rk.trace(rk.fuse(rk.attention), *rk.tensors("Q K V", (32, 4096, 128))),
}
ax = rk.plot_roofline(["A10"], points, title="Attention with 32 heads waits for memory, until its steps are fused")
images = Path(__file__).parent.parent / "docs" / "images"
ax.figure.savefig(images / "roofline.png", dpi=130)

curves = error_by_length()
long = [ratio for times, ratios in curves.values() for time, ratio in zip(times, ratios, strict=True) if time >= 1e-4]
ax = rk.plot_sweep(
    curves,
    limits={"as predicted": 1},
    x="predicted time [s]",
    y="measured / predicted",
    title=f"From 0.1 ms on, {min(long):.1f} to {max(long):.1f} times as long as predicted, in the middle",
    note="Single kernels, not whole models: SGLang's on A100, H100, H200, B200 and L40S, bf16; its decode on the A100 "
    "is a poor one.\nLeft out: operands that fit into the GPU's cache. Times: NVIDIA aiconfigurator.",
)
ax.figure.savefig(images / "measured.png", dpi=130)

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
    page = browser.new_page(viewport={"width": 960, "height": 900}, device_scale_factor=1.5)
    page.set_content(f"<!doctype html><meta charset=utf-8>{rk.explore_batch('llama-2-7b', 'A100-40GB').html}")
    box = page.locator(".rk-main").bounding_box()
    assert box
    clip = {"x": 0, "y": 0, "width": 960, "height": box["y"] + box["height"]}
    page.screenshot(path=images / "explorer.png", clip=clip)  # type: ignore[arg-type]
    browser.close()
