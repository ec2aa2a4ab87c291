"""Settings of the methods, and of a method for one pair of networks: settings.json, each entry with its source."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_CONTENT = json.loads(Path(__file__).with_name("settings.json").read_text())
SETTINGS: list[dict[str, Any]] = _CONTENT["settings"]
GENERAL: dict[str, dict[str, Any]] = {entry["method"]: entry for entry in _CONTENT["general"]}
WEIGHTS = ("gamma", "alpha", "beta")
DEFAULTS: dict[str, Any] = {flag: value for entry in GENERAL.values() for flag, value in entry["flags"].items()
                            if flag not in WEIGHTS}  # of the methods' own flags
COMMITS: dict[str, str] = _CONTENT["commits"]  # of each repository, at which its files were read


def default_weights(method: str) -> tuple[float, float, float]:
    """gamma, alpha, beta of a method where its pair has no others."""
    gamma, alpha, beta = (GENERAL[method]["flags"][name] for name in WEIGHTS)
    return gamma, alpha, beta


def pair_settings(method: str, dataset: str, teacher: str | None, student: str) -> tuple[dict[str, Any], str]:
    """(flags, their source in words) of a method for a pair; ({}, '') where the general ones hold."""
    key = {"method": method, "dataset": dataset, "teacher": teacher, "student": student}
    for entry in SETTINGS:
        if key.items() <= entry.items():
            repository = entry["repository"]
            return entry["flags"], f"{entry['file']} of github.com/{repository} at {COMMITS[repository]}"
    return {}, ""
