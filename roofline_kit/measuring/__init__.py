"""How long does it really take? The same algorithms on arrays, timed on the machine at hand or on a cluster's.

    machines   NumPy on a processor, PyTorch on a processor, PyTorch on a GPU
    timing     one call, and what its time says
    points     what is measured: the points of a sweep, and the ceilings of the machine
    store      one file a point, and what is read out of them
    estimates  how long a point will take
    stopping   what a signal does to a run
    runs       what is measured next, and what fits into the time
    slurm      the same as a job array, and what that costs
    published  what others measured on GPUs, with what our own algorithms cost
    errors     how far those times are from the roofline
    commands   measure, status, collect

`measure` times one call. A `Point` is one measurement of a sweep: what, how large, on what. It is written into one JSON
file the moment it is measured, or, when a run is stopped, with the repetitions that it has, so that a restart does only
what is missing. Each file imports from those above it.
"""

from .errors import error_by_length, error_table, reached
from .points import Point, Result, ceilings, sweep
from .published import Published, measured
from .slurm import Settings, service_units
from .store import matching, results, table
from .timing import Measurement, measure

__all__ = [
    "Measurement", "Point", "Published", "Result", "Settings",
    "ceilings", "error_by_length", "error_table", "matching", "measure", "measured", "reached", "results",
    "service_units", "sweep", "table",
]  # fmt: skip
