"""The command `roofline-kit`: mounts the commands of three rooms, of which none knows the others."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from .course import commands as course
from .grading import commands as grading
from .measuring import commands as measuring
from .names import install

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False,
    help="The course on the roofline model: measure your machine, begin a lesson, release and grade.",
)  # fmt: skip
app.add_typer(measuring.app)
app.add_typer(course.app)
app.add_typer(grading.app)


def _say_version(asked: bool) -> None:
    if asked:
        print(version("roofline-kit"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="say it, and end")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Runs the command. The grader's commands are listed, and say what they do, where the grader is not installed."""
    try:
        app()
    except ModuleNotFoundError as missing:
        graders = [command.callback.__name__ for command in grading.app.registered_commands if command.callback]
        if sys.argv[1] not in graders:
            raise
        sys.exit(f"roofline-kit {sys.argv[1]} needs {missing.name}: {install('grading')}")
