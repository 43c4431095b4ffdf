"""Archives of strangers: what they hold, refused whole where a member would leave its folder or is a link."""

import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from minegan_lite.errors import UserError

DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)  # what a spoilt member of a zip raises


def check_member(name: str, link: bool, archive: Path) -> None:
    """Raises UserError for a member that is a link or whose name points outside the folder it is unpacked into."""
    parts = PurePosixPath(name.replace("\\", "/"))
    if link or parts.is_absolute() or ".." in parts.parts or ":" in name or "\0" in name:
        what = "a link" if link else "a name that leaves its folder"
        raise UserError(f"{archive} was not opened: its member {name!r} is {what}; get the archive from its origin")


def zip_members(archive: Path) -> list[zipfile.ZipInfo]:
    """The files in a zip, every member checked. Raises UserError for a zip that is damaged, encrypted or hostile."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{archive} is no readable zip ({type(error).__name__}): fetch it again") from error
    for member in members:
        check_member(member.filename, stat.S_ISLNK(member.external_attr >> 16), archive)
    if any(member.flag_bits & 1 for member in members):
        raise UserError(f"{archive} is encrypted: unpack it, and give the folder")
    return [member for member in members if not member.is_dir()]


def tar_members(archive: Path, folders: Collection[str] | None, at: int = 0) -> Iterator[tuple[str, int, int]]:
    """(name, position in the file, bytes) of the files in an uncompressed tar, every member checked.

    folders: only files with one of these folders in their path; None: all. A tar within the tar, as ImageNet's classes
    come, counts as the folder of its name. at: where in the file the tar begins.
    Raises UserError for a tar that is damaged, compressed (a compressed one cannot be read at random) or hostile.
    """
    try:
        with open(archive, "rb") as file:
            file.seek(at)
            with tarfile.open(fileobj=file, mode="r:") as opened:
                for member in opened:
                    opened.members = []  # tarfile would keep all of them: gigabytes for the millions of Places365
                    if member.isdir():
                        continue
                    check_member(member.name, not member.isfile(), archive)
                    path = PurePosixPath(member.name)
                    if path.suffix == ".tar":
                        if folders is None or path.stem in folders:
                            for name, position, size in tar_members(archive, None, member.offset_data):
                                yield str(path.with_suffix("") / name), position, size
                    elif folders is None or not set(path.parts[:-1]).isdisjoint(folders):
                        yield member.name, member.offset_data, member.size
                file.seek(opened.offset)
                if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # tarfile takes damage for the end
                    raise tarfile.ReadError("no end of the archive")
    except (OSError, tarfile.TarError) as error:
        raise UserError(
            f"{archive} is no readable uncompressed tar ({type(error).__name__}): decompress it, or fetch it again"
        ) from error


def unpack(archive: Path, folder: Path, wanted: Collection[str]) -> list[Path]:
    """Unpacks from a zip the files of these names, whatever folder of the archive they are in, and returns their paths.

    Files that are there in full are left alone, others appear whole or not at all. Raises UserError for an archive that
    is damaged or hostile, or holds no file or several files of a name.
    """
    found = {name: [m for m in zip_members(archive) if PurePosixPath(m.filename).name == name] for name in wanted}
    if wrong := [name for name, members in found.items() if len(members) != 1]:
        raise UserError(f"{archive} should hold {', '.join(wrong)} once: it is not the archive that was expected")
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive) as opened:
        for name, (member,) in found.items():
            path = folder / name
            if path.exists() and path.stat().st_size == member.file_size:
                continue
            part = path.with_name(f"{name}.part")
            try:
                with opened.open(member) as packed, open(part, "wb") as file:
                    shutil.copyfileobj(packed, file, 1 << 20)
            except DAMAGED as error:
                part.unlink(missing_ok=True)
                raise UserError(f"{archive} is damaged at {name}: fetch it again") from error
            os.replace(part, path)
    return [folder / name for name in found]
