"""How the seeds of drawn faces are chosen: by rules that are exact, and never one that was struck out."""

import hashlib
import json

import face_targets
import pytest
import torch
from face_targets import SENIORS, STRUCK, ages, chosen, judged, listing, main
from torch import nn
from train_attributes import Framed, part

from minegan_lite.data import drawn
from minegan_lite.metrics import attributes
from minegan_lite.metrics.attributes import FaceAttributes


def test_nobody_who_was_struck_out_is_listed():
    drawn.read_list.cache_clear()
    listed = drawn.read_list()
    for kind in drawn.KINDS:
        assert not STRUCK & set(listed[kind]["seeds"])
    assert set(listed["seniors"]["seeds"]) <= set(SENIORS)
    assert max(max(listed[kind]["seeds"]) for kind in ("women", "men")) < face_targets.SEEDS
    assert listed["truncation"] == face_targets.TRUNCATION
    assert listed["judge"] == attributes.SHA256


def test_the_rules_are_those_that_are_written(monkeypatch):
    monkeypatch.setattr(face_targets, "STRUCK", frozenset({1, 70}))
    monkeypatch.setattr(face_targets, "SENIORS", (50, 60, 70))
    monkeypatch.setattr(face_targets, "MOST", 2)
    woman = torch.tensor([0.95, 0.99, 0.9, 0.96, 0.05, 0.97, 0.98, 0.99, 0.02])
    senior = torch.tensor([0.1, 0.1, 0.1, 0.6, 0.2, 0.49, 0.1, 0.1, 0.1])
    years = torch.tensor([30.0, 30, 30, 30, 40, 28, 27.9, 30, 20])
    probabilities = torch.stack([woman, senior, torch.zeros(9)], 1)
    old = torch.tensor([[0.0, 0.51, 0], [0, 0.5, 0], [0, 0.9, 0]])
    found = chosen(probabilities, years, old)
    assert found == {
        "women": {"seeds": [0, 5], "probabilities": [0.95, 0.97]},
        "men": {"seeds": [4], "probabilities": [0.95]},
        "seniors": {"seeds": [50], "probabilities": [0.51]},
    }
    assert json.loads(listing(found))["men"] == found["men"]


def test_faces_are_judged_through_the_box(monkeypatch):
    """Colours of the box alone; what is outside of it would change them."""

    class Means(nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    head = nn.Linear(3, 3)
    with torch.no_grad():
        head.weight.copy_(torch.eye(3))
        head.bias.zero_()
    monkeypatch.setattr(attributes, "face_attributes", lambda: FaceAttributes(Means(), head))
    images = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    images[0, :, 18:60, 11:53] = torch.tensor([255, 51, 102], dtype=torch.uint8)[:, None, None]
    probabilities, years = judged(images, (11, 18, 53, 60), torch.tensor([10.0, 0, 0]), 30.0)
    expected = torch.tensor([[1.0, -0.6, -0.2], [-1, -1, -1]])
    torch.testing.assert_close(probabilities, torch.sigmoid(expected), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(years, torch.tensor([40.0, 20.0]), atol=1e-4, rtol=1e-5)


def test_ages_are_a_ridge_regression_of_the_training_pictures(monkeypatch):
    """Against its normal equations."""
    rng = torch.Generator().manual_seed(0)
    people = {}
    for framing, n in (("utkface", 60), ("utkface-targets", 20)):
        x = torch.randn(n, 5, generator=rng) * torch.tensor([1, 3, 0.2, 1, 1]) + 1
        rows = [{"age": str(30 + round(5 * one.item()))} for one in x[:, 0]]
        people[framing] = Framed([f"{framing}/{i}" for i in range(n)], rows, x.half())
    monkeypatch.setattr(face_targets, "framed", lambda root, framing: people[framing])
    weight, bias = ages(None)
    train = torch.tensor([part(name) == "train" for one in people.values() for name in one.names])
    x = torch.cat([one.features for one in people.values()])[train].double()
    y = torch.tensor([float(row["age"]) for one in people.values() for row in one.rows])[train].double()
    z = (x - x.mean(0)) / (x.std(0) + 1e-3)
    expected = torch.linalg.solve(z.T @ z + face_targets.RIDGE * torch.eye(5).double(), z.T @ (y - y.mean()))
    predicted = z @ expected + y.mean()
    torch.testing.assert_close((x.float() @ weight + bias).double(), predicted, atol=1e-3, rtol=1e-4)


def test_the_list_that_is_shipped_is_the_one_that_is_checked():
    content = (drawn.FOLDER / "ffhq-drawn.json").read_bytes()
    assert hashlib.sha256(content).hexdigest() == drawn.SHA256
    facts = json.loads(content)
    assert listing({kind: facts[kind] for kind in drawn.KINDS}) == content


def test_without_data_one_line_says_what_to_do(monkeypatch, capsys):
    monkeypatch.delenv("MINEGAN_DATA", raising=False)
    assert main([]) == 2
    told = capsys.readouterr().err
    assert "MINEGAN_DATA names no folder" in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("kind", drawn.KINDS)
def test_numbers_of_the_list_are_those_of_its_kind(kind):
    assert 150 <= len(drawn.read_list()[kind]["seeds"]) <= face_targets.MOST
