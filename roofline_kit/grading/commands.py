"""The commands of an instructor, and `check` for students: `roofline-kit --help`."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..alone import exposed
from ..terminal import in_words, out, refuse
from . import assignment as assignments
from .assignment import Assignment, AssignmentError

if TYPE_CHECKING:
    from .handed_in import Entry

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False,
    help="Assignments of the course on the roofline model: release them, check your own, grade hundreds.",
)  # fmt: skip

Name = Annotated[
    str, typer.Argument(metavar="ASSIGNMENT", help="its folder, or the beginning of its name in assignments/")
]
Results = Annotated[Path | None, typer.Option("--results", "-o", help="where results are kept (graded/NAME)")]
Unsafe = Annotated[bool, typer.Option("--unsafe", help="without a sandbox, give submissions all your rights")]


def _found(name: str, submissions: Path | None = None) -> Assignment:
    if why := exposed(str(submissions or "")):
        raise refuse(why)
    try:
        return assignments.find(name)
    except AssignmentError as error:
        raise refuse(error) from None


@app.command()
def release(
    name: Name,
    folder: Annotated[Path, typer.Option("--to", help="where the students' notebook is written")] = Path("release"),
    unsafe: Unsafe = False,
) -> None:
    """Write the notebook that students get, after making sure that it is fair.

    Refused if your own answers do not get full marks, if a check can be guessed or gives points for nothing, and if
    an answer or an expected value stands in what students would get.

    Example: `roofline-kit release hw1 --to release`
    """
    from .release import release as make_release
    from .sandbox import NoSandbox

    given = _found(name)
    try:
        with out.status("Solving it twice, and once not at all"):
            path = make_release(given, folder, unsafe=unsafe)
    except (ValueError, NoSandbox) as error:
        raise refuse(error) from None
    out.print(f"{path}: {len(given.answers)} answers, {len(given.checks)} hidden checks, {given.points:g} points")


@app.command()
def publish(
    folder: Annotated[Path, typer.Argument(help="a new folder, or the repository that was published last time")],
    unsafe: Unsafe = False,
) -> None:
    """Write the git repository that students get: pages, kit, released assignments, and no answer.

    Call it again after each correction of the course: what is new becomes a commit, which students pull. All
    assignments are released as `release` does it. Refused if one of them cannot be, if an answer stands on a page, or
    if the folder is in the course, is not empty, or has changes of its own.

    Example: `roofline-kit publish ../students`
    """
    from ..course.start import course_folder
    from .publish import publish as make
    from .sandbox import NoSandbox

    if why := exposed():
        raise refuse(why)
    try:
        with out.status("Releasing the assignments"):
            lines = make(folder, course_folder(), unsafe)
    except (AssignmentError, NoSandbox, OSError, ValueError, RuntimeError) as error:
        raise refuse(in_words(error)) from None
    out.print(escape("\n".join(lines)), highlight=False, soft_wrap=True, emoji=False)


@app.command()
def check(notebook: Annotated[Path, typer.Argument(help="your notebook, before you hand it in")]) -> None:
    """For students: is my file complete and readable? What do the visible checks say?

    It takes from the file what the grader takes (the answer cells), runs them on this machine in a fresh kernel, and
    shows what the visible checks print. It needs no answers and knows none.

    Example: `roofline-kit check hw1_walk_through.ipynb`
    """
    from .selfcheck import looked_at

    try:
        lines, good = looked_at(notebook)
    except (OSError, AssignmentError) as error:
        raise refuse(error) from None
    for line in lines:
        out.print(escape(line), highlight=False, soft_wrap=True)
    raise typer.Exit(0 if good else 1)


@app.command()
def grade(
    name: Name,
    submissions: Annotated[
        Path, typer.Argument(help="a folder for each student, the files of Canvas's zip, or flat files")
    ],
    cells: Annotated[
        bool, typer.Option("--cells", help="look at one notebook, cell by cell, and keep nothing")
    ] = False,
    results: Results = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="how many to grade at a time")] = os.cpu_count() or 1,
    cluster: Annotated[str, typer.Option(help="'slurm': as a job array, on a file system that all nodes share")] = "",
    tasks: Annotated[int, typer.Option(min=1, help="how many tasks the job array has")] = 16,
    part: Annotated[str, typer.Option(hidden=True)] = "",
    unsafe: Unsafe = False,
) -> None:
    """Grade what is not graded yet, behind a sandbox, and write the reports.

    Submissions are only read. Stop it when you like (Ctrl-C): what is graded stays graded, and the next run goes on
    from there. A submission is graded again when it, its files, the assignment or the grader has changed.

    Example: `roofline-kit grade hw1 submissions/ --jobs 8`

    What does one of them do, cell by cell? `roofline-kit grade hw1 submissions/jane.ipynb --cells`
    """
    gc.disable()  # nothing that is imported becomes garbage: to look for some, now or at the end, takes a third of this
    from .handed_in import entries as entries_in
    from .sandbox import NoSandbox

    gc.freeze()
    gc.enable()
    given = _found(name, submissions)
    if cells and (results or cluster):
        raise refuse(f"--cells keeps nothing: leave out {'--results' if results else '--cluster'}")
    results = results or Path("graded") / given.name
    try:
        if cells:
            return _show(given, submissions, unsafe)
        entries = entries_in(submissions)
        _apart(submissions, {"the assignment is": given.path.parent, "results would be": results})
        if cluster:
            from .cluster import submit

            submit(cluster, given, submissions, results, min(tasks, len(entries)), unsafe)
        else:
            _grade_here(given, entries, results, jobs, part, unsafe)
    except KeyboardInterrupt:
        raise refuse("stopped; the same command goes on from here") from None
    except BlockingIOError:
        raise refuse(f"another grader is at work in {results}") from None
    except (AssignmentError, NoSandbox, OSError, ValueError, RuntimeError) as error:
        raise refuse(error) from None
    if not part:
        _report(given, results)


def _apart(submissions: Path, ours: dict[str, Path]) -> None:
    """Raises ValueError if something of ours lies where a student could have put it."""
    for what, path in ours.items():
        if path.resolve().is_relative_to(submissions.resolve()):
            raise ValueError(f"{what} in {path}, and {submissions} is for what students hand in: use a folder outside")


def _show(given: Assignment, notebook: Path, unsafe: bool) -> None:
    from .look import looked_at, single

    entry = single(notebook)
    with out.status("Running it"):
        lines = looked_at(entry, given, unsafe)
    for line in lines:
        out.print(escape(line), highlight=False, soft_wrap=True, emoji=False)


def _grade_here(given: Assignment, entries: list[Entry], results: Path, jobs: int, part: str, unsafe: bool) -> None:
    from . import grade as grading
    from .limits import fitting
    from .report import needs_human

    if (fit := fitting(jobs, given.limits.memory)) < jobs:
        each = f"each may take {given.limits.memory / 1e9:.3g} GB of this machine's memory ([limits] memory)"
        out.print(f"{fit} at a time, not {jobs}: {each}", soft_wrap=True)
    if part:
        index, of = map(int, part.split("/"))
        entries = entries[index::of]
    columns = [SpinnerColumn(), *Progress.get_default_columns()[:3], TextColumn("{task.completed}/{task.total}")]
    progress = Progress(*columns, TimeElapsedColumn(), console=out)
    task = progress.add_task("grading", total=len(entries))

    def done(result: dict[str, Any], new: bool) -> None:
        progress.advance(task)
        told = f"{result['student']}: {result['points']:g} of {result['of']:g}"
        if new and (why := needs_human(result)):
            told += "; " + "; ".join(why)
        if new:
            progress.print(escape(told), highlight=False, soft_wrap=True)

    try:
        grading.grade_all(given, entries, results, fit, done, unsafe, part, ready=progress.start)
    finally:
        progress.stop()


@app.command()
def report(name: Name, results: Results = None) -> None:
    """Write the pages and tables anew, after you added points, comments or late days by hand.

    Example: `roofline-kit report hw1`
    """
    given = _found(name)
    _report(given, results or Path("graded") / given.name)


def _report(given: Assignment, results: Path) -> None:
    from . import report as pages

    try:
        summary = pages.write_all(given, results)
    except (AssignmentError, OSError, ValueError) as error:
        raise refuse(error) from None
    table = Table(title=f"{given.settings.get('title', given.name)}: {len(summary.rows)} submissions")
    for column in ("check", "points", "all right", "mean"):
        table.add_column(column, justify="left" if column == "check" else "right")
    for check in summary.checks:
        table.add_row(check["name"], f"{check['of']:g}", f"{check['right']}", f"{check['mean']:.0%}")
    out.print(table)
    if summary.humans:
        out.print(
            f"{len(summary.humans)} need a person: " + ", ".join(escape(name) for name in summary.humans),
            soft_wrap=True,
        )
    out.print(f"Open {results / 'index.html'}; grades are in {results / 'grades.csv'}", soft_wrap=True)
