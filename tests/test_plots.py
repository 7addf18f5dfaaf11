"""Pictures: what is drawn is what was computed, and every label can be read."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgba

import roofline_kit as rk
from roofline_kit.pictures.machine import BOXES, PARTS
from roofline_kit.pictures.plots import SERIES, THEMES

N, h = rk.symbols("N h")
ATTENTION = rk.trace(rk.attention, *rk.tensors("Q K V", (N, h)))
GEMM = rk.trace(rk.linear, *rk.tensors("X W", (4096, 4096)))


@pytest.fixture(autouse=True)
def agg() -> Any:
    plt.switch_backend("agg")
    yield
    plt.close("all")


def markers(ax: Any) -> list[tuple[float, float]]:
    """Where points stand (the ridge point is one of them)."""
    return [(*line.get_xdata(), *line.get_ydata()) for line in ax.lines if len(line.get_xdata()) == 1]


def boxes(ax: Any) -> list[tuple[str, Any]]:
    ax.figure.draw_without_rendering()
    return [(text.get_text(), text.get_window_extent()) for text in ax.texts if text.get_rotation() == 0]


def test_a_point_stands_at_its_intensity_and_at_its_flops_over_the_sum_of_its_steps_times() -> None:
    cost, roof = ATTENTION.at(N=1024, h=4096), rk.roofline("A10")
    ax = rk.plot_roofline("A10", {"attention": cost})
    assert (float(cost.intensity), pytest.approx(float(cost.flops) / roof.time(cost))) in markers(ax)
    assert float(cost.flops) / roof.time(cost) < roof.attainable(cost.intensity)


def test_the_ridge_point_is_marked_with_its_value() -> None:
    ax = rk.plot_roofline("A10")
    assert (float(rk.accelerator("A10").ridge()), 125e12) in markers(ax)
    assert any("208.3 FLOPs per byte" in text.get_text() for text in ax.texts)


@pytest.mark.parametrize("name", rk.accelerators())
def test_every_accelerator_can_be_drawn(name: str) -> None:
    dtype = "bf16" if "TPU" in name else "fp16"
    ax = rk.plot_roofline(name, {"GEMM": GEMM}, dtype=dtype)
    peak = rk.accelerator(name).peak(dtype)
    assert any(line.get_ydata()[-1] == peak for line in ax.lines if len(line.get_ydata()) == 3)


BARS = {
    "promised": {"scores": 0.03, "softmax": 1e-4, "mix": 0.03},
    "measured": {"scores": 0.06, "exp": 0.004, "mix": 0.05},
}


@pytest.mark.parametrize("theme", THEMES)
def test_a_stack_s_parts_follow_one_another_in_their_colours(theme: str) -> None:
    ax = rk.plot_stack(BARS, title="Where the time goes", theme=theme)
    bars = [(bar.get_y() + bar.get_height() / 2, bar.get_x(), bar.get_width()) for bar in ax.patches]
    wanted = [(row, sum(list(parts.values())[:i]), part)
              for row, parts in enumerate(BARS.values()) for i, part in enumerate(parts.values())]  # fmt: skip
    assert np.array(bars) == pytest.approx(np.array(wanted))
    colors = [bar.get_facecolor() for bar in ax.patches]
    assert colors[0] == colors[3] and colors[2] == colors[5] and len(set(colors)) == 4
    texts = [text.get_text().strip() for text in ax.texts]
    assert "60.1 ms" in texts and "114 ms" in texts and "softmax" not in texts and texts.count("mix") == 2
    assert [label.get_text() for label in ax.get_yticklabels()] == list(BARS)


def test_a_name_in_a_stack_stands_within_its_part() -> None:
    ax = rk.plot_stack(BARS)
    ax.figure.draw_without_rendering()
    names = [text for text in ax.texts if text.get_text() in {"scores", "exp", "mix"}]
    assert {text.get_text(): text.get_rotation() for text in names} == {"scores": 0, "mix": 0, "exp": 90}
    for text in names:
        box = text.get_window_extent()
        assert any(bar.get_window_extent().contains(*corner) for bar in ax.patches for corner in [box.min]
                   if bar.get_window_extent().contains(*box.max))  # fmt: skip


@pytest.mark.parametrize("theme", THEMES)
def test_the_colours_of_memory_and_compute_mean_nothing_else(theme: str) -> None:
    """Neither curves nor parts have them, and no two of up to nine share a colour."""
    bars = {"a": {f"part {i}": 1.0 for i in range(9)}}
    curves = {f"curve {i}": ([1, 10], [10.0**i, 10.0**i]) for i in range(9)}
    parts = [bar.get_facecolor() for bar in rk.plot_stack(bars, theme=theme).patches]
    lines = [to_rgba(line.get_color()) for line in rk.plot_sweep(curves, theme=theme).lines]
    taken = {to_rgba(THEMES[theme].memory), to_rgba(THEMES[theme].compute)}
    for colors in (parts, lines):
        assert len(set(colors)) == 9 and not taken & set(colors)


def test_a_sweep_s_axis_has_no_numbers_beyond_its_data() -> None:
    ax = rk.plot_sweep({"a curve": ([16, 131_072], [1.0, 2.0])}, points={"a point": (64, 1.5)})
    assert max(ax.get_xticks()) <= 131_072 < ax.get_xlim()[1] and not len(ax.get_xticks(minor=True))
    assert ax.spines["bottom"].get_bounds()[1] == 131_072


@pytest.mark.parametrize("bars", [{}, {"a": {}}, {"a": {"x": -1.0}}, {"a": {"x": np.nan}}])
def test_a_stack_of_nothing_is_refused(bars: Any) -> None:
    with pytest.raises(ValueError, match=r"plot_stack.* needs (bars|parts)|'x' of 'a' must be 0 or more"):
        rk.plot_stack(bars)


def test_the_first_machine_is_drawn_in_full_and_the_others_dashed() -> None:
    ax = rk.plot_roofline(["H100-SXM", "A10"], {"GEMM": GEMM})
    roofs = [line for line in ax.lines if len(line.get_xdata()) == 3]
    assert [line.get_linestyle() for line in roofs] == ["-", "--"]


@given(st.lists(st.floats(0.05, 5000), min_size=1, max_size=8, unique=True), st.sampled_from([*THEMES]))
@settings(max_examples=15)
def test_labels_never_overlap_one_another_or_leave_the_axes(intensities: list[float], theme: str) -> None:
    ax = rk.plot_roofline(["A100-40GB", "A10"], {f"kernel {i}": x for i, x in enumerate(intensities)}, theme=theme)
    page, placed = ax.figure.bbox, boxes(ax)
    for (one, a), (other, b) in combinations(placed, 2):
        assert not a.padded(-1).overlaps(b.padded(-1)), (one, other, intensities)
    assert all(page.x0 <= b.x0 and b.x1 <= page.x1 and page.y0 <= b.y0 and b.y1 <= page.y1 for _, b in placed)
    plt.close("all")


def test_labels_stay_beside_their_points_at_another_resolution() -> None:
    ax = rk.plot_roofline("A10", {"MLP": GEMM, "attention": ATTENTION.at(N=4096, h=4096)})
    centres = []
    for dpi in (100, 200):
        ax.figure.set_dpi(dpi)
        centres.append(
            [((b.x0 + b.x1) / dpi, (b.y0 + b.y1) / dpi) for text, b in boxes(ax) if text in ("MLP", "attention")]
        )
    assert np.allclose(*centres, atol=0.02)


def test_coincident_points_share_a_label() -> None:
    qk, _, pv = ATTENTION.at(N=4096, h=128).steps
    texts = [text.get_text() for text in rk.plot_roofline("A10", {"QK": qk, "PV": pv}).texts]
    assert "QK, PV" in texts


def test_a_sweep_is_a_path_through_all_of_its_sizes() -> None:
    sweep = ATTENTION.compile("N", h=4096)([16, 256, 4096])
    ax = rk.plot_roofline("A10", {"attention": sweep})
    ticks = [line for line in ax.lines if line.get_marker() == "|"]
    assert np.allclose(ticks[0].get_xdata(), sweep.intensity)
    texts = [text.get_text() for text in ax.texts]
    assert "attention\nN = 16" in texts and "256" in texts and "4,096" in texts


def test_a_sweep_over_heads_is_drawn_at_the_numbers_that_divide() -> None:
    H = rk.symbols("H")
    heads = rk.trace(rk.attention, *rk.tensors("Q K V", (H, N, h / H)))
    rk.plot_roofline("A10", {"heads": heads.compile("H", N=4096, h=4096)([1, 2, 4, 8, 16, 32])})


def test_the_title_is_the_finding_and_is_not_clipped() -> None:
    title = "A finding that takes a good many words to say, and therefore needs a second line to be read in full"
    ax = rk.plot_roofline("A10", title=title)
    ax.figure.draw_without_rendering()
    assert ax.get_title(loc="left").replace("\n", " ") == title
    assert ax.title.get_window_extent().x1 <= ax.figure.bbox.x1
    assert ax._left_title.get_window_extent().x1 <= ax.figure.bbox.x1


def test_points_say_that_they_are_predictions() -> None:
    assert any("Not measurements" in text.get_text() for text in rk.plot_roofline("A10", {"GEMM": GEMM}).texts)
    assert not any("measurements" in text.get_text() for text in rk.plot_roofline("A10").texts)


# --- the machine ---


def parts(ax: Any) -> list[str]:
    """What stands in the picture of a machine, each part's lines as one text."""
    return [" ".join(text.get_text().split()) for text in ax.texts if text.get_text()]


