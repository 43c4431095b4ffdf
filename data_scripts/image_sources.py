"""Where pictures come from: a folder, a zip, an uncompressed tar, or the LMDB that LSUN is published in."""

import os
import stat
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath
from types import ModuleType

from archives import DAMAGED, tar_members, zip_members

from minegan_lite.data.folders import files_below
from minegan_lite.data.images import check_regular
from minegan_lite.errors import UserError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
LARGEST = 1 << 28  # bytes of one file: no picture is that large


class Unreadable(ValueError):
    """One file of a source is damaged; the others may be whole."""


def open_source(path: Path, folders: Collection[str] | None = None) -> tuple[list[str], Callable[[str], bytes]]:
    """The names of the pictures in a source, sorted, and the function that reads one of them by its name.

    folders: only pictures with one of these folders in their path; None: all. Names are paths within the source, with
    forward slashes; the same pictures have the same names in a folder and in its zip or tar.
    Raises UserError for a source that is missing, of another kind, damaged or hostile, or without such pictures; the
    function raises Unreadable for a damaged file.
    """
    try:
        is_folder = stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError) as error:
        why = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise UserError(f"{path} {why}: give the folder, zip or tar with the pictures") from None
    if is_folder:
        files, read = _lmdb(path) if (path / "data.mdb").exists() else _folder(path)
    elif path.suffix == ".zip":
        files, read = _zip(path)
    elif path.suffix == ".tar":
        files, read = _tar(path, folders)
    else:
        raise UserError(f"{path} is neither a folder nor a .zip nor a .tar: unpack it, and give the folder")

    def wanted(name: str) -> bool:
        parts = PurePosixPath(name).parts
        hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
        return not hidden and (folders is None or not set(parts[:-1]).isdisjoint(folders))

    names = sorted(filter(wanted, files))
    if not names:
        inside = f" in a folder called {' or '.join(sorted(folders))}" if folders else ""
        hint = "; it holds an LMDB: unpack it, and give the folder with data.mdb" if _hides_lmdb(path) else ""
        raise UserError(f"{path} holds no pictures{inside}{hint}")
    return names, read


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def _folder(path: Path) -> tuple[list[str], Callable[[str], bytes]]:
    def read(name: str) -> bytes:
        status = (path / name).stat()
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("no regular file")
        if status.st_size > LARGEST:
            raise Unreadable("too large")
        return (path / name).read_bytes()

    files = (file.relative_to(path).as_posix() for file in files_below(path))
    return list(filter(_is_picture, files)), read


def _zip(path: Path) -> tuple[list[str], Callable[[str], bytes]]:
    members = {member.filename: member for member in zip_members(path) if _is_picture(member.filename)}
    opened = zipfile.ZipFile(path)

    def read(name: str) -> bytes:
        member = members[name]
        if member.file_size > LARGEST:
            raise Unreadable("too large")
        try:
            with opened.open(member) as file:
                return file.read(member.file_size + 1)  # without a bound, whatever it unpacks to would be in memory
        except DAMAGED as error:
            raise Unreadable(type(error).__name__) from error

    return list(members), read


def _tar(path: Path, folders: Collection[str] | None) -> tuple[list[str], Callable[[str], bytes]]:
    places = {name: (at, size) for name, at, size in tar_members(path, folders) if _is_picture(name)}
    file = open(path, "rb")  # noqa: SIM115 — as long as the process

    def read(name: str) -> bytes:
        at, size = places[name]
        if size > LARGEST:
            raise Unreadable("too large")
        file.seek(at)
        return file.read(size)

    return list(places), read


def _lmdb(path: Path) -> tuple[list[str], Callable[[str], bytes]]:
    lmdb = need_lmdb()
    check_regular(path / "data.mdb")
    try:
        opened = lmdb.open(str(path), readonly=True, lock=False, readahead=False)
        transaction = opened.begin()
        keys = {key.decode("ascii"): key for key in transaction.cursor().iternext(values=False)}
    except (lmdb.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no readable LMDB of pictures ({error}): unpack it again") from error

    def read(name: str) -> bytes:
        try:
            content = transaction.get(keys[name])
        except lmdb.Error as error:
            raise Unreadable(type(error).__name__) from error
        if len(content) > LARGEST:
            raise Unreadable("too large")
        return content

    return list(keys), read


def need_lmdb() -> ModuleType:
    """The package lmdb. Raises UserError where it is not installed."""
    try:
        import lmdb
    except ImportError:
        raise UserError(
            "LSUN comes as LMDB: pip install lmdb, or give a folder of pictures exported with LSUN's own data.py"
        ) from None
    return lmdb


def _hides_lmdb(path: Path) -> bool:
    """Whether an LMDB lies deeper in a folder, or in a zip."""
    if path.is_dir():
        return any(file.name == "data.mdb" for file in files_below(path))
    return path.suffix == ".zip" and any(member.filename.endswith("data.mdb") for member in zip_members(path))
