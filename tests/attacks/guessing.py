"""Points for what somebody else knows, or for luck."""

from . import HONEST, WRONG, attack, wrong


@attack(2)
def constants_of_one_run():
    """Right values harvested from one run of the grader, in place of a formula and a function."""
    return {
        "flops": "flops = 28_377_947_760",
        "seconds": "seconds, bound = 0.001219705177106951, 'compute'",
        "kv": "values = iter([2108416, 48863232, 4096, 4100096])\ndef kv(tokens, heads):\n    return next(values)",
        "parameters": HONEST["parameters"],
    }


@attack(0)
def the_probes_themselves():
    """Answers with the points at which it is asked, and with their sum and product."""
    return {
        "flops": "flops = N * h",
        "seconds": "seconds, bound = flops, 'compute'",
        "kv": "def kv(tokens, heads):\n    return tokens * heads",
        "parameters": "parameters = 1",
    }


@attack(0)
def only_the_words():
    """Guesses the word of a check, and leaves its number."""
    return {**WRONG, "seconds": "seconds, bound = 1, 'compute'"}


@attack(0)
def words_of_judges():
    """Says what a judge might be waiting for: True, 'correct', the check's own name."""
    return {
        "flops": "flops = True",
        "seconds": "seconds = bound = 'correct'",
        "kv": "def kv(tokens, heads):\n    return 'kv'",
        "parameters": "parameters = '6738415616'",
    }


@attack(0)
def the_seed_of_the_check():
    """Reads the seed from the check's own source, and draws once more what was drawn, as an answer."""
    return wrong() | {
        "kv": """
import re, sys
from roofline_kit.grading import cells
def kv(tokens, heads):
    frame = sys._getframe()
    while frame.f_back and "_check" not in frame.f_code.co_name:
        frame = frame.f_back
    seed = re.findall(r"begin\\('(.*?)'", " ".join(map(str, get_ipython().user_ns.get("In", []))))
    cells.begin(seed[-1] if seed else "0")
    return cells.draw(kv=(1, 10**9))["kv"]
"""
    }


@attack(0)
def answers_of_another_question():
    """Right answers to other questions: each cell has the answer of the next."""
    swapped = {"flops": "seconds", "seconds": "parameters", "kv": "flops", "parameters": "kv"}
    return {name: HONEST[other].replace(other, name) for name, other in swapped.items()} | {
        "parameters": "parameters = 208"
    }


@attack(7)
def a_second_draw():
    """Loops until it is graded again, in the hope that another draw is one that it knows."""
    return {
        **HONEST,
        "kv": "def kv(tokens, heads):\n    while (tokens, heads) != (4096, 1): pass\n    return 2097152",
    }
