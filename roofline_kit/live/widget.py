"""How do sliders reach Python? An explorer as an ipywidget: observable, settable, and at home in a VBox."""

from __future__ import annotations

from typing import Any

import anywidget
import ipywidgets
import traitlets

from .shell import Explorer, asset


class Chart(anywidget.AnyWidget):  # type: ignore[misc]
    """The picture, the numbers and the formulas; its controls are elsewhere. Made by `Panel`."""

    frozen = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)

    def __repr__(self) -> str:
        return "Chart of an explorer"  # and no address, which would differ in each run


class Panel(ipywidgets.VBox):  # type: ignore[misc]
    """An explorer as a VBox of its controls and its chart; `Explorer.widget()` makes it.

    controls : {name: the slider, dropdown or checkbox}, whose `value` can be read, set and observed. state : all values
    together; frozen : those that the chart compares with, or None. Both can be set, in part too, and observed. In the
    browser the controls move the chart without asking Python, which hears of it.

    Raises TraitError or ValueError for names and values that the explorer does not have, and stays as it was.
    """

    state = traitlets.Dict()
    frozen = traitlets.Dict(allow_none=True, default_value=None)

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        self.controls: dict[str, Any] = {}
        made = type("Chart", (Chart,), {"_esm": explorer.module, "_css": asset("live.css")})
        self.chart = made(frozen=explorer.frozen)
        for control in explorer.controls:
            index = control.values.index(explorer.state[control.name])
            self.chart.add_traits(**{f"{control.name}_index": traitlets.Int(index).tag(sync=True)})
            kind = ipywidgets.SelectionSlider if control.kind == "slider" else ipywidgets.Dropdown
            self.controls[control.name] = widget = kind(
                options=list(zip(control.texts, control.values, strict=True)), index=index, description=control.label,
                style={"description_width": "9em"}, layout={"width": "min(30em, 98%)"},
            )  # fmt: skip
            # Only in the browser: an answer from Python would come late, and pull a slider back that is being dragged.
            ipywidgets.jslink((widget, "index"), (self.chart, f"{control.name}_index"))
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

    @traitlets.validate("state")  # type: ignore[untyped-decorator]
    def _complete(self, proposal: Any) -> Any:
        return self.explorer.checked(proposal["value"], self.state or None)

    @traitlets.observe("state")  # type: ignore[untyped-decorator]
    def _move(self, change: Any) -> None:
        for name, value in change["new"].items():
            self.controls[name].value = value

    @traitlets.validate("frozen")  # type: ignore[untyped-decorator]
    def _whole(self, proposal: Any) -> Any:
        return None if proposal["value"] is None else self.explorer.checked(proposal["value"], self.state or None)

    def values(self) -> dict[str, Any]:
        """All numbers at the present state, by name, as `Explorer.values`."""
        return self.explorer.values(**self.state)

    def __repr__(self) -> str:
        return repr(self.explorer)
