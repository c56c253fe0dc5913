"""Files that appear whole, or not at all."""

import os
import stat
from pathlib import Path

import pytest

from drift_wm.storage.writing import beside, replacing, temporary_of, write_text


def test_a_file_is_on_the_disk_before_it_takes_its_name_and_then_the_name_is(tmp_path, monkeypatch):
    path, done = tmp_path / "a.txt", []
    sync, rename = os.fsync, os.replace

    def told(file):
        done.append("sync folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "sync")
        sync(file)

    monkeypatch.setattr(os, "fsync", told)
    monkeypatch.setattr(os, "replace", lambda *names: done.append("rename") or rename(*names))
    path.write_text("old")
    with replacing(path) as temporary:
        assert temporary.parent == tmp_path
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert done == []
    assert done == ["sync", "rename", "sync folder"]
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path, old, error):
    path = tmp_path / "a.txt"
    if old is not None:
        path.write_text(old)

    def write_half():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert [(file, file.read_text()) for file in tmp_path.iterdir()] == ([] if old is None else [(path, old)])


@pytest.mark.parametrize("function", ["os.fsync", "os.replace", "pathlib.Path.write_text"])
def test_a_text_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch, function):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(function, fail)
        with pytest.raises(OSError, match="No space left"):
            write_text(tmp_path / "a.txt", "text")
    assert list(tmp_path.iterdir()) == []


def test_the_first_error_is_the_one_reported(tmp_path, monkeypatch):
    def resist(*_, **__):
        raise PermissionError("resists")

    monkeypatch.setattr(Path, "unlink", resist)
    with pytest.raises(OSError, match="full"), replacing(tmp_path / "a.txt"):
        raise OSError("full")


def test_one_name_is_of_a_process_and_the_other_of_all(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    names = beside(path), temporary_of(path)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert beside(path) != names[0]
    assert temporary_of(path) == names[1]
    names[1].write_text("left behind by a kill")
    with replacing(path, temporary=temporary_of(path)) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert sorted(tmp_path.iterdir()) == [path]
