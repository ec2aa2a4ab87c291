"""Types of command-line flags that have a range: argparse turns their error into one line that names the flag."""
from argparse import ArgumentTypeError
from collections.abc import Callable
from math import inf

SHOWN = 40  # characters of a bad value in its error
HOTTEST = 1e6  # a temperature enters squared, and Python's floats end at 1e308


def number(kind: type, low: float = -inf, high: float = inf, above: float = -inf) -> Callable[[str], float]:
    """Type of a flag: an int or a finite float x with low <= x <= high and x > above.

    A number of any length is answered: a float beyond all numbers is infinite, an int of too many digits none.
    """
    bounds = ((">=", low), (">", above), ("<=", high))
    limits = " and ".join(f"{sign} {bound:.9g}" for sign, bound in bounds if abs(bound) < inf)
    wanted = f"{'a whole number' if kind is int else 'a number'} {limits}".rstrip()

    def parse(text: str) -> float:
        try:
            x = kind(text)
        except ValueError:
            x = None
        if x is None or not (low <= x <= high and above < x and -inf < x < inf):
            shown = text if len(text) <= SHOWN else text[:SHOWN] + "..."
            raise ArgumentTypeError(f"must be {wanted}, not {shown!r}")
        return x

    return parse


def temperature() -> Callable[[str], float]:
    """Type of a flag that softmax's arguments are divided by."""
    return number(float, above=0, high=HOTTEST)
