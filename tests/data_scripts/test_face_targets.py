"""What is listed of the drawn faces: those that were kept by eye and that the judge confirms, and nobody else."""

import hashlib
import json

import pytest
import torch
from face_targets import BOX, KEPT, SURE, TRUNCATION, confirmed, judged, listing
from torch import nn

from minegan_lite.data import drawn
from minegan_lite.metrics import attributes
from minegan_lite.metrics.attributes import FaceAttributes


def test_nobody_is_listed_who_was_not_kept_by_eye():
    listed = drawn.read_list()
    for kind in drawn.KINDS:
        assert set(listed[kind]["seeds"]) <= set(KEPT[kind])
        assert len(set(KEPT[kind])) == len(KEPT[kind])
    assert (listed["truncation"], listed["judge"]) == (TRUNCATION, attributes.SHA256)


@pytest.mark.parametrize(("kind", "of_kind"), [("women", 0.95), ("men", 0.05), ("seniors", 0.3)])
def test_the_judge_confirms(kind, of_kind):
    n = len(KEPT[kind])
    probabilities = torch.tensor([of_kind, 0.6 if kind == "seniors" else 0.2, 0.5]).repeat(n, 1)
    seeds = list(KEPT[kind])
    p = {"women": 0.95, "men": 0.95, "seniors": 0.6}[kind]
    assert confirmed(kind, probabilities) == {"seeds": seeds, "probabilities": [p] * n}
    # one whose probability is not enough, and one of another age
    probabilities[1, 0], probabilities[3, 1] = 0.5, 0.5
    left = {"women": {1, 3}, "men": {1, 3}, "seniors": {3}}[kind]
    assert confirmed(kind, probabilities)["seeds"] == [seed for i, seed in enumerate(seeds) if i not in left]
    probabilities[:, 0] = SURE if kind == "women" else 1 - SURE
    assert kind == "seniors" or len(confirmed(kind, probabilities.double())["seeds"]) == 0


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
    left, top, right, bottom = BOX
    images = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    images[0, :, top:bottom, left:right] = torch.tensor([255, 51, 102], dtype=torch.uint8)[:, None, None]
    expected = torch.tensor([[1.0, -0.6, -0.2], [-1, -1, -1]])
    torch.testing.assert_close(judged(images), torch.sigmoid(expected), atol=1e-5, rtol=1e-5)


def test_the_list_that_is_shipped_is_the_one_that_is_checked():
    content = (drawn.FOLDER / "ffhq-drawn.json").read_bytes()
    assert hashlib.sha256(content).hexdigest() == drawn.SHA256
    facts = json.loads(content)
    assert listing({kind: facts[kind] for kind in drawn.KINDS}) == content
