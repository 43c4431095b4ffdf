"""What recorded runs of StyleGAN's spaces leave on their page: strips in order, and cards that say what is recorded."""

import json

import pytest
import reference_spaces as spaces
import safetensors.torch
import ship_spaces
import torch

from book import reference
from minegan_lite import zoo


def keep(folder, name, spaces_of=tuple(spaces.SPACES)):
    """Strips whose pixels are 100 × space + 10 × person + step."""
    for i, space in enumerate(spaces_of):
        strip = torch.tensor([[100 * i + 10 * person + step for person in range(2)] for step in range(4)])
        content = safetensors.torch.save({"strip": strip[..., None, None, None].expand(4, 2, 3, 8, 8).contiguous()})
        spaces.kept(folder, space, name, 0, "pictures").write_bytes(content)


def test_strips_have_a_row_for_each_person_and_space_and_a_column_for_each_step(tmp_path):
    keep(tmp_path, "heads")
    found = ship_spaces.strips(tmp_path, "heads")
    assert found.shape == (2, 3, 4, 3, 8, 8)
    rows = found[:, :, :, 0, 0, 0].flatten(0, 1).tolist()
    assert rows == [[100 * i + 10 * person + step for step in range(4)] for person in range(2) for i in range(3)]


def test_a_figure_names_each_row_and_step(tmp_path):
    keep(tmp_path, "heads")
    figure = ship_spaces.drawn(ship_spaces.strips(tmp_path, "heads") / 300, [0, 5, 10, 15])
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["z", "w", "w+"] * 2
    assert [label.get_text() for label in axes.get_xticklabels()] == ["step 0", "step 5", "step 10", "step 15"]
    assert axes.images[0].get_array().shape == (6 * 9 + 1, 4 * 9 + 1, 3)
    assert figure.get_figwidth() == 7


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """A run of w towards the heads, recorded and kept."""
    numbers = {"evaluation": {"kid": {"value": 1.234, "floor": 0.5, "n": 80}}, "followed": [{"step": 0}]}
    settings = {"hidden": [135], "weights": 138_887, "steps": 80, "images": 100, "target": "fluent-heads", "batch": 8}
    provenance = {
        "command": "python data_scripts/reference_spaces.py --spaces w", "commit": "0" * 40, "dirty": False,
        "seeds": [0], "device": "cpu", "device_name": "some", "seconds": 1.0, "n": 160, "date": "2026-11-28",
        "versions": {"python": "3", "torch": "2", "minegan_lite": "0"},
    }  # fmt: skip
    path = tmp_path / "results" / "spaces" / "w-heads" / "seed0.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"numbers": numbers, "settings": settings, "provenance": provenance}))
    monkeypatch.setattr(ship_spaces.ledger, "_folders", lambda: [tmp_path / "results"])
    out = tmp_path / "out"
    out.mkdir()
    spaces.kept(out, "w", "heads", 0, "miner").write_bytes(b"the miner")
    return out


def test_a_recorded_run_is_shipped_with_its_card(recorded, tmp_path):
    folder, beside = tmp_path / "zoo", tmp_path / "weights"
    arguments = ["--out", recorded, "--figures", tmp_path, "--folder", folder, "--beside", beside]
    ship_spaces.main(list(map(str, arguments)))
    assert list(zoo.entries(folder)) == ["spaces-w-heads"]
    assert (beside / "spaces-w-heads.safetensors").read_bytes() == b"the miner"
    assert zoo.entries(folder)["spaces-w-heads"]["kind"] == "miner"
    card = (folder / "spaces-w-heads.md").read_text(encoding="utf-8")
    assert reference.miner_row({}, card) == ["`ffhq-mobilestylegan-64` in w to emoji heads", "1.23"]
    assert "not for commercial use" in " ".join(card.split())
    assert not list(tmp_path.glob("*.png"))  # two spaces are pending
