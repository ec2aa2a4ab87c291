"""The official CIFAR archives: fetched over https, checked, and taken apart file by file."""
import contextlib
import hashlib
import os
import tarfile
import tempfile
import zlib
from http.client import HTTPException
from pathlib import Path
from urllib.request import Request, urlopen

from .data import DataError

TIMEOUT = 30  # seconds without a byte before the server counts as out of reach
BLOCK = 1 << 20


class _Refused(Exception):
    """What is wrong with an address, an archive or a member of it."""


def fetch(official, data_dir, missing, download=True):
    """Put the files `missing` of torchvision's class `official` into data_dir/base_folder.

    They come out of data_dir/filename where the archive lies there, else out of the archive at official.url. The
    download goes to a temporary name, over https to the last redirect (torchvision falls back to http), and is
    deleted once unpacked. Archive and members are checked against torchvision's md5 sums before a file gets its
    name, so an interrupted or forged download leaves nothing behind, and two runs at once do no harm.

    Raises DataError, one line: which files, from where, into which folder, and what stood in the way.
    """
    folder = data_dir / official.base_folder
    archive = data_dir / official.filename
    source = archive if archive.exists() else official.url
    new_folder = not data_dir.exists()
    try:
        if archive.exists():
            _unpack(official, archive, folder, missing)
            return
        if not download:
            raise _Refused("the download is switched off")
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=data_dir) as private:
            archive = Path(private) / official.filename
            _download(official.url, archive)
            _unpack(official, archive, folder, missing)
    except (_Refused, OSError, HTTPException, tarfile.TarError, EOFError, zlib.error) as error:
        with contextlib.suppress(OSError):
            if new_folder:
                data_dir.rmdir()  # only if it is empty
        mend = f"delete {archive} and start again" if source is archive else f"unpack {official.url} in {data_dir}"
        raise DataError(f"--data_dir {data_dir}: {', '.join(missing)} missing in {folder} and not to be had from "
                        f"{source} ({error}): {mend}") from None


def _download(url, target):
    """url -> target; refuses any scheme but https, also after redirects."""
    if not url.startswith("https://"):
        raise _Refused("the address is not https")
    print(f"downloading {url}", flush=True)
    with urlopen(Request(url, headers={"User-Agent": "python"}), timeout=TIMEOUT) as response:
        if not response.url.startswith("https://"):
            raise _Refused(f"redirected away from https to {response.url}")
        with open(target, "wb") as out:
            while block := response.read(BLOCK):
                out.write(block)


def _md5(path):
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _unpack(official, archive, folder, missing):
    """The files `missing` out of `archive` into `folder`, each written under a temporary name and then renamed.

    The archive's md5 comes first. A member with an absolute path, a '..' or a link condemns the whole archive, and
    only members whose full name is an expected one are read, so no name in the archive ever becomes a path.
    """
    found = _md5(archive)
    if found != official.tgz_md5:
        raise _Refused(f"truncated or altered, md5 {found} where the official archive has {official.tgz_md5}")
    sums = dict([*official.train_list, *official.test_list, (official.meta["filename"], official.meta["md5"])])
    names = [*missing, official.meta["filename"]]  # torchvision's own class wants the names of the classes too
    with tarfile.open(archive, "r:gz") as tar:
        members = {member.name: member for member in tar.getmembers()}
        for name, member in members.items():
            if name.startswith("/") or ".." in Path(name).parts or not (member.isreg() or member.isdir()):
                raise _Refused(f"it holds {name!r}, which is no plain file or folder of its own")
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            member = members.get(f"{official.base_folder}/{name}")
            if member is None or not member.isreg():
                raise _Refused(f"it holds no {official.base_folder}/{name}")
            _place(tar.extractfile(member).read(), folder / name, sums[name])


def _place(content, target, md5):
    """Write `content` to `target` in one step, if its md5 is right and no file is there yet."""
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise _Refused(f"its {target.name} is not the official file")
    if target.exists():
        return
    handle, partial = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
        os.chmod(partial, 0o644)  # mkstemp's 0600 would lock others out of a shared data folder
        os.replace(partial, target)
    except BaseException:
        os.unlink(partial)
        raise
