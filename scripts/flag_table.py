"""The README's tables of flags and of methods, made from the scripts' parsers and from the zoo."""
from __future__ import annotations

import argparse
import re

from distiller_zoo import distiller_dict
from distiller_zoo.settings import COMMITS, GENERAL
from helper.options import student_parser, teacher_parser

from .table.markdown import markdown_table

DEFAULT = re.compile(r"\s*\((?:[^()]*; )?default:? (?P<default>.*)\)$")


def flag_table() -> str:
    """Every flag of both scripts but the methods' own: names, default, help; the student's first."""
    teacher, student = (_actions(parser) for parser in (teacher_parser(), student_parser()))
    own = {flag for method in distiller_dict.values() for flag in method.flags}
    rows = []
    for name, action in {**student, **teacher, **student}.items():
        if name in own:
            continue
        text = _told(action)
        default = _default(action)
        if name not in student:
            text = f"{text} (teachers only)"
        elif name in teacher and _default(teacher[name]) != default:
            default = f"{default}; teachers {_default(teacher[name])}"
        rows.append((_names(action), default, text))
    return "\n".join(markdown_table(("flag", "default", "what it does"), rows)) + "\n"


def method_table() -> str:
    """Every method: its paper, the weights and own flags that it has by default, and where these are from."""
    rows = []
    for name, method in distiller_dict.items():
        flags = ", ".join(f"`--{flag} {kwargs['default']}`" for flag, kwargs in method.flags.items())
        weights = ", ".join(f"{weight:g}" for weight in method.weights)
        rows.append((f"`{name}`", method.paper, weights, flags, _source(name)))
    head = ("`--distill`", "paper", "`-r`, `-a`, `-b`", "its own flags", "source of both")
    return "\n".join(markdown_table(head, rows)) + "\n"


def _source(method: str) -> str:
    entry = GENERAL.get(method)
    if entry is None:  # it has no entry in settings.json: its class's own
        return "`distiller_zoo`"
    if "paper" in entry:
        return entry["paper"]
    repository = entry["repository"]
    return f"[{repository.split('/')[1]}](https://github.com/{repository}/tree/{COMMITS[repository]})"


def _actions(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    return {action.dest: action for action in parser._actions if action.help is not argparse.SUPPRESS
            and action.dest != "help"}


def _names(action: argparse.Action) -> str:
    names = [*action.option_strings, *([f"--no-{action.dest}"] if isinstance(action.default, bool) else [])]
    return " ".join(f"`{name}`" for name in names)


def _default(action: argparse.Action) -> str:
    """The parser's default; where it has none, the one in the flag's help."""
    described = DEFAULT.search(action.help)
    if action.default is None and described:
        return described["default"]
    if isinstance(action.default, list):
        return ",".join(map(str, action.default))
    return "none" if action.default is None else f"{action.default}"


def _told(action: argparse.Action) -> str:
    """The help without its default, which has a column of its own."""
    return DEFAULT.sub("", " ".join(action.help.replace("%%", "%").split()))
