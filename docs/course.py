"""What the site adds to Sphinx: folded answers, the API reference out of the docstrings, and MathJax from a package.

The glossary's sentences go into a script of their own, so that a link to a word can show them without a network.
"""

import inspect
import json
import re
from dataclasses import replace
from html import escape
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import sympy
from sphinx.application import Sphinx
from sphinx.util.fileutil import copy_asset_file

import roofline_kit as rk
from roofline_kit.configs import merged
from roofline_kit.course.answers import answer as right_answer
from roofline_kit.course.judging import slips
from roofline_kit.course.lessons import hints
from roofline_kit.names import data

TITLE = re.compile(r"([^?.:]*\??)[.:]?\s*")  # the first words of a module's docstring, mostly a question
COLLAPSED = "jp-MarkdownHeadingCollapsed"  # JupyterLab's name for a heading that hides the cells below it
MATHJAX = "sphinx-mathjax-offline/static/mathjax/tex-svg.js"


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls first."""
    app.connect("source-read", on_source)
    app.connect("autodoc-process-docstring", on_docstring)
    app.connect("build-finished", on_finished)
    app.add_js_file("glossary.js")
    return {"parallel_read_safe": True}


def on_source(app: Sphinx, page: str, source: list[str]) -> None:
    """Complete a page as it is read; the files stay as they are."""
    if page == "api":
        source[0] += reference()
    elif page == "models":
        source[0] += models_by_name() + counted_otherwise() + model_types()
    elif page.startswith("measurements/"):
        source[0] = "---\norphan: true\n---\n" + source[0]  # pages link to it, and no table of contents does
    elif app.env.doc2path(page).suffix == ".ipynb":
        notebook = json.loads(source[0])
        hide(notebook["cells"])
        for cell in notebook["cells"]:
            asked = re.findall(r'rk\.check\("([^"]+)"', "".join(cell["source"]))
            if cell["cell_type"] == "code" and asked:
                # Without a kernel, "replace the dots and run the cell" is no advice: the fold takes its place.
                cell["outputs"] = [output for output in cell["outputs"] if "Your turn" not in json.dumps(output)]
                cell["outputs"] += [html_output("".join(map(fold, asked)))]
        source[0] = json.dumps(notebook)


def hide(cells: list[dict[str, Any]]) -> None:
    """Fold what JupyterLab folds: the cells below a collapsed heading, up to the next heading of its level or above."""
    levels: list[int] = []
    for cell in cells:
        text = "".join(cell["source"])
        heading = re.match(r"(#+) +(.+)", text) if cell["cell_type"] == "markdown" else None
        if heading and cell["metadata"].get(COLLAPSED):
            summary = f'<details class="fold"><summary>{escape(heading[2])}</summary>\n'
            text = summary + text[heading.end() :]
        while heading and levels and len(heading[1]) <= levels[-1]:
            text = "</details>\n\n" + text
            levels.pop()
        if heading and cell["metadata"].get(COLLAPSED):
            levels.append(len(heading[1]))
        cell["source"] = text


def html_output(html: str) -> dict[str, Any]:
    """An output of a notebook's cell."""
    return {"output_type": "display_data", "metadata": {}, "data": {"text/html": html}}


def fold(question: str) -> str:
    """A question's hints, each folded into the one before, and in them its worked answer and what to say to slips."""
    entry = hints()[question]
    slipped = "".join(f"<li>If you have {typeset(slip)}: {escape(hint)}</li>" for slip, hint in slips(question))
    answer = (
        f'<p class="answer">{typeset(right_answer(question))}</p><pre>{escape(entry["worked"].strip())}</pre>'
        f"<p>{escape(entry['right'])}</p>{slipped and f'<ul>{slipped}</ul>'}"
    )
    inside = f"<p>{escape(entry['second'])}</p>{folded('Answer', answer)}"
    inside = f"<p>{escape(entry['hint'])}</p>{folded('Second hint', inside)}"
    return folded("Hint", inside, f' data-question="{question}"')


def folded(title: str, inside: str, attributes: str = "") -> str:
    """HTML that is hidden until its title is clicked."""
    return f'<details class="fold"{attributes}><summary>{title}</summary>{inside}</details>'


def typeset(value: Any) -> str:
    """A word, a formula or a number as HTML with LaTeX in it."""
    if isinstance(value, str):
        return f"<code>'{escape(value)}'</code>"
    value = sympy.sympify(value)
    latex = sympy.latex(value)
    if value.is_number and not value.is_Integer:
        digits = decimal(value)
        sign = "=" if sympy.Rational(digits) == value else r"\approx"
        latex = rf"{latex} {sign} {digits}" if value.is_Rational and max(abs(value.p), value.q) < 10**5 else digits
    return rf'<span class="math">\(\displaystyle {escape(latex)}\)</span>'


def decimal(number: Any) -> str:
    """A number with as many digits as one would compare."""
    return str(number) if number.is_Integer else f"{float(number):.6g}"


def reference() -> str:
    """All public names, under the questions of their modules, in the order in which the README reads these."""
    modules: dict[str, list[str]] = {}
    for name in rk.__all__:
        thing = getattr(rk, name)
        module = thing.__name__ if inspect.ismodule(thing) else thing.__module__
        modules.setdefault(module, []).append(name)
    readme = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
    parts = []
    # One that is not in the README comes last: find says -1.
    for module in sorted(modules, key=lambda module: readme.find(f"`{module.split('.')[-1]}.py`") % len(readme)):
        names = [name for name in modules[module] if not inspect.ismodule(getattr(rk, name))]
        title = TITLE.match(inspect.getdoc(import_module(module)) or module)
        parts += [f"## {title and title[1]}", "```{eval-rst}", f".. automodule:: {module}"]
        public = len(names) < len(modules[module])  # the module itself is a public name, and so is what it defines
        parts += ["   :members:", f"   :exclude-members: {', '.join(names)}", ""] if public else ["   :no-index:", ""]
        for name in names:
            kind = "class" if inspect.isclass(getattr(rk, name)) else "function"
            parts += [f".. auto{kind}:: roofline_kit.{name}", "   :members:" if kind == "class" else "", ""]
        parts += ["```", ""]
    return "\n".join(parts)


