"""One downloader: a file is fetched once, whole and as promised, or there is one line and nothing is left behind."""

import hashlib

import pytest

from minegan_lite.data import download
from minegan_lite.errors import UserError

CONTENT = b"weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def url(serve, tmp_path):
    """Where CONTENT can be had."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "net.pth").write_bytes(CONTENT)
    return serve(tmp_path / "there") + "net.pth"


def refused(url: str, folder, digest: str = DIGEST) -> str:
    with pytest.raises(UserError) as error:
        download.fetched(url, digest, folder, "the net")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_is_fetched_once_and_again_where_it_was_damaged(url, tmp_path, monkeypatch):
    here = tmp_path / "new" / "here"
    path = download.fetched(url, DIGEST, here, "the net")
    assert path == here / "net.pth"
    assert path.read_bytes() == CONTENT
    path.write_bytes(CONTENT[:-1])
    assert download.fetched(url, DIGEST, here, "the net").read_bytes() == CONTENT
    (tmp_path / "there" / "net.pth").unlink()
    monkeypatch.setenv("MINEGAN_OFFLINE", "1")
    assert download.fetched(url, DIGEST, here, "the net") == path


def test_other_bytes_and_a_missing_file_leave_nothing(url, tmp_path):
    here = tmp_path / "here"
    assert "hash of downloaded file (net.pth) does not match" in refused(url, here, "0" * 64)
    assert f"go online, or put {url[:-1]} into {here}" in refused(url[:-1], here)
    assert list(here.iterdir()) == []


def test_offline_nothing_is_fetched_not_even_for_a_damaged_file(url, tmp_path, monkeypatch):
    monkeypatch.setenv("MINEGAN_OFFLINE", "1")
    assert refused(url, tmp_path / "here") == (
        f"MINEGAN_OFFLINE forbids fetching the net: unset it, or put {url} into {tmp_path / 'here'}"
    )
    assert not (tmp_path / "here").exists()
    (tmp_path / "net.pth").write_bytes(CONTENT[:-1])
    assert "MINEGAN_OFFLINE forbids" in refused(url, tmp_path)
