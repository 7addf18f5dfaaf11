"""The grader's commands alone, as `python -m roofline_kit.grading`."""

from .commands import app

if __name__ == "__main__":
    app()