def test_the_machine_has_the_sizes_and_rates_of_its_datasheet() -> None:
    a10 = rk.accelerator("A10")
    assert set(parts(rk.plot_machine("A10"))) == {
        "the A10's chip", "bytes 600 GB/s", "memory 24 GB", f"L2 cache {a10.cache / 1e6:g} MB",
        f"shared memory {a10.shared / 1e6:.4g} MB registers {a10.registers / 1e6:.4g} MB",
        "matrix units 125 TFLOP/s, fp16", "ordinary units 31.2 TFLOP/s, fp32",
        f"special-function units {a10.exp / 1e12:.4g} T exp/s",
    }  # fmt: skip


def test_a_part_without_a_number_is_drawn_without_one() -> None:
    mine = rk.Accelerator("mine", {"fp16": 4e12}, 4e10, 16e9, registers=2**21)
    assert set(parts(rk.plot_machine(mine))) == {
        "the mine's chip", "bytes 40 GB/s", "memory 16 GB", "L2 cache", "shared memory registers 2.097 MB",
        "matrix units 4 TFLOP/s, fp16", "ordinary units", "special-function units",
    }  # fmt: skip


def test_a_small_machine_has_the_numbers_of_one_part() -> None:
    texts = parts(rk.plot_machine("A10", "L2", small=True))
    assert [text for text in texts if re.search(r"\d [MGT]", text)] == ["L2 cache 6 MB"]


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("part", PARTS)
def test_one_part_of_the_machine_is_highlighted_in_colour_and_in_weight(part: str, small: bool) -> None:
    ax = rk.plot_machine("A10", part, small=small)
    bold = [" ".join(text.get_text().split()) for text in ax.texts if text.get_fontweight() == "bold"]
    filled = [box for box in ax.patches if box.get_facecolor() == to_rgba(THEMES["light"].memory)]
    assert len(bold) == 1 and bold[0].startswith("bytes" if part == "bytes" else BOXES[part].names.split("\n")[0])
    assert len(filled) == (part != "bytes")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", ["A10", "H100-SXM", "TPU-v6e"])
