"""The commands that measure: `roofline-kit measure`, `status` and `collect`."""

from __future__ import annotations

import csv
import io
import json
import math
import signal
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from ..files import write
from ..hardware import Accelerator, datasheet
from ..names import choose
from ..roofline import Roofline
from ..terminal import in_words, out, refuse
from .points import Point, Result, ceiling_points, ceilings, sweep
from .runs import measure_all, measure_one
from .slurm import Settings, script, service_units, settings, submit
from .slurm import status as states
from .store import device_of, results, table

app = typer.Typer()

PLAN = "_plan.json"  # what a sweep is to measure, so that `collect` knows what is missing


def plan(folder: Path, points: list[Point] | None = None) -> list[Point]:
    """The points of a sweep, as the folder has them; with `points`, these are added, and a damaged plan is replaced.

    Raises ValueError where a folder has no sweep, or a damaged plan.
    """
    path, known = folder / PLAN, []
    try:
        known = [Point(**point) for point in json.loads(path.read_text("utf-8"))]
    except FileNotFoundError:
        if points is None:
            raise ValueError(f"{folder} has no sweep: `roofline-kit measure --to {folder}` begins one") from None
    except (ValueError, TypeError, AttributeError) as error:
        if points is None:
            told = f"{path} is damaged ({error}); measure again with the same options to write it anew"
            raise ValueError(told) from None
    if points is not None and (new := [point for point in points if point not in known]):
        known += new
        write(path, json.dumps([asdict(point) for point in known], indent=1) + "\n")
    return known


def numbers(text: str) -> list[int]:
    """A list of sizes, as the options take it.

    Raises ValueError for what is no positive whole number.

    >>> numbers("1,2, 512")
    [1, 2, 512]
    """
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise ValueError(f"expected whole numbers with commas between, as in 1,2,4, not {text!r}")
    return found


def collected(folder: Path) -> tuple[list[str], bool]:
    """Writes results.csv, and says in words what is there, what was left out, and what is missing or damaged.

    Returns the lines, and whether something was measured and nothing is unfinished, missing or damaged.
    """
    points = plan(folder)
    found, damaged = results(folder)
    there = {result.point for result in found}
    missing = [point.name for point in points if point not in there]
    rows: list[dict[str, Any]] = []
    lines = []
    of_a_kind: dict[tuple[str, str, str], list[Result]] = {}  # a machine's points have its own ceilings
    for result in found:
        of_a_kind.setdefault((result.point.device, result.point.dtype, device_of(result)), []).append(result)
    for (device, dtype, machine), mine in sorted(of_a_kind.items()):
        roof, told = _roof(device, dtype, mine)
        told = [f"{line} on {machine}" if roof is None and len(of_a_kind) > 1 else line for line in told]
        rows += table(mine, roof)
        lines += told
    if rows:
        _write_csv(folder / "results.csv", rows)
    lines.append(_counts(found, len(missing)))
    lines += [f"left out: {result.point.name}: {result.left_out}" for result in found if result.left_out]
    lines += unfinished(found)
    lines += [f"missing: {name}" for name in missing] + [f"damaged: {sentence}" for sentence in damaged]
    done = [result for result in found if result.complete or result.left_out]
    good = any(result.complete for result in found) and len(done) == len(found)
    return lines, good and not missing and not damaged


def _roof(device: str, dtype: str, found: list[Result]) -> tuple[Roofline | None, list[str]]:
    """The measured roofline of a machine, and lines about it; None where its ceilings were not measured."""
    try:
        machine: Accelerator = ceilings(device, dtype, measured=found)
    except ValueError as error:
        return None, [f"no share of a roofline: {error}"]
    peak, bandwidth = f"{machine.peak(dtype) / 1e9:.4g} GFLOP/s in {dtype}", f"{machine.bandwidth / 1e9:.4g} GB/s"
    ridge = f"ridge {float(machine.ridge(dtype)):.4g} FLOPs per byte"
    line = f"{machine.name}: {peak}, {bandwidth}, {ridge}, all measured"
    return Roofline(machine, dtype), [
        line,
        *_different_threads(device, dtype, found),
        *_beside_the_datasheet(machine, dtype),
    ]


