"""The self-study edition is complete, and works opened from a file with the network off."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from inspect import ismodule
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from browser import PATIENCE, Shown, drag, explorers_in

import roofline_kit as rk
from roofline_kit.course.answers import answer as right_answer
from roofline_kit.course.lessons import hints

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
COLLAPSED = "jp-MarkdownHeadingCollapsed"  # what JupyterLab writes into a heading that hides the cells below it
NET = re.compile(r"\s*(https?:)?//", re.IGNORECASE)


class Page(HTMLParser):
    """The tags of a page, as (name, attributes), and the text of its scripts and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.html = path, path.read_text("utf-8")
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.code = ""
        self.feed(self.html)
        self.ids = {attributes["id"] for _, attributes in self.tags if "id" in attributes}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:
            self.code += data

    def find(self, tag: str, name: str = "") -> list[dict[str, str]]:
        """The attributes of all such tags with a class of that name."""
        return [a for t, a in self.tags if t == tag and (not name or name in a.get("class", "").split())]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("build") / "site"
    script = ROOT / "scripts" / "build_site.py"
    made = subprocess.run([sys.executable, str(script), str(folder)], capture_output=True, text=True, encoding="utf-8")
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[str, Page]:
    paths = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]
    return {path.relative_to(site).as_posix(): Page(path) for path in paths}


def local(page: Page, reference: str) -> tuple[Path, str]:
    """The file and the fragment that a link leads to."""
    parts = urlsplit(reference)
    target = page.path.parent / unquote(parts.path) if parts.path else page.path
    return Path(os.path.normpath(target)), unquote(parts.fragment)


# --- what is in it ---


def test_next_leads_through_all_notebooks_to_the_reference(site: Path, pages: dict[str, Page]) -> None:
    page, way = pages["index.html"], []
    while following := page.find("a", "right-next"):
        before, path = page, local(page, following[0]["href"])[0]
        page = pages[path.relative_to(site).as_posix()]
        assert local(page, page.find("a", "left-prev")[0]["href"])[0] == before.path
        way.append(path.stem)
    assert way == [path.stem for path in NOTEBOOKS] + ["glossary", "models", "api"]


def test_the_first_page_links_to_every_notebook_in_its_text(pages: dict[str, Page]) -> None:
    article = re.findall(r"<article.*?</article>", pages["index.html"].html, re.DOTALL)[0]
    for path in NOTEBOOKS:
        assert f'href="notebooks/{path.stem}.html"' in article


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_html_that_a_notebook_shows_stands_in_its_page_as_it_is(path: Path, pages: dict[str, Page]) -> None:
    html = pages[f"notebooks/{path.stem}.html"].html
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            assert output.get("data", {}).get("text/html", "").strip() in html, cell.id


def test_every_question_has_its_hint_and_its_answer_folded_on_its_page(pages: dict[str, Page]) -> None:
    folded: dict[str, str] = {}
    for name, page in pages.items():
        for fold in page.find("details", "fold"):
            assert "open" not in fold
            if "data-question" in fold:
                folded[fold["data-question"]] = name.split("/")[-1][:2]
    assert folded == {question: question[:2] for question in hints()}
    everything = "".join(pages[f"notebooks/{path.stem}.html"].html for path in NOTEBOOKS)
    assert everything.count('class="answer"') == len(folded)
    assert "replace the three dots" not in everything, "nothing can be run here"


def test_the_answers_are_those_that_are_checked(pages: dict[str, Page]) -> None:
    shown = re.compile(r'data-question="([^"]+)".*?<p class="answer">(.*?)</p>', re.DOTALL)
    answers = {question: html for page in pages.values() for question, html in shown.findall(page.html)}
    for question in hints():
        answer = right_answer(question)
        words = re.sub(r"<[^>]*>|\\displaystyle|[\\()']", "", answers[question]).strip()
        number = re.search(r"(?:^|= |approx )([\d.]+)$", words)
        if isinstance(answer, str):
            assert words == answer
        elif number:
            assert rk.check(question, float(number[1])).right, (question, words)
        else:
            assert "frac" in words, (question, words)


def test_every_public_name_is_in_the_reference(pages: dict[str, Page]) -> None:
    ids = pages["api.html"].ids
    modules = {name: f"module-{getattr(rk, name).__name__}" for name in rk.__all__ if ismodule(getattr(rk, name))}
    assert not [name for name in rk.__all__ if modules.get(name, f"roofline_kit.{name}") not in ids]