def test_every_word_of_a_machine_stands_alone_and_within_its_box(name: str, part: str) -> None:
    dtype = "bf16" if "TPU" in name else "fp16"
    for small in (False, True):
        ax = rk.plot_machine(name, part, small=small, dtype=dtype, title="A machine")
        placed = [(text, box) for text, box in boxes(ax) if text]
        for (one, a), (other, b) in combinations(placed, 2):
            assert not a.overlaps(b), (one, other)
        frames = [patch.get_window_extent() for patch in ax.patches]
        for text, box in placed:
            around = [frame for frame in frames if frame.overlaps(box)]
            assert all(f.x0 < box.x0 and box.x1 < f.x1 and f.y0 < box.y0 and box.y1 < f.y1 for f in around), text
            assert len(around) == (0 if text.startswith("bytes") else 1 if text.startswith(("memory", "the ")) else 2)


@pytest.mark.parametrize("name", rk.accelerators())
def test_every_accelerator_is_a_machine_that_can_be_drawn(name: str) -> None:
    ax = rk.plot_machine(name, dtype="bf16" if "TPU" in name else "fp16", theme="dark")
    assert {f"the {name}'s chip"} < set(parts(ax))


def test_shared_memory_is_that_of_the_published_table() -> None:
    names = {"A100": "A100-40GB", "A10": "A10", "H100 SXM": "H100-SXM"}
    for name, kib, multiprocessors in rk.published("on-chip-memory").rows:
        assert rk.accelerator(names[name]).shared == kib * 1024 * multiprocessors


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: rk.plot_machine("A11"), "did you mean 'A10'"),
        (lambda: rk.plot_machine("A10", "l3"), "unknown part 'l3'"),
        (lambda: rk.plot_machine("TPU-v6e"), "no fp16 peak"),
        (lambda: rk.plot_machine("A10", theme="drak"), "did you mean 'dark'"),
    ],
)
def test_a_machine_that_cannot_be_drawn_is_refused_in_words(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


# --- sweeps ---

SIZES = np.array([1, 4, 16, 64, 256])


@given(
    st.lists(st.tuples(st.floats(0.01, 1e4), st.floats(-1.5, 1.5)), min_size=1, max_size=6, unique=True),
    st.sampled_from([*THEMES]),
)
@settings(max_examples=15)
def test_curves_are_labelled_where_nothing_overlaps(powers: list[tuple[float, float]], theme: str) -> None:
    curves = {f"curve {i}": (SIZES, start * SIZES**power) for i, (start, power) in enumerate(powers)}
    ax = rk.plot_sweep(curves, x="batch size", limits={"a limit": 30.0}, points={"here": (16, 30.0)}, theme=theme)
    page, placed = ax.figure.bbox, boxes(ax)
    assert {text for text, _ in placed} == {*curves, "a limit", "here"}
    for (one, a), (other, b) in combinations(placed, 2):
        assert not a.padded(-1).overlaps(b.padded(-1)), (one, other)
    assert all(page.x0 <= b.x0 and b.x1 <= page.x1 and page.y0 <= b.y0 and b.y1 <= page.y1 for _, b in placed)
    plt.close("all")


def test_no_label_lies_on_a_curve_of_many_sizes() -> None:
    sizes = np.arange(1, 513)
    bends = {f"curve {i}": (sizes, 1000 * sizes / (sizes + 4.0 ** (i + 1))) for i in range(4)}
    ax = rk.plot_sweep(bends, limits={"a limit that one can read": 120.0}, points={"a point": (20, 300)})
    for text, box in boxes(ax):
        for xs, ys in bends.values():
            near = np.interp(np.geomspace(1, 512, 4000), xs, ys)
            pixels = ax.transData.transform(np.column_stack([np.geomspace(1, 512, 4000), near]))
            assert not ((pixels > box.min + 1) & (pixels < box.max - 1)).all(axis=1).any(), text


def test_a_curve_is_what_it_was_given() -> None:
    sweep = ATTENTION.compile("N", h=128)(SIZES)
    seconds = rk.roofline("A10").time(sweep)
    for what, values in ((sweep, sweep.intensity), ((SIZES, seconds), seconds)):
        ax = rk.plot_sweep({"attention": what})
        curve = next(line for line in ax.lines if len(line.get_xdata()) == len(SIZES))
        assert np.array_equal(curve.get_xdata(), SIZES) and np.array_equal(curve.get_ydata(), values)


def test_axes_say_their_units() -> None:
    def ticks(y: str) -> list[str]:
        ax = rk.plot_sweep({"c": (SIZES, SIZES * 1e-3)}, y=y)
        ax.figure.draw_without_rendering()
        return [text.get_text() for text in ax.get_yticklabels()]

    assert "10 ms" in ticks("time [s]") and "0.01" in ticks("tokens per second") and "10 mB" in ticks("cache [B]")
    assert rk.plot_sweep({"c": ATTENTION.compile("N", h=128)(SIZES)}).get_xlabel() == "N"


@pytest.mark.parametrize("ratio", [1, 1.5, 4, 9, 20, 45, 99, 1000])
@pytest.mark.parametrize("start", [0.11, 0.6, 1])
def test_each_axis_has_at_least_three_numbers(ratio: float, start: float) -> None:
    ax = rk.plot_sweep({"c": ([1, ratio * 1.01], [start, start * ratio])})
    ax.figure.draw_without_rendering()
    for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
        shown = [tick for tick, text in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True) if text.get_text()]
        numbers = [tick for tick in shown if low <= tick <= high]
        assert len(numbers) >= (3 if high / low > 2.5 else 1), (low, high)