def _different_threads(device: str, dtype: str, found: list[Result]) -> list[str]:
    """A line where the two ceilings were not measured with the same threads, or where one does not say."""
    there = {result.point: result.machine.get("threads", "an unknown number of") for result in found}
    *products, copy = (there[point] for point in ceiling_points(device, dtype))
    if device == "cuda" or {*products} == {copy} != {"an unknown number of"}:
        return []
    had = " and ".join(dict.fromkeys(products))
    return [
        f"these ceilings are not of one kind: products in {had} threads, the copy in {copy}; "
        "for a roof of one kind, delete their files and measure again"
    ]


def _beside_the_datasheet(measured: Accelerator, dtype: str) -> list[str]:
    """A line that compares measured ceilings with the GPU's datasheet, where the kit has that."""
    card = datasheet(measured.name)
    if card is None or dtype not in card.peaks:
        return []
    peak, bandwidth = measured.peak(dtype) / card.peak(dtype), measured.bandwidth / card.bandwidth
    return [
        f"that is {peak:.0%} of the peak and {bandwidth:.0%} of the bandwidth in the datasheet of the {card.name} "
        f"({card.peak(dtype) / 1e9:.4g} GFLOP/s, {card.bandwidth / 1e9:.4g} GB/s)"
    ]


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write(path, file.getvalue())


def _counts(found: list[Result], missing: int) -> str:
    """How many points are what."""
    numbers = {
        "measured": sum(result.complete for result in found),
        "stopped": sum(result.partial for result in found),
        "not begun": sum(bool(result.unfinished) and not result.partial for result in found),
        "left out": sum(bool(result.left_out) for result in found),
    }
    always = ("measured", "left out")
    told = [f"{count} {what}" for what, count in numbers.items() if count or what in always]
    return ", ".join([*told, f"{missing} missing"]).replace(" measured", " points measured", 1)


def unfinished(found: list[Result]) -> list[str]:
    """A line for each point that was stopped, or not begun for lack of time."""
    return [f"unfinished: {result.point.name}: {result.unfinished}" for result in found if result.unfinished]


Folder = Annotated[Path, typer.Option("--to", help="where the results are kept")]


