"""get_weights.py: the table fits the library, and what it fetches loads by the line that it prints."""

import io
import json
import re
import subprocess
import sys
import zipfile

import get_weights
import public_weights
import pytest
import torch
from conftest import ENVIRONMENT, SCRIPTS

import minegan_lite.checkpoints
from minegan_lite.checkpoints import LAYOUTS, stylegan2_ada
from tests.checkpoints.test_biggan_pytorch import CHUNK, EMBEDDING, critic_state, generator_state

TABLE = public_weights.TABLE


def saved(state: dict) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
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
    assert {row.layout for row in TABLE.values()} == {layout.NAME for layout in LAYOUTS}


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
    assert len(listing.splitlines()) == 1 + len(TABLE)
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


def test_two_files_are_two_downloads_and_one_line(row, remote, capsys, tmp_path):
    remote.content = saved({})
    row(files=tuple(public_weights.File(f"{part}.pth", remote.url) for part in "GD"))
    line = printed(capsys, "small", "--accept-licence", "--out", str(tmp_path)).splitlines()[-1]
    paths = tmp_path / "small" / "G.pth", tmp_path / "small" / "D.pth"
    assert line.startswith(f"gan = minegan_lite.checkpoints.load({str(paths[0])!r}, critic={str(paths[1])!r}")
    assert len(remote.asked) == 2


def test_the_second_time_nothing_is_fetched_and_no_licence_asked_for(row, remote, capsys, tmp_path):
    remote.content = saved({})
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
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_zip_without_the_networks_is_refused(row, remote, capsys, tmp_path):
    remote.content = zipped(G=b"x")
    row(members=("G_ema.pth", "D.pth"))
    assert "G_ema.pth, D.pth once" in get_failure(capsys, tmp_path)


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
