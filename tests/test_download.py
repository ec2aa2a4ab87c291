"""The download: over https, checked, and nothing left behind by one that failed."""
import io
import tarfile

import pytest
from torchvision import datasets

import dataset
from dataset import DataError, download
from tests.support import tiny


class Answer(io.BytesIO):
    def __init__(self, content, url):
        super().__init__(content)
        self.url = url


@pytest.fixture
def served(tmp_path):
    """serve(content, ...) sets what the official address answers; tiny files are the official ones. Further patches go
    through serve.patch, which is undone before those of tiny.official."""
    folder = tiny.write(tmp_path / "source")

    def serve(content, final="https://other.example/a.tar.gz", md5=None):
        patch.setattr(datasets.CIFAR100, "tgz_md5", md5 or dataset.cifar.hashlib.md5(content).hexdigest())
        asked = []
        patch.setattr(download, "urlopen", lambda request, timeout: asked.append(request.full_url) or
                      Answer(content, final))
        return asked

    with tiny.official(folder), pytest.MonkeyPatch.context() as patch:
        serve.folder, serve.source, serve.patch = tmp_path / "data", folder, patch
        yield serve


def packed(served, extra=()):
    path = served.source / "archive.tar.gz"
    tiny.archive(served.source, path, extra=extra)
    return path.read_bytes()


def test_download(served):
    asked = served(packed(served))
    loaded = dataset.load("cifar100", served.folder)
    assert len(loaded.train) == 200 and asked == [datasets.CIFAR100.url]
    files = sorted(p.name for p in served.folder.rglob("*"))
    assert files == ["cifar-100-python", "meta", "test", "train"]  # nothing temporary stays
    dataset.load("cifar100", served.folder)
    assert len(asked) == 1


def test_download_brings_only_what_is_missing(served):
    served(packed(served))
    target = served.folder / "cifar-100-python"
    target.mkdir(parents=True)
    for file in ("test", "meta"):
        (target / file).write_bytes(b"mine")
    with pytest.raises(DataError, match="altered"):
        dataset.load("cifar100", served.folder)
    assert (target / "test").read_bytes() == (target / "meta").read_bytes() == b"mine"
    assert (target / "train").exists()


def test_archive_in_the_folder_is_used(served):
    content = packed(served)
    asked = served(content)
    served.folder.mkdir()
    (served.folder / datasets.CIFAR100.filename).write_bytes(content)
    assert len(dataset.load("cifar100", served.folder, download=False).test) == 100 and asked == []


def refused(served, *words):
    with pytest.raises(DataError) as caught:
        dataset.load("cifar100", served.folder)
    text = str(caught.value)
    assert "\n" not in text and all(word in text for word in ("train, test missing", datasets.CIFAR100.url, *words))
    assert not any(p.is_file() for p in served.folder.rglob("*"))


def test_forged_download(served):
    content = packed(served)
    served(content[:-7], md5="0" * 32)
    refused(served, "truncated or altered", "0" * 32)


@pytest.mark.parametrize("name", ["/etc/evil", "../evil", "cifar-100-python/../../evil"])
def test_archive_with_a_path_out(served, name):
    served(packed(served, [tarfile.TarInfo(name)]))
    refused(served, name)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_archive_with_a_link(served, kind):
    member = tarfile.TarInfo("cifar-100-python/link")
    member.type, member.linkname = kind, "/etc/passwd"
    served(packed(served, [member]))
    refused(served, "link")


def test_archive_with_a_forged_or_absent_file(served):
    served(packed(served))
    (name, _), = datasets.CIFAR100.train_list
    served.patch.setattr(datasets.CIFAR100, "train_list", [[name, "1" * 32]])
    refused(served, "its train is not the official file")
    (served.source / "cifar-100-python" / "train").unlink()
    served(packed(served))
    refused(served, "holds no cifar-100-python/train")


def test_only_https(served):
    served(packed(served), final="http://other.example/a.tar.gz")
    refused(served, "redirected away from https")
    served.patch.setattr(datasets.CIFAR100, "url", "http://other.example/a.tar.gz")
    refused(served, "not https")


def test_no_network(served):
    def unreachable(*args, **kwargs):
        raise download.HTTPException("cut off")

    served.patch.setattr(download, "urlopen", unreachable)
    refused(served, "cut off")
    assert not served.folder.exists()
