"""The commands for everybody: measure a machine, and begin a lesson in a copy."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from .hardware import Accelerator
from .measure import Point, ceilings, results, sweep, table, take, take_all, write
from .roofline import Roofline

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="markdown")
out, err = Console(), Console(stderr=True)

PLAN = "_plan.json"  # what a sweep is to measure, so that `collect` knows what is missing


def plan(folder: Path, points: list[Point] | None = None) -> list[Point]:
    """The points of a sweep, as the folder has them; with `points`, these are added, and a damaged plan is replaced.

    Raises ValueError where a folder has no sweep, or a damaged plan.
    """
    from dataclasses import asdict

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

    Returns the lines, and whether something was measured and nothing is missing or damaged.
    """
    points = plan(folder)
    found, damaged = results(folder)
    there = {result.point for result in found}
    missing = [point.name for point in points if point not in there]
    rows: list[dict[str, Any]] = []
    lines = []
    for device, dtype in sorted({(result.point.device, result.point.dtype) for result in found}):
        mine = [result for result in found if (result.point.device, result.point.dtype) == (device, dtype)]
        try:
            machine: Accelerator = ceilings(device, dtype, measured=mine)
        except ValueError as error:
            rows += table(mine)
            lines.append(f"no share of a roofline: {error}")
        else:
            rows += table(mine, Roofline(machine, dtype))
            lines.append(
                f"{machine.name}: {machine.peak(dtype) / 1e9:.4g} GFLOP/s in {dtype}, "
                f"{machine.bandwidth / 1e9:.4g} GB/s, "
                f"ridge {float(machine.ridge(dtype)):.4g} FLOPs per byte, all measured"
            )
    if rows:
        columns = list(dict.fromkeys(name for row in rows for name in row))
        file = io.StringIO()
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write(folder / "results.csv", file.getvalue())
    left = [result for result in found if result.left_out]
    lines.append(f"{len(found) - len(left)} points measured, {len(left)} left out, {len(missing)} missing")
    lines += [f"left out: {result.point.name}: {result.left_out}" for result in left]
    lines += [f"missing: {name}" for name in missing] + [f"damaged: {sentence}" for sentence in damaged]
    return lines, len(found) > len(left) and not missing and not damaged


def refuse(reason: object) -> typer.Exit:
    """Says why a command ends, on stderr, and gives the exit to raise."""
    err.print(f"[red]{escape(str(reason))}[/red]", highlight=False, soft_wrap=True)
    return typer.Exit(1)


def in_words(error: Exception) -> str:
    """An error as a sentence: of a system's, what it is and where, without its number.

    >>> in_words(OSError(28, "No space left on device", "measured"))
    'No space left on device: measured'
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename else "")
    return str(error)


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

    One file a point, written at once: stop it when you like, and the same command goes on from there.

    Example: `roofline-kit measure --to measured --batches 1,8,64`

    Attention's steps are `--layers scores,softmax,mix`, and softmax's passes `--layers max,subtract,exp,sum,divide`.
    """
    from .errors import choose

    try:
        choose("cluster", cluster, ("local", "slurm"))
        points = sweep(device, dtype, layers.split(","), stages.split(","), numbers(tokens), numbers(batches), h, heads)
        if cluster == "slurm":
            from .cluster import script, service_units, settings, submit

            asked = settings(
                config,
                account=account,
                partition=partition,
                minutes=minutes,
                gpus=gpus,
                cpus=cpus,
                memory_gb=memory_gb,
            )
            there = {result.point for result in results(folder)[0] if not result.left_out}
            todo = [point for point in points if point not in there]
            cost = service_units(asked, len(todo))
            told = "not known for this partition" if cost is None else f"at most {cost:g} service units"
            if not todo:
                out.print("all points are measured")
            elif dry_run:
                out.print(
                    f"{script(todo, folder, asked)}\ncharge: {told}", highlight=False, soft_wrap=True, markup=False
                )
            else:
                plan(folder, points)
                ids = submit(take, todo, folder, asked)
                out.print(f"{len(ids)} tasks handed in, {ids[0]} to {ids[-1]}; charge: {told}", highlight=False)
            return
        plan(folder, points)
        take_all(points, folder, sys.stderr.isatty(), most_seconds)
        lines, good = collected(folder)
    except KeyboardInterrupt:
        raise refuse("stopped; the same command goes on from here") from None
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        kept = f". What was measured is kept in {folder}" if any(folder.glob("[!_]*.json")) else ""
        raise refuse(f"{in_words(error)}{kept}") from None
    out.print(escape("\n".join(lines)), highlight=False, soft_wrap=True)
    raise typer.Exit(0 if good else 1)


@app.command()
def status(folder: Folder = Path("measured")) -> None:
    """Where are the tasks that were handed in to a cluster, and why do they wait?

    Example: `roofline-kit status --to measured`
    """
    from .cluster import status as states

    try:
        rows = states(folder)
    except (OSError, ValueError, RuntimeError) as error:
        raise refuse(in_words(error)) from None
    for row in rows:
        out.print(escape("  ".join(filter(None, row))), highlight=False, soft_wrap=True)


@app.command()
def collect(folder: Folder = Path("measured")) -> None:
    """Put the points of a sweep into one table, results.csv, and say what is missing.

    Example: `roofline-kit collect --to measured`
    """
    try:
        lines, good = collected(folder)
    except (OSError, ValueError, RuntimeError) as error:
        raise refuse(in_words(error)) from None
    out.print(escape("\n".join(lines)), highlight=False, soft_wrap=True)
    raise typer.Exit(0 if good else 1)


@app.command()
def start(
    name: Annotated[str, typer.Argument(help="a lesson or an assignment: 02, hw1")],
    into: Annotated[Path, typer.Option(help="where your copies are")] = Path("work"),
) -> None:
    """Begin a lesson in a copy of your own, which no update of the course touches.

    Example: `roofline-kit start 02`
    """
    from .start import start as begin

    try:
        path, new = begin(name, into)
    except (OSError, ValueError, RuntimeError) as error:
        raise refuse(in_words(error)) from None
    out.print(escape(f"{path}" if new else f"{path} is there already, and was left alone"), soft_wrap=True)


@app.command()
def update(
    into: Annotated[Path, typer.Option(help="where a page goes that you changed and the update changes, too")] = Path(
        "work"
    ),
) -> None:
    """Bring the course's corrections, and keep what you wrote.

    Example: `roofline-kit update`
    """
    from .update import update as bring

    try:
        lines = bring(into)
    except (OSError, ValueError, RuntimeError) as error:
        raise refuse(in_words(error)) from None
    out.print(escape("\n".join(lines)), highlight=False, soft_wrap=True)
