"""The commands of an instructor, and `check` for students: `roofline-kit --help`."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..alone import exposed
from ..terminal import one_line, out, refuse
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
RosterFile = Annotated[
    Path | None, typer.Option("--roster", help="the file that Canvas's gradebook exports: who is in the course")
]
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

    given = _found(name)
    try:
        with out.status("Solving it twice, and once not at all"):
            path = make_release(given, folder, unsafe=unsafe)
    except (OSError, ValueError, RuntimeError) as error:
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
        raise refuse(error) from None
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
        Path,
        typer.Argument(help="the zip file of Canvas or Gradescope, or a folder"),
    ],
    cells: Annotated[
        bool, typer.Option("--cells", help="look at one notebook, cell by cell, and keep nothing")
    ] = False,
    results: Results = None,
    roster: RosterFile = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="how many to grade at a time")] = os.cpu_count() or 1,
    cluster: Annotated[str, typer.Option(help="'slurm': as a job array, on a file system that all nodes share")] = "",
    tasks: Annotated[int, typer.Option(min=1, help="how many tasks the job array has")] = 16,
    part: Annotated[str, typer.Option(hidden=True)] = "",
    unsafe: Unsafe = False,
) -> None:
    """Grade what is not graded yet, behind a sandbox, and write the reports.

    Submissions are only read. Stop it when you like (Ctrl-C): what is graded stays graded, and the next run goes on
    from there. A submission is graded again when it, its files, the assignment or the grader has changed.

    Example: `roofline-kit grade hw1 submissions.zip --roster gradebook.csv`

    What does one of them do, cell by cell? `roofline-kit grade hw1 submissions/jane.ipynb --cells`
    """
    gc.disable()  # nothing that is imported becomes garbage: to look for some, now or at the end, takes a third of this
    from . import handed_in
    from .look import looked_at
    from .sandbox import NoSandbox

    gc.freeze()
    gc.enable()
    given = _found(name, submissions)
    if cells and (results or cluster):
        raise refuse(f"--cells keeps nothing: leave out {'--results' if results else '--cluster'}")
    results = results or Path("graded") / given.name
    try:
        if cells:
            return _show(partial(looked_at, assignment=given, unsafe=unsafe), submissions)
        here = partial(_grade_here, given, results, jobs, part, unsafe)
        away = partial(_grade_away, given, submissions, results, cluster, tasks, unsafe)
        _apart(submissions, {"the assignment is": given.path.parent, "results would be": results})
        left: list[str] = []
        with handed_in.submissions(submissions, left) as entries:
            if not part:  # a part of a grader on a cluster leaves that to the whole
                _keep(results, roster, entries, given)
            (away if cluster else here)(entries)
    except KeyboardInterrupt:
        raise refuse("stopped; the same command goes on from here") from None
    except BlockingIOError:
        raise refuse(f"another grader is at work in {results}") from None
    except (AssignmentError, NoSandbox, OSError, ValueError, RuntimeError) as error:
        raise refuse(error) from None
    if not part:
        _report(given, results, left)


def _keep(
    results: Path, roster: Path | None, entries: list[Entry] | None = None, given: Assignment | None = None
) -> None:
    """Keeps who is in the course, and who handed in what."""
    from . import people, platforms
    from .grade import key, locked

    listed = platforms.roster(roster) if roster else None
    keys = {entry.student: key(entry, given) for entry in entries or () if given}
    with locked(results):
        people.keep(results, entries, listed, keys)


def _apart(submissions: Path, ours: dict[str, Path]) -> None:
    """Raises ValueError if something of ours lies where a student could have put it, or could read it."""
    from .shown import keep_apart

    keep_apart(ours)
    for what, path in ours.items():
        if path.resolve().is_relative_to(submissions.resolve()):
            raise ValueError(f"{what} in {path}, and {submissions} is for what students hand in: use a folder outside")


def _show(looked_at: Callable[[Entry], list[str]], notebook: Path) -> None:
    from .look import single

    entry = single(notebook)
    with out.status("Running it"):
        lines = looked_at(entry)
    for line in lines:
        out.print(escape(line), highlight=False, soft_wrap=True, emoji=False)


def _grade_away(
    given: Assignment, submissions: Path, results: Path, cluster: str, tasks: int, unsafe: bool, entries: list[Entry]
) -> None:
    from .cluster import submit

    submit(cluster, given, submissions, results, min(tasks, len(entries)), unsafe)


def _grade_here(given: Assignment, results: Path, jobs: int, part: str, unsafe: bool, entries: list[Entry]) -> None:
    from .grade import grade_all
    from .grades import needs_human
    from .limits import fitting

    if (fit := fitting(jobs, given.limits.memory)) < jobs:
        each = f"each may take {given.limits.memory / 1e9:.3g} GB of this machine's memory ([limits] memory)"
        out.print(f"{fit} at a time, not {jobs}: {each}", soft_wrap=True)
    if part:
        index, of = map(int, part.split("/"))
        entries = entries[index::of]
    columns = [SpinnerColumn("line"), *Progress.get_default_columns()[:3], TextColumn("{task.completed}/{task.total}")]
    progress = Progress(*columns, TimeElapsedColumn(), console=out)
    task = progress.add_task("grading", total=len(entries))

    def done(result: dict[str, Any], new: bool) -> None:
        progress.advance(task)
        told = f"{result['student']}: {result['points']:g} of {result['of']:g}"
        if new and (why := needs_human(result)):
            told += "; " + "; ".join(why)
        if new:
            progress.print(escape(one_line(told)), highlight=False, soft_wrap=True, emoji=False)

    try:
        grade_all(given, entries, results, fit, done, unsafe, part, ready=progress.start)
    finally:
        progress.stop()


@app.command()
def report(name: Name, results: Results = None, roster: RosterFile = None) -> None:
    """Write the pages and tables anew, after you added points, comments or late days by hand.

    Example: `roofline-kit report hw1`
    """
    given = _found(name)
    results = results or Path("graded") / given.name
    try:
        if roster:
            _keep(results, roster)
    except BlockingIOError:
        raise refuse(f"a grader is at work in {results}") from None
    except (OSError, ValueError) as error:
        raise refuse(error) from None
    _report(given, results)


@app.command()
def autograder(
    name: Name,
    folder: Annotated[Path, typer.Option("--to", help="where the zip file is written")] = Path("graded"),
) -> None:
    """Write a zip file that makes Gradescope grade each submission as it comes in.

    It works where Gradescope's container allows a sandbox; where it does not, each student is told that nothing was
    graded. Inside are your answers: it is for Gradescope, and not for students.

    Example: `roofline-kit autograder hw1`
    """
    from .autograder import bundle

    given = _found(name)
    path = folder / f"{given.name}-gradescope.zip"
    try:
        bundle(given, path)
    except OSError as error:
        raise refuse(error) from None
    out.print(
        f"{path}: upload it to Gradescope, under Configure Autograder, on an image with Python 3.11", soft_wrap=True
    )


@app.command(hidden=True)
def autograde(folder: Path, submission: Path, results: Path) -> None:
    """Grade one submission inside of Gradescope's container."""
    from .autograder import autograded

    for line in autograded(folder, submission, results):
        out.print(escape(one_line(line)), highlight=False, soft_wrap=True, emoji=False)


