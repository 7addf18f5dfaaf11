"""The commands of a reader: `roofline-kit start` and `update`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ..terminal import out, refuse

app = typer.Typer()


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
        raise refuse(error) from None
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
        raise refuse(error) from None
    out.print(escape("\n".join(lines)), highlight=False, soft_wrap=True)
