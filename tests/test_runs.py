"""Run folders: atomic, exclusive, honest about what they hold."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import torch

from minegan_lite import files, runs
from minegan_lite.errors import UserError


def test_fingerprints_tell_bytes_apart():
    a, b = torch.tensor([0.0, 1.0]), torch.tensor([-0.0, 1.0])
    assert files.fingerprint(a) == files.fingerprint(a.clone()) != files.fingerprint(b)
    net = torch.nn.BatchNorm1d(2)
    before = files.weights_fingerprint(net)
    net.running_mean.add_(1)
    assert files.weights_fingerprint(net) != before


def test_a_new_folder_holds_its_settings(tmp_path):
    run = runs.RunFolder(tmp_path / "deep/run", {"steps": 3, "betas": (0.5, 0.9)})
    assert run.load() is None
    assert files.read_settings(tmp_path / "deep/run") == {"steps": 3, "betas": [0.5, 0.9]}
    runs.RunFolder(tmp_path / "deep/run", {"steps": 3, "betas": (0.5, 0.9)})  # the same again: resumes


def test_occupied_paths_are_refused_and_untouched(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/thesis.tex").write_text("mine")
    for path, message in [("file", "is a file"), ("folder", "occupied"), ("file/below", "cannot write")]:
        with pytest.raises(UserError, match=message):
            runs.RunFolder(tmp_path / path, {})
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder", "thesis.tex"]


def test_a_kill_while_the_settings_were_written_does_not_block_the_run(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json.part").write_text('{"ste')
    runs.RunFolder(tmp_path / "run", {"steps": 3})
    assert files.read_settings(tmp_path / "run") == {"steps": 3}
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["run.json"]


def test_an_unwritable_path_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        runs.RunFolder(tmp_path / "a/b", {})
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_place_is_refused(tmp_path):
    if os.geteuid() == 0:  # root writes through every permission, but not into the kernel's own file system
        place = pathlib.Path("/proc/minegan-run")
    else:
        place = tmp_path / "run"
        tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot write to"):
        runs.RunFolder(place, {})
    tmp_path.chmod(0o700)
    assert not place.exists()


def state(**changes) -> dict:
    """A checkpoint with all that every loop writes."""
    return {"step": 1, "history": [{"step": 1}], "rngs": [torch.Generator().get_state()], **changes}


def test_checkpoints_are_replaced_whole(tmp_path):
    run = runs.RunFolder(tmp_path / "run", {})
    run.save(state(w=torch.ones(3)))
    first = (tmp_path / "run/state.pt").read_bytes()
    run.save(state(w=torch.ones(3)))
    assert (tmp_path / "run/state.pt").read_bytes() == first
    assert sorted(os.listdir(tmp_path / "run")) == ["run.json", "state.pt"]
    assert files.read_state(tmp_path / "run")["step"] == 1


NESTED = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    "text", ["3", "null", "[]", '"text"', NESTED, '{"steps": NaN', b"\xff\xfe", " " * (1 << 20) + "{}"]
)
def test_settings_that_are_none_are_one_line(tmp_path, text):
    (tmp_path / "run.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=r"run\.json cannot be read") as caught:
        files.read_settings(tmp_path)
    assert "\n" not in str(caught.value)


def missing(key: str) -> dict:
    return {name: value for name, value in state().items() if name != key}


LARGE = torch.zeros(1).expand(10**12)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1], "a list where a dict is needed"),
        ({1: 2}, "where a dict is needed"),
        ({}, "no step"),
        (state(step="1"), "no step"),
        (state(step=True), "no step"),
        (state(step=0), "no step"),
        (missing("history"), "no history"),
        (state(history=[1]), "no history"),
        (state(history=[{"step": None}]), "no history"),
        (missing("rngs"), "no streams"),
        (state(rngs=[torch.zeros(3)]), "no streams"),
        (state(miners={"w": LARGE}), "larger than the file"),
        (state(miners={"w": torch.tensor([0.0, float("nan")])}), "miners that are not finite"),
        (state(critic={"a": [torch.tensor(float("inf"))]}), "critic that are not finite"),
    ],
)
def test_checkpoints_that_no_loop_wrote_are_one_line(tmp_path, content, words):
    torch.save(content, tmp_path / "state.pt")
    with pytest.raises(UserError, match=words) as caught:
        files.read_state(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_optimizer_may_have_overflowed(tmp_path):
    torch.save(state(critic_optimizer={"exp_avg_sq": torch.tensor(float("inf"))}), tmp_path / "state.pt")
    assert files.read_state(tmp_path)["step"] == 1


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04", b"\x80\x05."])
def test_no_advice_of_torch_is_passed_on(tmp_path, content):
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(UserError, match="damaged") as caught:
        files.read_state(tmp_path)
    assert "weights_only" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_named_pipes_are_refused_and_not_waited_for(tmp_path):
    for name, read, words in (
        ("run.json", files.read_settings, "not a run folder"),
        ("state.pt", files.read_state, "no checkpoint"),
    ):
        os.mkfifo(tmp_path / name)
        with pytest.raises(UserError, match=words):
            read(tmp_path)
    with pytest.raises(UserError, match="is a file"):
        runs.RunFolder(tmp_path / "state.pt", {})
    with pytest.raises(OSError, match="not a file"):
        files.write_atomically(tmp_path / "state.pt", b"x")


def test_whatever_does_not_fit_becomes_one_line_and_keeps_its_cause(tmp_path):
    for error in (KeyError("x"), RuntimeError("size\nmismatch"), TypeError(), ValueError(), ZeroDivisionError()):
        with pytest.raises(UserError, match="is damaged") as caught, files.reading(tmp_path):
            raise error
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is error
    for error in (UserError("as it is"), torch.OutOfMemoryError(), KeyboardInterrupt(), OSError()):
        with pytest.raises(type(error)) as caught, files.reading(tmp_path):
            raise error
        assert caught.value is error


def test_the_identity_of_a_run_is_kept_and_the_rest_may_change(tmp_path):
    asked = {"steps": 4, "lr": 1.0, "log_every": 2, "save_every": 2, "device": "cpu"}
    runs.RunFolder(tmp_path / "run", asked)
    more = asked | {"steps": 8, "log_every": 1, "save_every": 3, "device": "cuda"}
    runs.RunFolder(tmp_path / "run", more)
    assert files.read_settings(tmp_path / "run") == more
    for other, words in (
        (more | {"steps": 7}, "steps was 8 and is now 7"),
        (more | {"lr": 2.0}, r"lr was 1\.0 and is now 2\.0"),
        ({key: value for key, value in more.items() if key != "device"}, '"cuda" and is now null'),
    ):
        with pytest.raises(UserError, match=words):
            runs.RunFolder(tmp_path / "run", other | {"save_every": 9})
    assert files.read_settings(tmp_path / "run") == more


def test_a_run_in_a_run_or_among_its_targets_images_is_refused(tmp_path):
    runs.RunFolder(tmp_path / "run", {})
    with pytest.raises(UserError, match="folder of another run"):
        runs.RunFolder(tmp_path / "run/two", {})
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    for place in ("photos/run", "photos/deep/run", "link/run"):
        with pytest.raises(UserError, match="among the images"):
            runs.RunFolder(tmp_path / place, {"target_request": {"source": str(tmp_path / "photos")}})
    assert list((tmp_path / "photos").iterdir()) == []
    runs.RunFolder(tmp_path / "photos-run", {"target_request": {"source": str(tmp_path / "photos")}})


WRITER = """
import sys
from pathlib import Path
from minegan_lite.files import write_atomically
letter = sys.argv[2].encode()
for _ in range(200):
    write_atomically(Path(sys.argv[1]), letter * 100_000)
