"""The maps that BSA compares: the critic's as its layers give them, VGG's as torchvision's layers do."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision import models

from minegan_lite import UserError, zoo
from minegan_lite.transfer import perceptual
from tests.tiny import tiny_gan


@pytest.fixture
def vgg(monkeypatch):
    """VGG-16 with random weights in the place of the fetched ones."""
    torch.manual_seed(0)
    network = models.vgg16(weights=None, init_weights=False)
    state = {name: value for name, value in network.state_dict().items() if name.startswith("features")}
    monkeypatch.setattr(models.VGG16_Weights, "get_state_dict", lambda self, **options: state)
    monkeypatch.setenv("MINEGAN_OFFLINE", "0")
    return network


def test_the_critics_maps_are_its_hidden_layers():
    gan, x = zoo.load("mnist-no-9"), torch.rand(3, 1, 28, 28) * 2 - 1
    critic = gan.critic
    first = critic.down1(x)
    second = critic.down2(F.leaky_relu(first, 0.2))
    third = critic.down3(F.leaky_relu(second, 0.2))
    maps = perceptual.CriticMaps(critic, (1, 28, 28))
    for ours, theirs in zip(maps(x), (first, second, third), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert len(maps(x)) == 3  # hooks are gone again: a second call gives no more


def test_vggs_maps_are_its_ten_rectified_convolutions(vgg):
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    maps = perceptual.VGGMaps()(x)
    bgr_free = (x + 1) * 127.5 - 255 * torch.tensor([0.48235, 0.45882, 0.40784])[:, None, None]
    h, expected = bgr_free, []
    convolutions = [layer for layer in vgg.features if isinstance(layer, nn.Conv2d)]
    for i, convolution in enumerate(convolutions[:10]):
        if i in (2, 4, 7):  # a pool stands before conv2_1, conv3_1, conv4_1
            h = F.max_pool2d(h, 2)
        h = convolution(h).relu()
        expected.append(h)
    for ours, theirs in zip(maps, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_the_distance_is_zero_for_equals_relative_to_the_critic_and_reaches_the_fakes():
    gan = tiny_gan()
    maps = perceptual.default_maps(gan)
    assert isinstance(maps, perceptual.CriticMaps)
    real, fake = torch.rand(4, 1, 6, 6), torch.rand(4, 1, 6, 6, requires_grad=True)
    assert perceptual.distance(maps, real, real).item() == 0
    value = perceptual.distance(maps, fake, real)
    with torch.no_grad():
        of_real, of_fake = (gan.critic.layers[:2](x) for x in (real, fake))
    assert value.item() == pytest.approx(((of_fake - of_real).abs().mean() / of_real.abs().mean()).item(), rel=1e-5)
    value.backward()
    assert fake.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in maps.parameters())


def test_vgg_that_cannot_be_had_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("MINEGAN_OFFLINE", "1")
    monkeypatch.setenv("MINEGAN_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="MINEGAN_OFFLINE forbids fetching vgg16"):
        perceptual.VGGMaps()
