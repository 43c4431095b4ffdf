"""Archives of strangers: what they hold, refused whole where a member would leave its folder or is a link."""

import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from minegan_lite.data.images import check_regular
from minegan_lite.errors import UserError
from minegan_lite.locks import locked

# what a spoilt member of a zip raises
DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, NotImplementedError, RuntimeError)
PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile unpacks what the others hold without any bound
NESTED = 3  # tars within tars; ImageNet's are one deep
RATIO = 10  # the most by which pictures, compressed as they are, can be packed smaller
CHUNK = 1 << 20  # bytes


def check_member(name: str, link: bool, archive: Path) -> None:
    """Raises UserError for a member that is a link or whose name points outside the folder it is unpacked into."""
    parts = PurePosixPath(name.replace("\\", "/"))
    if not name or link or parts.is_absolute() or ".." in parts.parts or ":" in name or "\0" in name:
        what = "a link" if link else "a name that leaves its folder" if name else "no name"
        raise UserError(f"{archive} was not opened: its member {name!r} is {what}; get the archive from its origin")


def zip_members(archive: Path) -> list[zipfile.ZipInfo]:
    """The files in a zip, every member checked.

    Raises UserError for a zip that is damaged, encrypted, packed by other means than deflate, or hostile.
    """
    check_regular(archive)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
        if not all(0 <= member.header_offset < archive.stat().st_size for member in members):
            raise zipfile.BadZipFile
    except Exception as error:  # zipfile meets spoilt directories with many kinds of exception
        raise UserError(f"{archive} is no readable zip ({type(error).__name__}): fetch it again") from error
    for member in members:
        check_member(member.filename, stat.S_ISLNK(member.external_attr >> 16), archive)
    if any(member.flag_bits & 1 for member in members):
        raise UserError(f"{archive} is encrypted: unpack it, and give the folder")
    if other := [member for member in members if member.compress_type not in PLAIN]:
        kind = zipfile.compressor_names.get(other[0].compress_type, "unknown")
        raise UserError(f"{archive} is packed by {kind}, not by deflate: unpack it, and give the folder")
    return [member for member in members if not member.is_dir()]


def check_archive(archive: Path, name: str) -> None:
    """Raises UserError where not every byte of an archive is as it was packed; name: it ends in .zip or .tar."""
    if name.endswith(".tar"):
        for _ in tar_members(archive, ()):
            pass  # a tar has checksums of its headers alone
        return
    members = zip_members(archive)
    if sum(member.file_size for member in members) > RATIO * archive.stat().st_size:
        raise UserError(f"{archive} unpacks to more than {RATIO} times its size, pictures do not: get it elsewhere")
    try:
        with zipfile.ZipFile(archive) as opened:
            spoilt = opened.testzip()
    except DAMAGED as error:
        spoilt = type(error).__name__
    if spoilt:
        raise UserError(f"{archive} is damaged at {spoilt}: fetch it again")


def tar_members(
    archive: Path, folders: Collection[str] | None, at: int = 0, depth: int = 0
) -> Iterator[tuple[str, int, int]]:
    """(name, position in the file, bytes) of the files in an uncompressed tar, every member checked.

    folders: only files with one of these folders in their path; None: all. A tar within the tar, as ImageNet's classes
    come, counts as the folder of its name. at: where in the file the tar begins; depth: within how many others.
    Raises UserError for a tar that is damaged, compressed (a compressed one cannot be read at random), nested more than
    NESTED deep, or hostile.
    """
    if depth > NESTED:
        raise UserError(f"{archive} holds tars within tars, more than {NESTED} deep: unpack it, and give the folder")
    check_regular(archive)
    try:
        with open(archive, "rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(at)
            with tarfile.open(fileobj=file, mode="r:") as opened:
                before = at
                for member in opened:
                    opened.members = []  # tarfile would keep all of them: gigabytes for the millions of Places365
                    # tarfile would go round for ever by a negative size, and read zeros where there is nothing
                    if not before <= member.offset < member.offset_data <= member.offset_data + member.size <= end:
                        raise tarfile.ReadError("a member outside of the archive")
                    before = member.offset_data
                    if member.isdir():
                        continue
                    check_member(member.name, not member.isfile() or member.issparse(), archive)
                    path = PurePosixPath(member.name)
                    if path.suffix == ".tar":
                        if folders is None or path.stem in folders:
                            for name, position, size in tar_members(archive, None, member.offset_data, depth + 1):
                                yield str(path.with_suffix("") / name), position, size
                    elif folders is None or not set(path.parts[:-1]).isdisjoint(folders):
                        yield member.name, member.offset_data, member.size
                file.seek(opened.offset)
                if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # tarfile takes damage for the end
                    raise tarfile.ReadError("no end of the archive")
    except UserError:
        raise
    except Exception as error:  # tarfile meets spoilt headers with many kinds of exception
        raise UserError(
            f"{archive} is no readable uncompressed tar ({type(error).__name__}): decompress it, or fetch it again"
        ) from error


def unpack(archive: Path, folder: Path, wanted: Collection[str], most: int) -> list[Path]:
    """Unpacks from a zip the files of these names, whatever folder of the archive they are in, and returns their paths.

    most: bytes that they may take, all together. Files that are there as in the archive are left alone, others appear
    whole or not at all. Raises UserError for an archive that is damaged or hostile, or holds no file or several files
    of a name, or larger ones; and where another process is writing into the folder.
    """
    found = {name: [m for m in zip_members(archive) if PurePosixPath(m.filename).name == name] for name in wanted}
    if wrong := [name for name, members in found.items() if len(members) != 1]:
        raise UserError(f"{archive} should hold {', '.join(wrong)} once: it is not the archive that was expected")
    if (size := sum(member.file_size for (member,) in found.values())) > most:
        raise UserError(f"{archive} unpacks to {size / 1e6:,.0f} MB, {most / 1e6:,.0f} are expected at most: not done")
    if all(_same(folder / name, member) for name, (member,) in found.items()):
        return [folder / name for name in found]
    with locked(folder), zipfile.ZipFile(archive) as opened:
        for name, (member,) in found.items():
            path = folder / name
            if _same(path, member):
                continue
            part = path.with_name(f"{name}.part")  # of one process at a time
            try:
                with opened.open(member) as packed, open(part, "wb") as file:
                    shutil.copyfileobj(packed, file, CHUNK)  # zipfile gives no more than the size checked above
                os.replace(part, path)
            except DAMAGED as error:
                raise UserError(f"{archive} is damaged at {name}: fetch it again") from error
            finally:
                part.unlink(missing_ok=True)
    return [folder / name for name in found]


def _same(path: Path, member: zipfile.ZipInfo) -> bool:
    """Whether a file is what a zip's directory says of it."""
    if not path.is_file() or path.stat().st_size != member.file_size:
        return False
    crc = 0
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc == member.CRC