@app.command()
def measure(
    folder: Folder = Path("measured"),
    device: Annotated[str, typer.Option(help="numpy, or PyTorch's cpu or cuda (AMD's GPUs, too)")] = "numpy",
    dtype: Annotated[str, typer.Option(help="fp32, fp64, and with PyTorch fp16 and bf16")] = "fp32",
    layers: Annotated[str, typer.Option(help="what to measure, see above")] = "dense,attention,fused attention",
    stages: Annotated[str, typer.Option(help="which stages")] = "initial,auto-regressive",
    tokens: Annotated[str, typer.Option(help="lengths of prompts and contexts")] = "50,1000",
    batches: Annotated[str, typer.Option(help="users")] = "1,2,4,8,16,32,64,128,256,512",
    h: Annotated[int, typer.Option(help="width")] = 4096,
    heads: Annotated[int, typer.Option(help="of the width")] = 32,
    most_seconds: Annotated[float, typer.Option(min=0, help="leave out calls that take longer")] = 20,
    seconds: Annotated[float | None, typer.Option("--for", help="seconds that this run may take")] = None,
    cluster: Annotated[str, typer.Option(help="local, or slurm: a job array, one task a point")] = "local",
    config: Annotated[Path | None, typer.Option(help="settings for Slurm (./cluster.toml, if it is there)")] = None,
    account: Annotated[str | None, typer.Option(help="whose hours are used")] = None,
    partition: Annotated[str | None, typer.Option(help="of the cluster, as in gpuA100x4")] = None,
    minutes: Annotated[int | None, typer.Option(help="that a task may take (30)")] = None,
    gpus: Annotated[int | None, typer.Option(help="at a time, one for each task (1)")] = None,
    cpus: Annotated[int | None, typer.Option(help="cores of a task (16)")] = None,
    memory_gb: Annotated[int | None, typer.Option(help="memory of a task (60)")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the job script and what it costs at most")] = False,
) -> None:
    """Measure the lecture's batch sweeps on this machine: dense layer and self-attention.

    One file a point, written at once: stop it when you like, and the same command goes on from there. Points that do
    not fit into the time that `--for` gives are named, and are the next run's.

    Example: `roofline-kit measure --to measured --batches 1,8,64 --for 60`

    Attention's steps are `--layers scores,softmax,mix`, and softmax's passes `--layers max,subtract,exp,sum,divide`.
    """
    try:
        choose("cluster", cluster, ("local", "slurm"))
        points = sweep(device, dtype, layers.split(","), stages.split(","), numbers(tokens), numbers(batches), h, heads)
        if cluster == "slurm":
            if seconds is not None:
                raise ValueError("--for is for this machine; the time of a task of Slurm's is --minutes")
            asked = settings(config, account=account, partition=partition, minutes=minutes, gpus=gpus, cpus=cpus,
                             memory_gb=memory_gb)  # fmt: skip
            _hand_in(points, folder, asked, most_seconds, dry_run)
            return
        plan(folder, points)
        measure_all(points, folder, most_seconds, math.inf if seconds is None else seconds)
        lines, good = collected(folder)
    except KeyboardInterrupt as stopped:
        number = getattr(stopped, "signal", signal.SIGINT)
        raise refuse("stopped; the same command goes on from here", 128 + number) from None
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        kept = f". What was measured is kept in {folder}" if any(folder.glob("[!_]*.json")) else ""
        raise refuse(f"{in_words(error)}{kept}") from None
    out.print(escape("\n".join(lines)), highlight=False, soft_wrap=True)
    raise typer.Exit(0 if good else 1)


def _hand_in(points: list[Point], folder: Path, asked: Settings, most_seconds: float, dry_run: bool) -> None:
    """Gives Slurm what is not complete, or shows what it would be given."""
    there = {result.point for result in results(folder)[0] if result.complete}
    todo = [point for point in points if point not in there]
    cost = service_units(asked, len(todo))
    told = "not known for this partition" if cost is None else f"at most {cost:g} service units"
    if not todo:
        out.print("all points are measured")
    elif dry_run:
        out.print(f"{script(todo, folder, asked)}\ncharge: {told}", highlight=False, soft_wrap=True, markup=False)
    else:
        plan(folder, points)
        ids = submit(partial(measure_one, most_seconds=most_seconds), todo, folder, asked)
        out.print(f"{len(ids)} tasks handed in, {ids[0]} to {ids[-1]}; charge: {told}", highlight=False)


@app.command()
def status(folder: Folder = Path("measured")) -> None:
    """Where are the tasks that were handed in to a cluster, why do they wait, and which points are unfinished?

    Example: `roofline-kit status --to measured`
    """
    try:
        rows = states(folder)
    except (OSError, ValueError, RuntimeError) as error:
        raise refuse(error) from None
    lines = ["  ".join(filter(None, row)) for row in rows] + unfinished(results(folder)[0])
    out.print(escape("\n".join(lines)), highlight=False, soft_wrap=True)


@app.command()
def collect(folder: Folder = Path("measured")) -> None:
    """Put the points of a sweep into one table, results.csv, and say what is missing.

    Example: `roofline-kit collect --to measured`
    """
    try:
        lines, good = collected(folder)
    except (OSError, ValueError, RuntimeError) as error:
        raise refuse(error) from None
    out.print(escape("\n".join(lines)), highlight=False, soft_wrap=True)
    raise typer.Exit(0 if good else 1)
