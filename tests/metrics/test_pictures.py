"""Lite0 as a feature network: what it makes of images before it looks at them, and its published weights."""

import pickle

import pytest
import torch
from torch import nn
from torchvision.transforms.v2 import functional as vision

from minegan_lite.data import packages
from minegan_lite.errors import UserError
from minegan_lite.metrics.features import features_of, label_of, signature
from minegan_lite.metrics.pictures import WEIGHTS, Lite0, lite0

PUBLISHED = packages.place(WEIGHTS["package"], WEIGHTS["version"], WEIGHTS["file"])


class Seen(nn.Module):
    """In the network's place: its features are what it is shown."""

    def features(self, x):
        return x.flatten(1)


def test_images_are_resized_repeated_and_scaled_as_the_network_was_trained():
    for shape in ((3, 32, 32), (1, 32, 48), (3, 200, 160)):
        pixels = torch.randint(256, (4, *shape), generator=torch.Generator().manual_seed(0)).float()
        rgb = pixels.expand(-1, 3, -1, -1)
        expected = (vision.resize(rgb, [128, 128], vision.InterpolationMode.BILINEAR, antialias=True) - 127) / 128
        torch.testing.assert_close(
            features_of(pixels / 127.5 - 1, Lite0(Seen())), expected.flatten(1), atol=1e-4, rtol=0
        )


def test_its_name_says_what_was_done_and_its_label_that_it_is_not_inception():
    network = Lite0(Seen())
    assert signature(network).startswith("efficientnet-lite0/1280/bilinear-antialias-128/")
    assert label_of(network) == "Lite0"


def test_images_of_other_channels_are_refused():
    with pytest.raises(UserError, match="grey and RGB"):
        features_of(-torch.ones(2, 4, 32, 32), Lite0(Seen()))


def test_a_pickle_of_objects_is_not_opened(monkeypatch, tmp_path):
    torch.save(nn.Linear(1, 1), tmp_path / "objects")
    monkeypatch.setattr(packages, "member", lambda **_: tmp_path / "objects")
    with pytest.raises(pickle.UnpicklingError, match="Weights only"):
        lite0()


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="python data_scripts/get_weights.py lite0 brings the weights")
def test_the_published_weights_know_a_palace_and_a_daisy():
    from sklearn.datasets import load_sample_images

    network = lite0()
    assert signature(network) == "efficientnet-lite0/1280/bilinear-antialias-128/5ddd2127c0bc"
    verdicts = []
    for picture, size in zip(load_sample_images().images, (128, 224), strict=True):  # the Summer Palace, a flower
        square = vision.center_crop(torch.tensor(picture).permute(2, 0, 1)[None].float(), [427, 427])
        x = (vision.resize(square, [size, size], antialias=True) - 127) / 128
        with torch.no_grad():
            verdicts.append(network.network(x).argmax().item())
    assert verdicts[0] in (442, 663, 698)  # bell cote, monastery, palace
    assert verdicts[1] == 985  # daisy
