"""How does a formula become something to drag? An explorer: controls, compiled formulas, views; and its two shells.

Displayed, it is a picture with a sentence that turns live where scripts may run, without a kernel. `.widget()` is the
same as an ipywidget, whose values Python can read, set and observe. Both run `live.js` on the same compiled formulas.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import sympy

from ...names import unknown
from ...pictures.themes import THEMES
from .controls import Control, asset, stopping
from .picture import data_uri, filled, picture, png, svg
from .program import PRELUDE, Program, fraction
from .views import Bars, Curve, Dots, Formula, Lookup, Message, Table, View, told


@dataclass(frozen=True, eq=False)
class Explorer:
    """What `explore_batch` and its sisters return: shown in a notebook, it is live.

    name : of the function that makes it. call : the arguments of that call which are not called like a control; {name}
    stands for a control's value, {name...} for that and then all the others. controls : see `Control`. programs :
    {names of the choices in `select`, joined by "|": `Program`}; all have the same outputs. tables : numbers that
    follow from others. views : what is drawn, by the value of the control `show`. messages : conditions in words.
    table, formulas : what stands beside the picture. state, frozen : values of the controls; defaults : those that a
    call need not name. remarks : {value: what is said after the sentence where it is above 0}.
    """

    name: str
    call: Sequence[str]
    controls: Sequence[Control]
    programs: Mapping[str, Program]
    views: Mapping[str, View | Bars]
    sentence: str
    table: Table
    formulas: Mapping[str, Sequence[Formula]]
    state: Mapping[str, Any]
    defaults: Mapping[str, Any]
    select: Sequence[str] = ()
    tables: Sequence[Lookup] = ()
    messages: Sequence[Message] = ()
    show: str = ""
    frozen: Mapping[str, Any] | None = None
    remarks: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", self.checked(self.state))
        if self.frozen is not None:
            if not isinstance(self.frozen, Mapping):
                raise TypeError(f"{self.name}: frozen must be {{control: value}}, not {self.frozen!r}")
            controls = [stopping(control, self.frozen.get(control.name)) for control in self.controls]
            object.__setattr__(self, "controls", controls)
            object.__setattr__(self, "frozen", self.checked(self.frozen))

    def checked(self, changes: Mapping[str, Any], start: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The values of all controls, with some changed. Raises ValueError for unknown names and values.

        start : what they are before, the explorer's own state unless given.
        """
        names = [control.name for control in self.controls]
        for name in changes:
            if name not in names:
                raise ValueError(f"{self.name}: {unknown('control', name, names, see='its .state')}")
        given = {c.name: c.value(changes[c.name]) for c in self.controls if c.name in changes}
        after = dict(self.state if start is None else start)
        for control in self.controls:  # a choice brings others along, but what is given holds
            after |= control.moves.get(given.get(control.name), {})
        return {name: {**after, **given}[name] for name in names}

    # --- numbers ---

    def values(self, **changes: Any) -> dict[str, Any]:
        """Everything that the explorer computes, by name, at its own state or with some controls at other values.

        Raises ValueError for a name or a value that a control does not have.

        >>> from roofline_kit import explore_attention
        >>> explore_attention(N=464, heads=1).values(h=4096)["whole_intensity"]
        208.43...
        """
        return self._at(self.checked(changes))

    def _at(self, state: Mapping[str, Any]) -> dict[str, Any]:
        at: dict[str, Any] = {}
        for control in self.controls:
            at[control.name] = state[control.name]
            at |= control.sets.get(state[control.name], {})
        for table in self.tables:
            value = table.value(at)
            at |= {table.sets: float("nan") if value is None else value, "no_" + table.sets: int(value is None)}
        program = self.programs["|".join(str(state[name]).lower() for name in self.select)]
        return at | dict(zip(program.outputs, program.run([float(at[name]) for name in program.inputs]), strict=True))

    def _message(self, at: Mapping[str, Any]) -> dict[str, Any] | None:
        for message in self.messages:
            if not at[message.when] <= 0:
                return {"text": filled(message.text, at), "blocks": message.blocks}
        return None

    def _sentence(self, at: dict[str, Any]) -> str:
        """The sentence, and the remarks on what is there."""
        remarks = [words for value, words in self.remarks.items() if at[value] > 0]
        return filled(" ".join([self.sentence, *remarks]), at)

    def _marks(
        self, state: Mapping[str, Any], frozen: Mapping[str, Any] | None, width: int = 720, height: int = 418
    ) -> tuple[list[Any], int]:
        """The marks of the picture, and its height."""
        view, controls = self.views[state.get(self.show, "")], {c.name: c for c in self.controls}
        message = self._message(self._at(state))

        def reading(of: Mapping[str, Any]) -> dict[str, Any]:
            over = {mark.over for mark in view.marks if isinstance(mark, (Curve, Dots))}
            sweeps = {name: [self._at({**of, name: v}) for v in controls[name].values] for name in over}
            return {"at": self._at(of), "sweeps": sweeps}

        if message and message["blocks"]:
            return picture(view, {"at": self._at(state)}, None, message, width, height)
        shown = {self.show: state[self.show]} if self.show else {}
        ghost = reading({**frozen, **shown}) if frozen else None
        return picture(view, reading(state), ghost, message, width, height)

    def __repr__(self) -> str:
        at = self._at(self.state)
        message = self._message(at)
        said = "" if message and message["blocks"] else self._sentence(at)
        return f"{said} {message['text'] if message else ''}".strip()

    # --- the stored output ---

    @cached_property
    def _script(self) -> str:
        """The front end with the data and the formulas of this explorer: one JavaScript text without imports."""
        any_of = next(iter(self.programs.values()))
        spec = {
            "name": self.name, "call": self.call, "select": self.select, "tables": self.tables, "views": self.views,
            "messages": self.messages, "sentence": self.sentence, "remarks": self.remarks, "table": self.table,
            "formulas": self.formulas,
            "show": self.show, "state": self.state, "defaults": self.defaults, "frozen": self.frozen,
            "controls": self.controls,
            "inputs": any_of.inputs, "outputs": any_of.outputs,
            "themes": {name: look._asdict() for name, look in THEMES.items()},
        }  # fmt: skip
        text = json.dumps(spec, ensure_ascii=False, separators=(",", ":"), default=told)
        text = text.replace("</", "<\\/").replace("<!--", "<\\!--")  # which would end the script that it stands in
        programs = ",".join(f"{json.dumps(key)}:{program.javascript}" for key, program in self.programs.items())
        return f"const SPEC={text};\n{PRELUDE}\nconst PROGRAMS={{{programs}}};\n{asset('live.js')}"

    @property
    def module(self) -> str:
        """The front end as a JavaScript module, which anywidget runs."""
        return self._script + "\nexport default { render };\n"

    @cached_property
    def _still(self) -> tuple[list[Any], int]:
        return self._marks(self.state, self.frozen)

    @cached_property
    def html(self) -> str:
        """A picture that turns live: HTML that needs no kernel and no network."""
        marks, height = self._still
        still = data_uri(svg(marks, 720, height, THEMES["light"]._asdict()))
        key = hashlib.sha256((self._script + still).encode()).hexdigest()[:12]
        words = escape(repr(self))
        hint = (
            "This is a picture. To make it live: Run → Run All Above Selected Cell, then run its cell; "
            "or Trust Notebook, in View → Activate Command Palette."
        )
        image = f'<img loading="lazy" alt="{words}" src="{still}" style="max-width:100%">'  # no use to paint what goes
        figure = f'<figure style="margin:0">{image}<figcaption>{words}'
        live = f'{self._script}\nliven("{key}",{json.dumps(asset("live.css"))})'
        return (
            f'<div data-rk="{key}">{figure}<br><small>{hint}</small></figcaption></figure></div>\n'
            f'<script>(()=>{{"use strict";\n{live}}})()</script>'
        )

    @property
    def png(self) -> bytes:
        """The picture, for where nothing is live."""
        marks, height = self._still
        return png(marks, 720, height, THEMES["light"]._asdict())

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"text/plain": repr(self), "text/html": self.html, "image/png": self.png}

    def save(self, path: Any) -> None:
        """Writes a page that shows the explorer live in any browser, without a kernel and without a network.

        path : of a file that ends in .html, replaced if it is there. Raises ValueError for another ending, TypeError
        for what is no path, and OSError where nothing can be written.

        >>> import tempfile
        >>> from roofline_kit import explore_batch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     explore_batch(batch=64).save(f"{folder}/batch.html")
        """
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"{self.name}: save needs the path of a file, not {path!r}")
        file = Path(path)
        if file.suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"{self.name}: an explorer is saved as a page that ends in .html, not as {str(path)!r}")
        try:
            file.write_text(PAGE.format(title=escape(self._title()), explorer=self.html), "utf-8")
        except OSError as error:
            raise type(error)(f"{path} cannot be written: {str(error.strerror).lower()}") from None

    def _title(self) -> str:
        """What the picture says at the top."""
        at = self._at(self.state)
        message = self._message(at)
        return message["text"] if message else filled(self.views[self.state.get(self.show, "")].title, at)

    # --- the widget ---

    def widget(self) -> Any:
        """The explorer as an ipywidgets VBox: its controls, and the chart that follows them in the browser.

        `.controls[name]` is the slider or dropdown, whose `value` can be read, set and observed; `.state` and `.frozen`
        are all values, and what is frozen. What cannot be is refused with a ValueError, and said beside the chart.
        Raises ModuleNotFoundError where anywidget is missing, saying how to install it.
        """
        try:
            from .widget import Panel
        except ModuleNotFoundError as missing:
            raise ModuleNotFoundError(f"widgets need {missing.name}: pip install anywidget") from None
        return Panel(self)


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ max-width: 1200px; margin: 0 auto; padding: 8px; font: 14px/1.45 system-ui, sans-serif }}
</style>
<main>
{explorer}
</main>
</html>
"""


# How formulas write what is too long for them, in letters of the glossary; live.js tells what they mean.
LETTERS = {
    "batch": "b", "context": "T", "hidden": "h", "heads": "H", "kv_heads": "H′", "head_dim": "d", "layers": "L",
    "mlp_hidden": "f", "seq": "N", "dtype_bytes": "w", "weight_bytes": "w′", "cache_bytes": "w″",
}  # fmt: skip


def mathml(formula: sympy.Expr) -> str:
    """A formula as MathML, which browsers show without a library; each symbol names itself in `data-s`.

    >>> mathml(2 * sympy.Symbol("N"))
    '<mrow><mn>2</mn><mo>·</mo><mi data-s="N">N</mi></mrow>'
    """
    if formula.is_Symbol:
        letter = LETTERS.get(formula.name, formula.name).replace("_", " ")
        return f'<mi data-s="{escape(formula.name)}">{escape(letter)}</mi>'
    if formula.is_Add:
        terms = _as_written(formula)
        first = next((term for term in terms if not _is_negative(term)), terms[0])
        rest = [term for term in terms if term is not first]
        return _row(mathml(first), *(_signed(term) for term in rest))
    over, under = fraction(formula)
    if under:
        return _row(f"<mfrac>{mathml(sympy.Mul(*over))}{mathml(sympy.Mul(*under))}</mfrac>")
    if formula.is_Mul:
        sums = [part for part in formula.args if part.is_Add]
        rest = [part for part in formula.args if not part.is_Add]
        rest.sort(key=lambda part: (not part.is_Number, _name(part.as_base_exp()[0])))
        return _row("<mo>·</mo>".join(map(_factor, rest + _by_name(sums))))
    if formula.is_Pow:
        return f"<msup>{_factor(formula.base)}{mathml(formula.exp)}</msup>"
    if not formula.args:
        return f"<mn>{formula}</mn>"
    left, right = "⌈⌉" if formula.func is sympy.ceiling else "⌊⌋" if formula.func is sympy.floor else "()"
    inside = _row(f"<mo>{left}</mo>{'<mo>,</mo>'.join(map(mathml, formula.args))}<mo>{right}</mo>")
    return inside if left != "(" else _row(f"<mo>{escape(formula.func.__name__.lower())}</mo>", inside)


def _row(*parts: str) -> str:
    return f"<mrow>{''.join(parts)}</mrow>"


def _is_negative(term: sympy.Expr) -> bool:
    return bool(term.as_coeff_Mul()[0].is_negative)


def _signed(term: sympy.Expr) -> str:
    return f"<mo>-</mo>{mathml(-term)}" if _is_negative(term) else f"<mo>+</mo>{mathml(term)}"


def _factor(part: sympy.Expr) -> str:
    return _row(f"<mo>(</mo>{mathml(part)}<mo>)</mo>") if part.is_Add else mathml(part)


def _as_written(terms: sympy.Add) -> list[sympy.Expr]:
    """The terms of a sum as one writes them, high powers of the first letters first."""
    powers = {term: term.as_powers_dict() for term in terms.args}
    bases = {base for of in powers.values() for base in of if not base.is_Number}
    letters, rest = ([base for base in bases if base.is_Symbol == is_letter] for is_letter in (True, False))
    order = sorted(letters, key=lambda base: (base.name.lower(), base.name)) + _by_name(rest)
    return sorted(terms.args, key=lambda term: [-powers[term].get(base, 0) for base in order])


def _by_name(parts: list[sympy.Expr]) -> list[sympy.Expr]:
    """Sorted as they are written, which SymPy takes its time for: only where there are several."""
    return sorted(parts, key=lambda part: str(part).lower()) if len(parts) > 1 else parts


def _name(part: sympy.Expr) -> str:
    return part.name if part.is_Symbol else str(part)
