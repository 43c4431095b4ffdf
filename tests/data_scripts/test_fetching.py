"""Fetching: resumed where it was cut, trusted at first sight and never again, and one clear line for each failure."""

import hashlib
import json
import os
import random
import socket

import fetching
import pytest

from minegan_lite.errors import UserError
from minegan_lite.locks import locked

CONTENT = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)
TERMS = {"licence": "non-commercial", "page": "https://example.org/terms", "accept": True}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def fails(url: str | None, path, **options) -> str:
    """The one line with which fetch refuses."""
    with pytest.raises(UserError) as failure:
        fetching.fetch(url, path, **TERMS | options)
    message = str(failure.value)
    assert "\n" not in message
    return message


@pytest.fixture
def cut(remote, tmp_path):
    """Path of a file whose download was cut after 100,000 bytes; the server has mended since."""
    remote.content, remote.cut = CONTENT, 100_000
    message = fails(remote.url, tmp_path / "file.pt")
    assert "0.1 MB are kept" in message
    assert "run this again" in message
    remote.cut = None
    return tmp_path / "file.pt"


def test_a_file_arrives_whole_with_its_record(remote, tmp_path):
    remote.content = CONTENT
    path = tmp_path / "new folder" / "file.pt"
    record = fetching.fetch(remote.url, path, **TERMS)
    assert path.read_bytes() == CONTENT
    assert (record["sha256"], record["bytes"]) == (digest(CONTENT), len(CONTENT))
    assert (record["url"], record["accepted_licence"]) == (remote.url, "non-commercial")
    assert json.loads((path.parent / "file.pt.json").read_text()) == record
    assert sorted(file.name for file in path.parent.iterdir()) == ["file.pt", "file.pt.json"]


def test_a_second_call_asks_nobody(remote, tmp_path):
    remote.content = CONTENT
    record = fetching.fetch(remote.url, tmp_path / "file.pt", **TERMS)
    assert fetching.fetch(remote.url, tmp_path / "file.pt", **TERMS | {"accept": False}) == record
    assert len(remote.asked) == 1


def test_a_cut_download_goes_on(remote, cut):
    fetching.fetch(remote.url, cut, **TERMS)
    assert cut.read_bytes() == CONTENT
    assert remote.asked == [None, f"bytes={fetching.CHUNK}-"]
    assert sorted(file.name for file in cut.parent.iterdir()) == ["file.pt", "file.pt.json"]


def test_a_server_that_sends_ranges_in_pieces_is_asked_again(remote, cut):
    remote.most = 200_000
    assert "0.3 MB are kept" in fails(remote.url, cut)
    fetching.fetch(remote.url, cut, **TERMS)
    assert cut.read_bytes() == CONTENT


def test_a_download_that_was_cut_after_its_last_byte_asks_nobody(remote, cut):
    part = cut.with_name("file.pt.part")
    part.write_bytes(CONTENT)
    fetching.fetch(remote.url, cut, **TERMS)
    assert cut.read_bytes() == CONTENT
    assert len(remote.asked) == 1


@pytest.mark.parametrize("case", ["another file", "no ranges", "another length", "no version"])
def test_where_a_download_cannot_go_on_it_begins_again(remote, tmp_path, case):
    """Never the head of one file and the tail of another: first sight would record such a thing as right."""
    remote.versioned = case != "no version"
    remote.content, remote.cut = CONTENT, 100_000
    fails(remote.url, tmp_path / "file.pt")
    remote.cut = None
    remote.content = OTHER if case == "another file" else CONTENT
    remote.ranges = case != "no ranges"
    remote.total = 400_000 if case == "another length" else None
    record = fetching.fetch(remote.url, tmp_path / "file.pt", **TERMS)
    assert (tmp_path / "file.pt").read_bytes() == remote.content
    assert record["sha256"] == digest(remote.content)


def test_what_was_first_seen_must_come_again(remote, tmp_path):
    remote.content = CONTENT
    path = tmp_path / "file.pt"
    record = fetching.fetch(remote.url, path, **TERMS)
    path.unlink()
    remote.content = OTHER
    message = fails(remote.url, path)
    assert "is not the file that has sha256:" + digest(CONTENT) in message
    assert "delete file.pt.json" in message
    assert not path.exists()
    remote.content = CONTENT
    assert fetching.fetch(remote.url, path, **TERMS) == record


def test_a_damaged_file_is_replaced(remote, tmp_path):
    remote.content = CONTENT
    path = tmp_path / "file.pt"
    fetching.fetch(remote.url, path, **TERMS)
    path.write_bytes(OTHER)
    fetching.fetch(remote.url, path, **TERMS)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("published", [{"md5": "0" * 32}, {"prefix": "0" * 8}])