"""


def test_two_writers_and_a_reader_never_meet_a_part(tmp_path):
    """Three at once: each reading is one writer's whole content, and no file is left over."""
    file = tmp_path / "file"
    files.write_atomically(file, b"a" * 100_000)
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(file), letter]) for letter in "ab"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        content = file.read_bytes()
        assert content in (b"a" * 100_000, b"b" * 100_000)
        seen.add(content[:1])
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen == {b"a", b"b"}
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_link_stays_a_link_and_the_file_behind_it_is_written(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    files.write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_the_next_start_clears_what_a_killed_writer_left(tmp_path):
    code = (
        "import os, pathlib\nfrom minegan_lite import files, runs\nrun = runs.RunFolder('run', {})\n"
        "files.os.replace = lambda *_: os._exit(9)\nfiles.write_atomically(pathlib.Path('run/state.pt'), b'x')"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path).returncode == 9
    assert len(list((tmp_path / "run").iterdir())) == 2
    runs.RunFolder(tmp_path / "run", {})
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["run.json"]


def test_damage_is_named_in_one_line(tmp_path):
    with pytest.raises(UserError, match="not a run folder"):
        files.read_settings(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        files.read_settings(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({}))
    with pytest.raises(UserError, match="no checkpoint yet"):
        files.read_state(tmp_path)
    (tmp_path / "state.pt").write_bytes(b"PK\x03\x04 truncated")
    with pytest.raises(UserError, match="damaged") as caught:
        files.read_state(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_hostile_checkpoint_runs_nothing(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "pwned"),))

    torch.save({"step": Hostile()}, tmp_path / "state.pt")
    with pytest.raises(UserError, match="damaged"):
        files.read_state(tmp_path)
    assert not (tmp_path / "pwned").exists()
