"""Sources of pictures: the same names and bytes from folder, zip, tar and LMDB; hostile and damaged ones refused."""

import contextlib
import os
import stat
import struct
import sys
import tarfile
import tracemalloc
import types
import zipfile

import image_sources
import pytest
from archives import NESTED, unpack
from image_sources import Unreadable, open_source
from pictures import folder, picture, tarred, zipped

from minegan_lite.errors import UserError
from minegan_lite.locks import locked

FILES = {f"set/{name}": picture(i) for i, name in enumerate(("b.png", "a/2.JPEG", "a/1.jpg", "arch/x.webp"))}
OTHERS = {"set/readme.txt": b"text", "set/.hidden.png": b"x", "__MACOSX/a.png": b"x"}


def refusal(path, folders=None) -> str:
    with pytest.raises(UserError) as failure:
        open_source(path, folders)
    assert "\n" not in str(failure.value)
    return str(failure.value)


@pytest.fixture(params=["folder", "zip", "tar"])
def source(request, tmp_path):
    files = dict(reversed((FILES | OTHERS).items()))  # whatever order they were packed in
    make = {"folder": folder, "zip": zipped, "tar": tarred}[request.param]
    return make(tmp_path / f"source.{request.param}", files)


def test_names_are_sorted_and_the_same_for_every_kind(source):
    names, read = open_source(source)
    assert names == sorted(FILES)
    assert {name: read(name) for name in reversed(names)} == FILES


def test_only_the_wanted_folders(source):
    names, read = open_source(source, ["arch", "nothing"])
    assert names == ["set/arch/x.webp"]
    assert read(names[0]) == FILES["set/arch/x.webp"]
    assert "no pictures in a folder called ballroom" in refusal(source, ["ballroom"])


def test_a_tar_of_tars_as_imagenet_is(tmp_path):
    """The classes of ILSVRC2012_img_train.tar are tars themselves; those that nobody asked for are not even opened."""
    inner = {n: tarred(tmp_path / n, {f"{n}_{i}.JPEG": picture(i) for i in (2, 1)}) for n in ("n01", "n02")}
    members = {"n00.tar": b"not a tar"} | {f"{n}.tar": path.read_bytes() for n, path in inner.items()}
    names, read = open_source(tarred(tmp_path / "train.tar", members), ["n01", "n02"])
    assert names == ["n01/n01_1.JPEG", "n01/n01_2.JPEG", "n02/n02_1.JPEG", "n02/n02_2.JPEG"]
    assert read("n02/n02_1.JPEG") == picture(1)
    assert "no readable uncompressed tar" in refusal(tmp_path / "train.tar")