# --- it needs nothing else ---


def test_no_page_loads_anything_from_the_net(site: Path, pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        for tag, attributes in page.tags:
            loaded = [attributes.get(key, "") for key in ("src", "srcset", "poster", "data")]
            loaded += [attributes.get("href", "")] if tag in ("link", "image", "use", "base") else []
            assert not any(map(NET.match, loaded)), (name, tag, attributes)
        assert not re.search(r"\b(?:import|from|fetch|src|url)\b[\s(='\"]*https?:", page.code), name
    for sheet in site.rglob("*.css"):
        for target in re.findall(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", sheet.read_text("utf-8")):
            reference = "".join(target)
            assert not NET.match(reference), (sheet, reference)
            assert reference.startswith(("data:", "#")) or (sheet.parent / urlsplit(reference).path).exists(), reference


def test_every_link_within_the_site_leads_somewhere(pages: dict[str, Page]) -> None:
    known = {page.path: page.ids for page in pages.values()}
    for name, page in pages.items():
        for tag, attributes in page.tags:
            for reference in (attributes.get("href"), attributes.get("src")):
                if reference and not urlsplit(reference).scheme and not (tag == "a" and reference == "#"):
                    path, fragment = local(page, reference)
                    assert path.is_file(), (name, reference)
                    assert not fragment or fragment in known[path], (name, reference)


# --- in a browser ---


@contextmanager
def flawless(chromium: Any) -> Iterator[Any]:
    """An empty page of a browser without a network. Nothing may go wrong on it, and nothing be asked for."""
    wrong: list[str] = []
    context = chromium.new_context(offline=True, color_scheme="light", viewport=DESK)

    def only_files(route: Any) -> None:
        if route.request.url.startswith("file:"):
            route.continue_()
        else:
            wrong.append(f"asked for {route.request.url}")
            route.abort()

    context.route(re.compile("^(?!data:|blob:)"), only_files)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(f"could not load {request.url}"))
    yield page
    context.close()
    assert not wrong


@pytest.fixture
def tab(chromium: Any) -> Iterator[Any]:
    with flawless(chromium) as page:
        yield page


DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PAPER = {"width": 718, "height": 1047}  # A4 without its margins, in a browser's pixels
CUT = """() => [...document.querySelectorAll("article :is(pre, mjx-container[display], table, img, .rk-figure)")]
  .filter(part => part.clientWidth && part.scrollWidth > part.clientWidth + 1
                  || part.getBoundingClientRect().right > innerWidth + 1)
  .map(part => part.textContent.slice(0, 80))"""
# What makes a page wider than its window: the elements that end right of it, and in nothing that can be scrolled.
TOO_WIDE = """() => [...document.querySelectorAll("article *")].filter(element => {
  if (element.getBoundingClientRect().right <= innerWidth) return false;
  for (let on = element; (on = on.parentElement);) if (getComputedStyle(on).overflowX !== "visible") return false;
  return true;
}).map(element => element.outerHTML.slice(0, 200))"""
# The charts of explorers are drawn anew when their place has another width.
DRAWN = "new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))"


@dataclass(frozen=True)
class Visit:
    """What a reader sees of a page: on a desk, on paper and on a phone."""

    menus: list[str]
    links: list[str]
    folds: list[tuple[str, bool, bool]]  # the title, and whether its first cell is seen before and after a click
    headings_in_folds: int
    cut_on_paper: list[str]
    formulas: int
    typeset: int
    errors: int
    wide: int
    too_wide: list[str]


@pytest.fixture(scope="session")
def visits(chromium: Any, pages: dict[str, Page]) -> dict[str, Visit]:
    """All pages, each opened once for all tests that look at every page."""
    with flawless(chromium) as tab:
        return {name: visit(tab, page) for name, page in pages.items()}


def visit(tab: Any, page: Page) -> Visit:
    tab.goto("about:blank")  # or the page before is laid out once more
    tab.set_viewport_size(DESK)
    tab.goto(page.path.as_uri())
    if tab.evaluate("'MathJax' in window"):
        tab.evaluate("MathJax.startup.promise")
    to = "links => links.map(link => link.href)"
    menus, links = (tab.locator(f"{part} a").evaluate_all(to) for part in ("nav", "article"))
    tab.emulate_media(media="print")
    tab.set_viewport_size(PAPER)
    tab.evaluate(DRAWN)
    cut = tab.evaluate(CUT)
    tab.emulate_media(media="screen")
    folds = tab.locator("details.fold:has(.cell)")
    opened = [clicked(folds.nth(i)) for i in range(folds.count())]
    headings = folds.locator(":is(h1, h2)").count()
    tab.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    tab.set_viewport_size(PHONE)
    tab.evaluate(DRAWN)
    formulas, typeset, errors = (
        tab.locator(of).count() for of in ("article .math", "article .math svg", "[data-mml-node=merror]")
    )
    wide = tab.evaluate("document.documentElement.scrollWidth")
    return Visit(menus, links, opened, headings, cut, formulas, typeset, errors, wide, tab.evaluate(TOO_WIDE))


def clicked(fold: Any) -> tuple[str, bool, bool]:
    """The title of a fold, and whether its first cell is seen before and after a click on it."""
    title, cell = fold.locator("> summary"), fold.locator(".cell").first
    before = cell.is_visible()
    title.click()
    return title.text_content(), before, cell.is_visible()


INSTRUCTORS = ("instructors.html", "grading.html", "attacks.html")


def test_a_student_meets_no_page_for_instructors_in_any_menu_and_an_instructor_finds_them(
    site: Path, pages: dict[str, Page], visits: dict[str, Visit]
) -> None:
    for name in pages.keys() - {*INSTRUCTORS}:
        assert visits[name].menus and not [link for link in visits[name].menus if link.endswith(INSTRUCTORS)], name
        assert [link for link in visits[name].links if link.endswith(INSTRUCTORS)] == (
            [(site / "instructors.html").as_uri()] if name == "index.html" else []
        )
    found = [
        local(pages["instructors.html"], a["href"])[0].name for a in pages["instructors.html"].find("a", "reference")
    ]
    assert {"grading.html", "attacks.html"} <= set(found)


def test_what_jupyterlab_folds_is_folded_here(visits: dict[str, Visit]) -> None:
    found = {path: [c for c in nbformat.read(path, 4).cells if COLLAPSED in c.metadata] for path in NOTEBOOKS}
    assert any(found.values())
    for path, headings in found.items():
        seen = visits[f"notebooks/{path.stem}.html"]
        titles = [heading.source.splitlines()[0].lstrip("# ") for heading in headings]
        assert seen.folds == [(title, False, True) for title in titles], path.stem
        assert seen.headings_in_folds == 0, "the next heading ends a fold"


def test_all_formulas_are_typeset_and_no_page_is_wider_than_a_phone(visits: dict[str, Visit]) -> None:
    for name, seen in visits.items():
        assert (seen.typeset, seen.errors) == (seen.formulas, 0), name
        assert seen.wide <= PHONE["width"], (name, seen.too_wide)
    assert sum(seen.formulas for seen in visits.values()) > len(hints())


def test_on_paper_nothing_is_cut_off(visits: dict[str, Visit]) -> None:
    for name, seen in visits.items():
        assert seen.cut_on_paper == [], name


def test_hints_and_answer_open_one_after_the_other(tab: Any, pages: dict[str, Page]) -> None:
    tab.goto(pages["notebooks/02_attention.html"].path.as_uri())
    tab.evaluate("MathJax.startup.promise")
    fold = tab.locator("[data-question='02.fp32']")
    assert not fold.locator("p").first.is_visible()
    second = fold.get_by_text(hints()["02.fp32"]["second"])
    fold.get_by_text("Hint", exact=True).click()
    assert fold.locator("p").first.is_visible() and not second.is_visible()
    fold.get_by_text("Second hint", exact=True).click()
    assert second.is_visible() and not fold.locator(".answer").is_visible()
    fold.get_by_text("Answer", exact=True).click()
    assert fold.locator(".answer svg").is_visible() and fold.get_by_text("cost.intensity").is_visible()


def test_a_word_says_what_it_means_by_click_by_key_and_on_a_phone(tab: Any, pages: dict[str, Page]) -> None:
    tab.set_viewport_size(PHONE)
    tab.goto(pages["notebooks/00_start_here.html"].path.as_uri())
    said, sentence = tab.locator(".said"), "Turns the scores of a query into weights"
    link = tab.locator("article a", has_text=re.compile("^softmax$"))
    for opens in (link.click, lambda: link.press("Enter")):
        opens()
        assert sentence in said.inner_text() and tab.url.endswith("00_start_here.html")
        box, at = said.bounding_box(), link.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390 and box["y"] >= at["y"] + at["height"] - 1
        tab.keyboard.press("Escape")
        assert not said.is_visible()
    link.press("Enter")
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/glossary.html#softmax")


def test_every_link_to_a_word_shows_what_the_glossary_says_of_it(tab: Any, pages: dict[str, Page]) -> None:
    tab.goto(pages["notebooks/glossary.html"].path.as_uri())
    says = """parts => parts.map(part => [part.id, part.querySelector("h3 + p")?.textContent])"""
    sentences = dict(tab.locator("article [id]").evaluate_all(says))
    told = """links => links.map(link => {
      const word = link.hash.slice(1);
      link.click();
      return [word, document.querySelector(".said").textContent];
    })"""
    for name in (f"notebooks/{path.stem}.html" for path in NOTEBOOKS[:4]):
        tab.goto(pages[name].path.as_uri())
        shown = tab.locator('article a[href*="glossary.html#"]:not(.said a)').evaluate_all(told)
        assert shown and shown == [[word, f"{sentences[word]} Glossary"] for word, _ in shown], name


def test_the_search_finds_pages(tab: Any, pages: dict[str, Page]) -> None:
    tab.goto(pages["index.html"].path.as_uri())
    tab.keyboard.press("Control+K")
    tab.keyboard.type("roofline")
    tab.keyboard.press("Enter")
    tab.locator("#search-results li a", has_text="Arithmetic intensity").first.click()
    tab.wait_for_url("**/01_arithmetic_intensity.html*")
    assert tab.locator("article h1").first.is_visible()


def test_the_dark_theme_can_be_chosen_and_stays(tab: Any, pages: dict[str, Page]) -> None:
    def ground() -> float:
        return lightness(tab.evaluate("getComputedStyle(document.body).backgroundColor"))

    tab.goto(pages["index.html"].path.as_uri())
    assert ground() > 0.9
    tab.locator(".theme-switch-button:visible").click()
    tab.locator(".theme-change-button[data-mode='dark']:visible").click()
    assert ground() < 0.2
    tab.goto(pages["notebooks/08_batching.html"].path.as_uri())
    tab.wait_for_function("localStorage.theme === 'dark'")  # it goes from process to process, on a busy machine later
    tab.reload()
    assert ground() < 0.2


def test_a_dark_page_is_printed_dark_on_white_and_is_dark_again(tab: Any, pages: dict[str, Page]) -> None:
    tab.emulate_media(color_scheme="dark")
    tab.goto(pages["notebooks/02_attention.html"].path.as_uri())
    look = """() => [document.body, document.querySelector("article pre"), document.querySelector(".rk-figure text")]
      .map(part => getComputedStyle(part)[part.matches("text") ? "fill" : "color"])"""
    dark = tab.evaluate(look)
    tab.evaluate(f"addEventListener('beforeprint', () => {{ globalThis.printed = ({look})() }})")
    tab.pdf()
    assert min(map(lightness, dark)) > 0.6
    assert max(map(lightness, tab.evaluate("printed"))) < 0.5
    assert tab.evaluate(look) == dark


def lightness(colour: str) -> float:
    """Of a colour as a browser computes it: 0 is black, 1 is white."""
    return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 765


@pytest.mark.parametrize("number", ["01", "02", "04", "06", "08"])
def test_explorers_are_live_and_say_what_python_says(number: str, site: Path, offline: Any) -> None:
    (path,) = site.glob(f"notebooks/{number}_*.html")
    page, explorers = offline(path), explorers_in(ROOT / "notebooks" / f"{path.stem}.ipynb")
    assert page.locator("[data-live]").count() == len(explorers) > 0
    for i, explorer in enumerate(explorers):
        shown = Shown(explorer, page.locator("[data-live]").nth(i))
        drag(page, shown.slider(explorer.controls[0].name), 0.35)
        assert shown.state != explorer.state
        shown.agrees()
