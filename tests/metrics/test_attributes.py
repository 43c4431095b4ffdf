"""The judge of faces: what its head is made of, what is refused, how a share is counted, and how sure it is."""

import hashlib
import socket

import pytest
import safetensors.torch
import torch
from torch import nn

from minegan_lite.data import packages
from minegan_lite.errors import UserError
from minegan_lite.metrics import attributes
from minegan_lite.metrics.attributes import FILE, NAMES, FaceAttributes, FaceMaps, Share, read_head, tight
from minegan_lite.metrics.pictures import WEIGHTS, lite0
from minegan_lite.networks.efficientnet import EfficientNetLite0

PUBLISHED = packages.place(WEIGHTS["package"], WEIGHTS["version"], WEIGHTS["file"])
needs_lite0 = pytest.mark.skipif(
    not PUBLISHED.is_file(), reason="python data_scripts/get_weights.py lite0 brings the weights"
)


class Means(nn.Module):
    """In the maps' place: three numbers that an image's colours give, so that every verdict is known."""

    def forward(self, x):
        return 10 * x.mean((2, 3))


@pytest.fixture
def judge() -> FaceAttributes:
    head = nn.Linear(3, 3)
    with torch.no_grad():
        head.weight.copy_(torch.eye(3))
        head.bias.zero_()
    return FaceAttributes(Means(), head)


@pytest.fixture
def images() -> torch.Tensor:
    """Four of one colour each: their probabilities are the logistic function of ten times that."""
    colours = torch.tensor([[0.1, -0.1, -0.2], [0.2, -0.1, 0.3], [0.3, 0.1, -0.3], [-0.4, -0.2, 0.0]])
    return colours[:, :, None, None].expand(-1, -1, 8, 8).contiguous()


def test_probabilities_and_shares(judge, images):
    assert judge.names == ("woman", "senior", "smiling")
    torch.testing.assert_close(judge(images), torch.sigmoid(10 * images[:, :, 0, 0]))
    assert judge.share(images, "woman") == Share(0.75, 4)
    assert judge.share(images, "senior") == (0.25, 4)
    assert judge.share(images, "smiling").value == 0.25  # a probability of one half is not above it


def test_what_is_no_face_and_no_attribute_is_refused(judge, images):
    with pytest.raises(UserError, match="no attribute 'child': there are woman, senior, smiling"):
        judge.share(images, "child")
    with pytest.raises(UserError, match=r"RGB, got \(4, 1, 8, 8\)"):
        judge(images[:, :1])
    with pytest.raises(UserError, match=r"\[−1, 1\]"):
        judge(images * 500)
    with pytest.raises(UserError, match="must be a tensor"):
        judge([1])


def test_maps_are_those_of_the_network_with_their_places():
    """Against a hook on the block that they come from, while the network draws its own features."""
    network, seen = EfficientNetLite0().eval(), []
    network.blocks[10].register_forward_hook(lambda module, inputs, output: seen.append(output))
    x = torch.randn(11, 3, 128, 128).clamp(-1, 1)  # more than are looked at in one go
    with torch.no_grad():
        found = FaceMaps(network)(x)
        seen.clear()
        network.features((x + 1) * (127.5 / 128) - 127 / 128)
    assert found.shape == (11, 7168)
    torch.testing.assert_close(found, seen[0].flatten(1), atol=1e-4 * seen[0].abs().max().item(), rtol=1e-4)


def test_the_tight_square_is_cut_and_enlarged():
    """The square (14, 23) to (50, 59) of 64×64, and as much of another size."""
    images = -torch.ones(2, 3, 64, 64)
    images[:, :, 23:59, 14:50] = 1
    assert (tight(images) == 1).all()
    images[:, :, 23:41, 14:50] = 0
    found = tight(images)
    assert found.shape == images.shape
    assert (found[:, :, :30] == 0).all()
    assert (found[:, :, 34:] == 1).all()
    large = -torch.ones(1, 1, 128, 128)
    large[:, :, 46:118, 28:100] = 1
    assert (tight(large) == 1).all()


def test_the_head_is_the_one_of_the_card():
    card = FILE.with_suffix(".md").read_text("utf-8")
    head = read_head()
    assert head.weight.shape == (3, 7168)
    assert FILE.stat().st_size <= 300_000
    assert all(f"`{name}`" in card for name in NAMES)
    for word in ("CelebA", "UTKFace", "non-commercial", "Limitations", "AUC", str(attributes.TIGHT)):
        assert word in card
    assert not any(parameter.requires_grad for parameter in head.parameters())


@pytest.mark.parametrize("harm", ["a bit", "cut", "empty", "missing", "another"])
def test_a_damaged_head_is_refused(monkeypatch, tmp_path, harm):
    content = bytearray(FILE.read_bytes())
    content[-5] ^= 1
    another = safetensors.torch.save({"weight": torch.zeros(3, 7168).half(), "bias": torch.zeros(3).half()})
    harmed = {"a bit": bytes(content), "cut": bytes(content[:-1]), "empty": b"", "another": another}
    if harm in harmed:
        (tmp_path / FILE.name).write_bytes(harmed[harm])
    monkeypatch.setattr(attributes, "FILE", tmp_path / FILE.name)
    monkeypatch.setattr(safetensors.torch, "load", lambda _: pytest.fail("it was parsed"))
    with pytest.raises(UserError, match=r"face-attributes\.safetensors .*reinstall minegan-lite") as caught:
        read_head()
    assert "\n" not in str(caught.value)


def test_the_hash_is_that_of_the_file():
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == attributes.SHA256


@needs_lite0
def test_the_shipped_judge_is_a_function_of_the_picture_alone(monkeypatch):
    """It judges drawn heads without any network, the same one by one as together, and does not learn."""
    from minegan_lite.data import few_shot

    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection was tried"))
    judge = attributes.face_attributes()
    heads = few_shot("fluent-heads", n=4).train
    together = judge(heads)
    assert together.shape == (4, 3)
    assert not together.requires_grad
    assert ((together > 0) & (together < 1)).all()
    torch.testing.assert_close(judge(heads[2:3]), together[2:3], atol=1e-4, rtol=1e-3)
    assert isinstance(judge.maps, FaceMaps)
    torch.testing.assert_close(judge.head.weight, read_head().weight, atol=0, rtol=0)
    assert lite0().network.blocks[10].project_conv.weight.shape[0] == 112