@pytest.mark.parametrize("name", ["../x.png", "/x.png", "a/../../x.png", "..\\x.png", "C:\\x.png"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_leaves_its_folder_is_refused(tmp_path, kind, name):
    make = {"zip": zipped, "tar": tarred}[kind]
    path = make(tmp_path / f"source.{kind}", {"a.png": picture(0), name: picture(1)})
    assert "leaves its folder" in refusal(path)


def test_links_in_archives_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        member = zipfile.ZipInfo("a.png")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    assert "is a link" in refusal(tmp_path / "a.zip")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
        with tarfile.open(tmp_path / "a.tar", "w") as archive:
            member = tarfile.TarInfo("a.png")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        assert "is a link" in refusal(tmp_path / "a.tar")


def test_a_damaged_member_does_not_spoil_the_others(tmp_path):
    path = zipped(tmp_path / "a.zip", {"a.png": bytes(1000), "b.png": picture(1)})
    content = bytearray(path.read_bytes())
    content[35] ^= 255  # within the packed bytes of the first
    path.write_bytes(content)
    names, read = open_source(path)
    with pytest.raises(Unreadable):
        read(names[0])
    assert read(names[1]) == picture(1)


def test_a_member_too_large_for_a_picture_is_not_read(source, monkeypatch):
    monkeypatch.setattr(image_sources, "LARGEST", 10)
    names, read = open_source(source)
    with pytest.raises(Unreadable, match="too large"):
        read(names[0])


def test_what_is_no_source_is_one_line(tmp_path):
    assert "does not exist" in refusal(tmp_path / "nothing.zip")
    (tmp_path / "a.zip").write_bytes(b"PK no zip")
    assert "no readable zip" in refusal(tmp_path / "a.zip")
    (tmp_path / "a.rar").write_bytes(b"x")
    assert "neither a folder nor" in refusal(tmp_path / "a.rar")
    tarred(tmp_path / "b.tar", FILES, "w:gz")
    assert "decompress it" in refusal(tmp_path / "b.tar")
    content = tarred(tmp_path / "c.tar", FILES).read_bytes()
    for end in (100, 1000, 1536):  # within a header, within a picture, and between two members
        (tmp_path / "c.tar").write_bytes(content[:end])
        assert "no readable uncompressed tar" in refusal(tmp_path / "c.tar")
    (tmp_path / "empty").mkdir()
    assert "holds no pictures" in refusal(tmp_path / "empty")


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 93, 999])
def test_a_zip_packed_by_other_means_is_refused(tmp_path, kind):
    """zipfile would unpack a member of gigabytes at once, and meets damage in it with errors of several modules."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", min(kind, 14)) as archive:
        archive.writestr("a.png", bytes(1000))
    content = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        start = content.index(signature) + at
        content[start : start + 2] = kind.to_bytes(2, "little")
    path.write_bytes(content)
    assert "not by deflate" in refusal(path)


def test_a_member_that_lies_about_its_size_takes_no_memory(tmp_path):
    """200 MB of zeros behind a header that claims 1000 bytes."""
    path = zipped(tmp_path / "a.zip", {"a.png": bytes(200_000_000), "b.png": picture(1)})
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 200_000_000), struct.pack("<I", 1000)))
    _, read = open_source(path)
    tracemalloc.start()
    with pytest.raises(Unreadable):
        read("a.png")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000
    assert read("b.png") == picture(1)


@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_no_damage_to_an_archive_is_more_than_one_line(tmp_path, suffix):
    """Every byte in turn: the whole zip, of the tar its first header and picture."""
    make = {"zip": zipped, "tar": tarred}[suffix]
    path = make(tmp_path / f"a.{suffix}", {"a/1.png": b"first", "b.png": b"second"})
    content, refused = path.read_bytes(), 0
    for at in range(min(len(content), 520)):
        for value in (0, 0x80 + at % 2 * 0x7F):
            path.write_bytes(content[:at] + bytes([value]) + content[at + 1 :])
            try:
                names, read = open_source(path)
            except UserError as error:
                refused += "\n" not in str(error)
                continue
            for name in names:
                with contextlib.suppress(Unreadable):
                    read(name)
    assert refused > 30


def test_a_tar_whose_members_go_backwards_ends(tmp_path):
    path = tarred(tmp_path / "a.tar", {f"{i}.png": b"x" for i in range(3)})
    content, last = bytearray(path.read_bytes()), slice(2048, 2560)
    header = content[last]
    header[124:136] = (-1536).to_bytes(12, "big", signed=True)  # its size: back to the second
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    content[last] = header
    path.write_bytes(content)
    assert "no readable uncompressed tar" in refusal(path)


def test_tars_within_tars_have_an_end(tmp_path):
    path = tarred(tmp_path / "0.tar", {"a.png": picture(0)})
    for depth in range(1, 6):
        path = tarred(tmp_path / f"{depth}.tar", {path.name: path.read_bytes()})
        if depth <= NESTED:
            assert open_source(path)[0][0].endswith("/a.png")
        else:
            assert f"more than {NESTED} deep" in refusal(path)


def test_names_that_are_no_utf8_are_names(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    sources = [folder(tmp_path / "folder", {name: b"x"}), tarred(tmp_path / "a.tar", {name: b"x"})]
    for source in sources:
        names, read = open_source(source)
        assert (names, read(name)) == ([name], b"x")


def test_only_regular_files_are_opened(tmp_path):
    source = folder(tmp_path / "source", {"a.png": picture(0)})
    os.mkfifo(source / "b.png")
    _, read = open_source(source)
    assert read("a.png") == picture(0)
    with pytest.raises(Unreadable, match="no regular file"):
        read("b.png")
    for name in ("a.zip", "a.tar", "lmdb/data.mdb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        os.mkfifo(tmp_path / name)
    assert "is a pipe" in refusal(tmp_path / "a.zip")
    assert "is a pipe" in refusal(tmp_path / "a.tar")
    (tmp_path / "b.zip").mkdir()
    assert "holds no pictures" in refusal(tmp_path / "b.zip")
    assert "cannot be read" in refusal(tmp_path / ("x" * 300))


def test_an_encrypted_zip_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", {"a.png": b"x"})
    content = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + at] |= 1
    path.write_bytes(content)
    assert "is encrypted" in refusal(path)


# --- LSUN's LMDB ------------------------------------------------------------------------------------------------


def stand_in(files: dict[str, bytes]) -> types.ModuleType:
    """The part of the package lmdb that is used, as its documentation has it: keys come sorted, as bytes."""
    lmdb = types.ModuleType("lmdb")
    lmdb.Error = type("Error", (Exception,), {})
    stored = {name.encode(): content for name, content in sorted(files.items())}

    class Transaction:
        def cursor(self):
            return self

        def iternext(self, keys=True, values=True):
            assert (keys, values) == (True, False)
            return iter(stored)

        def get(self, key):
            return stored[key]

    def opened(path, *, readonly, lock, readahead):
        assert (readonly, lock) == (True, False)
        return types.SimpleNamespace(begin=Transaction)

    lmdb.open = opened
    return lmdb


def test_an_lmdb_is_read_by_its_keys(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", stand_in({"b": picture(1), "a": picture(0)}))
    (tmp_path / "data.mdb").write_bytes(b"")
    names, read = open_source(tmp_path)
    assert names == ["a", "b"]
    assert read("b") == picture(1)


def test_a_pipe_in_the_place_of_an_lmdb_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", stand_in({}))
    os.mkfifo(tmp_path / "data.mdb")
    assert "is a pipe" in refusal(tmp_path)


def test_without_the_package_one_line_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    (tmp_path / "data.mdb").write_bytes(b"")
    assert "pip install lmdb" in refusal(tmp_path)


def test_an_lmdb_that_is_hidden_is_pointed_at(tmp_path):
    folder(tmp_path, {"tower/tower_train_lmdb/data.mdb": b""})
    assert "data.mdb" in refusal(tmp_path)
    assert "data.mdb" in refusal(zipped(tmp_path / "tower.zip", {"tower_train_lmdb/data.mdb": b""}))


def test_unpacking_leaves_alone_what_is_there_in_full(tmp_path):
    path = zipped(tmp_path / "a.zip", {"deep/data.mdb": b"12345", "deep/lock.mdb": b"x"})
    (unpacked,) = unpack(path, tmp_path / "out", ["data.mdb"], 10_000)
    assert (unpacked, unpacked.read_bytes()) == (tmp_path / "out" / "data.mdb", b"12345")
    before = unpacked.stat().st_mtime_ns
    unpack(path, tmp_path / "out", ["data.mdb"], 10_000)
    assert unpacked.stat().st_mtime_ns == before
    unpacked.write_bytes(b"123")  # as a killed copy by hand leaves it
    unpack(path, tmp_path / "out", ["data.mdb"], 10_000)
    assert unpacked.read_bytes() == b"12345"
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["data.mdb"]


def test_unpacking_a_damaged_archive_leaves_nothing(tmp_path):
    path = zipped(tmp_path / "a.zip", {"data.mdb": bytes(1000)})
    content = bytearray(path.read_bytes())
    content[40] ^= 255
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged at data\.mdb"):
        unpack(path, tmp_path / "out", ["data.mdb"], 10_000)
    assert [file.name for file in tmp_path.iterdir()] == ["a.zip"]


def test_unpacking_replaces_what_is_only_as_long(tmp_path):
    path = zipped(tmp_path / "a.zip", {"data.mdb": b"12345"})
    folder(tmp_path / "out", {"data.mdb": b"54321"})
    (unpacked,) = unpack(path, tmp_path / "out", ["data.mdb"], 10_000)
    assert unpacked.read_bytes() == b"12345"
    (tmp_path / "out" / "data.mdb").unlink()
    with locked(tmp_path / "out"), pytest.raises(UserError, match="another process is writing"):
        unpack(path, tmp_path / "out", ["data.mdb"], 10_000)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_leaves_nothing_half_unpacked(tmp_path):
    path = zipped(tmp_path / "a.zip", {"data.mdb": bytes(100_000)})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "data.mdb.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        unpack(path, tmp_path / "out", ["data.mdb"], 1_000_000)
    assert list((tmp_path / "out").iterdir()) == []
