"""What was drawn, told to students by what a grader repeats: names, words, times."""

from . import attack, wrong

REPEATED = "seconds"  # the answer that finds a drawn value under the name `flops`


@attack(0)
def exception_called_like_a_type():
    """Raises an exception of its own, called like one of Python's types, which one by the bits of what was drawn."""
    return wrong("""
        import builtins
        names = sorted(name for name in dir(builtins) if isinstance(getattr(builtins, name), type))
        raise type(names[int(flops) % len(names)], (Exception,), {})("told")
    """, REPEATED)  # fmt: skip


@attack(0)
def exception_of_python_by_the_bits():
    """Raises one of Python's own exceptions, which one by the bits of what was drawn."""
    return wrong("""
        kinds = [ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, ImportError, IndexError, KeyError,
                 LookupError, MemoryError, NameError, OSError, ReferenceError, RuntimeError, TypeError, ValueError]
        raise kinds[int(flops) % len(kinds)]("told")
    """, REPEATED)  # fmt: skip


@attack(0)
def names_that_are_not_defined():
    """Says of names made of what was drawn that they are not defined, in an answer and when it is called."""
    return wrong(
        "raise NameError(f'name {chr(39)}n{int(flops)}{chr(39)} is not defined', name=f'n{int(flops)}')", REPEATED
    ) | {
        "kv": "def kv(tokens, heads):\n    return eval(f'n{tokens}_{heads}')",
        "flops": "class Odd:\n    def __getattr__(self, name):\n        raise AttributeError(name)\nflops = Odd()",
    }


@attack(0)
def words_wherever_words_can_be():
    """Prints, warns, logs, shows and writes into names of files what was drawn."""
    return wrong("""
        import logging, os, sys, warnings
        from IPython.display import HTML, display
        told = f"drawn {int(flops)}"
        print(told, file=sys.stderr)
        print(told)
        warnings.warn(told)
        logging.error(told)
        display(HTML(told), metadata={"told": told}, display_id=told)
        open(f"/tmp/{int(flops)}", "w").close()
        os.environ["TOLD"] = told
        get_ipython().set_next_input(told)
    """, REPEATED)  # fmt: skip


@attack(0)
def reports_with_names_of_its_own():
    """Reports values under names made of what was drawn, in answers, and has the checks do so."""
    return wrong("""
        from roofline_kit.grading import cells
        own, told = cells.report, f"n{int(flops)}"
        cells.report = lambda **values: own(**values, **{told: {"error": told}})
        own(**{told: told})
    """, REPEATED)  # fmt: skip


@attack(0)
def seconds_by_the_bits():
    """Takes as many tenths of a second as the last digit of what was drawn says."""
    return wrong("import time\ntime.sleep(int(flops) % 10 / 10)", REPEATED)
