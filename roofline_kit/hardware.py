"""What can the machine do? Peak rates and bandwidths as the vendors print them, with their sources.

The numbers stand in `accelerators.toml`, each once and each with its source. Peaks are dense; the
larger rate "with sparsity" that many datasheets print is kept apart, as `sparse`. Where sources disagree, both
numbers are shown.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache, partial
from numbers import Real
from textwrap import wrap
from types import MappingProxyType
from typing import Any

import sympy

from .names import choose, data, letters, unknown
from .sizes import whole

ON_CHIP = ("cache", "shared", "registers")
"""What is kept on a chip: its last cache, shared memory and registers, in bytes."""


@dataclass(frozen=True)
class Accelerator:
    """A GPU, a TPU or your own machine: what it can compute and move in a second.

    name : short name, as in plots. title : full name, if there is a longer one.
    peaks : dense FLOP/s by dtype. sparse : FLOP/s printed "with sparsity", never used in a roofline.
    vector : FLOP/s outside of matrix units, by dtype; where a dtype has none of its own, that of peaks["fp32"].
    exp : exponentials, tanh and square roots per second, in the units made for them; 0 where no source says.
    bandwidth : bytes per second between the chip and its memory. memory : bytes.
    cache : bytes of the last cache that all of it shares. shared, registers : bytes of shared memory and of registers
    in all of its multiprocessors together. link : bytes per second to others of its kind, one way, and
    node : how many it reaches at that rate. 0 where no source says.
    source : where the numbers come from. sources : of those that have another one, by name ("bandwidth", a dtype).
    alternatives : (name, number, source) of what others print. note : a pitfall.
    watts : power limit of the board. dollars_per_hour : to rent one, with price_source; None where not known.
    answers : the names that drivers give it.

    Raises ValueError for a rate that is not a positive finite number, or so small that it was given in another unit.

    >>> mine = Accelerator("my laptop", peaks={"fp32": 400e9}, bandwidth=40e9, memory=16e9)
    >>> mine.ridge("fp32")
    10
    """

    name: str
    peaks: Mapping[str, int] = field(hash=False)
    bandwidth: int
    memory: int
    source: str = "own"
    title: str = ""
    note: str = ""
    sparse: Mapping[str, int] = field(default_factory=dict, hash=False)
    watts: float | None = None
    dollars_per_hour: float | None = None
    price_source: str = ""
    answers: tuple[str, ...] = ()
    vector: Mapping[str, int] = field(default_factory=dict, hash=False)
    exp: int = 0
    cache: int = 0
    shared: int = 0
    registers: int = 0
    link: int = 0
    node: int = 0
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)
    alternatives: tuple[tuple[str, int, str], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(f"an Accelerator needs a name, not {self.name!r}")
        if not isinstance(self.peaks, Mapping) or not self.peaks:
            raise TypeError(f"{self.name}: peaks are FLOP/s by dtype, as in {{'fp16': 125e12}}, not {self.peaks!r}")
        least = 10**9 if self.source != "measured" else 1  # one may measure half precision that goes number by number
        for what, unit, at_least in (("bandwidth", "bytes/s", least), ("memory", "bytes", min(least, 10**6))):
            exact = _exact(getattr(self, what), f"{self.name}: the {what}", unit, at_least)
            object.__setattr__(self, what, exact)
        for what in ("peaks", "sparse", "vector"):
            rates = getattr(self, what).items()
            checked = {dtype: _exact(rate, f"{self.name}: {what}, {dtype},", "FLOP/s", least) for dtype, rate in rates}
            object.__setattr__(self, what, MappingProxyType(checked))
        self._check_what_may_be_missing(min(least, 10**6))
        names = (self.answers,) if isinstance(self.answers, str) else tuple(self.answers)
        object.__setattr__(self, "answers", names)

    def __reduce__(self) -> Any:
        """What pickle and copy.deepcopy make it of again: they cannot take dictionaries that cannot be changed."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        plain: Any = {name: dict(x) if isinstance(x, MappingProxyType) else x for name, x in given.items()}
        return partial(type(self), **plain), ()

    def _check_what_may_be_missing(self, least: int) -> None:
        """Numbers that are 0 or None where no source says them."""
        for what, unit in (("exp", "op/s"), *dict.fromkeys(ON_CHIP, "bytes").items(), ("link", "bytes/s")):
            if getattr(self, what) != 0:
                object.__setattr__(self, what, _exact(getattr(self, what), f"{self.name}: {what}", unit, least))
        if whole(self.node) is None or self.node < 0:
            raise ValueError(f"{self.name}: node is how many of them are in one, 0 if not known, not {self.node!r}")
        for what in ("watts", "dollars_per_hour"):
            if getattr(self, what) is not None:
                _positive(getattr(self, what), f"{self.name}: {what}")

    def __repr__(self) -> str:
        """All that is known, number by number: how it was found, and what others print."""
        lines = [f"{self.name}: {self.title}" if self.title else self.name]
        for name, printed in _printed(self).items():
            lines.append(f"  {name:10} {printed:>14}  [{self.how(name)}]")
            for of, value, source in self.alternatives:
                if of == name:
                    lines.append(f"  {'':10} {'or ' + _unit(name, value):>14}  [{_how(source)}] {source}")
        return "\n".join([*lines, *wrap(self.note, 100, initial_indent="  ", subsequent_indent="  ")])

    def how(self, number: str) -> str:
        """How a number was found: "read" in the vendor's own document, or "quoted"; of your own, its `source`.

        number : "bandwidth", "memory", "cache", "shared", "registers", "link", "node", "watts", "exp", or a dtype for
        its peak. Raises ValueError for a number that is not known here.

        >>> b200 = accelerator("B200")
        >>> b200.how("bandwidth"), b200.how("fp32")
        ('read', 'quoted')
        """
        known = _printed(self)
        name = choose("number", number, known, f"{self.name}: ")
        return _how(self.sources.get(name, self.source))

    def peak(self, dtype: str = "fp16") -> int:
        """Dense peak in FLOP/s.

        Raises ValueError, naming the dtypes that there are, where the vendor prints none for `dtype`.

        >>> accelerator("A10").peak("fp16")
        125000000000000
        """
        return self.peaks[self.spelled(dtype)]

    def spelled(self, dtype: str) -> str:
        """The name of a dtype as it stands in `peaks`, "fp16" for "FP16". Raises ValueError as `peak` does."""
        return choose("dtype", dtype, self.peaks, f"{self.name} has no {dtype} peak: ")

    def ridge(self, dtype: str = "fp16") -> sympy.Rational:
        """Ridge point in FLOPs per byte, peak / bandwidth, exact [a10-ridge].

        Below it a program is memory-bound, from it on compute-bound.

        >>> accelerator("A10").ridge("fp16"), f"{accelerator('A10').ridge('fp16'):.1f}"
        (625/3, '208.3')
        """
        return sympy.Rational(self.peak(dtype), self.bandwidth)

    def rates(self, dtype: str = "fp16") -> dict[str, int]:
        """How much of each resource it can do in a second, by name: of those for which there is a source.

        "compute" and "matrix" are the peak of `dtype`, "vector" what is done outside of matrix units, "exp" special
        functions, "memory" bytes. Raises ValueError where it has no peak for `dtype`.

        >>> accelerator("A10").rates()["vector"], accelerator("A10").rates()["memory"]
        (31200000000000, 600000000000)
        """
        dtype = self.spelled(dtype)
        vector = self.vector.get(dtype) or self.peaks.get("fp32")
        known = {"compute": self.peaks[dtype], "matrix": self.peaks[dtype], "vector": vector, "exp": self.exp}
        return {name: rate for name, rate in (known | {"memory": self.bandwidth}).items() if rate}

    def joules(self, seconds: Any) -> Any:
        """Energy in joules of `seconds` at the board's power limit: an upper bound, and of the board alone.

        seconds : a number, an array or a formula. Raises ValueError where `watts` is not known, and for a number that
        is no time.

        Energy and money for each token of a decode step, with a batch of 8:

        >>> from roofline_kit import model, roofline
        >>> card, step = accelerator("A100-40GB"), model("llama-2-7b").decode(batch=8, context=1000)
        >>> f"{card.joules(roofline(card).time(step)) / 8:.2f} J"
        '0.57 J'
        >>> f"{card.dollars(roofline(card).time(step)) / 8 * 1e6:.2f} dollars for a million"
        '0.78 dollars for a million'
        """
        return self._known("watts") * _time(seconds)

    def dollars(self, seconds: Any) -> Any:
        """What `seconds` of renting one cost, in dollars, by `dollars_per_hour`; example: `joules`.

        seconds : a number, an array or a formula. Raises ValueError where there is no price, and for a number that is
        no time. A price of your own:

        >>> from dataclasses import replace
        >>> replace(accelerator("H200"), dollars_per_hour=3.60).dollars(seconds=1)
        0.001
        """
        return self._known("dollars_per_hour") * _time(seconds) / 3600

    def _known(self, what: str) -> float:
        """A number that a card may lack."""
        value = getattr(self, what)
        if value is None:
            give = f"dataclasses.replace(card, {what}=…)"
            raise ValueError(f"{self.name}: {what} is not known here; give yours by {give}, where card is this one")
        return float(value)


