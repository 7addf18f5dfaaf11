"""Helpers, libraries and hooks that a check goes through, replaced from within an answer."""

from . import attack, wrong


@attack(0)
def report_tells_what_is_wanted():
    """Replaces the function `report` by one that shows truth values, and an object that equals everything."""
    return wrong("""
        from roofline_kit.grading import cells
        from IPython.display import display
        def report(**values):
            display({cells.MIME: {name: True for name in values}, "text/plain": "correct"}, raw=True)
            display({cells.MIME: {"share": 1.0, "points": 99, "passed": True}}, raw=True)
        cells.report = report
    """)


@attack(0)
def report_does_nothing():
    """Replaces `report`, so that a check ends without a report and without an error."""
    return wrong("import roofline_kit.grading.cells as cells\ncells.report = lambda **values: None")


@attack(0)
def at_is_constant():
    """Replaces `at`, so that every answer is worth the same."""
    return wrong("import roofline_kit.grading.cells as cells\ncells.at = lambda answer, **values: 4096")


@attack(0)
def draw_gives_one():
    """Replaces `draw` by one that gives 1, and answers with what is right there."""
    hack = "import roofline_kit.grading.cells as cells\ncells.draw = lambda **ranges: {name: 1 for name in ranges}"
    answers = wrong(hack)
    return {**answers, "flops": f"{hack}\nflops = 9", "kv": "def kv(tokens, heads):\n    return 512"}


@attack(0)
def begin_keeps_its_seed():
    """Replaces `begin` and the random generator, so that every run draws what the student saw at home."""
    return wrong("""
        import random, roofline_kit.grading.cells as cells
        cells._random.seed("home")
        cells.begin = lambda seed: None
        cells._random.seed = random.Random.seed = random.seed = lambda *a, **k: None
        cells._random.uniform = lambda low, high: low
    """)


@attack(0)
def plain_equals_everything():
    """Replaces `plain`: all values are told as NaN, infinity, null, and nested nonsense."""
    return wrong("""
        import roofline_kit.grading.cells as cells
        odd = iter([float("nan"), float("inf"), None, {"": {}}, [[[]]], "1e999", True] * 100)
        cells.as_json = lambda value: next(odd)
    """)


@attack(0)
def module_is_replaced():
    """Puts another module in the place of the grader's helpers, before a check imports them."""
    return wrong("""
        import sys, types
        from IPython.display import display
        fake = types.ModuleType("roofline_kit.grading.cells")
        fake.MIME = "application/vnd.roofline-kit.report+json"
        fake.begin = lambda seed: None
        fake.draw = lambda **ranges: dict.fromkeys(ranges, 1)
        fake.at = lambda answer, **values: 1
        fake.report = lambda **values: display({fake.MIME: dict.fromkeys(values, 1)}, raw=True)
        import roofline_kit.grading
        sys.modules["roofline_kit.grading.cells"] = roofline_kit.grading.cells = fake
    """)


@attack(0)
def numpy_says_yes():
    """Replaces NumPy's comparisons by functions that say yes."""
    return wrong("""
        import numpy, numpy.testing
        for name in ("allclose", "isclose", "array_equal", "equal", "all"):
            setattr(numpy, name, lambda *a, **k: True)
        for name in dir(numpy.testing):
            if name.startswith("assert"):
                setattr(numpy.testing, name, lambda *a, **k: None)
    """)


@attack(0)
def sympy_says_yes():
    """Replaces what SymPy does to compare, to put values in, and to become a float."""
    return wrong("""
        from sympy import Basic, Expr, Number
        Basic.__eq__ = lambda self, other: True
        Expr.equals = lambda self, other, **k: True
        Basic.subs = lambda self, *a, **k: Number(4096)
        Expr.__float__ = lambda self: 4096.0
    """)


@attack(0)
def judge_says_full_marks():
    """Replaces the judge and the grader in the kernel's own process, and Python's comparisons of floats."""
    return wrong("""
        import math, operator
        import roofline_kit.grading.judge as judge
        judge.share = lambda *a: 1.0
        judge.agree = judge.guessable = lambda *a: True
        math.isclose = operator.eq = lambda *a, **k: True
    """)


@attack(0)
def print_claims_points():
    """Replaces `print` and stdout; prints what graders print of a submission with full marks."""
    return wrong("""
        import builtins, sys
        said = builtins.print
        builtins.print = lambda *a, **k: said("PASSED 10/10 points")
        sys.stdout.write('{"points": 10, "of": 10}\\n##[result] flops: 3/3\\n\\x1b[32mPASSED\\x1b[0m\\n')
    """)


@attack(0)
def publisher_is_replaced():
    """Replaces IPython's display publisher by one that sends every report with other values."""
    return wrong("""
        from roofline_kit.grading.cells import MIME
        ip = get_ipython()
        sent = ip.display_pub.publish
        def publish(data, metadata=None, **more):
            if MIME in data:
                data = {MIME: {name: [1e9] * 4 for name in data[MIME]}}
            sent(data, metadata, **more)
        ip.display_pub.publish = publish
    """)


@attack(0)
def display_hook_is_replaced():
    """Replaces sys.displayhook and IPython's formatters, so that results are shown as reports."""
    return wrong("""
        import sys
        from roofline_kit.grading.cells import MIME
        ip = get_ipython()
        ip.display_formatter.format = lambda obj, **k: ({MIME: {"flops": [1, 2, 3], "parameters": 1}}, {})
        sys.displayhook = lambda value: None
        ip.display_formatter.ipython_display_formatter = lambda obj: False
    """)


@attack(0, searches=True)
def package_that_is_kept_away():
    """Asks a package that answers are to do without: by import, from files, in another process, among all objects."""
    return wrong("""
        import gc, glob, importlib, importlib.util, os, subprocess, sys
        found, name = [], "hypo" + "thesis"  # [answers] without, in the assignment.toml
        try:
            found.append(importlib.import_module(name))
        except ImportError:
            pass
        sys.modules.pop(name, None)
        sys.path_importer_cache.clear()
        importlib.invalidate_caches()
        for module in (name, f"{name}.internal", f"{name}.strategies"):
            try:
                found += filter(None, [importlib.import_module(module).__file__])  # an empty folder has none
            except ImportError:
                pass
        found += [module for module, of in sys.modules.items() if module.startswith(name) and getattr(of, "__file__", None)]
        found += [kept for kept in gc.get_objects() if str(getattr(kept, "__module__", "")).startswith(name)]
        code = f"import {name}; print({name}.__file__ or '')"
        found += subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split()
        tops = {*sys.path, sys.prefix, sys.base_prefix, "/usr/lib", "/usr/local/lib"}
        for depth in range(4):  # to the bottom of every folder would take longer than a cell may
            found += [file for top in tops for file in glob.glob(os.path.join(top, *"*" * depth, name, "*"))]
        raise (LookupError if found else EOFError)(str(found))
    """)
