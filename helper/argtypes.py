"""Command-line flags: types with ranges, booleans, and which flags were given explicitly."""
from __future__ import annotations

import argparse
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from distiller_zoo.ranges import number, temperature

from .errors import near, program
from .files import unwritable

__all__ = ["Parser", "Stored", "boolean", "epoch_list", "file_path", "folder_path", "name_from", "number", "path",
           "seed_of", "temperature", "trial_list"]

KEPT = ("args.json", "summary.json", "index.json")  # by runs and by exports
Stored = Callable[[argparse.Namespace], tuple[Path, dict[str, Any]] | None]


class Parser(argparse.ArgumentParser):
    """argparse without abbreviated flags, with one-line errors, and ``given``: the flags given on the command line."""

    def __init__(self, **kwargs):
        super().__init__(prog=program(), allow_abbrev=False,
                         formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)

    source = ""  # the file whose values are being parsed, for error messages; '' for the command line
    recipes: dict[str, dict[str, Any]] = {}  # data set -> its own defaults
    removed: dict[str, str] = {}  # flags of older versions -> what to use, for old command lines
    help_of: Callable[[argparse.Namespace], str]  # of a parser whose help depends on the other flags, see delay_help()

    def parse(self, argv: Sequence[str] | None = None, stored: Stored | None = None) -> argparse.Namespace:
        """Parsed flags; ``opt.given`` is the set of names given, ``opt.stored`` those taken from a file,
        ``opt.defaults`` the defaults of all.

        stored: called with these flags, returns a file and its values (or None), which replace defaults after the same
        checks as a command line; values whose names are not flags are ignored.
        """
        defaults = {a.dest: a.default for a in self._actions if a.dest != "help"}
        for action in self._actions:
            action.default = argparse.SUPPRESS
        found, unknown = self.parse_known_args(argv)
        for action in self._actions:
            action.default = defaults.get(action.dest)
        if "help" in found:
            print(self.help_of(found), end="")
            self.exit()
        if unknown:
            flags = [s for a in self._actions for s in a.option_strings if s.startswith("--")]
            name = unknown[0].split("=")[0]
            if name in self.removed:
                self.error(f"{name} was removed; {self.removed[name]}")
            self.error(f"unknown argument {unknown[0]!r}{near(name, flags) or '; see --help'}")
        given = vars(found)
        recipe = self.recipes.get(given.get("dataset", defaults.get("dataset")), {})
        defaults.update((name, value) for name, value in recipe.items() if name in defaults)
        opt = argparse.Namespace(**{**defaults, **given}, given=set(given), stored=set(), pair_settings="",
                                 defaults=defaults)
        if more := stored(opt) if stored else None:
            for name, value in self._checked(*more, defaults).items():
                if name not in opt.given:
                    setattr(opt, name, value)
                    opt.stored.add(name)
        return opt

    def _checked(self, file: Path, values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
        """Values read from ``file``, each parsed as ``--name=value``; an error names the file and the flag."""
        words = []
        for name, value in values.items():
            if name in defaults and not (value is None and defaults[name] is None):
                text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
                words.append(f"--{name}={text}")
        self.source = f"{file}: "
        found = argparse.Namespace(**{name: None for name in defaults})  # keeps argparse from parsing any default
        parsed = vars(self.parse_known_args(words, found)[0])
        self.source = ""
        return {name: parsed[name] for name in values if name in defaults and parsed[name] is not None}

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """argparse drops a '--' even where it is a flag's value, and then hands on an empty list unchecked."""
        if action.option_strings and "--" in arg_strings:
            raise argparse.ArgumentError(action, "'--' is no value")
        return super()._get_values(action, arg_strings)

    def error(self, message: str):
        self.exit(2, f"{self.prog}: error: {' '.join((self.source + message).split())}\n")

    def delay_help(self, help_of: Callable[[argparse.Namespace], str]) -> None:
        """--help and --help_all print ``help_of(given flags)`` once the whole command line has been parsed; among
        these flags, ``help`` is "help" or "help_all". The parser must have been made with add_help=False."""
        self.help_of = help_of
        self.add_argument("-h", "--help", action="store_const", const="help", help="show this help and exit")
        self.add_argument("--help_all", dest="help", action="store_const", const="help_all",
                          help="show the flags of all methods and exit")

    def add_boolean(self, group, flag: str, default: bool, help: str) -> None:
        """--flag, --no-flag, --flag False, --flag=false, --flag 0; anything else is an error."""
        name = flag.lstrip("-")
        group.add_argument(flag, nargs="?", const=True, type=boolean, default=default, metavar="BOOL",
                           help=f"{help} (--no-{name} or --{name} False turn it off; default {default})")
        group.add_argument(f"--no-{name}", dest=name, action="store_false", default=default, help=argparse.SUPPRESS)


def boolean(text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false; give True or False")
    return words[text.lower()]


def name_from(known: Iterable[str], what: str) -> Callable[[str], str]:
    """Type of a flag that takes one of ``known``; an unknown name lists the near ones."""
    known = list(known)

    def parse(text: str) -> str:
        if text not in known:
            hint = near(text, known) or f"; known: {', '.join(known)}"
            raise argparse.ArgumentTypeError(f"unknown {what} {text!r}{hint}")
        return text

    return parse


def epoch_list(text: str) -> list[int]:
    """Increasing epochs as '150,180,210'; '' for none."""
    try:
        epochs = [int(part) for part in text.split(",")] if text.strip() else []
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of epochs as 150,180,210") from None
    if any(a >= b for a, b in zip([0, *epochs], epochs, strict=False)):
        raise argparse.ArgumentTypeError(f"{text!r}: the epochs must be above 0 and increase, as 150,180,210")
    return epochs


def trial_list(text: str) -> list[str]:
    """Trial ids as '1' or '1,2,3'. A whole number is its own seed; other ids are words of letters, digits, . and -."""
    trials = text.split(",")
    for trial in trials:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,31}", trial) or (trial.isdigit() and len(trial) > 9):
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of trial ids as 1,2,3 "
                                             "(letters, digits, . and -; numbers below 1000000000)")
        if re.fullmatch(r"[0-9]+-[0-9]+", trial):
            raise argparse.ArgumentTypeError(f"{text!r}: {trial} would be one trial; list them, as 1,2,3")
    if len({*map(seed_of, trials)}) < len(trials):
        raise argparse.ArgumentTypeError(f"{text!r} names a trial twice, or two of one seed")
    return trials