def test_a_published_hash_is_checked_at_first_sight(remote, tmp_path, published):
    remote.content = CONTENT
    assert "0" * 8 in fails(remote.url, tmp_path / "file.pt", **published)
    assert list(tmp_path.iterdir()) == []


def test_the_right_published_hashes_are_accepted(remote, tmp_path):
    remote.content = CONTENT
    fetching.fetch(remote.url, tmp_path / "a", **TERMS, prefix=digest(CONTENT)[:8])
    fetching.fetch(remote.url, tmp_path / "b", **TERMS, md5=hashlib.md5(CONTENT).hexdigest())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == CONTENT


def test_without_the_licence_nothing_is_asked_for(remote, tmp_path):
    message = fails(remote.url, tmp_path / "new" / "file.pt", accept=False)
    assert "non-commercial" in message
    assert "--accept-licence" in message
    assert remote.asked == []
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("status", [403, 404, 410, 500])
def test_a_moved_file_is_one_line_with_the_way_by_hand(remote, tmp_path, status):
    remote.status = status
    message = fails(remote.url, tmp_path / "file.pt")
    assert f"HTTP {status}" in message
    assert "https://example.org/terms" in message
    assert str(tmp_path / "file.pt") in message


def test_a_web_page_is_no_file(remote, tmp_path):
    remote.content, remote.type = b"<html>quota exceeded</html>", "text/html; charset=utf-8"
    assert "a web page came instead of the file" in fails(remote.url, tmp_path / "file.pt")
    assert not (tmp_path / "file.pt").exists()


def test_no_network_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("MINEGAN_OFFLINE", "0")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: a connection is refused
        message = fails(f"http://127.0.0.1:{taken.getsockname()[1]}/file", tmp_path / "file.pt")
    assert "the connection to 127.0.0.1" in message
    assert "run this again" in message


@pytest.mark.parametrize("word", [None, "", " ", "0", "false", "False", "no", "OFF"])
def test_words_for_online(word, remote, tmp_path, monkeypatch):
    monkeypatch.delenv("MINEGAN_OFFLINE") if word is None else monkeypatch.setenv("MINEGAN_OFFLINE", word)
    remote.content = CONTENT
    fetching.fetch(remote.url, tmp_path / "file.pt", **TERMS)
    assert len(remote.asked) == 1


@pytest.mark.parametrize("word", ["1", "true", "yes", "On", "2", "offline", "whatever"])
def test_offline_forbids_it(word, remote, tmp_path, monkeypatch):
    """A word that is not known forbids as well: a connection that nobody wanted cannot be taken back."""
    monkeypatch.setenv("MINEGAN_OFFLINE", word)
    assert "MINEGAN_OFFLINE" in fails(remote.url, tmp_path / "file.pt")
    assert remote.asked == []


def test_a_folder_that_cannot_be_written_is_one_line(remote, tmp_path):
    remote.content = CONTENT
    (tmp_path / "folder").write_text("a file")
    assert str(tmp_path / "folder") in fails(remote.url, tmp_path / "folder" / "file.pt")
    assert (tmp_path / "folder").read_text() == "a file"


def test_a_file_brought_by_hand_is_first_sight(tmp_path):
    path = tmp_path / "file.pt"
    assert "save the file as" in fails(None, path)
    path.write_bytes(CONTENT)
    assert fetching.fetch(None, path, **TERMS)["sha256"] == digest(CONTENT)
    path.write_bytes(OTHER)
    assert "save the file as" in fails(None, path)


def test_a_wrong_file_brought_by_hand_is_refused(tmp_path):
    (tmp_path / "file.pt").write_bytes(OTHER)
    assert "not the published file" in fails(None, tmp_path / "file.pt", prefix=digest(CONTENT)[:8])
    assert "not the published file" in fails(None, tmp_path / "file.pt", md5=hashlib.md5(CONTENT).hexdigest())


RECORD = {"url": "u", "sha256": digest(CONTENT), "bytes": 300_000, "first_seen": "2026-01-01", "accepted_licence": "l"}


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "3", "null", "[" * 100_000, "\udcff", json.dumps({"sha256": digest(CONTENT)})]
    + [json.dumps(RECORD | wrong) for wrong in ({"sha256": 3}, {"sha256": "x"}, {"bytes": "1"}, {"first_seen": None})]
    + [json.dumps(RECORD | {"bytes": float("nan")})],
)
def test_a_damaged_record_is_one_line(text, tmp_path):
    (tmp_path / "file.pt").write_bytes(CONTENT)
    (tmp_path / "file.pt.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert "file.pt.json is damaged: delete it" in fails(None, tmp_path / "file.pt")
    (tmp_path / "file.pt.json").write_text(json.dumps(RECORD))
    assert fetching.fetch(None, tmp_path / "file.pt", **TERMS) == RECORD


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"version": 3, "total": 300000}', '{"version": null, "total": "x"}'])
def test_a_damaged_note_begins_the_download_again(remote, cut, note):
    cut.with_name("file.pt.part.json").write_text(note)
    fetching.fetch(remote.url, cut, **TERMS)
    assert cut.read_bytes() == CONTENT
    assert remote.asked == [None, None]


