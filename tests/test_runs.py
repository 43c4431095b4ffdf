"""Run folders: atomic, exclusive, honest about what they hold."""

import json
import os
import pathlib

import pytest
import torch

from minegan_lite import runs
from minegan_lite.errors import UserError


def test_fingerprints_tell_bytes_apart():
    a, b = torch.tensor([0.0, 1.0]), torch.tensor([-0.0, 1.0])
    assert runs.fingerprint(a) == runs.fingerprint(a.clone()) != runs.fingerprint(b)
    net = torch.nn.BatchNorm1d(2)
    before = runs.weights_fingerprint(net)
    net.running_mean.add_(1)
    assert runs.weights_fingerprint(net) != before


def test_a_new_folder_holds_its_settings(tmp_path):
    run = runs.RunFolder(tmp_path / "deep/run", {"steps": 3, "betas": (0.5, 0.9)})
    assert run.load() is None
    assert runs.read_settings(tmp_path / "deep/run") == {"steps": 3, "betas": [0.5, 0.9]}
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
    assert runs.read_settings(tmp_path / "run") == {"steps": 3}
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["run.json"]


def test_an_unwritable_path_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs.os, "fsync", full)
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


def test_checkpoints_are_replaced_whole(tmp_path):
    run = runs.RunFolder(tmp_path / "run", {})
    run.save({"step": 1, "w": torch.ones(3)})
    first = (tmp_path / "run/state.pt").read_bytes()
    run.save({"step": 1, "w": torch.ones(3)})
    assert (tmp_path / "run/state.pt").read_bytes() == first
    assert sorted(os.listdir(tmp_path / "run")) == ["run.json", "state.pt"]
    assert runs.read_state(tmp_path / "run")["step"] == 1


def test_damage_is_named_in_one_line(tmp_path):
    with pytest.raises(UserError, match="not a run folder"):
        runs.read_settings(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        runs.read_settings(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({}))
    with pytest.raises(UserError, match="no checkpoint yet"):
        runs.read_state(tmp_path)
    (tmp_path / "state.pt").write_bytes(b"PK\x03\x04 truncated")
    with pytest.raises(UserError, match="damaged") as caught:
        runs.read_state(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_hostile_checkpoint_runs_nothing(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "pwned"),))

    torch.save({"step": Hostile()}, tmp_path / "state.pt")
    with pytest.raises(UserError, match="damaged"):
        runs.read_state(tmp_path)
    assert not (tmp_path / "pwned").exists()
