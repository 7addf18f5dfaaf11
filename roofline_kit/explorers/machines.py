"""On which machine? The choice of an accelerator and of a dtype, and the numbers that they put into formulas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..hardware import Accelerator, accelerator, accelerators
from ..sizes import bytes_of, symbols
from .live import Control, Lookup, Message

CHIP = ("peak", "bandwidth", "memory", "dtype_bytes")
PEAK, BANDWIDTH, MEMORY, WIDTH = symbols(" ".join(CHIP))
DTYPES = ("fp32", "tf32", "bf16", "fp16", "fp8", "int8")
NO_PEAK = Message("no_peak", "{accelerator} has no {dtype} peak: choose another dtype.", blocks=True)


def machine_controls(
    given: Iterable[Accelerator | str], wanted: Sequence[str] = DTYPES
) -> tuple[list[Control], Lookup]:
    """The controls for an accelerator and a dtype, and the table of the peaks that both together choose.

    given : the accelerators to begin with, by name or as `Accelerator`; all that the kit knows can be chosen.
    wanted : the dtypes to choose from, where one of the accelerators has a peak for them.
    """
    cards = {card.name: card for card in [*map(accelerator, accelerators()), *map(accelerator, given)]}
    rates = {name: {"bandwidth": card.bandwidth, "memory": card.memory} for name, card in cards.items()}
    dtypes = [dtype for dtype in wanted if any(dtype in card.peaks for card in cards.values())]
    widths = {dtype: {"dtype_bytes": int(bytes_of(dtype))} for dtype in dtypes}
    controls = [
        Control("accelerator", "accelerator", list(cards), "choice", rates),
        Control("dtype", "dtype", dtypes, "choice", widths),
    ]
    peaks = {
        name: {dtype: card.peaks[dtype] for dtype in dtypes if dtype in card.peaks} for name, card in cards.items()
    }
    return controls, Lookup("peak", ("accelerator", "dtype"), peaks)


def name_of(machine: Accelerator | str) -> str:
    """The name of an accelerator, as the kit spells it."""
    return accelerator(machine).name
