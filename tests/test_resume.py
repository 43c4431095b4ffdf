"""A finished run that is given more steps ends where one does that had them from the start, to the bit."""

import pytest
import torch

from minegan_lite import files, transfer
from minegan_lite.errors import UserError
from minegan_lite.mined import load
from minegan_lite.training import finetune, mine
from tests.tiny import tiny_gan, tiny_target

COMMON = {"device": "cpu", "progress": False, "batch": 4, "log_every": 2}


def same_files(one, other) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in (files.SETTINGS, files.STATE))


@pytest.mark.parametrize("critic_steps", [1, 2])
def test_a_grown_run_equals_one_made_at_once(tmp_path, critic_steps):
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    options = {**COMMON, "critic_steps": critic_steps, "save_every": 3}
    mine(tiny_gan(), tiny_target(), steps=4, out=grown, **options)
    four = (grown / files.STATE).read_bytes()
    mined = mine(tiny_gan(), tiny_target(), steps=8, out=grown, **options)
    at_once = mine(tiny_gan(), tiny_target(), steps=8, out=whole, **options)
    assert (grown / files.STATE).read_bytes() != four
    assert same_files(grown, whole)
    assert [entry["step"] for entry in mined.history] == [2, 4, 6, 8]
    assert torch.equal(mined.sample(5), at_once.sample(5))

    tuned = [tmp_path / "grown-tuned", tmp_path / "whole-tuned"]
    finetune(mined, tiny_target(), steps=2, out=tuned[0], **COMMON)
    for folder in tuned:
        finetune(mined, tiny_target(), steps=4, out=folder, **COMMON)
    assert same_files(*tuned)


def test_a_run_that_was_cut_takes_another_number_of_steps(tmp_path):
    class Cut(Exception):
        pass

    def cut(result):
        if result.history[-1]["step"] == 4:
            raise Cut

    options = {**COMMON, "save_every": 1}
    with pytest.raises(Cut):
        mine(tiny_gan(), tiny_target(), steps=6, out=tmp_path / "cut", watch=cut, **options)
    assert load(tmp_path / "cut", tiny_gan()).history[-1]["step"] == 2
    mine(tiny_gan(), tiny_target(), steps=8, out=tmp_path / "cut", **options)
    mine(tiny_gan(), tiny_target(), steps=8, out=tmp_path / "whole", **options)
    assert same_files(tmp_path / "cut", tmp_path / "whole")


def test_how_often_is_logged_and_saved_may_change_and_changes_no_weight(tmp_path):
    mine(tiny_gan(), tiny_target(), steps=4, out=tmp_path / "run", save_every=1, **COMMON)
    changed = COMMON | {"log_every": 3}
    mined = mine(tiny_gan(), tiny_target(), steps=8, out=tmp_path / "run", save_every=2, **changed)
    whole = mine(tiny_gan(), tiny_target(), steps=8, **COMMON)
    assert [entry["step"] for entry in mined.history] == [2, 4, 6, 8]
    assert torch.equal(mined.sample(5), whole.sample(5))
    assert torch.equal(mined.sample(5, ema=False), whole.sample(5, ema=False))
    record = files.read_settings(tmp_path / "run")
    assert (record["steps"], record["log_every"], record["save_every"]) == (8, 3, 2)


def test_a_run_of_both_stages_is_not_grown_by_halves(tmp_path):
    options = {**COMMON, "out": tmp_path / "run", "hidden": (4,)}
    transfer.adapt("minegan", tiny_gan(), tiny_target(), steps=4, **options)
    before = {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()}
    with pytest.raises(UserError, match="both stages of a run of other steps"):
        transfer.adapt("minegan", tiny_gan(), tiny_target(), steps=8, **options)
    assert {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()} == before
    with pytest.raises(UserError, match="folder of another run"):
        transfer.adapt("transfergan", tiny_gan(), tiny_target(), steps=4, **COMMON, out=tmp_path / "run/one/other")
