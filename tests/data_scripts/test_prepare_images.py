"""prepare_images.py: what few_shot gets from it, what it leaves out, how it goes on, and what it refuses."""

import hashlib
import json
import os
import subprocess
import sys

import data_sets
import image_cache
import numpy as np
import prepare_images
import pytest
from conftest import ENVIRONMENT, SCRIPTS
from pictures import folder, picture, tarred, zipped
from PIL import EpsImagePlugin, Image
from test_image_sources import stand_in

import minegan_lite
from minegan_lite.errors import UserError
from minegan_lite.locks import locked

FILES = {f"{i:02}.png": picture(i) for i in range(20)}
SHAPE = (3, 8, 8)
ROW = data_sets.DataSet("small", "noise", "research only", "https://example.org/page", "small.tar")


@pytest.fixture(autouse=True)
def row(monkeypatch, tmp_path):
    """A function that puts a data set called small into the table: ROW, with some fields replaced."""
    monkeypatch.setenv("MINEGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(image_cache, "BATCH", 4)

    def replace(**fields):
        monkeypatch.setitem(data_sets.TABLE, "small", data_sets.DataSet(**vars(ROW) | fields))

    replace()
    return replace


@pytest.fixture
def source(tmp_path):
    return folder(tmp_path / "source", FILES)


def run(*arguments: object) -> int:
    return prepare_images.main(["small", "--size", "8", "--jobs", "1", *map(str, arguments)])


def manifest(out) -> dict:
    return json.loads((out / "manifest.json").read_text("utf-8"))


def failure(capsys, *arguments: object, status: int = 2) -> str:
    """The last line of a command that fails, which is the only one besides the progress bar."""
    assert run(*arguments) == status
    lines = [
        line for line in capsys.readouterr().err.splitlines() if "pictures" not in line or "prepare_images" in line
    ]
    lines = [line for line in lines if line.strip()]
    assert len(lines) == 1
    return lines[0]


# --- what comes out ---------------------------------------------------------------------------------------------


def test_few_shot_gets_the_same_as_from_the_pictures_themselves(source, tmp_path, capsys):
    """Up to the rounding to bytes: half a step of 2/255."""
    out = tmp_path / "out"
    assert run("--source", source, "--out", out) == 0
    own = minegan_lite.few_shot(out, n=6, seed=3, image_shape=SHAPE)
    other = minegan_lite.few_shot(source, n=6, seed=3, image_shape=SHAPE, resize=True)
    for part in ("train", "held_out"):
        difference = (getattr(own, part) - getattr(other, part)).abs().max()
        assert getattr(own, part).shape == getattr(other, part).shape
        assert difference <= 1 / 255 + 1e-6
    assert len(own.held_out) == 14
    assert (own.name, own.origin, own.request["source"]) == ("out", "folder", str(out))
    names = {"minegan_lite": minegan_lite}
    exec(capsys.readouterr().out.splitlines()[-1], names)
    assert len(names["target"].train) == 10


def test_the_array_is_cropped_at_the_centre_and_every_byte_is_as_numpy_computes_it(tmp_path):
    """Two pixels for one, so that the filter is a triangle of known weights; borders lie outside of the check."""
    wide = np.zeros((16, 20, 3), np.uint8)
    wide[:, 2:18] = np.random.default_rng(0).integers(0, 256, (16, 16, 3))
    (tmp_path / "source").mkdir()
    Image.fromarray(wide).save(tmp_path / "source" / "a.png")
    run("--source", tmp_path / "source", "--out", tmp_path / "out")
    (x,) = np.load(tmp_path / "out" / "images.npy")
    kernel = np.array([1, 3, 3, 1]) / 8
    square = wide[:, 2:18].astype(float)
    rows = np.stack([np.tensordot(kernel, square[2 * i - 1 : 2 * i + 3], 1) for i in range(1, 7)])
    expected = np.stack([np.tensordot(rows[:, 2 * i - 1 : 2 * i + 3], kernel, (1, 0)) for i in range(1, 7)], 1)
    assert np.abs(x[:, 1:7, 1:7].transpose(1, 2, 0) - expected).max() <= 0.51


def test_the_manifest_says_what_it_is(source, tmp_path):
    out = tmp_path / "out"
    run("--source", source, "--out", out)
    facts = manifest(out)
    array = np.load(out / "images.npy")
    assert array.shape == tuple(facts["shape"]) == (20, *SHAPE)
    assert array.dtype == facts["dtype"] == "uint8"
    assert facts["sha256"] == hashlib.sha256((out / "images.npy").read_bytes()).hexdigest()
    assert facts["files"] == sorted(FILES)
    assert (facts["data_set"], facts["size"], facts["count"], facts["skipped"]) == ("small", 8, 20, {})
    assert (facts["licence"], facts["page"], facts["source"]) == ("research only", "https://example.org/page", "source")
    assert {"rule", "crop", "resize", "date"} <= facts.keys()
    assert sorted(file.name for file in out.iterdir()) == ["images.npy", "manifest.json", "run.json"]


def test_folder_zip_and_tar_give_the_same_bytes(source, tmp_path):
    zipped(tmp_path / "a.zip", FILES)
    tarred(tmp_path / "a.tar", FILES)
    sums = set()
    for i, path in enumerate((source, tmp_path / "a.zip", tmp_path / "a.tar")):
        run("--source", path, "--out", tmp_path / f"out{i}")
        sums.add(manifest(tmp_path / f"out{i}")["sha256"])
    assert len(sums) == 1


def test_a_draw_is_of_the_seed_and_in_order(source, tmp_path):
    for i, seed in enumerate((1, 1, 2)):
        run("--source", source, "--out", tmp_path / f"out{i}", "--limit", 6, "--seed", seed)
    first, again, other = (manifest(tmp_path / f"out{i}") for i in range(3))
    assert first["files"] == again["files"] == sorted(first["files"])
    assert first["count"] == other["count"] == 6
    assert first["files"] != other["files"]
    assert "6 of 20 drawn" in first["rule"]


def test_a_box_is_cut_out_first(row, tmp_path):
    row(box=(4, 2, 12, 10))
    big = {"a.png": picture(0, 16, 12), "b.png": picture(1, 16, 9)}
    run("--source", folder(tmp_path / "source", big), "--out", tmp_path / "out")
    with Image.open(tmp_path / "source" / "a.png") as opened:
        expected = np.asarray(opened)[2:10, 4:12].transpose(2, 0, 1)
    assert np.array_equal(np.load(tmp_path / "out" / "images.npy")[0], expected)
    assert manifest(tmp_path / "out")["skipped"] == {"b.png": "16×9, too small for the box (4, 2, 12, 10)"}


def test_only_the_folders_of_the_category(row, tmp_path):
    row(folders=("arch",))
    files = {"data_256/a/arch/1.jpg": picture(0), "data_256/a/alley/1.jpg": picture(1)}
    run("--source", tarred(tmp_path / "a.tar", files), "--out", tmp_path / "out")
    assert manifest(tmp_path / "out")["files"] == ["data_256/a/arch/1.jpg"]
    assert manifest(tmp_path / "out")["rule"] == "in a folder called arch"


def test_people_are_selected_by_the_labels(row, tmp_path, capsys):
    row(people="children")
    source = folder(tmp_path / "source", {f"0000{i}.png": picture(i) for i in range(3)})
    assert "give --labels" in failure(capsys, "--source", source)
    (tmp_path / "labels.csv").write_text("id,gender,age\n0,male,30\n1,female,3\n2,male,4\n")
    run("--source", source, "--labels", tmp_path / "labels.csv", "--out", tmp_path / "out")
    assert manifest(tmp_path / "out")["files"] == ["00001.png", "00002.png"]
    assert "under 10 years" in manifest(tmp_path / "out")["rule"]


def test_broken_pictures_are_left_out_counted_and_named(tmp_path, capsys):
    files = FILES | {"05.png": b"no picture", "06.png": FILES["06.png"][:200], "07.png": b""}
    run("--source", folder(tmp_path / "source", files), "--out", tmp_path / "out")
    facts = manifest(tmp_path / "out")
    assert facts["count"] == len(np.load(tmp_path / "out" / "images.npy")) == 17
    assert set(facts["skipped"]) == {"05.png", "06.png", "07.png"}
    assert facts["skipped"]["05.png"] == "UnidentifiedImageError"
    assert facts["files"] == sorted(FILES.keys() - facts["skipped"].keys())
    assert "17 pictures, 3 skipped" in capsys.readouterr().out


# --- going on ---------------------------------------------------------------------------------------------------


def test_the_second_time_nothing_is_done(source, tmp_path):
    out = tmp_path / "out"
    run("--source", source, "--out", out)
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert run("--out", out) == 0  # not even the source is needed
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before


DIES = """
import os, sys
sys.path.insert(0, {scripts!r})
import data_sets, image_cache, prepare_images
image_cache.BATCH, write = 4, image_cache.write_atomically
calls = []
def dying(path, content):
    calls.append(path)
    if len(calls) == 3:
        os._exit(9)
    write(path, content)
image_cache.write_atomically = dying
data_sets.TABLE["small"] = data_sets.DataSet("small", "noise", "research only", "https://example.org/page")
prepare_images.main(["small", "--size", "8", "--jobs", "1", "--source", {source!r}, "--out", {out!r}])
"""


def goes_on(source, out, other, monkeypatch) -> None:
    """That the unfinished folder says so, and is finished to the bytes of one that was never interrupted."""
    progress = json.loads((out / "progress.json").read_text())
    with pytest.raises(UserError, match="not prepared to the end"):
        minegan_lite.few_shot(out, n=6, image_shape=SHAPE)
    seen, whole = [], image_cache._bytes
    with monkeypatch.context() as patch:
        patch.setattr(image_cache, "_bytes", lambda read, name: seen.append(name) or whole(read, name))
        assert run("--source", source, "--out", out) == 0
    again = [name for name, _ in progress["skipped"]]  # which may have been mended
    assert seen == again + sorted(FILES)[progress["taken"] :]
    run("--source", source, "--out", other)
    assert (out / "images.npy").read_bytes() == (other / "images.npy").read_bytes()
    assert manifest(out) == manifest(other)
    assert sorted(file.name for file in out.iterdir()) == ["images.npy", "manifest.json", "run.json"]


def test_a_killed_run_goes_on_to_the_same_bytes(source, tmp_path, monkeypatch):
    """os._exit at the moment when the pictures of a batch lie in the file, and are not yet noted as being there."""
    (source / "03.png").write_bytes(b"broken")
    out = tmp_path / "out"
    code = DIES.format(scripts=str(SCRIPTS), source=str(source), out=str(out))
    assert subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True).returncode == 9
    progress = json.loads((out / "progress.json").read_text())
    assert (progress["taken"], progress["kept"]) == (8, 7)
    assert (out / "images.npy.part").stat().st_size == 128 + 3 * 64 * 11  # the last four are not noted
    goes_on(source, out, tmp_path / "other", monkeypatch)
    assert manifest(out)["skipped"] == {"03.png": "UnidentifiedImageError"}


