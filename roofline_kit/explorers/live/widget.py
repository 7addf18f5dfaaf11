"""How do sliders reach Python? An explorer as an ipywidget: observable, settable, and at home in a VBox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import anywidget
import ipywidgets
import traitlets

from ...names import unknown
from .controls import Control, asset, stopping


class Refused(traitlets.TraitError, ValueError):  # type: ignore[misc]
    """What an explorer cannot show. In a notebook its sentence stands alone, without the calls that led to it."""

    def _render_traceback_(self) -> list[str]:  # IPython asks for it
        return [f"ValueError: {self}"]


class Chart(anywidget.AnyWidget):  # type: ignore[misc]
    """The picture, the numbers and the formulas; its controls are elsewhere. Made by `Panel`.

    controls : the ipywidgets whose `index` it follows, in the browser. refused : why the last change was not made.
    """

    controls = traitlets.Dict().tag(sync=True, **ipywidgets.widget_serialization)
    frozen = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)
    refused = traitlets.Unicode().tag(sync=True)

    def __repr__(self) -> str:
        return "Chart of an explorer"  # and no address, which would differ in each run


class _Taking(traitlets.HasTraits):  # type: ignore[misc]
    """What a control adds to an ipywidget: it takes what the explorer takes. Raises `Refused` for anything else."""

    value = traitlets.TraitType(None)  # where ipywidgets has Any, which takes None unseen

    def __init__(self, control: Control, start: Any, chart: Chart) -> None:
        self.control, self.chart = control, chart
        super().__init__(
            options=list(zip(control.texts, control.values, strict=True)), index=control.values.index(start),
            description=control.label, style={"description_width": "9em"}, layout={"width": "min(30em, 98%)"},
        )  # fmt: skip

    @traitlets.validate("value")  # type: ignore[untyped-decorator]
    def _validate_value(self, proposal: Any) -> Any:
        with refusing(self.chart):
            value = self.control.value(proposal["value"])
        self.make_room(value)
        return value

    def make_room(self, value: Any) -> None:
        """Sees to it that `value` can be shown."""


class Choice(_Taking, ipywidgets.Dropdown):  # type: ignore[misc]
    """A dropdown of names, or of no and yes."""


class Slider(_Taking, ipywidgets.SelectionSlider):  # type: ignore[misc]
    """A slider that can also stand between two of its stops, as `explore_batch(batch=100)` can.

    stops : its values; the chart in the browser looks up its `index` in them.
    """

    stops = traitlets.List().tag(sync=True)

    def make_room(self, value: Any) -> None:
        """One more stop, in place of the one that was made for another value."""
        if value in self.stops:
            return
        more = stopping(self.control, value)
        index = more.values.index(value)
        with self.hold_sync():  # the browser never sees an index among the wrong stops
            self.options = list(zip(more.texts, more.values, strict=True))
            self.index, self.label = index, more.texts[index]

    @traitlets.observe("options")  # type: ignore[untyped-decorator]
    def _propagate_options(self, change: Any) -> None:
        """As in ipywidgets, which here goes back to the first option, too."""
        labels, values = zip(*self._options_full, strict=True)
        self.set_trait("_options_labels", labels)
        self._options_values, self.stops = values, list(values)


@contextmanager
def refusing(chart: Chart) -> Iterator[None]:
    """Says beside the chart what the block refuses, and raises it as `Refused`; a block that ends well clears that."""
    try:
        yield
    except ValueError as error:
        chart.refused = str(error)
        raise Refused(chart.refused) from None
    chart.refused = ""


class Controls(dict[str, Any]):
    """The controls of a panel by name. Raises `Refused` for a name that there is not."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart

    def __missing__(self, name: str) -> None:
        with refusing(self.chart):
            raise ValueError(unknown("control", name, self))


class Panel(ipywidgets.VBox):  # type: ignore[misc]
    """An explorer as a VBox of its controls and its chart; `Explorer.widget()` makes it.

    controls : {name: the slider or dropdown}, whose `value` can be read, set and observed. state : all values together;
    frozen : those that the chart compares with, or None. Both can be set, in part too, and observed. In the browser the
    controls move the chart without asking Python, which hears of it.

    Its `children` can have more, such as a slider of your own. Stored in a notebook it is a picture, as it was shown.

    Raises ValueError for names and values that the explorer does not have, says so beside the chart, and stays as it
    was.
    """

    state = traitlets.Dict()
    frozen = traitlets.Dict(allow_none=True, default_value=None)

    def __init__(self, explorer: Any) -> None:
        self.explorer = explorer
        made = type("Chart", (Chart,), {"_esm": explorer.module, "_css": asset("live.css")})
        self.chart = made(frozen=explorer.frozen)
        self.controls = Controls(self.chart)
        for control in explorer.controls:
            kind = Slider if control.kind == "slider" else Choice
            self.controls[control.name] = kind(control, explorer.state[control.name], self.chart)
        self.chart.controls = dict(self.controls)
        row = ipywidgets.Box(list(self.controls.values()), layout={"flex_flow": "row wrap"})
        super().__init__([row, self.chart], state=dict(explorer.state), frozen=explorer.frozen)
        self.add_class("rk-panel")  # by which the chart finds the controls, to keep what is typed there
        traitlets.link((self.chart, "frozen"), (self, "frozen"))
        for name, widget in self.controls.items():
            widget.observe(lambda change, name=name: self._follow(name, change["new"]), "value")

    def _follow(self, name: str, value: Any) -> None:
        """A control has moved; what it brings along moves too."""
        if self.state[name] != value:
            self.state = {name: value}

    @traitlets.validate("state", "frozen")  # type: ignore[untyped-decorator]
    def _complete(self, proposal: Any) -> Any:
        if proposal["value"] is None:
            return None
        with refusing(self.chart):
            return self.explorer.checked(proposal["value"], self.state or None)

    @traitlets.observe("state")  # type: ignore[untyped-decorator]
    def _move(self, change: Any) -> None:
        for name, value in change["new"].items():
            self.controls[name].value = value

    def values(self) -> dict[str, Any]:
        """All numbers at the present state, by name, as `Explorer.values`."""
        return self.explorer.values(**self.state)

    def __repr__(self) -> str:
        return repr(self.explorer)

    def _repr_mimebundle_(self, **how: Any) -> dict[str, Any]:
        """Live in a notebook, and a picture of the present state where no kernel is."""
        shown = replace(self.explorer, state=self.state, frozen=self.frozen)
        return {**super()._repr_mimebundle_(**how), "text/plain": repr(shown), "image/png": shown.png}
