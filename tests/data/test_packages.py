"""Files from wheels that pip really brings, from a folder in the place of an index; nothing of a package ever runs."""

import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from minegan_lite.data import packages
from minegan_lite.errors import UserError

pytestmark = pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="pip is what is tested")

CONTENT = bytes(range(256)) * 40
FILE = "tiny_gan/weights.pth"


def wheel(version: str = "1.0", name: str = "tiny_gan", **others: bytes) -> bytes:
    """A wheel whose module would leave a trace if it were imported."""
    buffer, info = io.BytesIO(), f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    members = {
        FILE: CONTENT,
        "tiny_gan/__init__.py": "raise SystemExit('imported')",
        f"{info}/METADATA": f"{metadata}Requires-Python: <3.8\nRequires-Dist: not-there\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(buffer, "w") as archive:
        for file, content in (members | others).items():
            archive.writestr(zipfile.ZipInfo(file), content)  # of one date, so that the wheel's hash is one
    return buffer.getvalue()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


TINY = {
    "package": "tiny-gan", "version": "1.0", "wheel": digest(wheel()), "file": FILE, "sha256": digest(CONTENT),
}  # fmt: skip
NAME = "tiny_gan-1.0-py3-none-any.whl"


@pytest.fixture
def index(monkeypatch, tmp_path):
    """A folder that pip takes packages from, instead of any index."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("MINEGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MINEGAN_OFFLINE", "0")
    return folder


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "packages"


def refused(**changes) -> str:
    """The one line that `member` raises."""
    with pytest.raises(UserError) as error:
        packages.member(**TINY | changes)
    assert "\n" not in str(error.value)
    return str(error.value)


def files(folder) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_file_is_fetched_once_and_nothing_of_its_package_is_imported_or_installed(index, cache, monkeypatch):
    (index / NAME).write_bytes(wheel())
    path = packages.member(**TINY)
    assert path == packages.place("tiny-gan", "1.0", FILE) == cache / "tiny-gan-1.0" / "weights.pth"
    assert path.read_bytes() == CONTENT
    assert files(cache) == ["tiny-gan-1.0/weights.pth", NAME]
    assert not {"tiny_gan"} & sys.modules.keys()
    (index / NAME).unlink()
    monkeypatch.setenv("MINEGAN_OFFLINE", "1")
    assert packages.member(**TINY) == path
    path.write_bytes(CONTENT[:-1])  # damaged: from the wheel again
    assert packages.member(**TINY).read_bytes() == CONTENT


def test_the_working_folder_is_not_imported_from(index, monkeypatch, tmp_path):
    (index / NAME).write_bytes(wheel())
    (tmp_path / "pip.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)
    assert packages.member(**TINY).read_bytes() == CONTENT


def test_a_wheel_brought_by_hand_is_found_under_any_spelling_and_offline(index, cache, monkeypatch):
    monkeypatch.setenv("MINEGAN_OFFLINE", "1")
    cache.mkdir(parents=True)
    (cache / "other-1.0-py3-none-any.whl").write_bytes(b"another package")
    (cache / "tiny_gan-2.0-py3-none-any.whl").write_bytes(b"another version")
    assert "MINEGAN_OFFLINE forbids" in refused()
    (cache / "Tiny.Gan-1.0-py2.py3-none-any.whl").write_bytes(wheel())
    assert packages.member(**TINY).read_bytes() == CONTENT


def test_the_command_that_is_named_brings_the_wheel(index, cache, monkeypatch):
    (index / NAME).write_bytes(wheel())
    monkeypatch.setenv("MINEGAN_OFFLINE", "1")
    command = refused().rpartition("run ")[2].split()
    subprocess.run([sys.executable, *command[1:]], check=True, capture_output=True)
    assert packages.member(**TINY).read_bytes() == CONTENT


@pytest.mark.parametrize("harm", ["truncated", "other bytes"])
def test_a_wheel_with_another_hash_is_not_opened(index, cache, harm):
    bad = {"truncated": wheel()[:-60], "other bytes": wheel(more=b"x")}[harm]
    cache.mkdir(parents=True)
    (cache / NAME).write_bytes(bad)  # by hand
    assert f"another wheel than expected ({digest(bad)[:12]}…" in refused()
    (cache / NAME).unlink()
    (index / NAME).write_bytes(wheel(more=b"x"))  # by pip, which itself refuses a truncated one
    assert "another wheel than expected" in refused()
    assert files(cache) == []


def test_a_truncated_wheel_of_the_index_is_one_line_and_leaves_nothing(index, tmp_path):
    (index / NAME).write_bytes(wheel()[:-60])
    assert "tiny-gan==1.0 cannot be fetched" in refused()
    assert not (tmp_path / "cache").exists()


def test_another_version_or_none_is_one_line_that_says_how_to_bring_it(index, tmp_path):
    assert "tiny-gan==1.0 cannot be fetched" in refused()
    (index / "tiny_gan-1.1-py3-none-any.whl").write_bytes(wheel("1.1"))
    line = refused()
    assert "No matching distribution found for tiny-gan==1.0" in line
    assert f"tiny-gan==1.0 -d {tmp_path / 'cache' / 'packages'} elsewhere, and bring the wheel here" in line


def test_the_setup_of_a_source_archive_does_not_run(index, tmp_path):
    trace = tmp_path / "ran"
    setup = f"open({str(trace)!r}, 'w').close()\nfrom setuptools import setup\nsetup(name='tiny-gan', version='1.0')\n"
    with tarfile.open(index / "tiny-gan-1.0.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("tiny-gan-1.0/setup.py")
        info.size = len(setup)
        archive.addfile(info, io.BytesIO(setup.encode()))
    assert "No matching distribution" in refused()
    assert not trace.exists()


def test_members_that_are_missing_outside_or_other_ones_are_not_taken(index, cache):
    hostile = wheel(**{"../../weights.pth": CONTENT, "/weights.pth": CONTENT})
    (index / NAME).write_bytes(hostile)
    given = {"wheel": digest(hostile)}
    for outside in ("../../weights.pth", "/weights.pth", "tiny_gan/../../weights.pth", "..\\weights.pth", "C:w.pth"):
        assert "outside of the wheel" in refused(**given, file=outside)
    assert not cache.exists()
    assert "holds no tiny_gan/critic.pth" in refused(**given, file="tiny_gan/critic.pth")
    assert "it was not taken" in refused(**given, sha256="0" * 64)
    assert files(cache) == [NAME]
    packages.member(**TINY | given)
    assert files(cache.parent.parent) == [f"cache/packages/{one}" for one in ("tiny-gan-1.0/weights.pth", NAME)] + [
        f"index/{NAME}"
    ]


def test_without_pip_there_is_one_line(index, monkeypatch, tmp_path):
    venv.create(tmp_path / "bare", with_pip=False)
    python = tmp_path / "bare" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(sys, "executable", str(python))
    assert refused() == "tiny-gan==1.0 is not here, and fetching it needs pip: python -m ensurepip brings that"


def test_a_cache_that_cannot_be_written_is_one_line(index, tmp_path):
    (index / NAME).write_bytes(wheel())
    (tmp_path / "cache").write_bytes(b"a file where the folder should be")
    assert "cannot be written" in refused()


def test_several_may_ask_at_once(index, cache):
    (index / NAME).write_bytes(wheel())
    with ThreadPoolExecutor(3) as pool:  # each with a pip of its own
        paths = [one.result() for one in [pool.submit(packages.member, **TINY) for _ in range(3)]]
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert files(cache) == ["tiny-gan-1.0/weights.pth", NAME]
