"""`python -m roofline_kit.grading` is the command `roofline-kit`."""

from .cli import main

main()