def _report(given: Assignment, results: Path, left: Sequence[str] = ()) -> None:
    """Writes pages and tables, and says what is in them. left : files among the submissions that are nobody's."""
    from . import report as pages

    try:
        summary = pages.write_all(given, results)
    except (AssignmentError, OSError, ValueError) as error:
        raise refuse(error) from None
    absent = len(summary.rows) - len(summary.handed_in)
    title = f"{given.settings.get('title', given.name)}: {len(summary.handed_in)} submissions"
    out.print(
        escape(title + (f", and {absent} who handed in nothing" if absent else "")), highlight=False, soft_wrap=True
    )
    table = Table()
    for column in ("check", "points", "all right", "mean"):
        table.add_column(column, justify="left" if column == "check" else "right")
    for check in summary.checks:
        table.add_row(check["name"], f"{check['of']:g}", f"{check['right']}", f"{check['mean']:.0%}")
    out.print(table)
    lines = [*summary.remarks]
    if left:
        more = f" and {len(left) - 5} more" if len(left) > 5 else ""
        lines.append(f"left out, as they are no notebooks and say no student: {', '.join(left[:5])}{more}")
    if summary.humans:
        lines.append(f"{len(summary.humans)} need a person: {', '.join(summary.humans)}")
    if summary.identical:
        lines.append(f"{sum(map(len, summary.identical))} handed in a file that somebody else handed in, too")
    lines.append(f"Open {results / 'index.html'}; grades are in {results / 'grades.csv'}")
    for line in lines:
        out.print(escape(one_line(line)), highlight=False, soft_wrap=True, emoji=False)
