"""Explorers in a browser: what one sees is what Python says, without a network and without a kernel."""

from __future__ import annotations

import base64
import csv
import io
import math
import random
import re
import struct
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from browser import FIVE, Shown, a_tab, as_page, drag, same_marks
from chance import seed
from needed import installed

import roofline_kit as rk
from roofline_kit.explorers.live.picture import formatted

N, h, b = rk.symbols("N h b")
LINEAR = rk.trace(rk.linear, rk.Tensor("X", (b, h)), rk.Tensor("W", (h, h)))
ATTENTION = rk.trace(rk.attention, *rk.tensors("Q K V", (N, h)))

ALL = FIVE | {
    "batch of plain layers": lambda **how: rk.explore_batch(h=4096, **how),
    "batch of a tied model": lambda **how: rk.explore_batch("gpt2", "A10", context=100, **how),
    "batch, causal and fused": lambda **how: rk.explore_batch(causal=True, fused=True, logits="last", **how),
    "roofline of a cost": lambda **how: rk.explore_roofline(ATTENTION, h=4096, **how),
    "roofline of two costs": lambda **how: rk.explore_roofline({"dense": LINEAR, "attention": ATTENTION}, **how),
    "batch, widths apart": lambda **how: rk.explore_batch(weights="int4", cache=["fp8", "fp16", "int4"], **how),
    "roofline, widths apart": lambda **how: rk.explore_roofline(weights=["mxfp4", "fp16"], cache="nvfp4", **how),
    "batch, measured": lambda **how: rk.explore_batch(
        accelerator="H100-SXM", context=1024, **({"measured": True} | how)
    ),
    "roofline, measured": lambda **how: rk.explore_roofline(
        accelerators=("L40S", "B200"), context=4096, **({"measured": True} | how)
    ),
    "training, to fuse": lambda **how: rk.explore_training("gpt2", "A10", seq=512, fused=[True, False], **how),
    "training, widths apart": lambda **how: rk.explore_training(
        "gpt2", gradients="fp32", states="int8", causal=True, **how
    ),
    "training of two kinds of layers": lambda **how: rk.explore_training("deepseek-v2-lite", "MI325X", **how),
    "sparse, other blocks": lambda **how: rk.explore_sparse(block=16, stride=8, select_block=32, **how),
}
MAIN = [*FIVE.values(), ALL["batch of plain layers"], ALL["roofline of a cost"]]
OF_FIVE = pytest.mark.parametrize("make", FIVE.values(), ids=FIVE)

made = cache(lambda make: make())  # an explorer that is not changed serves all tests, with the page that it has written


@pytest.fixture(scope="module")
def a_tab_of_their_own(chromium: Any) -> Iterator[Any]:
    """For the pages that several tests look at."""
    page, found = a_tab(chromium)
    yield page, found
    page.context.close()


