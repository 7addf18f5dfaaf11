"""The command `roofline-kit`, as `python -m roofline_kit`."""

from .cli import main

if __name__ == "__main__":
    main()
