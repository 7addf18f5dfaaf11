"""Cells that are not what they were when they were released."""

import itertools

from . import HONEST, OF, WRONG, answered, attack, cell_of, released


def code(source, **grading):
    return {
        "cell_type": "code", "id": "mine", "metadata": {"grading": grading}, "source": source, "outputs": [],
        "execution_count": 1,
    }  # fmt: skip


CHEAT = "from roofline_kit.grading.cells import report\nreport(flops=[1, 2, 3])"


@attack(7, notes="missing")
def deleted():
    """Deletes an answer's cell, in the hope that its check goes too."""
    content = answered(HONEST)
    content["cells"].remove(cell_of(content, "flops"))
    return content


@attack(0, notes="missing")
def all_deleted():
    """Deletes every cell."""
    return {**released(), "cells": []}


@attack(7)
def check_of_its_own():
    """A check cell of its own for an answer, with 1000 points."""
    content = answered({**HONEST, "flops": "flops = N"})
    content["cells"].insert(2, code(CHEAT, check="flops", points=1000))
    content["metadata"]["grading"] = {"points": 1000, "answers": {}, "assignment": "another"}
    return content


@attack(7)
def points_of_its_own():
    """Points, a tolerance and a limit in the metadata of answers and of the notebook."""
    content = answered({**HONEST, "flops": "flops = N"})
    for name in OF:
        cell_of(content, name)["metadata"]["grading"] |= {
            "points": 1000,
            "tolerance": 1e9,
            "check": name,
            "visible": True,
        }
    content["metadata"]["limits"] = {"cell": 1e9}
    return content


@attack(10, notes="2 cells")
def duplicated():
    """An answer's cell twice: a copy with another id, empty, at the end."""
    content = answered(HONEST)
    content["cells"].append({**cell_of(content, "flops"), "id": "copy", "source": "flops = N"})
    return content


@attack(10, notes="2 cells")
def split_in_two():
    """A cell that was split in two by the editor, which gives both the same metadata."""
    content = answered(HONEST)
    first = cell_of(content, "seconds")
    first["source"] = "seconds = flops / 125e12"
    content["cells"].insert(content["cells"].index(first) + 1, {**first, "id": "split", "source": "bound = 'compute'"})
    return content


@attack(0)
def same_id_everywhere():
    """All cells have the same id and the same name."""
    content = answered(WRONG)
    for cell in content["cells"]:
        cell |= {"id": "a-flops", "metadata": {"grading": {"answer": "flops"}}}
    return content


@attack((0, 10))
def names_swapped():
    """The metadata of two answers is swapped; their ids are not."""
    content = answered(HONEST)
    one, other = cell_of(content, "flops"), cell_of(content, "kv")
    one["metadata"], other["metadata"] = other["metadata"], one["metadata"]
    return content


@attack(0)
def frame_changed():
    """Changes the cells that are not answers: imports, definitions, and the helpers' names."""
    content = answered(WRONG)
    content["cells"][0]["source"] = "import os\nos._exit(0)"
    content["cells"].insert(0, code("raise SystemExit", answer="frame"))
    return content


@attack(10)
def extra_cells():
    """Extra cells that fail, loop and print; none of them is run."""
    content = answered(HONEST)
    for number, source in enumerate(["1/0", "while True: pass", "import os; os._exit(1)", "%%bash\nexit 1"]):
        content["cells"].insert(2 * number, code(source) | {"id": f"extra-{number}"})
    return content


@attack(10)
def foreign_kernelspec():
    """Asks for a kernel of its own: a command, another language, an interpreter of its own."""
    content = answered(HONEST)
    content["metadata"]["kernelspec"] = {"name": "../../evil", "language": "bash", "argv": ["/bin/sh", "-c", "exit 1"]}
    content["metadata"]["language_info"] = {"name": "R", "file_extension": "; rm -rf /"}
    return content


