"""Types of command-line flags that have a range: argparse turns their error into one line that names the flag."""
from argparse import ArgumentTypeError
from collections.abc import Callable
from math import inf

SHOWN = 40  # characters of a bad value in its error
HOTTEST = 1e6  # a temperature enters squared, and Python's floats end at 1e308


def number(numeric: type, low: float = -inf, high: float = inf, above: float = -inf) -> Callable[[str], float]:
    """Type of a flag: an int or a finite float x with low <= x <= high and x > above.

    Overlong input is rejected by the same message: an infinite float, an int of too many digits.
    """
    bounds = ((">=", low), (">", above), ("<=", high))
    limits = " and ".join(f"{sign} {bound:.9g}" for sign, bound in bounds if abs(bound) < inf)
    allowed = f"{'a whole number' if numeric is int else 'a number'} {limits}".rstrip()

    def parse(text: str) -> float:
        try:
            x = numeric(text)
        except ValueError:
            x = None
        if x is None or not (low <= x <= high and above < x and -inf < x < inf):
            brief = text if len(text) <= SHOWN else text[:SHOWN] + "..."
            raise ArgumentTypeError(f"must be {allowed}, not {brief!r}")
        return x

    return parse


def temperature() -> Callable[[str], float]:
    """Type of a flag that softmax's arguments are divided by."""
    return number(float, above=0, high=HOTTEST)
