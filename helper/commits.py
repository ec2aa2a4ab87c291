"""The code that trains a run, as the commits that args.json lists."""
from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

CODE = ("dataset", "distiller_zoo", "helper", "models", "train_student_mixstd.py", "train_teacher.py")


@cache  # once: an edit while the process runs does not change the code it runs
def git_commit() -> str:
    """The commit of the checkout, '' outside one; with '+' and the first digits of a digest where the training code has
    uncommitted changes."""
    root = Path(__file__).resolve().parent.parent
    try:
        def git(*words):
            command = ["git", "-C", str(root), *words]
            return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
        changes = git("diff", "HEAD", "--", *CODE)
        for name in git("ls-files", "--others", "--exclude-standard", "--", *CODE).splitlines():
            changes += name + (root / name).read_text(errors="replace")
        mark = "+" + hashlib.sha256(changes.encode(errors="replace")).hexdigest()[:8] if changes else ""
        return git("rev-parse", "HEAD") + mark
    except (OSError, subprocess.SubprocessError):
        return ""


def commits_in(text: str) -> list[str]:
    """The commits of args.json's git_commit, one or several between commas."""
    return [name for name in text.split(", ") if name]


def other_code(commits: Iterable[str], here: str) -> str:
    """'A and B, here is C' where a run's code was not all of commit ``here``; '' where it was, or without git."""
    commits = list(dict.fromkeys(commits))
    if not here or not set(commits) - {here}:
        return ""
    text = f"{' and '.join(map(short_commit, commits))}, here is {short_commit(here)}"
    return f"{text} (+: uncommitted changes)" if "+" in text else text


def short_commit(commit: str) -> str:
    """The first digits of a commit, and of the digest of the changes to it."""
    name, plus, changes = commit.partition("+")
    return name[:8] + plus + changes[:4]


def warn_of_other(folder: Path, commits: list[str]) -> None:
    """A warning where a run was trained, or begun, by another commit than the current one."""
    if other := other_code(commits, git_commit()):
        print(f"WARNING {folder} was trained by the code of commit {other}; --overwrite, or another --save_dir, trains "
              "it anew", flush=True)
