"""Download CIFAR-100 teachers trained by others, those of helper/known_teachers.json, to where --path_t and the tables
find them: ARCH_chenyaofo/FILE under $TEACHER_DIR (default save/models). A file's name has the first 8 digits of its
sha256, which are checked. $TEACHER_URL names a mirror.

    bash scripts/fetch_pretrained_teachers.sh resnet56

RepDistiller's own teachers have no host any more; who has them puts them at ARCH_vanilla/ckpt_epoch_240.pth there.
"""
from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import sys
from pathlib import Path

from torch.hub import download_url_to_file

from helper.argtypes import Parser, name_from
from helper.errors import UserError, guard, in_short
from helper.known_teachers import KnownTeacher, known_teachers

from . import evaluate


def parse(argv):
    archs = [known.arch for known in known_teachers().values()]
    parser = Parser(description=__doc__)
    parser.add_argument("archs", nargs="*", type=name_from(archs, "teacher"), metavar="ARCH",
                        help=f"some of {', '.join(archs)} (default: all)")
    parser.add_argument("--check", action=argparse.BooleanOptionalAction, default=True,
                        help="print each teacher's accuracy on the test images with the published one (default True)")
    parser.add_argument("--zoo", type=zoo, default="chenyaofo", help=argparse.SUPPRESS)
    opt = parser.parse(argv)
    opt.archs = opt.archs or archs
    return opt


def zoo(text: str) -> str:
    """Of command lines from when there were two."""
    if text != "chenyaofo":
        raise argparse.ArgumentTypeError(f"{text}: only chenyaofo's files can still be downloaded; put "
                                         "RepDistiller's at save/models/ARCH_vanilla/ckpt_epoch_240.pth")
    return text


def fetch(known: KnownTeacher, folder: Path) -> Path:
    """The teacher's file, downloaded if it is missing. UserError: not to be had, or not the file that it should be."""
    file = folder / known.path
    if not file.exists():
        url = f"{os.environ.get('TEACHER_URL', known.url).rstrip('/')}/{known.file}"
        print(f"==> {url}", flush=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            download_url_to_file(url, str(file), hash_prefix=known.sha8, progress=sys.stderr.isatty())
        except (OSError, RuntimeError, ValueError) as error:  # no network, no such file, another digest, no URL
            with contextlib.suppress(OSError):
                file.parent.rmdir()  # only if it is empty
            raise UserError(f"{known.arch}: could not be downloaded from {url} ({in_short(error)}); try again, name a "
                            f"mirror with TEACHER_URL, or train it: bash scripts/run_cifar_vanilla.sh {known.arch}"
                            ) from None
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if not found.startswith(known.sha8):
        raise UserError(f"{file}: its sha256 begins with {found[:8]}, not {known.sha8}; delete it and run this again")
    print(f"==> {file}  sha256 {found}", flush=True)
    return file


def main(argv=None):
    opt = parse(argv)
    folder = Path(os.environ.get("TEACHER_DIR", "save/models"))
    for known in known_teachers().values():
        if known.arch in opt.archs:
            file = fetch(known, folder)
            if opt.check:
                evaluate.main(["--path", str(file), "--model", known.arch])


if __name__ == "__main__":
    sys.exit(guard(main))
