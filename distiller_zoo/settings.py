"""Settings of a method for one pair of networks: settings.json, each entry with the file that it was read from.

A method's class holds its general weights and flags; an entry here holds what a pair has in place of them.
"""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_CONTENT = json.loads(Path(__file__).with_name("settings.json").read_text())
SETTINGS: list[dict[str, Any]] = _CONTENT["settings"]
COMMITS: dict[str, str] = _CONTENT["commits"]  # of each repository, at which its files were read


def pair_settings(method: str, dataset: str, teacher: str | None, student: str) -> tuple[dict[str, Any], str]:
    """(flags, their source in words) of a method for a pair; ({}, '') where the general ones hold."""
    wanted = {"method": method, "dataset": dataset, "teacher": teacher, "student": student}
    for entry in SETTINGS:
        if wanted.items() <= entry.items():
            repository = entry["repository"]
            return entry["flags"], f"{entry['file']} of github.com/{repository} at {COMMITS[repository]}"
    return {}, ""