@pytest.mark.parametrize("last", ["manifest.json", "images.npy"])
def test_a_run_that_ends_in_its_last_steps_goes_on_too(source, tmp_path, monkeypatch, last):
    def killed(*args):
        raise KeyboardInterrupt

    def but(path, content, write=image_cache.write_atomically):
        killed() if path.name == last else write(path, content)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(image_cache, "write_atomically", but)
        if last == "images.npy":
            patch.setattr(type(out), "replace", killed)
        assert run("--source", source, "--out", out) == 130
    goes_on(source, out, tmp_path / "other", monkeypatch)


def interrupted(source, out, monkeypatch):
    """The folder of a run that was stopped when two batches were noted and a third one was not."""
    calls = []

    def stopping(path, content, write=image_cache.write_atomically):
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(image_cache, "write_atomically", stopping)
        assert run("--source", source, "--out", out) == 130
    return out


def test_a_picture_that_was_mended_is_taken_in_its_place(source, tmp_path, monkeypatch):
    """After a kill, and after a call that found nothing to read: what was skipped is tried again."""
    whole = {name: (source / name).read_bytes() for name in ("03.png", "05.png")}
    for name in whole:
        (source / name).write_bytes(b"broken")
    out = interrupted(source, tmp_path / "out", monkeypatch)
    assert [name for name, _ in json.loads((out / "progress.json").read_text())["skipped"]] == ["03.png", "05.png"]
    (source / "05.png").write_bytes(whole["05.png"])
    assert run("--source", source, "--out", out) == 0
    assert list(manifest(out)["skipped"]) == ["03.png"]
    run("--source", source, "--out", tmp_path / "other")
    assert (out / "images.npy").read_bytes() == (tmp_path / "other" / "images.npy").read_bytes()
    assert manifest(out) == manifest(tmp_path / "other")