@pytest.fixture(scope="module", params=ALL.values(), ids=ALL)
def opened(request: pytest.FixtureRequest, a_tab_of_their_own: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Each explorer on a page that is opened once for all tests that ask for it, and what goes wrong on it."""
    page, found = a_tab_of_their_own
    found.clear()
    explorer, path = made(request.param), tmp_path_factory.mktemp("page") / "explorer.html"
    path.write_text(as_page(explorer), "utf-8")
    page.goto(path.as_uri())
    return Shown(explorer, page.locator("[data-rk]")), found


@pytest.fixture
def each(opened: Any) -> Iterator[Shown]:
    """Each explorer on its page, as it was when that was opened. Fails if anything complains."""
    shown, found = opened
    shown.root.page.set_viewport_size({"width": 1000, "height": 900})
    shown.ask("(x.set(...given), x.refuse(''))", [shown.explorer.state, shown.explorer.frozen])
    yield shown
    assert not found


def states(explorer: Any, count: int, chance: random.Random) -> bytes:
    """So many states of an explorer, drawn at random and packed: a byte for each control."""
    return chance.randbytes(count * len(explorer.controls))


def unpacked(explorer: Any, drawn: bytes) -> list[dict[str, Any]]:
    """States that were drawn."""
    controls = [(control.name, control.values, len(control.values)) for control in explorer.controls]
    rows = (drawn[i : i + len(controls)] for i in range(0, len(drawn), len(controls)))
    return [{name: values[x % n] for (name, values, n), x in zip(controls, row, strict=True)} for row in rows]


def test_javascript_computes_what_python_computes_at_ten_thousand_points(each: Shown) -> None:
    explorer, points = each.explorer, 10_000 if each.explorer in map(made, MAIN) else 1_000
    names = next(iter(explorer.programs.values())).outputs
    of = [[control.name, control.values] for control in explorer.controls]
    all_of = itemgetter(*names)
    compared: set[Any] = set()
    chance = random.Random(seed())
    for _ in range(80):
        if len(compared) >= points:
            break
        drawn = states(explorer, 700, chance)
        packed, messages = each.ask(COMPUTED, [of, base64.b64encode(drawn).decode(), names])
        numbers = struct.iter_unpack(f"<{len(names)}d", base64.b64decode(packed))
        for state, theirs, message in zip(unpacked(explorer, drawn), numbers, messages, strict=True):
            at = explorer._at(state)  # which is `values` without its checks of what is asked for
            assert message == explorer._message(at), state
            if all_of(at) != theirs:
                same_numbers(dict(zip(names, theirs, strict=True)), at, state)
            if not (message and message["blocks"]):
                compared.add(tuple(state.values()))
    assert len(compared) >= points


def same_numbers(theirs: dict[str, float], ours: dict[str, Any], state: Any) -> None:
    """Fails where what JavaScript computes is not, to nine digits, what Python does."""
    for name, value in theirs.items():
        if ours[name] != value and not abs(ours[name] - value) <= 1e-9 * abs(ours[name]):
            assert math.isnan(ours[name]) and math.isnan(value), (name, ours[name], value, state)


# Numbers as bytes: JSON has no NaN.
COMPUTED = """(() => {
  const [controls, drawn, names] = given, all = [];
  const unpack = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
  for (let rows = unpack(drawn), i = 0; i < rows.length; i += controls.length)
    all.push(x.valuesAt(Object.fromEntries(controls.map(([name, of], j) => [name, of[rows[i + j] % of.length]]))));
  const bytes = new Uint8Array(new Float64Array(all.flatMap(at => names.map(name => at[name]))).buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return [btoa(text), all.map(x.messageAt)];
})()"""


def test_the_browser_draws_what_python_draws_mark_by_mark(each: Shown) -> None:
    explorer = each.explorer
    draw = "given.map(([state, frozen]) => x.drawn(state, frozen, 720, 418)).map(d => [d.marks, d.height])"
    chance = random.Random(seed())
    for _ in range(10 if explorer in map(made, MAIN) else 2):
        some = unpacked(explorer, states(explorer, 20, chance))
        frozen = unpacked(explorer, states(explorer, 10, chance))
        pairs = list(zip(some, [*frozen, *[None] * 10], strict=True))
        for (state, ghost), (marks, height) in zip(pairs, each.ask(draw, pairs), strict=True):
            ours, tall = explorer._marks(state, ghost)
            assert height == tall
            assert same_marks(marks, ours), (state, ghost)
    marks, height = explorer._marks(explorer.state, None)
    assert each.ask(draw, [[explorer.state, None]])[0][1] == height
    assert same_marks(each.ask(draw, [[explorer.state, None]])[0][0], marks)


def test_the_live_page_shows_what_python_says_while_one_drags(each: Shown) -> None:
    shown, explorer, page = each, each.explorer, each.root.page
    shown.agrees()
    first = next(control for control in explorer.controls if control.kind == "slider")
    drag(page, slider := shown.slider(first.name), 0.7)
    assert first.values[0] < shown.state[first.name] < first.values[-1]
    assert shown.state[first.name] != explorer.state[first.name]
    shown.agrees()
    before = first.values.index(shown.state[first.name])
    for key, to in {"ArrowRight": before + 1, "ArrowLeft": before, "Home": 0, "End": len(first.values) - 1}.items():
        slider.press(key)
        assert shown.state[first.name] == first.values[to]
        assert slider.get_attribute("aria-valuetext") == shown.root.locator(".rk-control output").first.text_content()
        shown.agrees()
    for control in explorer.controls:
        if control.kind == "choice":
            shown.choose(control.name, control.texts[-1])
            assert shown.state[control.name] == control.values[-1]
        elif control.kind == "check":
            shown.slider(control.name).check()
            assert shown.state[control.name] is True
        shown.agrees()
    page.get_by_role("button", name="Reset").click()
    assert shown.state == explorer.state
    shown.agrees()


@OF_FIVE
def test_what_is_frozen_stays_as_a_ghost_to_compare_with(make: Any, offline: Any) -> None:
    explorer = made(make)
    page = offline(as_page(explorer))
    shown = Shown(explorer, page.locator("[data-rk]"))
    page.get_by_role("button", name="Freeze").click()
    drag(page, shown.slider(explorer.controls[0].name), 0.2)
    assert shown.ask("x.frozen()") == explorer.state != shown.state
    shown.agrees()
    mark, ghost = ("rect", "[opacity='0.45']") if explorer.name == "explore_training" else ("circle", PALE)
    ghosts = page.locator(f".rk-figure {mark}{ghost}")
    assert 1 <= ghosts.count() < page.locator(f".rk-figure {mark}").count()
    page.get_by_role("button", name="Unfreeze").click()
    assert shown.ask("x.frozen()") is None
    assert not ghosts.count()
    shown.agrees()


PALE = "[fill='var(--rk-page)']"


def test_a_model_brings_its_number_of_heads_along(offline: Any) -> None:
    explorer = rk.explore_batch("llama-2-7b")
    shown = Shown(explorer, offline(as_page(explorer)).locator("[data-rk]"))
    for name in ("llama-2-70b", "llama-2-7b", "llama-3-8b"):
        shown.choose("model", name)
        assert shown.state == explorer.checked({"model": name}, shown.state)
        assert shown.state["kv_heads"] == rk.model(name).kv_heads
        shown.agrees()


def test_checkpoints_shrink_the_bar_of_memory_and_lengthen_that_of_time_to_the_numbers_of_the_kit(offline: Any) -> None:
    """By the keyboard: from no checkpoint, with which the step does not fit, to all layers, with which it does."""
    of, card = rk.model("gpt2"), rk.accelerator("A10")
    explorer = rk.explore_training(of, card, batch=64, seq=1024)
    page = offline(as_page(explorer))
    shown = Shown(explorer, page.locator("[data-rk]"))
    slider, sentence = shown.slider("checkpoint"), page.locator(".rk-sentence")

    def bars() -> dict[str, float]:
        """How wide each part of the two bars is, in what it stands for: a bar or its limit takes all the room."""
        sizes = [(float(width), float(height)) for width, height in shown.ask(BOXES)]
        wide = [width for width, height in sizes if height > 20]
        wide = wide[1:] if len(wide) == 9 else wide  # what is beyond the card's memory
        room = shown.ask("root.querySelector('svg').viewBox.baseVal.width") - 16
        step = of.training(64, 1024, checkpoint=shown.state["checkpoint"])
        scales = [max(float(step.memory_bytes), card.memory)] * 4 + [rk.roofline(card, "bf16").time(step)] * 4
        parts = [*step.memory, "forward", "backward", "again", "update"]
        return {part: width / room * scale for part, width, scale in zip(parts, wide, scales, strict=True)}

    slider.focus()
    for key, n in (("Home", 0), ("ArrowRight", 1), ("End", of.layers), ("ArrowLeft", of.layers - 1)):
        page.keyboard.press(key)
        assert shown.state["checkpoint"] == n and slider.get_attribute("aria-valuetext") == str(n)
        step, roof = of.training(64, 1024, checkpoint=n), rk.roofline(card, "bf16")
        seen, time_of = bars(), roof.time(step)
        for what, held in step.memory.items():
            assert seen[what] == pytest.approx(float(held), abs=2e-3 * max(card.memory, float(step.memory_bytes))), what
        assert seen["forward"] == pytest.approx(roof.time(step.forward), abs=2e-3 * time_of)
        assert seen["backward"] + seen["again"] == pytest.approx(roof.time(step.backward), abs=4e-3 * time_of)
        assert (seen["again"] > 0) == (n > 0)
        words = f"a step keeps {formatted(float(step.memory_bytes), 'B')} (weights"
        assert words in sentence.text_content() and f"{n} of {of.layers} layers" in sentence.text_content()
        assert f"takes at least {formatted(time_of, 's')} (forward" in sentence.text_content()
        fits = step.memory_bytes <= card.memory
        assert fits == (n > 1) == ("Does not fit" not in page.locator("p.rk-spoken[role=status]").text_content())
        largest = f"The largest batch that fits is {of.largest_training_batch(card, 1024, checkpoint=n)}."
        assert (largest in sentence.text_content()) == fits
        assert page.locator(".rk-figure svg").get_attribute("aria-label").startswith(sentence.text_content())
        shown.agrees()


BOXES = """[...root.querySelectorAll(".rk-figure rect[opacity]")].map(
  box => ["width", "height"].map(side => box.getAttribute(side))
)"""


def test_widths_of_less_than_a_byte_stand_in_the_formulas_as_they_are(offline: Any) -> None:
    explorer = rk.explore_batch(weights="int4", cache=["fp8", "nvfp4"])
    shown = Shown(explorer, offline(as_page(explorer)).locator("[data-rk]"))
    formulas = shown.root.locator(".rk-formulas")
    formulas.get_by_text("0.515625").first.wait_for()
    assert "w′ weight bytes" in formulas.text_content() and "w″ cache bytes" in formulas.text_content()
    assert "0.5625" not in formulas.text_content()
    shown.choose("cache", "nvfp4")
    formulas.get_by_text("0.5625").first.wait_for()
    shown.agrees()
    assert shown.ask("x.python()").startswith('rk.explore_batch(weights="int4", cache=["nvfp4", "fp8"], ')


def test_what_cannot_be_is_said_in_words(offline: Any) -> None:
    said = {
        "does not fit": (rk.explore_batch(batch=64, context=1000), r"Does not fit: this needs .* fits is 50\."),
        "never fits": (rk.explore_batch("llama-2-70b"), r"Does not fit: .*; not even a batch of 1 fits\."),
        "no peak": (rk.explore_batch(dtype="fp8"), "A100-40GB has no fp8 peak: choose another dtype."),
        "no peak to draw": (rk.explore_roofline(dtype="fp8"), "A10 has no fp8 peak: choose another dtype."),
        "heads cannot share": (rk.explore_attention(heads=8, kv_heads=16), "heads/kv_heads is 0.5 here"),
        "too short": (rk.explore_sparse(context=1024, selected=64), "64 blocks of 64 tokens are more than the 1,024"),
    }
    for explorer, words in said.values():
        page = offline(as_page(explorer))
        shown = Shown(explorer, page.locator("[data-rk]"))
        shown.agrees()
        status = page.locator("p.rk-spoken[role=status]").text_content()
        drawn = " ".join(page.locator(".rk-figure text[fill='var(--rk-warning)']").all_text_contents())
        assert re.search(words, status), status
        assert status in drawn
        assert status in repr(explorer)


def all_but_state(explorer: Any) -> dict[str, Any]:
    """All that an explorer shows and computes at a state: programs by their text, and sliders without their stops.

    But for those of the first slider, which curves go through.
    """
    of = {field.name: getattr(explorer, field.name) for field in fields(explorer)}
    programs = {choice: (program.inputs, program.javascript) for choice, program in explorer.programs.items()}
    first, *rest = explorer.controls
    controls = [first, *(replace(c, values=()) if c.kind == "slider" else c for c in rest)]
    return {**of, "programs": programs, "controls": controls, "state": None, "frozen": None}


def test_copy_as_python_gives_a_call_that_makes_the_same_explorer(each: Shown) -> None:
    shown, explorer, page = each, each.explorer, each.root.page
    names = {"rk": rk, "cost": ATTENTION, "costs": {"dense": LINEAR, "attention": ATTENTION}}
    chance = random.Random(seed())
    for _ in range(3):
        drawn = unpacked(explorer, states(explorer, 20, chance))
        some = [state for state in drawn if explorer._message(explorer.values(**state)) is None]
        pairs = list(zip(some, [None, *some], strict=False))
        calls = shown.ask("given.map(pair => (x.set(...pair), x.python()))", pairs)
        for (state, ghost), call in zip(pairs, calls, strict=True):
            copied = eval(call, names)
            assert (copied.state, copied.frozen) == (state, ghost), call
            assert all_but_state(copied) == all_but_state(explorer), call
    page.get_by_role("button", name="Copy as Python").click()
    assert page.locator(".rk-note code").text_content() == shown.ask("x.python()")


@OF_FIVE
def test_what_is_saved_can_be_opened_elsewhere(make: Any, offline: Any) -> None:
    from PIL import Image

    explorer = made(make)
    page = offline(as_page(explorer, theme="dark"))
    shown = Shown(explorer, page.locator("[data-rk]"))
    drag(page, shown.slider(explorer.controls[0].name), 0.4)

    def saved(kind: str) -> bytes:
        with page.expect_download() as download:
            page.get_by_role("button", name=kind, exact=True).click()
        assert download.value.suggested_filename == f"{explorer.name}.{kind.lower()}"
        return Path(download.value.path()).read_bytes()

    def brightness() -> int:
        return sum(Image.open(io.BytesIO(saved("PNG"))).convert("RGB").getpixel((0, 0)))

    picture = Image.open(io.BytesIO(saved("PNG"))).convert("RGB")
    width, height = shown.ask("root.querySelector('svg').getAttribute('viewBox').split(' ').slice(2).map(Number)")
    assert picture.size == (2 * width, 2 * round(height))
    assert len(picture.getcolors(1 << 20) or []) > 10
    assert brightness() == 3 * 255, "light, for paper, though the page is dark"
    drawing = saved("SVG").decode()
    assert "var(" not in drawing
    page.get_by_label("dark PNG and SVG").check()
    assert brightness() < 200, "dark, as asked"
    assert saved("SVG").decode() != drawing
    tags = [node.tag.split("}")[1] for node in ElementTree.fromstring(drawing)]
    assert tags == [mark[0] for mark in explorer._marks(shown.state, None, width, height)[0]]

    comment, *lines = saved("CSV").decode().splitlines()
    assert comment == f"# {shown.ask('x.python()')}"
    over, *names = next(rows := csv.reader(lines))
    control = next(control for control in explorer.controls if control.name == over)
    table = list(rows)
    assert [int(value) for value, *_ in table] == list(control.values)
    bounds = [cell[0] for _, *row in explorer.table.rows for cell in row if cell[1] == "bound"]
    assert set(bounds) <= set(names)
    for value, *cells in table:
        at = explorer.values(**{**shown.state, over: int(value)})
        for name, cell in zip(names, cells, strict=True):
            if name in bounds:
                assert cell == ("compute" if at[name] >= 1 else "memory")
            else:
                assert float(cell) == pytest.approx(at[name], rel=1e-9, nan_ok=True)


def test_a_saved_table_says_nothing_of_a_bound_that_there_is_not(offline: Any) -> None:
    explorer = rk.explore_attention(fused=True)
    shown = Shown(explorer, offline(as_page(explorer)).locator("[data-rk]"))
    row = next(csv.DictReader(shown.ask("x.csv()").splitlines()[1:]))
    assert (row["scores_bound"], row["whole_bound"]) == ("NaN", "memory")


@OF_FIVE
def test_a_saved_page_is_live_without_a_network_and_looks_as_it_was_saved(
    make: Any, offline: Any, tmp_path: Path
) -> None:
    explorer = make(frozen=make().state)
    explorer.save(tmp_path / "saved.html")
    for width in (1000, 390):
        page = offline(tmp_path / "saved.html", width=width)
        shown = Shown(explorer, page.locator("[data-rk]"))
        assert shown.state == explorer.state
        assert page.locator(".rk-sentence").text_content() == repr(explorer)
        assert page.title().startswith(page.locator(".rk-figure text[font-weight=bold]").first.text_content())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        drag(page, shown.slider(explorer.controls[0].name), 0.7)
        assert shown.state != explorer.state
        if width == 1000:  # Python draws the mask beside the chart, a phone has it below
            shown.agrees()
    assert not grave(page)
    still = offline(tmp_path / "saved.html", java_script_enabled=False)
    assert repr(explorer) in still.locator("figcaption").text_content()


def test_a_reload_restores_the_state_and_a_new_explorer_starts_anew(offline: Any, tmp_path: Path) -> None:
    explorer, other = rk.explore_batch(), rk.explore_batch(batch=16)
    page = offline(as_page(explorer))
    shown = Shown(explorer, page.locator("[data-rk]"))
    page.get_by_role("button", name="Freeze").click()
    drag(page, shown.slider("batch"), 0.3)
    state = shown.state
    page.reload()
    shown = Shown(explorer, page.locator("[data-rk]"))
    assert (shown.state, shown.ask("x.frozen()")) == (state, explorer.state)
    shown.agrees()
    Path(page.url.removeprefix("file://")).write_text(as_page(other), "utf-8")
    page.reload()
    shown = Shown(other, page.locator("[data-rk]"))
    assert (shown.state, shown.ask("x.frozen()")) == (other.state, None)


def test_several_explorers_on_a_page_do_not_touch_each_other(offline: Any) -> None:
    explorers = [made(make) for make in FIVE.values()]
    page = offline(as_page(*explorers, explorers[0]))
    shown = [Shown(explorer, page.locator("[data-rk]").nth(i)) for i, explorer in enumerate([*explorers, explorers[0]])]
    drag(page, shown[0].slider("batch"), 0.9)
    assert shown[0].state != shown[-1].state == explorers[0].state
    for one in shown:
        one.agrees()
    ids = page.locator("[id]").evaluate_all("nodes => nodes.map(node => node.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("how", ["system", "site", "lab"])
def test_it_is_dark_where_the_page_is_dark(how: str, offline: Any) -> None:
    from roofline_kit.pictures.themes import THEMES

    explorer = rk.explore_batch()
    page = offline(as_page(explorer), color_scheme="dark" if how == "system" else "light")
    shown = Shown(explorer, page.locator("[data-rk]"))

    def ground() -> str:
        return shown.ask("getComputedStyle(root.querySelector('.rk')).getPropertyValue('--rk-page').trim()")

    assert ground() == THEMES["dark" if how == "system" else "light"].page
    turn = {
        "system": "m => m",
        "site": "m => { document.documentElement.dataset.theme = m }",
        "lab": "m => { document.body.dataset.jpThemeLight = m === 'light' }",
    }[how]
    for mode in ("dark", "light", "dark"):
        if how == "system":
            page.emulate_media(color_scheme=mode)
        page.evaluate(turn, mode)
        end = time.monotonic() + 60
        while ground() != THEMES[mode].page and time.monotonic() < end:  # a busy machine takes its time
            page.wait_for_timeout(50)
        assert ground() == THEMES[mode].page
        shown.agrees()


def test_nothing_is_cut_or_covered(each: Shown) -> None:
    page = each.root.page
    for button in ("Reset", "Freeze"):
        page.get_by_role("button", name=button).click()
        page.wait_for_function("() => document.querySelector('.rk-formulas p')")
        for width in (1000, 700, 390, 320):
            page.set_viewport_size({"width": width, "height": 800})
            found = page.wait_for_function(FOUND_WHEN_DRAWN).json_value()
            assert found == [width, "", "", ""], "what the page is wide, and what is cut, covered, or cut after a drag"


DRAWN_AS_WIDE_AS_ITS_PLACE = """() => {
  const figure = document.querySelector(".rk-figure");
  return figure.firstChild.viewBox.baseVal.width === Math.max(320, Math.round(figure.clientWidth));
}"""
WHOLE = """() => {
  const all = document.querySelector(".rk-formulas"), edge = all.getBoundingClientRect().right + 1;
  return [...all.querySelectorAll("math")].every(part => part.getBoundingClientRect().right <= edge);
}"""
# Where the first slider stands, and where it is after a drag.
AT_BOTH_PLACES = """
  const slider = document.querySelector(".rk-control input[type=range]"), stood = slider.value;
  const to = value => { slider.value = value; slider.dispatchEvent(new Event("input")) };
  const found = [Math.max(innerWidth, document.documentElement.scrollWidth), cut(), covered()];
  to(Math.round(0.3 * slider.max));
  found.push(cut());
  to(stood);
  return found;
"""
CUT = """() => {
  const out = [], wide = (node, room) => { if (node.scrollWidth > room.clientWidth + 1) out.push(node.textContent); };
  const [numbers, formulas] = [".rk-scroll", ".rk-formulas"].map(name => document.querySelector(name));
  if (innerWidth >= 390 && !document.querySelector('.rk-compared')) wide(numbers, numbers);
  for (const cell of numbers.querySelectorAll("th, td")) wide(cell, cell);
  for (const name of numbers.querySelectorAll("th")) if (name.offsetHeight > 80) out.push(name.textContent);
  const edge = formulas.getBoundingClientRect().right + 1;
  for (const part of formulas.querySelectorAll("math"))
    if (part.getBoundingClientRect().right > edge) out.push(part.textContent);
  for (const text of document.querySelectorAll(".rk-figure text")) {
    const { left, right } = text.getBoundingClientRect();
    if (left < -1 || right > innerWidth + 1) out.push(text.textContent);
  }
  return out.join("; ");
}"""
COVERED = """() => {
  const out = [], all = [...document.querySelectorAll(".rk-figure text:not([transform])")].filter(t => t.textContent);
  const boxes = all.map(t => t.getBoundingClientRect());
  boxes.forEach((a, i) => boxes.slice(0, i).forEach((b, j) => {
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (wide > 2 && high > 4) out.push(`${all[i].textContent} / ${all[j].textContent}`);
  }));
  return out.join("; ");
}"""
# Formulas take their time.
FOUND_WHEN_DRAWN = f"""() => {{
  const drawn = {DRAWN_AS_WIDE_AS_ITS_PLACE}, whole = {WHOLE}, cut = {CUT}, covered = {COVERED};
  if (!drawn() || !whole()) return null;
  {AT_BOTH_PLACES}
}}"""


LIMITS = {
    "attention": lambda: rk.explore_attention(N=65536, h=4096, heads=1),
    "attention of many heads": lambda: rk.explore_attention(heads=128, N=2048),
    "intensity": lambda: rk.explore_batch(show="intensity"),
    "memory": lambda: rk.explore_batch(show="memory"),
}


@pytest.mark.parametrize("make", LIMITS.values(), ids=LIMITS)
def test_no_curve_goes_through_the_name_of_a_limit_and_long_fractions_are_whole(make: Any, offline: Any) -> None:
    explorer = make()
    page = offline(as_page(explorer))
    shown = Shown(explorer, page.locator("[data-rk]"))
    first = explorer.controls[0]
    states = [{first.name: value} for value in first.values[::8]]
    for width in (390, 1000):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function(DRAWN_AS_WIDE_AS_ITS_PLACE)
        through = CROSSED.replace("polyline:not([opacity])", "polyline[opacity]")
        crossed = shown.ask(f"given.map(state => (x.set(state), ({through})()))", states)
        assert not [words for words in crossed if "ridge" in words or "memory" in words], (width, crossed)
        shown.ask("x.set(given)", explorer.state)
        page.wait_for_function(f"() => ({CUT})() === ''")


@pytest.mark.parametrize("cards", [("A10", "A100-40GB"), ("H100-SXM", "A10"), ("A10", "L4"), ("A10", "none")], ids=str)
def test_no_line_of_a_roofline_goes_through_words(cards: Any, offline: Any) -> None:
    for make in (rk.explore_roofline, lambda **how: rk.explore_roofline(ATTENTION, **how)):
        explorer = make(accelerators=cards)
        page = offline(as_page(explorer))
        shown = Shown(explorer, page.locator("[data-rk]"))
        for width in (1000, 700, 1400):
            page.set_viewport_size({"width": width, "height": 800})
            page.wait_for_function(
                "() => Math.abs(document.querySelector('.rk svg').viewBox.baseVal.width - innerWidth) < 240"
            )
            first = explorer.controls[0]
            states = [{first.name: value} for value in (first.values[0], 64, first.values[-1])]
            crossed = shown.ask(f"given.map(state => (x.set(state), ({CROSSED})()))", states)
            assert crossed == ["", "", ""], (width, first.name)


def test_on_a_phone_no_line_of_a_model_s_roofline_goes_through_the_names_of_its_points(offline: Any) -> None:
    explorer = rk.explore_roofline("llama-2-7b", ("A10", "H100-SXM"), batch=16, context=1000)
    page = offline(as_page(explorer), width=390)
    shown = Shown(explorer, page.locator("[data-rk]"))
    page.wait_for_function(DRAWN_AS_WIDE_AS_ITS_PLACE)
    dotted = CROSSED.replace('["none", "7,4"]', '["2,4"]')
    assert shown.ask(f"({dotted})()") == ""
    stages = ("initial", "auto-regressive")
    states = [{"batch": batch, "stage": stage} for batch in explorer.controls[0].values for stage in stages]
    states = [state for state in states if explorer._message(explorer.values(**state)) is None]  # what fits on the card
    assert len(states) > 20
    assert set(shown.ask(f"given.map(state => (x.set(state), ({CROSSED})()))", states)) == {""}


def test_measured_points_come_and_go_with_their_check_and_their_gpu(offline: Any) -> None:
    explorer = rk.explore_batch(accelerator="H100-SXM", context=1024, measured=False)
    page = offline(as_page(explorer))
    shown = Shown(explorer, page.locator("[data-rk]"))
    of_color = '".rk-figure polyline[stroke-width=\\"2\\"][stroke$=\\"{})\\"]"'
    ink, grey = (f"root.querySelectorAll({of_color.format(color)}).length" for color in ("ink", "faint"))
    diamonds = f"{ink} + {grey}"
    assert shown.ask(diamonds) == 0 and math.isnan(shown.agrees()["measured_time"])
    shown.slider("measured").check()
    assert (shown.ask(ink), shown.ask(grey)) == (6, 2) and shown.agrees()["measured_time"] > 0
    shown.choose("accelerator", "A100-40GB")
    assert shown.ask(diamonds) == 0 and "Not measured." in page.locator("p.rk-spoken[role=status]").inner_text()
    shown.choose("accelerator", "L40S")
    for show in ("throughput", "intensity", "memory", "latency"):
        shown.choose("show", show)
        assert shown.agrees()["measured_time"] > 0 and (shown.ask(diamonds) > 0) == (show in ("throughput", "latency"))
    assert "measured=True" in shown.ask("x.python()")


# Words turned or not: is a piece of a roof within their box, in the coordinates in which they stand upright? A piece
# ends with its part between the left and the right edge, and that with its part between the upper and the lower one.
CROSSED = """() => {
  const out = [], svg = document.querySelector(".rk-figure svg");
  const dash = roof => roof.getAttribute("stroke-dasharray");
  const lines = [...svg.querySelectorAll("polyline:not([opacity])")];
  const roofs = lines.filter(line => ["none", "7,4"].includes(dash(line)));
  const between = ([p, q], axis, low, high) => {
    if (Math.max(p[axis], q[axis]) <= low || Math.min(p[axis], q[axis]) >= high) return null;
    const at = v => p[axis] === q[axis] ? 0 : Math.max(0, Math.min(1, (v - p[axis]) / (q[axis] - p[axis])));
    const ends = p[axis] === q[axis] ? [0, 1] : [at(low), at(high)];
    return ends.map(t => ({ x: p.x + t * (q.x - p.x), y: p.y + t * (q.y - p.y) }));
  };
  for (const words of svg.querySelectorAll("text")) {
    const { x, y, width, height } = words.getBBox(), turned = words.getCTM().inverse();
    const crosses = roof => {
      const onto = turned.multiply(roof.getCTM()), points = [...roof.points].map(p => p.matrixTransform(onto));
      return points.slice(1).some((q, i) => {
        const part = between([points[i], q], "x", x + 1, x + width - 1);
        return part && between(part, "y", y + 3, y + height - 3);
      });
    };
    if (roofs.some(crosses)) out.push(words.textContent);
  }
  return out.join("; ");
}"""


def test_on_a_phone_the_chart_and_the_first_slider_are_seen_at_once(each: Shown) -> None:
    page = each.root.page
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function(DRAWN_AS_WIDE_AS_ITS_PLACE)
    page.locator(".rk").evaluate("root => root.scrollIntoView()")
    chart, slider = page.locator(".rk-figure").bounding_box(), page.locator(".rk-control input").first.bounding_box()
    assert 0 <= chart["y"] < 20
    assert chart["y"] + chart["height"] <= slider["y"]
    assert slider["y"] + slider["height"] < (844 if each.explorer.name != "explore_sparse" else 1000)


@pytest.mark.parametrize("feature", ["ResizeObserver", "MutationObserver"])
def test_a_browser_that_lacks_something_keeps_the_picture_and_is_told_why(feature: str, offline: Any) -> None:
    page = offline(as_page(rk.explore_batch()), script=f"delete window.{feature}")
    assert page.get_by_role("alert").text_content() == (
        f"The explorer cannot run here: this browser has no {feature}. This is its picture."
    )
    assert page.locator("[data-rk] img").is_visible()
    assert page.locator("[data-rk] img").evaluate("image => image.naturalWidth") == 720


@OF_FIVE
def test_without_scripts_there_is_a_picture_with_words(make: Any, offline: Any) -> None:
    explorer = made(make)
    page = offline(as_page(explorer), java_script_enabled=False)
    image = page.locator("[data-rk] img")
    assert image.is_visible()
    assert image.get_attribute("alt") == repr(explorer)
    assert image.bounding_box()["width"] > 600
    assert repr(explorer) in page.locator("figcaption").text_content()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(theme: str, offline: Any) -> None:
    explorers = [made(make) for make in FIVE.values()]
    page = offline(as_page(*explorers, theme=theme))
    Shown(explorers[0], page.locator("[data-rk]").first).drag("batch", 0.9)  # what does not fit is shown, too
    page.get_by_role("button", name="Copy as Python").first.click()
    assert not grave(page)


def grave(page: Any) -> list[Any]:
    """What axe finds to be serious on a page; what is in order it need not list."""
    axe = installed("axe_playwright_python.sync_playwright", "axe-playwright-python")
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    return [(v["id"], v["help"], [node["html"] for node in v["nodes"]][:5]) for v in serious]