def seed_of(trial: str) -> int:
    """A trial's seed: a whole number is its own, any other id its CRC-32."""
    return int(trial) if trial.isdigit() else zlib.crc32(trial.encode())


def path(text: str) -> str:
    """A valid path; not empty, ~ expanded."""
    if not text.strip() or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a path")
    try:
        return str(Path(text).expanduser())
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"{text!r}: no home folder of that name") from None


def file_path(*endings: str) -> Callable[[str], str]:
    """Type of the path of a file to be written: not a folder's, nor that of a file which a run or an export keeps.

    endings: as .json; one of them must be the path's, so that no checkpoint and no log is overwritten.
    """
    def parse(text: str) -> str:
        _writable((file := Path(path(text))).parent)
        if file.is_dir():
            raise argparse.ArgumentTypeError(f"{text!r} is a folder; name a file in it")
        if file.suffix not in endings:
            raise argparse.ArgumentTypeError(f"{text!r}: name a file that ends in {' or '.join(endings)}")
        if file.name in KEPT:
            raise argparse.ArgumentTypeError(f"{text!r}: {file.name} is what a run or an export keeps; name another "
                                             "file")
        return str(file)

    return parse


def folder_path(text: str) -> str:
    """Path of a folder to be written to: not a file's."""
    _writable(Path(name := path(text)))
    return name


def _writable(folder: Path) -> None:
    if why := unwritable(folder):
        raise argparse.ArgumentTypeError(f"{str(folder)[:60]!r}: {why}; name another file or folder")
