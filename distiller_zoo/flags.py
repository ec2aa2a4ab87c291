"""Types of command-line flags that have a range: argparse turns their error into one line that names the flag."""
from argparse import ArgumentTypeError
from collections.abc import Callable
from math import inf


def number(kind: type, low: float = -inf, high: float = inf, above: float = -inf) -> Callable[[str], float]:
    """Type of a flag: an int or a finite float x with low <= x <= high and x > above."""
    bounds = ((">=", low), (">", above), ("<=", high))
    wanted = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if abs(bound) < inf)

    def parse(text: str) -> float:
        try:
            x = kind(text)
        except ValueError:
            x = None
        if x is None or not (low <= x <= high and above < x < inf):
            noun = "a whole number" if kind is int else "a number"
            raise ArgumentTypeError(f"must be {noun} {wanted}".rstrip() + f", not {text!r}")
        return x
    return parse
