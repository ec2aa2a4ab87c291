"""Which zoo a checkpoint comes from, told by its weights: known_teachers.json lists networks trained by others.

The key is :func:`helper.checkpoint.digest` of the weights, so a file that was renamed, or saved again into another
container, is known too. It is not the sha256 of a file, which scripts/fetch_pretrained_teachers.sh checks.
"""
from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .rundir import read_config

FILE = Path(__file__).with_name("known_teachers.json")


@dataclass(frozen=True)
class KnownTeacher:
    """A published network. top1 and top5: what its zoo says of it on the test images of dataset, in per cent."""

    arch: str
    zoo: str
    file: str  # its name at the zoo, with the first 8 digits of its sha256
    top1: float
    top5: float
    repository: str
    licence: str
    dataset: str

    @property
    def path(self) -> Path:
        """Where scripts/fetch_pretrained_teachers.sh puts it, under save/models/ or TEACHER_DIR."""
        return Path(f"{self.arch}_{self.zoo}", self.file)

    @property
    def origin(self) -> str:
        return f"{self.zoo} ({self.repository})"


@cache
def known_teachers() -> dict[str, KnownTeacher]:
    """Digest of the weights -> the network."""
    content = json.loads(FILE.read_text())
    of_zoo = ("repository", "licence", "dataset")
    return {digest: KnownTeacher(**entry, **{name: content["zoos"][entry["zoo"]][name] for name in of_zoo})
            for digest, entry in content["teachers"].items()}


def published_top1(digest: str, arch: str, data) -> float | None:
    """What is published of these weights on ``data``: their own zoo's figure, else that of networks of this name."""
    known = known_teachers().get(digest)
    return known.top1 if known and known.dataset == data.name else data.published.get(arch)


def origin_of(digest: str, path: Path) -> str:
    """The zoo of these weights; 'trained here' for a run's own, found beside its args.json; else 'unknown'."""
    known = known_teachers().get(digest)
    if known:
        return known.origin
    return "trained here" if read_config(path.parent) else "unknown"