def luminance(color: str) -> float:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", THEMES)
def test_text_has_the_contrast_that_accessibility_asks_for(theme: str) -> None:
    """WCAG 2.1 asks for 4.5 : 1."""
    look = THEMES[theme]
    for ink in (look.ink, look.faint, look.memory, look.compute, look.path, look.other):
        for ground in (look.page, look.memory_region, look.compute_region):
            light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (theme, ink, ground)
    for ink in SERIES[theme]:
        light, dark = sorted((luminance(ink), luminance(look.page)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (theme, ink)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: rk.plot_roofline("A11"), ValueError, "did you mean 'A10'"),
        (lambda: rk.plot_roofline([]), ValueError, "at least one machine"),
        (lambda: rk.plot_roofline("A10", theme="drak"), ValueError, "did you mean 'dark'"),
        (lambda: rk.plot_roofline("A10", {"attention": ATTENTION}), ValueError, "N=…"),
        (lambda: rk.plot_roofline("A10", {"x": "fast"}), TypeError, "'x' must be a Cost"),
        (lambda: rk.plot_roofline("A10", {"x": -1.0}), TypeError, "-1.0"),
        (lambda: rk.plot_roofline("A10", {"x": np.inf}), TypeError, "inf"),
        (lambda: rk.plot_sweep({}), ValueError, "needs curves"),
        (lambda: rk.plot_sweep({"c": ([1, 2], [0, 1])}), ValueError, "'c' must have positive finite"),
        (lambda: rk.plot_sweep({"c": ([1, 2], [1, np.nan])}), ValueError, "'c' must have positive finite"),
        (lambda: rk.plot_sweep({"c": ([1, 2, 3], [1, 2])}), ValueError, "as many values"),
        (lambda: rk.plot_sweep({"c": ([], [])}), ValueError, "'c' must have positive finite"),
        (lambda: rk.plot_sweep({"c": ([1, 2], [1, 2])}, limits={"l": 0}), ValueError, "'l' must be positive"),
        (lambda: rk.plot_sweep({"c": ([1, 2], [1, 2])}, points={"p": (2, -1)}), ValueError, "'p' must be positive"),
        (lambda: rk.plot_sweep({"c": ATTENTION.compile("N", "h")([1, 2], [1, 2])}), ValueError, "one size"),
        (lambda: rk.plot_sweep({"c": ([1, 2], [1, 2])}, theme="lihgt"), ValueError, "did you mean 'light'"),
        (lambda: rk.plot_roofline("A10", GEMM), ValueError, "label: cost}, not a Cost"),
        (lambda: rk.plot_roofline(GEMM), ValueError, "by its name, not as a Cost"),
        (lambda: rk.plot_roofline("A10", {"x": [GEMM]}), TypeError, "'x' must be a Cost.* not a list"),
        (lambda: rk.plot_sweep(GEMM), ValueError, "needs curves .* not a Cost"),
        (lambda: rk.plot_sweep({"c": GEMM}), ValueError, "'c' must be a Sweep or a pair .* not a Cost"),
        (lambda: rk.plot_sweep({"c": ([1, 2], [1, 2])}, points=GEMM), ValueError, "needs points .* not a Cost"),
        (lambda: rk.plot_sweep({"c": ([1, 2], [1, 2])}, points={"p": 3}), ValueError, "'p' must be a pair .* not 3"),
        (lambda: rk.plot_sweep({"c": ([1, 2], [1, 2])}, limits=208.3), ValueError, "needs limits .* not 208.3"),
        (lambda: rk.plot_stack(GEMM), ValueError, "needs bars .* not a Cost"),
        (lambda: rk.plot_stack({"a": 3}), ValueError, "bar 'a' needs parts .* not 3"),
        (lambda: rk.plot_stack({"a": {"b": "c"}}), ValueError, "'b' of 'a' must be 0 or more and finite, not 'c'"),
        (lambda: rk.plot_roofline("A10", {"x": ATTENTION.compile("N", "h")([1, 2], [1, 2])}), ValueError, "one size"),
    ],
)
def test_bad_input_is_refused_in_words(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