def _how(source: str) -> str:
    """The word in a source that says how a number was found."""
    found = re.search(r"\b(read|quoted) 20\d\d-", source)
    return found[1] if found else source


def _printed(card: Accelerator) -> dict[str, str]:
    """The numbers that are known of a card, with their units, by name."""
    numbers: dict[str, float] = {**card.peaks, "bandwidth": card.bandwidth, "memory": card.memory}
    on_chip = {name: getattr(card, name) for name in ON_CHIP}
    more = {**on_chip, "link": card.link, "node": card.node, "watts": card.watts or 0, "exp": card.exp}
    return {name: _unit(name, value) for name, value in (numbers | more).items() if value}


def _unit(name: str, value: float) -> str:
    """A number with its unit, three digits of it or as many as are printed."""
    if name == "node":
        return f"{value:g}"
    if name == "watts":
        return f"{value:g} W"
    units = {"bandwidth": "B/s", "memory": "B", "link": "B/s", "exp": "/s", "int8": "OP/s"}
    unit = (units | dict.fromkeys(ON_CHIP, "B")).get(name, "FLOP/s")
    scale, prefix = next(pair for pair in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1, "")) if value >= pair[0])
    return f"{value / scale:.5g} {prefix}{unit}"


def _positive(value: object, what: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < math.inf:  # type: ignore[operator]
        raise ValueError(f"{what} must be a positive finite number, not {value!r}")
    return value


def _time(seconds: Any) -> Any:
    """Seconds as they are. Raises ValueError for a number that is no time."""
    if isinstance(seconds, (str, bool)) or (isinstance(seconds, Real) and not 0 <= seconds < math.inf):  # type: ignore[operator]
        raise ValueError(f"the seconds must be a finite number, 0 or more, not {seconds!r}")
    return seconds


def _exact(value: object, what: str, unit: str, least: int) -> int:
    """A rate or a size as an exact integer; what is less than `least` was given in another unit."""
    number = _positive(value, what)
    if number < least:
        tera = unit == "FLOP/s" or (unit == "bytes/s" and number < 10)
        meant = f"{value!r}{'e12' if tera else 'e9'}"
        raise ValueError(f"{what} is {value!r} {unit}, and hardly any machine has so little: did you mean {meant}?")
    return int(number)


@cache
def _table() -> dict[str, Accelerator]:
    """All of accelerators.toml, by name."""
    rows = {name: dict(row) for name, row in data("accelerators.toml").items()}
    for row in rows.values():
        row.pop("variants", None)
        row["source"] = _document(row["source"])
        row["sources"] = {number: _document(source) for number, source in row.get("sources", {}).items()}
        others = [
            (other["number"], int(other["value"]), _document(other["source"])) for other in row.get("alternatives", ())
        ]
        row["alternatives"] = tuple(others)
        row.update(_units(row))
    return {name: Accelerator(name, row.pop("peak"), **row) for name, row in rows.items()}


def _document(source: str) -> str:
    """A source as it stands there, or the document of sources.toml that it names."""
    return source if " " in source else str(data("sources.toml")[source])


def _units(row: dict[str, Any]) -> dict[str, Any]:
    """What a row says of each multiprocessor, for all of them: special functions in a second, and bytes of storage."""
    units, storage = row.pop("special", None), dict(row.pop("storage", {}))
    if units is None:
        return {}
    source = _document(storage.pop("source"))
    return {
        "exp": int(units["sms"] * units["clock"] * units["per_clock"]),
        **{kind: kib * 1024 * units["sms"] for kind, kib in storage.items()},
        "sources": dict.fromkeys(storage, source) | row["sources"],
    }


@cache
def _answering() -> dict[str, Accelerator]:
    """All accelerators by each name that they answer to, spelled by its letters."""
    found = {letters(name): card for card in _table().values() for name in (card.name, *card.answers)}
    for name, card in _table().items():
        for board, differs in data("accelerators.toml")[name].get("variants", {}).items():
            found[letters(board)] = replace(card, title=board, answers=(board,), **differs)
    return found


def accelerators() -> tuple[str, ...]:
    """The names of the accelerators that the kit has a datasheet of.

    >>> accelerators()[:4]
    ('A10', 'A10G', 'A40', 'A100-40GB')
    """
    return tuple(_table())


def accelerator(name: Accelerator | str) -> Accelerator:
    """The accelerator of that name, or to which drivers give that name. An `Accelerator` is returned as it is.

    Capitals, spaces and hyphens do not matter. Raises ValueError with the nearest names where there is none, or
    where the name stands for several.

    >>> a100 = accelerator("a100 40 GB")
    >>> a100.title, a100.bandwidth, a100.memory
    ('NVIDIA A100 40 GB SXM4 / PCIe', 1555000000000, 40000000000)
    >>> accelerator("NVIDIA H100 80GB HBM3").name
    'H100-SXM'
    """
    if isinstance(name, Accelerator):
        return name
    card = datasheet(name)
    if card is None:
        raise ValueError(unknown("accelerator", name, accelerators(), see="rk.accelerators()"))
    return card


def datasheet(name: object) -> Accelerator | None:
    """The accelerator that answers to a name, as a driver gives it; None where the kit has no datasheet of that.

    >>> datasheet("NVIDIA A40").name, datasheet("AMD EPYC 7763, 16 threads")
    ('A40', None)
    """
    return _answering().get(letters(name)) if isinstance(name, str) else None