def table(columns: list[str], rows: list[list[str]]) -> str:
    """A table of Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in lines)


def models_by_name() -> str:
    """What each model of the kit weighs, and keeps of a context."""
    columns = ["`rk.model(…)`", "parameters", "a token meets", "KV cache of 1,000 tokens", "of 100,000"]
    rows = []
    for of in map(rk.model, rk.models()):
        kept = [f"{float(of.kv_cache_bytes(tokens)) / 1e6:,.1f} MB" for tokens in (1_000, 100_000)]
        rows.append([f"`{of.name}`", f"{int(of.parameters):,}", f"{int(of.active_parameters()):,}", *kept])
    return "## By name\n\n" + table(columns, rows) + "\nThe caches are those of 16-bit numbers.\n\n"


def counted_otherwise() -> str:
    """Of two models, what transformers computes, and PyTorch's counter counts, beside what one would run."""
    scout, v3 = rk.model("llama-4-scout"), rk.model("deepseek-v3")
    in_full = replace(scout, experts_per_token=scout.experts)
    both = [(of.prefill(1, 1).matmul_flops / 10**9) for of in (in_full, scout)]
    steps = [v3.decode(3, 1000, absorbed=absorbed).matmul_flops / 10**12 for absorbed in (False, True)]
    return f"""## Counted otherwise

In transformers, **Llama 4** runs every expert on every token, and weighs with 0 those that the token did not choose:
PyTorch counts {float(both[0]):.1f} GFLOP for one token of Scout. With the chosen ones alone, as the kit counts, it is
{float(both[1]):.1f}; `dataclasses.replace(model, experts_per_token=model.experts)` is the other number.

In a decode step, **DeepSeek**'s classes there compute keys and values of the whole context anew: {float(steps[0]):.2f}
TFLOP for three contexts of 1,000 tokens of DeepSeek-V3, which is also what the kit counts. `decode(…, absorbed=True)`
is the algorithm that engines run, with the same result: {float(steps[1]):.2f} TFLOP.

"""


def model_types() -> str:
    """Which config.json is read, by its model_type, and what is refused in it."""
    kinds = {name: merged(name) for name in data("huggingface.toml") if name != "common"}
    rows = []
    for name, kind in kinds.items():
        only = [f"{field} {' or '.join(map(str, allowed)) or 'null'}" for field, allowed in kind["only"].items()]
        rows.append([f"`{name}`", f"`{kind['class']}`", escape("; ".join(only)) or "anything"])
    return "## By `config.json`\n\n" + table(["model_type", "class in transformers", "modelled with"], rows)


PARAMETER = r"[A-Za-z]\w*(?:, [A-Za-z]\w*)* : "


def on_docstring(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Our docstrings are plain text with `code`, examples, lists, and parameters: "x : what it is. y : what it is"."""
    text = "\n".join(lines).strip()
    if what == "module":  # its first words stand above it
        text = TITLE.sub("", text, count=1)
        text = text[:1].upper() + text[1:]
    blocks = re.split(r"\n\s*\n", text)
    lines.clear()
    for block in blocks:
        if block.startswith(">>> "):
            lines += [*block.splitlines(), ""]
            continue
        items = re.split(r"^\* ", block, flags=re.MULTILINE)[1:] if block.startswith("* ") else []
        if re.match(PARAMETER, block):
            items = re.split(rf"(?:^|(?<=\.\s)|(?<=\),\s))(?={PARAMETER})", block)[1:]
            items = [re.sub(r"^(.*?) :", r"`\1`:", item) for item in items]
        lines += [f"* {literal(item)}" for item in items] or [literal(block)]
        lines += [""]


def literal(text: str) -> str:
    """Plain text as reStructuredText: `this` is code, and no other sign means anything."""
    pieces = re.split(r"`([^`]+)`", " ".join(text.split()).rstrip(","))
    pieces[::2] = [re.sub(r"([\\*_|:<>])", r"\\\1", piece) for piece in pieces[::2]]
    pieces[1::2] = [rf"\ ``{piece}``\ " for piece in pieces[1::2]]
    return "".join(pieces)


def on_finished(app: Sphinx, error: Exception | None) -> None:
    """MathJax into the site, one file, and the glossary's words as a script."""
    if error is None:
        found = Path(str(distribution("sphinx-mathjax-offline").locate_file(MATHJAX)))
        copy_asset_file(found, app.outdir / "_static")
        page = Path(app.outdir, "notebooks", "glossary.html").read_text("utf-8")
        script = f"const GLOSSARY = {json.dumps(words(page))};\n"
        Path(app.outdir, "_static", "glossary.js").write_text(script, encoding="utf-8", newline="\n")


def words(glossary: str) -> dict[str, str]:
    """What the glossary's page says of each word, as HTML, by the name that links end in."""
    entry = r'<section id="([^"]+)">\s*(?:<span id="[^"]+"></span>)?<h3>.*?</h3>\s*<p>(.*?)</p>'
    return dict(re.findall(entry, glossary, re.DOTALL))
