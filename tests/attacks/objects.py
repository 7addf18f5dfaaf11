"""Objects that pretend to be numbers."""

from . import OF, WRONG, attack, wrong

EQUAL = """
class Equal{base}:
    def __eq__(self, other): return True
    def __hash__(self): return 0
    def __lt__(self, other): return True
    __le__ = __gt__ = __ge__ = __lt__
    def __sub__(self, other): return 0.0
    __rsub__ = __add__ = __mul__ = __truediv__ = __sub__
    def __abs__(self): return 0.0
"""


@attack(0)
def equals_everything():
    """Objects that equal everything, and are less and greater than everything."""
    equal = EQUAL.format(base="")
    answers = {name: f"{equal}\n{name} = Equal()" for name in OF}
    return {**answers, "seconds": f"{equal}\nseconds = bound = Equal()"}


@attack(0)
def float_that_equals_everything():
    """Subclasses of float, int and str that equal everything."""
    return {
        "flops": EQUAL.format(base="(int)") + "flops = Equal(1)",
        "seconds": EQUAL.format(base="(float)")
        + "seconds = Equal(1)\n"
        + EQUAL.format(base="(str)")
        + "bound = Equal('x')",
        "kv": EQUAL.format(base="(float)") + "def kv(tokens, heads):\n    return Equal(1)",
        "parameters": EQUAL.format(base="(int)") + "parameters = Equal(1)",
    }


@attack(0)
def float_that_changes():
    """An object whose __float__, __int__ and __index__ say something else each time, or end the kernel's thread."""
    changing = """
import itertools
class Changing(float):
    count = itertools.count()
    def __float__(self): return [0.0, 1e300, float("nan"), float("inf")][next(self.count) % 4]
    def __int__(self): return 10 ** next(self.count)
    def __repr__(self): return "NaN"
"""
    return {
        "flops": f"{changing}\nflops = Changing(3)",
        "seconds": f"{changing}\nseconds, bound = Changing(3), 'compute'",
        "kv": f"{changing}\ndef kv(tokens, heads):\n    return Changing(tokens)",
        "parameters": f"{changing}\nparameters = Changing(7e9)",
    }


@attack(0)
def not_finite():
    """Answers with NaN, infinity, complex numbers, and ints of ten thousand digits."""
    return {
        "flops": "flops = float('nan')",
        "seconds": "seconds, bound = float('inf'), 'compute'",
        "kv": "def kv(tokens, heads):\n    return 10 ** 10_000",
        "parameters": "parameters = 6738415616 + 0j",
    }


@attack(0)
def lists_without_end():
    """Answers with a list that contains itself, a list nested 900 deep, and one of ten thousand zeros."""
    return {
        "flops": "flops = []\nflops.append(flops)",
        "seconds": "seconds, bound = 1.0, 'compute'\nfor _ in range(900):\n    seconds = [seconds]",
        "kv": "def kv(tokens, heads):\n    return [0] * 10_000",
        "parameters": "parameters = []\nfor _ in range(300):\n    parameters = [parameters]",
    }


@attack(0)
def all_values_at_once():
    """Answers with lists and dicts of many values, one of which might be right."""
    return {
        **WRONG,
        "flops": "flops = list(range(100_000))",
        "kv": "def kv(tokens, heads):\n    return [128 * tokens * heads * factor for factor in range(9)]",
        "parameters": "parameters = [6738415616, 7_000_000_000]",
    }


@attack(0)
def formula_with_its_own_subs():
    """An object that claims to be a formula, whose `subs` returns another such object."""
    return wrong("""
        class Formula:
            free_symbols, is_number, is_Integer = {N, h}, True, True
            def subs(self, values): return self
            def __int__(self): raise SystemExit
            def __float__(self): raise KeyboardInterrupt
            def tolist(self): return self
    """) | {
        "flops": "class F:\n    free_symbols = {N, h}\n    def subs(self, of): return self\n    def __getattr__(self, name): return self\n    def __call__(self, *a, **k): return self\nflops = F()"
    }