# --- opened before it is trusted --------------------------------------------------------------------------------

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 300000\n"


@pytest.mark.parametrize(
    "impostor", [b"<!DOCTYPE html><p>quota exceeded", POINTER, b""], ids=["page", "pointer", "empty"]
)
def test_what_is_no_file_is_not_recorded_and_the_good_one_is_taken(remote, tmp_path, impostor):
    """Under any type that a server may give it, and brought by hand."""
    remote.content = impostor
    assert "save the file as" in fails(remote.url, tmp_path / "file.pt")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file.pt").write_bytes(impostor)
    assert "delete" in fails(remote.url, tmp_path / "file.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["file.pt"]
    (tmp_path / "file.pt").unlink()
    remote.content = CONTENT
    assert fetching.fetch(remote.url, tmp_path / "file.pt", **TERMS)["sha256"] == digest(CONTENT)


def test_what_does_not_open_is_not_recorded(remote, tmp_path):
    def opens(path):
        if path.read_bytes() != CONTENT:
            raise UserError("it does not open")

    remote.content = OTHER
    assert "it does not open" in fails(remote.url, tmp_path / "file.pt", opens=opens)
    assert list(tmp_path.iterdir()) == []
    remote.content = CONTENT
    fetching.fetch(remote.url, tmp_path / "file.pt", **TERMS, opens=opens)


def test_a_quota_page_does_not_cost_what_has_come(remote, cut):
    remote.content, remote.type = b"<html>quota exceeded</html>", "text/html"
    assert "a web page came" in fails(remote.url, cut)
    remote.content, remote.type = CONTENT, "application/zip"
    fetching.fetch(remote.url, cut, **TERMS)
    assert remote.asked[-1] == f"bytes={fetching.CHUNK}-"


# --- other processes, kills, and what is in the way -------------------------------------------------------------


def test_one_process_fetches_at_a_time(remote, tmp_path):
    remote.content = CONTENT
    with locked(tmp_path):
        assert "another process is writing" in fails(remote.url, tmp_path / "file.pt")
    record = fetching.fetch(remote.url, tmp_path / "file.pt", **TERMS)
    with locked(tmp_path):
        assert fetching.fetch(remote.url, tmp_path / "file.pt", **TERMS) == record  # which needs no writing


def test_a_kill_between_the_file_and_its_record(remote, tmp_path, monkeypatch):
    """The file is in its place, whole, and nothing is recorded: it is opened, and taken, without the network."""
    remote.content, path = CONTENT, tmp_path / "file.pt"

    def killed(at, content, write=fetching.write_atomically):
        if at.name == "file.pt.json":
            raise KeyboardInterrupt
        write(at, content)

    with monkeypatch.context() as patch:
        patch.setattr(fetching, "write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            fetching.fetch(remote.url, path, **TERMS)
    assert path.read_bytes() == CONTENT
    fetching.fetch(remote.url, path, **TERMS)
    assert len(remote.asked) == 1
    (tmp_path / "file.pt.part.json").write_text("{}")  # as a kill just behind the last record leaves it
    fetching.fetch(remote.url, path, **TERMS)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file.pt", "file.pt.json"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_says_what_is_kept(remote, tmp_path, monkeypatch):
    remote.content = CONTENT
    real = open

    def full(path, mode="r", *args, **kwargs):
        return real("/dev/full" if str(path).endswith(".part") and "a" in mode else path, mode, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(fetching, "open", full, raising=False)
        line = fails(remote.url, tmp_path / "file.pt")
    assert "No space left on device" in line
    assert "MB are kept" in line
    fetching.fetch(remote.url, tmp_path / "file.pt", **TERMS)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file.pt", "file.pt.json"]


@pytest.mark.parametrize("name", ["file.pt", "file.pt.part"])
def test_a_pipe_in_the_way_is_not_waited_for(remote, tmp_path, name):
    remote.content = CONTENT
    os.mkfifo(tmp_path / name)
    if name == "file.pt":
        assert "is a pipe" in fails(remote.url, tmp_path / name)
    else:
        fetching.fetch(remote.url, tmp_path / "file.pt", **TERMS)
