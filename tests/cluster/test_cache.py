"""The cache on a disk that is full, read-only, or was left in the midst of a write."""

import errno
import json
import logging
import os
import tempfile
from pathlib import Path

import pytest

from controller.cluster.cache import FILE, Cache, CacheError, Remembered

NODE = {"name": "here", "uid": "node-uid", "labels": {}, "withheld": 0}
FIRST, SECOND = (Remembered(NODE, ({"metadata": {"name": name}},)) for name in ("first", "second"))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    made = Cache(tmp_path, "here")
    made.write(FIRST)
    return made


@pytest.fixture(params=[errno.ENOSPC, errno.EROFS], ids=["full", "read-only"])
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, cache: Cache) -> Cache:
    """Written once, on a disk that takes nothing since; `monkeypatch.undo` mends it."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    if request.param == errno.EROFS:
        monkeypatch.setattr(tempfile, "mkstemp", refuse)
        monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(os, "fsync", refuse)
    return cache


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_a_disk_that_takes_nothing_is_said_once_and_leaves_the_last_file_and_no_other(broken, tmp_path, caplog):
    for _ in range(3):
        broken.write(SECOND)
    assert (broken.read(), names(tmp_path)) == (FIRST, [FILE])
    (record,) = caplog.records
    assert record.message.startswith(f"{tmp_path / FILE}: not written: ")
    assert record.exc_info is None


def test_what_could_not_be_written_is_written_as_soon_as_it_can_be(broken, monkeypatch, tmp_path, caplog):
    caplog.set_level(logging.INFO, "controller")
    broken.write(SECOND)
    monkeypatch.undo()
    broken.write(SECOND)
    assert (broken.read(), names(tmp_path)) == (SECOND, [FILE])
    broken.write(FIRST)
    assert caplog.messages[1:] == [f"{tmp_path / FILE}: written again"]


@pytest.mark.usefixtures("broken")
def test_an_agent_starts_from_a_disk_that_takes_nothing(tmp_path):
    again = Cache(tmp_path, "here")
    assert again.read() == FIRST


def test_a_folder_that_is_none_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CacheError, match="name a folder that Ballast may write to"):
        Cache(tmp_path / "file", "here")


@pytest.mark.usefixtures("cache")
def test_what_a_killed_agent_left_half_written_is_cleared_away(tmp_path):
    (tmp_path / f".{FILE}.ab12cd").write_bytes(b"{")
    (tmp_path / "somebody-elses").touch()
    Cache(tmp_path, "here")
    assert names(tmp_path) == [FILE, "somebody-elses"]


STRANGER = 4711
"""A user ID that nobody has."""


def given(path: Path, user: int) -> None:
    if os.geteuid():
        pytest.skip("only root gives files away")
    os.chown(path, user, user)


@pytest.mark.usefixtures("cache")
def test_a_folder_of_somebody_else_is_refused_with_the_remedy(tmp_path):
    given(tmp_path, STRANGER)
    message = rf"--cache-dir {tmp_path}: belongs to user 4711; name one of user 0's, which only that user may write to"
    with pytest.raises(CacheError, match=message):
        Cache(tmp_path, "here")


@pytest.mark.parametrize("mode", [0o777, 0o770], ids=oct)
@pytest.mark.usefixtures("cache")
def test_a_folder_that_others_could_write_to_is_emptied_and_closed(tmp_path, mode, caplog):
    tmp_path.chmod(mode)
    assert Cache(tmp_path, "here").read() is None
    assert tmp_path.stat().st_mode & 0o7777 == 0o700
    assert f"{tmp_path}/{FILE}: thrown away: others could have written it" in caplog.text


@pytest.mark.usefixtures("cache")
def test_roots_folder_that_others_could_write_to_is_refused_for_another_user(tmp_path, monkeypatch):
    given(tmp_path, 0)
    tmp_path.chmod(0o777)
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    with pytest.raises(CacheError, match=r"others may write to it; chmod go-w it, or name another folder"):
        Cache(tmp_path, "here")


@pytest.mark.parametrize(("mode", "content"), [(0o1777, []), (0o777, ["theirs"]), (0o2775, [FILE, "theirs"])])
def test_a_folder_that_is_not_for_the_cache_alone_is_refused_and_left_as_it_is(tmp_path, mode, content):
    """Such as /tmp, which nobody else could use any more."""
    for name in content:
        (tmp_path / name).touch()
    tmp_path.chmod(mode)
    with pytest.raises(CacheError, match="it is in use; name one that is for nothing else"):
        Cache(tmp_path, "here")
    assert (tmp_path.stat().st_mode & 0o7777, names(tmp_path)) == (mode, sorted(content))


@pytest.mark.usefixtures("cache")
def test_a_folder_that_is_closed_keeps_what_was_written(tmp_path):
    tmp_path.chmod(0o700)
    assert Cache(tmp_path, "here").read() == FIRST


def spoil_owner(file: Path) -> None:
    given(file, STRANGER)


def spoil_mode(file: Path) -> None:
    file.chmod(0o666)


def spoil_link(file: Path) -> None:
    file.rename(file.with_name("other"))
    file.symlink_to("other")


def spoil_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def spoil_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("spoil", [spoil_owner, spoil_mode, spoil_link, spoil_pipe, spoil_folder])
@pytest.mark.usefixtures("cache")
def test_a_file_that_others_could_have_made_is_ignored_and_said(tmp_path, spoil, caplog):
    tmp_path.chmod(0o700)
    spoil(tmp_path / FILE)
    assert Cache(tmp_path, "here").read() is None
    assert f"{tmp_path}/{FILE}: ignored, it cannot be read: " in caplog.text


@pytest.mark.parametrize(("room", "kept"), [(0, True), (-1, False)])
def test_a_file_is_written_and_read_up_to_its_largest_size(cache, tmp_path, monkeypatch, caplog, room, kept):
    size = (tmp_path / FILE).stat().st_size
    monkeypatch.setattr("controller.cluster.cache.MAXIMUM_SIZE", size + room)
    assert Cache(tmp_path, "here").read() == (FIRST if kept else None)
    other = Remembered(NODE, ({"metadata": {"name": "other"}},))
    cache.write(other)  # its name is as long
    monkeypatch.undo()
    assert cache.read() == (other if kept else FIRST)
    assert cache.retry is False
    assert [message.split(": ", 1)[1] for message in caplog.messages] == (
        []
        if kept
        else [
            f"ignored, it cannot be read: larger than {size - 1} bytes",
            f"not written: larger than {size - 1} bytes",
        ]
    )


def test_what_is_written_already_is_not_written_again(cache, tmp_path):
    (tmp_path / FILE).unlink()
    cache.write(FIRST)
    assert names(tmp_path) == []
    cache.write(SECOND)
    assert names(tmp_path) == [FILE]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"format": 2}, "format 2, not 1"),
        ({"node": NODE | {"name": "there"}}, "of node there, not here"),
        ({"node": NODE | {"labels": {"tier": 1}}}, "a name or label is not text"),
        ({"policies": [{"metadata": {"name": 1}}]}, "a name or label is not text"),
    ],
)
def test_a_file_of_another_form_or_node_is_ignored(cache, tmp_path, caplog, change, cause):
    document = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps(document | change))
    assert cache.read() is None
    assert caplog.messages == [f"{tmp_path / FILE}: ignored, it cannot be read: {cause}"]


def test_a_file_is_closed_to_others_and_on_one_line(cache, tmp_path):
    assert cache.read() == FIRST
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert " " not in (tmp_path / FILE).read_text()
