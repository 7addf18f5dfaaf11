"""Pages and tables of what was graded: one page for each student, one for the instructor, and grades as CSV."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import jinja2
from markupsafe import Markup

from ..files import write, write_bytes
from ..terminal import visible
from . import people, tables
from .assignment import Assignment
from .grades import Grade, Summary, summary
from .handed_in import name_of
from .platforms import of_canvas

STEPS = 10  # of the histogram
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # so that the same pages are the same zip file


def write_all(assignment: Assignment, results: Path) -> Summary:
    """Writes all pages and tables anew, or none.

    Raises ValueError where there are no results, and where manual.csv, late.csv or the assignment's column in Canvas
    name somebody or something unknown.
    """
    found, roster = summary(assignment, results), people.known(results).roster
    found.remarks += tables.remarks(assignment, roster)
    pages = dict(_feedback(assignment, found))
    texts = {f"feedback/{name_of(student)}.html": text for student, text in pages.items()}
    texts["grades.csv"] = tables.everything(assignment, found.rows)
    texts["canvas.csv"] = tables.for_canvas(assignment, found.rows, roster)
    texts["index.html"] = _index(assignment, found)
    for name, text in texts.items():
        write(results / name, text)
    write_bytes(results / "feedback.zip", _zip({_given_back(row): pages[row.student] for row in found.handed_in}))
    return found


def _templates() -> jinja2.Environment:
    loader = jinja2.PackageLoader(__package__)
    made = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    made.filters["seen"] = visible
    made.filters["breakable"] = _breakable
    return made


def _breakable(name: str) -> Markup:
    """A name that may be broken after each of its words, so that a column of points is not as wide as its title."""
    return Markup("<wbr>").join(re.split("(?<=_)", name))


def _title(assignment: Assignment) -> str:
    return str(assignment.settings.get("title", assignment.name))


def _feedback(assignment: Assignment, found: Summary) -> Iterator[tuple[str, str]]:
    """The page of each student who handed in something."""
    template = _templates().get_template("feedback.html")
    for row in found.handed_in:
        yield row.student, template.render(title=_title(assignment), grade=row)


def _index(assignment: Assignment, found: Summary) -> str:
    rows = found.handed_in
    histogram = [0] * STEPS
    for row in rows:
        histogram[max(0, min(int(row.points / row.of * STEPS), STEPS - 1))] += 1
    edges = [rows[0].of * i / STEPS for i in range(STEPS + 1)]
    slowest = sorted(rows, key=lambda row: -row.result["seconds"])[:5]
    template = _templates().get_template("index.html")
    return template.render(
        title=_title(assignment), summary=found, histogram=histogram, edges=edges, slowest=slowest, page=name_of
    )


def _given_back(row: Grade) -> str:
    """What a page is called in the zip file: as Canvas called the notebook, for it knows by that whose page it is."""
    own = row.person.file if of_canvas(row.person.file) else name_of(row.student)
    return f"{own}.html"


def _zip(pages: dict[str, str]) -> bytes:
    data = io.BytesIO()
    with ZipFile(data, "w", ZIP_DEFLATED) as archive:
        for name, text in pages.items():
            archive.writestr(ZipInfo(name, LONG_AGO), text, ZIP_DEFLATED)
    return data.getvalue()