def test_when_nothing_could_be_read_mending_helps(tmp_path, capsys):
    source = folder(tmp_path / "source", {"a.png": b"x", "b.png": b"y"})
    failure(capsys, "--source", source, "--out", tmp_path / "out")
    (source / "b.png").write_bytes(picture(1))
    assert run("--source", source, "--out", tmp_path / "out") == 0
    assert manifest(tmp_path / "out")["files"] == ["b.png"]


def test_what_is_skipped_for_good_is_said(tmp_path, capsys):
    run("--source", folder(tmp_path / "source", FILES | {"05.png": b"x"}), "--out", tmp_path / "out")
    assert "manifest.json names the 1; once they are mended, delete the folder" in capsys.readouterr().out


def test_a_kill_behind_the_last_step_leaves_nothing(source, tmp_path):
    out = tmp_path / "out"
    run("--source", source, "--out", out)
    (out / "progress.json").write_text("{}")
    assert run("--out", out) == 0
    assert sorted(file.name for file in out.iterdir()) == ["images.npy", "manifest.json", "run.json"]


@pytest.mark.parametrize("kind", ["progress.json", "manifest.json"])
def test_damaged_notes_are_one_line(source, tmp_path, capsys, monkeypatch, kind):
    out = tmp_path / "out"
    if kind == "progress.json":
        interrupted(source, out, monkeypatch)
        capsys.readouterr()
        wrong = [{"taken": -4}, {"taken": 9}, {"kept": -1}, {"taken": 8.0}, {"taken": float("nan")}, {"listed": 3}]
        wrong += [{"skipped": {}}, {"taken": 9, "skipped": [["nothing.png", "x"]]}, {"taken": 9, "skipped": [3]}]
        wrong += [{"taken": 1000, "kept": 1000}]  # more than the array holds: they would be black
    else:
        run("--source", source, "--out", out)
        wrong = [
            {"sha256": 3},
            {"sha256": "x"},
            {"count": "1"},
            {"count": float("nan")},
            {"shape": [20]},
            {"skipped": 3},
        ]
    good = json.loads((out / kind).read_text("utf-8"))
    texts = [json.dumps(good | change) for change in wrong] + ["", "[]", "3", "null", "[" * 100_000, "\udcff"]
    for text in texts:
        (out / kind).write_bytes(text.encode("utf-8", "surrogateescape"))
        assert f"{kind} is missing or damaged: delete the folder" in failure(capsys, "--source", source, "--out", out)
    (out / kind).write_text(json.dumps(good))
    assert run("--source", source, "--out", out) == 0


