"""scripts/fetch_pretrained_teachers.sh against a server of this machine's own."""
import functools
import hashlib
import http.server
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from helper.known_teachers import known_teachers
from tests.support.tiny import write_stamp

ROOT = Path(__file__).resolve().parent.parent
ZOO = ("wrn_40_2", "resnet56", "resnet110", "resnet32x4", "vgg13", "ResNet50")


class Handler(http.server.SimpleHTTPRequestHandler):
    asked: list[str] = []

    def do_GET(self):  # noqa: N802, http.server's name
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    """A folder that is served: (folder, URL, the paths that were asked for)."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = type("Noting", (Handler,), {"asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder)) as http_server:
        thread = threading.Thread(target=http_server.serve_forever, daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{http_server.server_port}", handler.asked
        http_server.shutdown()
        thread.join(10)


@pytest.fixture
def fetch(tmp_path, server):
    """Run the script with a python that notes its arguments in tmp_path/noted."""
    stub = tmp_path / "bin" / "python"
    stub.parent.mkdir()
    stub.write_text(f'#!/bin/sh\nif [ "$1" = -c ]; then echo "{tmp_path}"; exit; fi\necho "$@" >> "{tmp_path}/noted"\n')
    stub.chmod(0o755)
    write_stamp(tmp_path)
    plain = {k: v for k, v in os.environ.items() if not k.startswith("TEACHER_") and not k.lower().endswith("_proxy")}
    environment = {**plain, "VIRTUAL_ENV": str(tmp_path), "PATH": f"{stub.parent}:{os.environ['PATH']}",
                   "TEACHER_DIR": str(tmp_path / "fetched"), "TEACHER_URL": server[1]}

    def run(*args, **more):
        return subprocess.run(["bash", str(ROOT / "scripts" / "fetch_pretrained_teachers.sh"), *args], text=True,
                              env={**environment, **more}, capture_output=True, timeout=240)

    return run


def serve(folder, name, content, written=None):
    """Serve ``written`` (default: content) under the name that is right for ``content``; returns the file's name."""
    file = f"cifar100_{name}-{hashlib.sha256(content).hexdigest()[:8]}.pt"
    (folder / file).write_bytes(content if written is None else written)
    return file


def error_line(done):
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    return next(line for line in lines if line.startswith("error: "))


def test_files_that_are_right_are_moved_in_place_and_not_fetched_again(fetch, server, tmp_path):
    folder, _, asked = server
    first, second = serve(folder, "resnet20", b"first"), serve(folder, "resnet56", b"second")
    files = {"TEACHER_FILES": f"{first} {second}"}
    done = fetch(**files)
    assert done.returncode == 0, done.stderr
    there = tmp_path / "fetched"
    assert sorted(str(p.relative_to(there)) for p in there.rglob("*.*")) == [
        f"resnet20_chenyaofo/{first}", f"resnet56_chenyaofo/{second}"]
    assert (there / "resnet56_chenyaofo" / second).read_bytes() == b"second"
    noted = (tmp_path / "noted").read_text().splitlines()
    assert noted[0] == f"-m scripts.evaluate --path {there}/resnet20_chenyaofo/{first} --model resnet20"
    assert asked == [f"/{first}", f"/{second}"]
    assert fetch("resnet56", CHECK="0", **files).returncode == 0
    assert len(asked) == 2 and len((tmp_path / "noted").read_text().splitlines()) == 2


def test_a_wrong_download_is_deleted(fetch, server, tmp_path):
    folder, _, _ = server
    file = serve(folder, "resnet20", b"right", written=b"a page that says: not found")
    assert "not the file that its name says" in error_line(fetch(TEACHER_FILES=file))
    assert not [path for path in (tmp_path / "fetched").rglob("*") if path.is_file()]


def test_a_wrong_file_that_is_there_is_left_as_it_is(fetch, server, tmp_path):
    folder, _, asked = server
    file = serve(folder, "resnet20", b"right")
    mine = tmp_path / "fetched" / "resnet20_chenyaofo" / file
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    assert "delete it and run this again" in error_line(fetch(TEACHER_FILES=file))
    assert mine.read_bytes() == b"mine" and not asked


def test_a_missing_file_or_host_leaves_nothing(fetch, server, tmp_path):
    assert "can't be had from" in error_line(fetch("resnet20"))
    assert "TEACHER_URL" in error_line(fetch("resnet20", TEACHER_URL=f"file://{tmp_path}/gone"))
    assert not [path for path in (tmp_path / "fetched").rglob("*") if path.is_file()]


@pytest.mark.parametrize("args, expected", [
    (["--zoo", "timm"], "zoos: chenyaofo, repdistiller"), (["--zo", "chenyaofo"], "unknown flag"),
    (["vgg13"], "resnet20 resnet32 resnet44 resnet56"),
    (["--zoo=repdistiller", "resnet20"], "not one of the teachers of --zoo repdistiller")])
def test_bad_arguments_are_one_line(fetch, server, args, expected):
    done = fetch(*args)
    assert expected in error_line(done) and len(done.stderr.splitlines()) == 1
    assert not server[2]


def test_the_known_files_are_those_of_the_script():
    text = (ROOT / "scripts" / "fetch_pretrained_teachers.sh").read_text()
    for known in known_teachers().values():
        assert known.file in text


def test_repdistillers_teachers(fetch, server, tmp_path):
    folder, _, _ = server
    for name in ZOO:
        (folder / f"{name}_vanilla").mkdir()
        (folder / f"{name}_vanilla" / "ckpt_epoch_240.pth").write_text(name)
    done = fetch("--zoo", "repdistiller")
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "noted").read_text().splitlines()) == 6
    file = tmp_path / "fetched" / "vgg13_vanilla" / "ckpt_epoch_240.pth"
    assert file.read_text() == "vgg13"
    subprocess.run(["sha256sum", "--check", "--quiet", f"{file.name}.sha256"], cwd=file.parent, check=True,
                   timeout=240)
    file.write_text("altered")
    assert "not what was downloaded" in error_line(fetch("--zoo", "repdistiller", "vgg13"))
    assert file.read_text() == "altered"
    shutil.rmtree(tmp_path / "fetched")
    done = fetch("--zoo", "repdistiller", "vgg13", TEACHER_URL=f"file://{tmp_path}/gone")
    assert "run_cifar_vanilla.sh vgg13" in error_line(done)
    assert not list((tmp_path / "fetched").rglob("*.p*"))
