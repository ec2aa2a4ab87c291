"""The downloads of scripts/fetch_pretrained_teachers.sh, from a local folder."""
import hashlib
from dataclasses import replace

import pytest

from helper.errors import guard
from scripts import fetch_teachers


@pytest.fixture
def fetch(tmp_path, monkeypatch):
    """Function that fetches two teachers of a few bytes each; offer: the folder of the files to download, noted: the
    arguments of evaluations, files: the paths of the fetched files."""
    offer, noted = tmp_path / "offer", []
    offer.mkdir()
    monkeypatch.setenv("TEACHER_URL", f"file://{offer}")
    monkeypatch.setenv("TEACHER_DIR", str(tmp_path / "fetched"))
    real = list(fetch_teachers.known_teachers().values())[:2]
    known = {name: replace(one, file=f"cifar100_{one.arch}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.pt")
             for name, one in zip(("first", "second"), real, strict=True)}
    monkeypatch.setattr(fetch_teachers, "known_teachers", lambda: known)
    monkeypatch.setattr(fetch_teachers.evaluate, "main", noted.append)

    def run(*args):
        return guard(fetch_teachers.main, [*args])
    for name, one in known.items():
        (offer / one.file).write_text(name)
    run.offer, run.noted, run.files = offer, noted, [tmp_path / "fetched" / one.path for one in known.values()]
    return run


def test_files_are_checked_evaluated_and_not_fetched_again(fetch):
    assert fetch() == 0
    assert [file.read_text() for file in fetch.files] == ["first", "second"]
    assert fetch.noted == [["--path", str(fetch.files[0]), "--model", "resnet20"],
                           ["--path", str(fetch.files[1]), "--model", "resnet32"]]
    for file in fetch.offer.iterdir():
        file.unlink()
    assert fetch("resnet32", "--no-check") == 0 and len(fetch.noted) == 2


@pytest.mark.parametrize("offered", ["a page: not found", None])
def test_a_wrong_or_missing_download_leaves_no_file(fetch, offered, capsys):
    for file in fetch.offer.iterdir():
        file.unlink() if offered is None else file.write_text(offered)
    assert fetch() == 2
    line, = capsys.readouterr().err.strip().splitlines()
    assert "TEACHER_URL" in line and "run_cifar_vanilla.sh resnet20" in line
    assert not [path for path in fetch.files[0].parent.rglob("*") if path.is_file()] and not fetch.noted


def test_an_existing_wrong_file_is_kept(fetch, capsys):
    fetch.files[0].parent.mkdir(parents=True)
    fetch.files[0].write_text("mine")
    assert fetch() == 2
    assert "delete it and run this again" in capsys.readouterr().err and fetch.files[0].read_text() == "mine"


@pytest.mark.parametrize("words", [["vgg13"], ["--zoo", "repdistiller"]])
def test_an_unknown_teacher_is_refused_in_one_line(fetch, words, capsys):
    with pytest.raises(SystemExit, match="2"):
        fetch(*words)
    line, = capsys.readouterr().err.splitlines()
    assert words[-1] in line and not any(file.exists() for file in fetch.files)
