"""What can be moved? Sliders, choices and checks, and the files that show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

from ...names import choose


@dataclass(frozen=True)
class Control:
    """A slider (of numbers), a choice (of names) or a check (yes or no).

    name : in formulas and as an argument. values : what it can be. sets : the numbers that each value puts into the
    formulas; a slider's own value goes by its name. moves : the values of other controls that come with one.
    """

    name: str
    label: str
    values: Sequence[Any]
    kind: str = "slider"
    sets: Mapping[Any, Mapping[str, float]] = field(default_factory=dict)
    moves: Mapping[Any, Mapping[str, Any]] = field(default_factory=dict)

    @cached_property
    def texts(self) -> list[str]:
        """The values as one reads them."""
        return [f"{v:,}" if self.kind == "slider" else str(v) for v in self.values]

    def value(self, given: Any) -> Any:
        """`given`, if it can be that. Raises ValueError with the range or the names."""
        if self.kind == "choice":
            return choose(self.label, given, self.values, see=f"the list {self.label!r} in the chart")
        if self.kind == "check" and not isinstance(given, bool):
            raise ValueError(f"{self.label} must be True or False, not {given!r}")
        if self.kind == "slider":
            first, last = self.values[0], self.values[-1]
            if isinstance(given, bool) or not hasattr(given, "__index__") or not first <= given <= last:
                raise ValueError(f"{self.label} must be a whole number from {first:,} to {last:,}, not {given!r}")
            return given.__index__()  # of NumPy's integers too
        return given


def stops(low: int, high: int, per_octave: int = 8, *more: int) -> list[int]:
    """Whole numbers from `low` to `high` for a slider: powers of two, and so many from one to the next; and `more`.

    >>> stops(1, 16, 4)
    [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16]
    """
    octaves = range(low.bit_length() - 1, high.bit_length())
    found = {2**k * (per_octave + i) // per_octave for k in octaves for i in range(per_octave)}
    return sorted({n for n in found if low <= n <= high} | {low, high, *more})


def slider(name: str, label: str, values: Sequence[int], start: Any) -> Control:
    """A slider over `values` that can also be at `start`. Raises ValueError where that is no number in their range."""
    ends = Control(name, label, [values[0], values[-1]])
    whole = start.__index__() if hasattr(start, "__index__") and values[0] <= start <= values[-1] else ends.value(start)
    return Control(name, label, sorted({*values, whole}))


def stopping(control: Control, value: Any) -> Control:
    """A slider that stops at one more value, too."""
    if control.kind != "slider" or value is None:
        return control
    return replace(control, values=slider(control.name, control.label, control.values, value).values)


@cache
def asset(name: str) -> str:
    """A file beside the code, without the lines that are only for its readers."""
    lines = files(__package__).joinpath(name).read_text("utf-8").splitlines()
    return "\n".join(line.strip() for line in lines if line.strip() and not line.strip().startswith("// "))
