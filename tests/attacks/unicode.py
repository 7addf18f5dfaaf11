"""Letters that are not what they seem, and bytes that are no letters."""

from . import HONEST, WRONG, attack


@attack(7, notes="direction")
def bidi():
    """Characters that change the direction of writing, so that a person reads another program."""
    return {**HONEST, "flops": "flops = N #\u202e\u2066 h**2*N*2 + N*7 = spolf\u2069"}


@attack(7, notes="look like")
def look_alikes():
    """Names in letters that look like others: the reader sees a right answer, Python another name."""
    return {**HONEST, "flops": "fl\u043eps = 2 * N * h**2 + 7 * N"}


@attack(10, notes="look like")
def letters_that_python_folds():
    """Letters that Python takes for Latin ones."""
    return {**HONEST, "flops": "\U0001d41f\U0001d425\U0001d428\U0001d429\U0001d42c = 2 * N * h**2 + 7 * N"}


@attack((7, 10))
def lone_surrogates():
    """Half a character, which no encoding can write."""
    return {**HONEST, "flops": "note = '\ud800 \udfff'\nflops = 2 * N * h**2 + 7 * N"}


@attack((0, 7))
def nul_bytes():
    """NUL bytes, form feeds, and other letters that end a text for some readers."""
    return {**HONEST, "flops": "flops = 2 * N * h**2 + 7 * N \x00\x1a\x04"}


@attack(10)
def odd_line_ends():
    """Lines that end as on old machines, and letters that only some readers take for an end."""
    return {
        **HONEST,
        "flops": "words = 'a b c'\r\nflops = 2 * N * h**2 + 7 * N\r\n# \u2028 flops = 0 \u2029 flops = 0 \x85 flops = 0",
    }


@attack(0, notes="many")
def answer_of_19_mb_in_one_line():
    """An answer of two million characters."""
    return {**WRONG, "flops": "flops = " + "+".join(["N"] * 1_000_000)}


@attack((0, 10))
def deep_expression():
    """An answer within the limit of its length that is nested deeper than a parser goes."""
    return {**HONEST, "flops": "flops = " + "(" * 9_000 + "N" + ")" * 9_000}
