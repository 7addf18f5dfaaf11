"""What is measured next? A sweep that was stopped goes on with what is missing."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..files import write
from ..roofline import Roofline
from .machines import machine_for
from .points import Point, ceilings
from .store import read, results

JOB = {"job": "SLURM_JOB_ID", "task": "SLURM_ARRAY_TASK_ID", "partition": "SLURM_JOB_PARTITION"}


def take(point: Point, folder: Path | str, most_seconds: float = 20) -> bool:
    """Measures a point and writes its file, unless it is there. Returns whether it measured.

    A damaged file is kept aside, as *.damaged. A point that does not fit into memory, that the device cannot do, or
    whose call would take longer than `most_seconds` by the ceilings in the same folder, is written as left out, with
    the reason, and tried again by the next run. Raises OSError where there is no room for a file, before it measures.
    """
    folder = Path(folder)
    path, measurement, why = folder / point.file, None, ""
    with contextlib.suppress(FileNotFoundError):
        try:
            if not read(path).left_out:
                return False
        except ValueError:
            path.replace(path.with_suffix(".damaged"))
    machine = machine_for(point.device)
    room = folder / f".{point.file}.room"
    write(room, " " * 16384)  # so that a full disk is noticed before something is measured, and not after
    try:
        if (cost := point.cost) and point.tokens != point.h:
            with contextlib.suppress(ValueError):  # no ceilings yet
                roof = Roofline(ceilings(point.device, point.dtype, measured=results(folder)[0]), point.dtype)
                if (least := roof.time(cost)) > most_seconds:
                    raise MemoryError(
                        f"a call takes {least:.0f} s at least, and more than {most_seconds:g} s is too long"
                    )
        measurement = point.measure()
    except (MemoryError, NotImplementedError) as error:
        why = str(error) or "there is not enough memory"
    finally:
        room.unlink(missing_ok=True)
    about: dict[str, Any] = {"device": machine.title, "system": platform.system(), "python": platform.python_version()}
    about |= {**machine.about, "date": time.strftime("%Y-%m-%d", time.gmtime())}
    about |= {key: os.environ[name] for key, name in JOB.items() if name in os.environ}
    data: dict[str, Any] = {"point": asdict(point), "machine": about, "left_out": why}
    data["measurement"] = asdict(measurement) if measurement else None
    write(path, json.dumps(data, indent=1) + "\n")
    return measurement is not None


def take_all(points: Sequence[Point], folder: Path | str, progress: bool = True, most_seconds: float = 20) -> int:
    """Takes all points that are missing, one after the other, and returns how many were measured now.

    Raises OSError where a file cannot be written; what was measured before is kept.
    """
    from tqdm import tqdm

    measured = 0
    with tqdm(points, unit="point", disable=not progress) as bar:
        for point in bar:
            bar.set_postfix_str(point.name)
            measured += take(point, folder, most_seconds)
    return measured
