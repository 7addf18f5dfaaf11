"""The command `roofline-kit`, also as `python -m roofline_kit.grading`."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path


def main() -> None:
    """Runs the command. Students have no [grading], and can look at their own file without it."""
    if find_spec("typer"):
        from .cli import app

        app()
    elif sys.argv[1:2] == ["check"] and len(sys.argv) == 3:
        from .selfcheck import AssignmentError, looked_at

        try:
            lines, good = looked_at(Path(sys.argv[2]))
        except (OSError, AssignmentError) as error:
            sys.exit(str(error))
        print(*lines, sep="\n")
        sys.exit(not good)
    else:
        sys.exit('roofline-kit check NOTEBOOK works as it is; all else needs pip install "roofline-kit[grading]"')


if __name__ == "__main__":
    main()
