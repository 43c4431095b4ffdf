"""Sources of pictures: the same names and bytes from folder, zip, tar and LMDB; hostile and damaged ones refused."""

import stat
import sys
import tarfile
import types
import zipfile

import image_sources
import pytest
from archives import unpack
from image_sources import Unreadable, open_source
from pictures import folder, picture, tarred, zipped

from minegan_lite.errors import UserError

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
    (unpacked,) = unpack(path, tmp_path / "out", ["data.mdb"])
    assert (unpacked, unpacked.read_bytes()) == (tmp_path / "out" / "data.mdb", b"12345")
    before = unpacked.stat().st_mtime_ns
    unpack(path, tmp_path / "out", ["data.mdb"])
    assert unpacked.stat().st_mtime_ns == before
    unpacked.write_bytes(b"123")  # as a killed copy by hand leaves it
    unpack(path, tmp_path / "out", ["data.mdb"])
    assert unpacked.read_bytes() == b"12345"
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["data.mdb"]


def test_unpacking_a_damaged_archive_leaves_nothing(tmp_path):
    path = zipped(tmp_path / "a.zip", {"data.mdb": bytes(1000)})
    content = bytearray(path.read_bytes())
    content[40] ^= 255
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged at data\.mdb"):
        unpack(path, tmp_path / "out", ["data.mdb"])
    assert list((tmp_path / "out").iterdir()) == []
