"""Where is it kept? One file a point, written the moment it is measured, and what is read out of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ..files import write
from ..hardware import datasheet
from ..names import unknown
from ..roofline import Roofline
from .points import Point, Result
from .timing import Measurement


def place(folder: Path, point: Point) -> Path:
    """A point's file, which has a longer name where another point of its name is there already."""
    path = folder / point.file
    if (folder / point.long_file).exists():
        return folder / point.long_file
    try:
        return path if read(path).point == point else folder / point.long_file
    except (FileNotFoundError, ValueError):
        return path


def look_up(folder: Path, point: Point) -> Result | None:
    """What is known of a point; None if nothing is. A damaged file is set aside, as *.damaged."""
    try:
        return read(place(folder, point))
    except FileNotFoundError:
        return None
    except ValueError:
        set_aside(folder, point, ".damaged")
        return None


def set_aside(folder: Path, point: Point, ending: str) -> None:
    """Gives a point's file another ending, so that it is kept and not read any more."""
    path = place(folder, point)
    path.replace(path.with_suffix(ending))


@contextmanager
def room(folder: Path, point: Point) -> Iterator[None]:
    """Keeps room for a point's file, so that a full disk is noticed before something is measured, and not after."""
    path = folder / f".{point.file}.room"
    write(path, " " * 16384)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def store(folder: Path, result: Result) -> None:
    """Writes a point's file, whole or not at all. Raises OSError."""
    data: dict[str, Any] = {"point": asdict(result.point), "machine": result.machine, "left_out": result.left_out}
    if result.unfinished:
        data["unfinished"] = result.unfinished
    data["measurement"] = asdict(result.measurement) if result.measurement else None
    write(place(folder, result.point), json.dumps(data, indent=1) + "\n")


def read(path: Path) -> Result:
    """One file of a sweep. Raises ValueError, naming the file, if it is damaged."""
    try:
        data = json.loads(path.read_text("utf-8"))
        unfinished = str(data.get("unfinished", ""))
        given = data["measurement"]
        if given is not None:
            lists = {"shapes": tuple(map(tuple, given["shapes"])), "steps": tuple(map(dict, given["steps"]))}
            given = Measurement(**{**given, **lists, "seconds": tuple(map(float, given["seconds"]))})
            _check(given, Point(**data["point"]), 1 if unfinished else 2)
        return Result(Point(**data["point"]), given, dict(data["machine"]), str(data["left_out"]), unfinished)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path.name} is damaged: {type(error).__name__}: {error}") from None


def _check(taken: Measurement, point: Point, least: int) -> None:
    """Raises ValueError for what was not measured at this point, as where a file was edited. least : repetitions."""
    if len(taken.seconds) < least or not all(0 < second < math.inf for second in taken.seconds):
        raise ValueError("seconds must be positive")
    for what, measured, wanted in (("shapes", taken.shapes, point.shapes), ("dtype", taken.dtype, point.dtype)):
        if measured != wanted:
            raise ValueError(f"{what} of the measurement are {measured}, and the point has {wanted}")
    amounts = [step[name] for step in taken.steps for name in ("compute", "memory")]
    if not amounts or not all(type(amount) is int and amount >= 0 for amount in amounts) or not taken.bytes:
        raise ValueError("steps must have whole numbers of FLOPs (compute) and bytes (memory)")


def results(folder: Path | str) -> tuple[list[Result], list[str]]:
    """What a folder holds, and what is wrong with the files that cannot be read."""
    found, damaged = [], []
    for path in sorted(Path(folder).glob("*.json")):
        if path.name.startswith("_"):  # lists, no points
            continue
        try:
            found.append(read(path))
        except ValueError as error:
            damaged.append(str(error))
    return found, damaged


def device_of(result: Result) -> str:
    """The name of the machine that a point was measured on, or tried on."""
    return str(result.measurement.device if result.measurement else result.machine.get("device", "an unknown machine"))


def table(found: Iterable[Result], roof: Roofline | None = None) -> Iterator[dict[str, Any]]:
    """One row a point: what, on what, seconds, FLOPs, bytes, FLOP/s, and the share of a roofline's bound.

    Of a GPU whose datasheet the kit has, the share of that roof is there, too. Points that were left out have their
    reason in `left_out`, those that were stopped or not begun in `unfinished`, and neither have numbers: the
    repetitions that are there so far are counted, and stand in the point's file.
    """
    for result in found:
        row: dict[str, Any] = {"what": result.point.name, **asdict(result.point), "machine": device_of(result)}
        row |= {"threads": result.machine.get("threads", "")}
        row |= {"left_out": result.left_out, "unfinished": result.unfinished}
        if (taken := result.measurement) is not None:
            row |= {"repetitions": len(taken.seconds)}
        if taken is not None and result.complete:
            row |= {"seconds": taken.median, "spread": taken.spread}
            row |= {"flops": taken.flops, "bytes": taken.bytes, "flop_per_s": taken.rate}
            if roof is not None:
                row |= {"share": taken.share(roof)}
            card = datasheet(taken.device)
            if card is not None and taken.dtype in card.peaks:
                row |= {"share_of_datasheet": taken.share(Roofline(card, taken.dtype))}
        yield row


def matching(found: Iterable[Result], **given: Any) -> list[Measurement]:
    """The measurements of points with these properties, in the order of their batch; of complete ones only.

    Raises ValueError for a property that points do not have.
    """
    known = [field.name for field in fields(Point)]
    for name in given:
        if name not in known:
            raise ValueError(unknown("property", name, known))
    chosen = [r for r in found if r.complete and all(getattr(r.point, key) == v for key, v in given.items())]
    return [result.measurement for result in sorted(chosen, key=lambda r: r.point.batch) if result.measurement]