def test_one_process_prepares_at_a_time(source, tmp_path, capsys):
    out = tmp_path / "out"
    with locked(out):
        assert "another process is writing" in failure(capsys, "--source", source, "--out", out)
    assert run("--source", source, "--out", out) == 0
    with locked(out):
        assert run("--out", out) == 0  # which writes nothing


def test_two_at_once_end_in_one_whole_result(source, tmp_path):
    """Whoever comes second waits for nothing: refused, or what the first one finished."""
    out, processes = tmp_path / "out", []
    code = DIES.format(scripts=str(SCRIPTS), source=str(source), out=str(out)).replace("== 3", "== -1")
    for _ in range(2):
        processes.append(subprocess.Popen([sys.executable, "-c", code], env=ENVIRONMENT, stderr=subprocess.PIPE))
    errors = [process.communicate()[1].decode() for process in processes]
    assert all(not error or "Traceback" not in error for error in errors)
    assert run("--out", out) == 0
    assert manifest(out)["count"] == 20


def test_names_that_are_no_utf8_are_prepared(tmp_path, capsys):
    name = os.fsdecode(b"caf\xe9.png")
    source = folder(tmp_path / os.fsdecode(b"sourc\xe9"), FILES | {name: picture(9), "é.png": picture(8)})
    out = tmp_path / os.fsdecode(b"\xe9")
    assert run("--source", source, "--out", out) == 0
    assert manifest(out)["files"] == [*sorted(FILES), name, "é.png"]
    assert manifest(out)["source"] == source.name
    assert len(minegan_lite.few_shot(out, n=6, image_shape=SHAPE).held_out) == 16
    capsys.readouterr().out.encode()  # nothing but text was printed


