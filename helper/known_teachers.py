"""Known teachers: where their files are, and their origin by the digest of their weights.

    python -m helper.known_teachers NAME [TEACHER_DIR]      # the file that scripts and tables take as teacher NAME

known_teachers.json lists networks trained by others, models/pretrained/index.json this project's own. The key is
:func:`helper.checkpoint.digest` of the weights, so a file that was renamed, or saved again into another container, is
recognised too. It is not the sha256 of a file, which scripts/fetch_teachers.py checks.
"""
from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .recipe import FULL, default_rate, full_recipe
from .stored_runs import StoredRun

TORCHVISION = "torchvision:"  # prefix of a --path_t that names torchvision's weights, not a file
FILE = Path(__file__).with_name("known_teachers.json")
PRETRAINED = Path(__file__).resolve().parents[1] / "models" / "pretrained"  # this project's own, by export_weights


@dataclass(frozen=True)
class KnownTeacher:
    """A published network. top1 and top5: its zoo's figures on the test images of dataset, per cent."""

    arch: str
    zoo: str
    file: str  # its name at the zoo, with the first 8 digits of its sha256
    top1: float
    top5: float
    repository: str
    licence: str
    dataset: str
    url: str

    @property
    def sha8(self) -> str:
        return Path(self.file).stem[-8:]

    @property
    def path(self) -> Path:
        """Where scripts/fetch_teachers.py puts it, under save/models/ or TEACHER_DIR."""
        return Path(f"{self.arch}_{self.zoo}", self.file)

    @property
    def origin(self) -> str:
        return f"{self.zoo} ({self.repository})"


@cache
def known_teachers() -> dict[str, KnownTeacher]:
    """Digest of the weights -> the network."""
    content = json.loads(FILE.read_text())
    of_zoo = ("repository", "licence", "dataset", "url")
    return {digest: KnownTeacher(**entry, **{name: content["zoos"][entry["zoo"]][name] for name in of_zoo})
            for digest, entry in content["teachers"].items()}


@cache
def own_weights() -> frozenset[str]:
    """Digests of the weights in models/pretrained/, in half precision and as they were trained."""
    try:
        entries = json.loads((PRETRAINED / "index.json").read_text()).values()
        return frozenset(entry[name] for entry in entries for name in ("sha256", "sha256_full"))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return frozenset()


def vanilla(arch: str) -> Path:
    """RepDistiller's name of a teacher's file."""
    return Path(f"{arch}_vanilla", "ckpt_epoch_240.pth")


def teacher_files(arch: str, own: Path, save_dir: str, teacher_dir: str | None = None) -> list[Path]:
    """Where a teacher of the full recipe may be, in the order in which it is taken: in ``teacher_dir``, trained here
    (``own``), in models/pretrained/, in ``save_dir`` as fetch_pretrained_teachers.sh leaves those of both zoos."""
    fetched = [vanilla(arch), *(known.path for known in known_teachers().values() if known.arch == arch)]
    given = [Path(teacher_dir, file) for file in fetched] if teacher_dir else []
    here = Path(os.path.relpath(PRETRAINED), f"{arch}.pth")  # relative, because commands are shown and kept
    return [*given, own, here, *(Path(save_dir, "models", file) for file in fetched)]


def published_top1(file, data) -> float | None:
    """Published top-1 of a TeacherFile's weights on ``data``: their zoo's own figure, else that of networks of this
    name trained alone, without mixup. None for a distilled network, for which it depends on the teacher, and for one
    that was trained with mixup or on less than the full recipe."""
    known = known_teachers().get(file.sha256)
    if known and known.dataset == data.name:
        return known.top1
    mixed = file.trained.get("mix", "none") != "none"
    if mixed or "distill" in file.trained or file.less_than(full_recipe(file.trained)):
        return None
    return data.published.get(file.arch)


def origin_of(digest: str, path: Path) -> str:
    """The zoo of these weights; 'torchvision' for a ``torchvision:NAME``, 'models/pretrained' for those that come with
    the code, 'trained here' for a run's own, found beside its args.json; else 'unknown'."""
    known = known_teachers().get(digest)
    if known:
        return known.origin
    if str(path).startswith(TORCHVISION):
        return "torchvision"
    if digest in own_weights():
        return "models/pretrained"
    return "trained here" if StoredRun(path.parent).config else "unknown"


def main(arch: str, teacher_dir: str | None = None) -> int:
    name = f"{arch}_{FULL['dataset']}_lr_{default_rate(arch)}_decay_0.0005_trial_0"  # helper.run.teacher_name's
    own = Path("save", "models", name, f"{arch}_last.pth")
    found = next((file for file in teacher_files(arch, own, "save", teacher_dir) if file.is_file()), None)
    print(found or f"error: no teacher {arch}; train it: bash scripts/run_cifar_vanilla.sh {arch}, fetch it: bash "
          f"scripts/fetch_pretrained_teachers.sh {arch}, or set TEACHER_DIR to the folder of {arch}_vanilla/",
          file=sys.stdout if found else sys.stderr)
    return 0 if found else 2


if __name__ == "__main__":
    if len(sys.argv) in (2, 3):
        sys.exit(main(*sys.argv[1:]))
    print("error: give a network's name, and the folder of teachers if there is one", file=sys.stderr)
    sys.exit(2)
