"""The download of CIFAR: checked, and a failed one leaves no files."""
import functools
import http.server
import threading

import pytest
from torchvision import datasets

import dataset
from dataset import DataError
from tests.support import tiny


@pytest.fixture
def served_archive(tmp_path, monkeypatch):
    """(the folder of the data, an archive of tiny files that is served as the official one)."""
    source, folder = tiny.write(tmp_path / "source"), tmp_path / "data"
    archive = tmp_path / "offer.tar.gz"
    tiny.archive(source, archive)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with tiny.official(source), http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(datasets.CIFAR100, "tgz_md5", dataset.cifar.hashlib.md5(archive.read_bytes()).hexdigest())
        monkeypatch.setattr(datasets.CIFAR100, "url", f"http://127.0.0.1:{server.server_port}/{archive.name}")
        yield folder, archive
        server.shutdown()


def test_a_download_is_unpacked_once(served_archive):
    folder, archive = served_archive
    assert len(dataset.load("cifar100", folder).train) == 200
    assert sorted(p.name for p in folder.rglob("*")) == ["cifar-100-python", "meta", "test", "train"]
    archive.unlink()
    dataset.load("cifar100", folder)  # without the archive


def test_an_existing_file_is_kept(served_archive):
    target = served_archive[0] / "cifar-100-python"
    target.mkdir(parents=True)
    for file in ("test", "meta"):
        (target / file).write_bytes(b"mine")
    with pytest.raises(DataError, match="altered"):
        dataset.load("cifar100", served_archive[0])
    assert (target / "test").read_bytes() == (target / "meta").read_bytes() == b"mine" and (target / "train").exists()


def test_an_archive_in_the_folder_is_used(served_archive):
    folder, archive = served_archive
    folder.mkdir()
    archive.rename(folder / datasets.CIFAR100.filename)
    assert len(dataset.load("cifar100", folder, download=False).test) == 100


@pytest.mark.parametrize("local", [False, True])
def test_a_truncated_archive_is_not_unpacked(served_archive, local, monkeypatch):
    folder, archive = served_archive
    archive.write_bytes(archive.read_bytes()[:-7])
    if local:
        folder.mkdir()
        archive.rename(folder / datasets.CIFAR100.filename)
    with pytest.raises(DataError, match="train, test missing in .*(md5|corrupted)") as caught:
        dataset.load("cifar100", folder)
    assert "\n" not in str(caught.value)
    assert [p.name for p in folder.rglob("*")] == ([datasets.CIFAR100.filename] if local else [])


def test_a_failed_download_leaves_no_folder(served_archive):
    folder, archive = served_archive
    archive.unlink()
    with pytest.raises(DataError, match="could not be fetched from http://.*404"):
        dataset.load("cifar100", folder)
    assert not folder.exists()