def test_no_picture_of_a_source_starts_a_program_or_is_waited_for(tmp_path, monkeypatch):
    programs, trace = tmp_path / "programs", tmp_path / "ran"
    programs.mkdir()
    (programs / "gs").write_text(f"#!/bin/sh\ntouch {trace}\nexit 1\n")
    (programs / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    source = folder(tmp_path / "source", FILES | {"05.png": eps})
    os.mkfifo(source / "pipe.png")
    assert run("--source", source, "--out", tmp_path / "out") == 0
    skipped = {"05.png": "UnidentifiedImageError", "pipe.png": "no regular file"}
    assert manifest(tmp_path / "out")["skipped"] == skipped
    assert not trace.exists()


def test_a_source_that_fails_is_one_line_and_the_run_goes_on(source, tmp_path, capsys, monkeypatch):
    def fails(path):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(type(source), "read_bytes", fails)
        assert "the source fails at 00.png (Input/output error)" in failure(capsys, "--source", source)
    assert run("--source", source) == 0


# --- what is refused --------------------------------------------------------------------------------------------


def test_another_request_does_not_touch_the_folder(source, tmp_path, capsys):
    out = tmp_path / "out"
    run("--source", source, "--out", out)
    before = manifest(out)
    assert "size was 8 and is now 9" in failure(capsys, "--source", source, "--out", out, "--size", 9)
    assert "limit was null and is now 5" in failure(capsys, "--source", source, "--out", out, "--limit", 5)
    assert manifest(out) == before


def test_a_full_disk_is_one_line_and_a_source_that_changes_meanwhile_is_refused(source, tmp_path, capsys, monkeypatch):
    calls = []

    def full(path, content, write=image_cache.write_atomically):
        calls.append(path)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(image_cache, "write_atomically", full)
        line = failure(capsys, "--source", source, "--out", tmp_path / "out", status=4)
    assert "No space left on device" in line
    assert "the same command goes on" in line
    (source / "00.png").unlink()
    assert "other pictures than when" in failure(capsys, "--source", source, "--out", tmp_path / "out")


def test_a_damaged_array_is_noticed(source, tmp_path, capsys):
    out = tmp_path / "out"
    run("--source", source, "--out", out)
    with open(out / "images.npy", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x00" if file.read(1) != b"\x00" else b"\x01")
    assert "images.npy is damaged" in failure(capsys, "--out", out)


def test_an_occupied_folder_is_left_alone(source, tmp_path, capsys):
    assert "not a run" in failure(capsys, "--source", source, "--out", source)
    assert sorted(path.name for path in source.iterdir()) == sorted(FILES)


def test_no_picture_at_all_is_one_line(tmp_path, capsys):
    source = folder(tmp_path / "source", {"a.png": b"x", "b.png": b"y"})
    assert "none of the 2 pictures can be read, a.png for one" in failure(capsys, "--source", source)


def test_an_archive_that_leaves_its_folder_is_refused(tmp_path, capsys):
    path = zipped(tmp_path / "a.zip", FILES | {"../evil.png": picture(0)})
    assert "leaves its folder" in failure(capsys, "--source", path, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--size", "--jobs", "--limit"])
def test_numbers_below_one_are_one_line(source, capsys, option):
    assert "at least 1" in failure(capsys, "--source", source, option, 0)


def test_an_unknown_data_set_is_one_line(capsys):
    assert prepare_images.main(["imagenette"]) == 2
    assert (
        capsys.readouterr().err
        == "prepare_images.py: error: unknown data set 'imagenette': --list names those that there are\n"
    )


# --- fetched ----------------------------------------------------------------------------------------------------


def test_what_can_be_fetched_is_fetched_once_the_licence_is_accepted(row, remote, tmp_path, capsys):
    remote.content = tarred(tmp_path / "a.tar", FILES).read_bytes()
    row(url=remote.url, md5=hashlib.md5(remote.content).hexdigest())
    assert "research only" in failure(capsys)
    assert remote.asked == []
    remote.cut = 9000
    assert "run this again" in failure_of_download(capsys)
    remote.cut = None
    assert run("--accept-licence") == 0
    assert manifest(tmp_path / "cache" / "images" / "small-8")["count"] == 20
    assert remote.asked == [None, None]  # less than a chunk had come


def failure_of_download(capsys) -> str:
    assert run("--accept-licence") == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_what_cannot_be_fetched_says_where_it_is(capsys):
    line = failure(capsys)
    assert "https://example.org/page" in line
    assert "--source" in line


def test_lsun_is_fetched_and_unpacked(row, remote, tmp_path, monkeypatch, capsys):
    path = zipped(tmp_path / "a.zip", {"tower_train_lmdb/data.mdb": b"", "tower_train_lmdb/lock.mdb": b""})
    remote.content = path.read_bytes()
    tower = dict(vars(data_sets.TABLE["lsun-tower"]))
    assert tower["url"] == "http://dl.yf.io/lsun/scenes/tower_train_lmdb.zip"
    monkeypatch.setitem(data_sets.TABLE, "lsun-tower", data_sets.DataSet(**tower | {"url": remote.url}))
    monkeypatch.setitem(sys.modules, "lmdb", None)
    command = ["lsun-tower", "--size", "8", "--jobs", "1", "--accept-licence"]
    assert prepare_images.main(command) == 2
    assert "pip install lmdb" in capsys.readouterr().err
    assert remote.asked == []  # said before gigabytes have come
    keys = {f"{i:040x}": picture(i) for i in range(5)}
    monkeypatch.setitem(sys.modules, "lmdb", stand_in(keys))
    assert prepare_images.main(command) == 0
    assert manifest(tmp_path / "cache" / "images" / "lsun-tower-8")["files"] == sorted(keys)


# --- the script -------------------------------------------------------------------------------------------------


def test_the_list_names_every_data_set(capsys):
    assert prepare_images.main(["--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed[1:]] == list(data_sets.TABLE)


def test_the_help_teaches(capsys):
    with pytest.raises(SystemExit, match="0"):
        prepare_images.main(["--help"])
    shown = capsys.readouterr().out
    for word in ("few_shot", "--labels", "--limit", "MINEGAN_CACHE", "pip install lmdb", "held out"):
        assert word in shown


def test_the_bare_script_in_several_processes_gives_the_same_bytes(tmp_path):
    files = {f"{i:04}.png": FILES[f"{i % 20:02}.png"] for i in range(image_cache.WORTH)}
    source = folder(tmp_path / "source", files)
    command = [sys.executable, str(SCRIPTS / "prepare_images.py"), "anime", "--source", str(source), "--size", "8"]
    command += ["--jobs", "2", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(files)} pictures, 0 skipped" in done.stdout
    run("--source", folder(tmp_path / "few", FILES), "--out", tmp_path / "one")
    assert np.array_equal(np.load(tmp_path / "out" / "images.npy")[:20], np.load(tmp_path / "one" / "images.npy"))


def test_ctrl_c_is_one_line(source, capsys, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare_images, "prepare", interrupted)
    assert run("--source", source) == 130
    assert "the same command goes on" in capsys.readouterr().err