@attack(10, notes="not a code cell")
def markdown_for_code():
    """An answer's cell became a Markdown cell."""
    content = answered(HONEST)
    cell = cell_of(content, "flops")
    cell |= {"cell_type": "markdown"}
    del cell["outputs"], cell["execution_count"]
    return content


@attack((0, 7))
def sources_of_odd_types():
    """Sources that are a number, null, a dict, a list of lists, a list of numbers."""
    content = answered(HONEST)
    for name, source in zip(OF, (7, None, [["flops = 1"]], {"a": 1}), strict=True):
        cell_of(content, name)["source"] = source
    return content


@attack((0, 10))
def metadata_of_odd_types():
    """Ids and metadata that are lists, numbers, dicts and null, on answers and beside them."""
    content = answered(HONEST)
    cell_of(content, "flops")["id"] = []
    cell_of(content, "seconds")["id"] = {"a": []}
    kv = cell_of(content, "kv")
    cell_of(content, "parameters")["metadata"] = ["grading"]
    kv["metadata"] = {"grading": [["answer", "kv"]]}
    content["cells"][0]["metadata"] = {}
    content["cells"] += [
        None,
        1,
        "x",
        [],
        {},
        {"metadata": {"grading": {"answer": []}}},
        {"metadata": {"grading": {"answer": {}}}},
    ]
    content["metadata"] = []
    return content


@attack(0)
def cells_are_a_dict():
    """Cells that are a dict, by name."""
    content = answered(HONEST)
    return {**content, "cells": {str(number): cell for number, cell in enumerate(content["cells"])}}


@attack((0, 7), notes="cells of this answer")
def thousand_copies():
    """Three thousand copies of an answer, each another one, to be graded in each way that the file can be read."""
    content = answered(HONEST)
    cell = cell_of(content, "flops")
    cell["source"] = "flops = N"
    content["cells"] += [{**cell, "id": f"copy-{number}", "source": f"flops = {number}"} for number in range(3000)]
    return content


@attack((0, 7), notes="cells of this answer")
def copies_that_loop():
    """Six copies of an answer that loop for ever, so that each way to read the file takes as long as a file may."""
    content = answered({name: f"import time\ntime.sleep(2.5)\n{source}" for name, source in HONEST.items()})
    cell = cell_of(content, "flops")
    cell["source"] = "while True: pass"
    content["cells"] += [{**cell, "id": f"copy-{number}", "source": f"while {number + 1}: pass"} for number in range(6)]
    return content


@attack(3)
def texts_that_cost_a_reader_seconds():
    """Answers nothing but one, and adds cells whose text is too deep for a reader, too long, or no Python at all."""
    content = answered({"flops": HONEST["flops"]})
    deep = ["seconds = " + text for text in ("(" * 9000, "-" * 9000 + "1", "x" + "()" * 4000, "a" + "+a" * 4000)]
    more = ["bound = " + "lambda: " * 900 + "1", "kv: " * 999, "kv = '\\d'", "\0", "%%kv\nkv = 1", "kv\n" * 9_000]
    content["cells"] += [code(text) | {"id": f"deep-{number}"} for number, text in enumerate([*deep, *more])]
    return content


@attack(3, notes="may be in cells")
def a_name_in_a_hundred_cells():
    """Leaves an answer open, and adds a hundred cells that bind its name, each to something else."""
    content = answered({"flops": HONEST["flops"]})
    content["cells"] += [code(f"parameters = {number}") | {"id": f"one-{number}"} for number in range(100)]
    return content


@attack(7)
def names_that_cost_a_reader_hours():
    """A thousand undefined names in an answer, each almost one that it has, and a cell with a line of 15,000 names."""
    names = ["".join(name) for name in itertools.islice(itertools.permutations("abcdefg"), 2200)]
    content = answered({**HONEST, "flops": "\n".join(["=".join(names[:1100]) + "=1", *names[1100:]])})
    content["cells"].append(code("=".join(f"a{number:x}" for number in range(15_000)) + "=1") | {"id": "line"})
    return content
