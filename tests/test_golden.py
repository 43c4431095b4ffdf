"""No change of structure changes a number: the tiny trainings of golden.py give what golden.json says."""

import json

import golden
import pytest

KEPT = json.loads(golden.FILE.read_text())
# What instruction sets made of these runs (AVX-512, AVX2 and none): the losses, of scale 1 to 100, lay up to a unit
# apart in bfloat16, and a tenth of a unit in float32, where Adam turns the sign of a gradient near zero into a step.
LOSS, IMAGE = 1.0, 0.02


@pytest.fixture(scope="module")
def runs():
    return golden.runs()


def test_every_run_is_kept(runs):
    assert runs.keys() == KEPT.keys()


@pytest.mark.parametrize("name", KEPT)
def test_a_run_gives_what_it_gave(runs, name):
    one, kept = golden.told(runs[name]()), KEPT[name]
    if golden.machine() in kept["sha256"]:
        assert one["sha256"] == kept["sha256"][golden.machine()]
    for now, before in zip(one["losses"], kept["losses"], strict=True):
        assert now == pytest.approx(before, rel=0.1, abs=5 * LOSS if "bf16" in name else LOSS)
    for what in ("brightness", "contrast"):
        assert one[what] == pytest.approx(kept[what], abs=IMAGE)
