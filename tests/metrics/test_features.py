"""What the digit network says of images does not depend on batches, modes or where the images come from."""

import copy
import warnings

import pytest
import torch

from minegan_lite.errors import UserError
from minegan_lite.metrics.checks import UnsignedImages
from minegan_lite.metrics.features import classifier_error, digit_features, digit_shares, features_of, signature
from minegan_lite.networks.mnist import DigitClassifier


@pytest.fixture
def classifier() -> DigitClassifier:
    torch.manual_seed(0)
    network = DigitClassifier(width=2, feature_dim=8)
    network(torch.randn(20, 1, 28, 28))  # batch statistics that are not the initial ones
    return network.eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(23, 1, 28, 28, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_features_are_those_of_each_image_alone(classifier, images):
    with torch.no_grad():
        alone = torch.cat([classifier.features(image[None]) for image in images])
    for batch in (5, 500):
        features = digit_features(images, classifier, batch=batch)
        assert features.shape == (23, 8)
        assert not features.requires_grad
        torch.testing.assert_close(features, alone)
    assert alone.std(dim=0).max() > 1e-3  # not all alike, so the comparison says something


def test_a_classifier_in_training_is_judged_in_eval_mode_and_left_byte_for_byte(classifier, images):
    expected = digit_features(images, classifier)
    classifier.train()
    classifier.trunk[1].eval()
    before = copy.deepcopy(classifier.state_dict())
    modes = [module.training for module in classifier.modules()]
    torch.testing.assert_close(digit_features(images, classifier), expected)
    classifier_error(classifier, images, 3)
    assert [module.training for module in classifier.modules()] == modes
    assert all(torch.equal(before[name], tensor) for name, tensor in classifier.state_dict().items())


def test_classifier_error_is_a_counted_share(classifier):
    """The bias decides for dark images alone: the head is made to say 7 where the image is bright, else 2."""
    for parameter in classifier.parameters():
        torch.nn.init.zeros_(parameter)
    classifier.head[1].bias.data[2] = 1.0

    def by_brightness(x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(1, 2, 3))[:, None].clamp(min=0).expand(-1, 8)

    classifier.trunk = torch.nn.Sequential()
    classifier.trunk.forward = by_brightness
    classifier.head[1].weight.data[7] = 10.0
    images = torch.cat([torch.full((3, 1, 28, 28), 0.9), torch.full((7, 1, 28, 28), -0.9)])
    assert classifier_error(classifier, images, 2) == pytest.approx(0.3)
    assert classifier_error(classifier, images, 7) == pytest.approx(0.7)
    assert classifier_error(classifier, images, 0) == 1


def test_signature_follows_the_weights_and_nothing_else(classifier):
    name = signature(classifier)
    assert name.startswith("digit-classifier/8/")
    assert len(name.rsplit("/", 1)[1]) == 12
    assert signature(copy.deepcopy(classifier).train()) == name
    for change in ("parameter", "buffer"):
        other = copy.deepcopy(classifier)
        tensor = next(other.parameters()) if change == "parameter" else other.trunk[1].running_var
        tensor.data.flatten()[0] += 1e-3
        assert signature(other) != name


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (torch.zeros(4, 3, 28, 28), "28×28 grey"),
        (torch.zeros(4, 1, 32, 32), "28×28 grey"),
        (torch.zeros(4, 28, 28), "(n, C, H, W)"),
        (torch.zeros(0, 1, 28, 28), "non-empty"),
        (torch.full((4, 1, 28, 28), torch.nan), "NaN"),
        (torch.zeros(4, 1, 28, 28, dtype=torch.uint8), "to_signed"),
        (torch.zeros(4, 1, 28, 28, dtype=torch.complex64), "must be floats"),
        (torch.zeros(4, 1, 28, 28, dtype=torch.bool), "must be floats"),
        (torch.zeros(4, 1, 28, 28).numpy(), "got ndarray"),
        ([torch.zeros(1, 28, 28)], "got list"),
        (torch.linspace(0, 255, 4 * 784).view(4, 1, 28, 28), "reach from 0 to 255: x / 127.5 - 1 converts"),
        (torch.linspace(-11, 1, 4 * 784).view(4, 1, 28, 28), "reach from -11 to 1"),
        (torch.linspace(0, 1e30, 4 * 784).view(4, 1, 28, 28), "clamp(-1, 1)"),
        (torch.full((4, 1, 28, 28), -torch.inf), "infinite"),
    ],
)
def test_images_that_cannot_be_judged_are_one_clear_line(classifier, bad, says):
    for call in (
        lambda: digit_features(bad, classifier),
        lambda: classifier_error(classifier, bad, 1),
        lambda: features_of(bad, classifier),
    ):
        with pytest.raises(UserError) as error:
            call()
        assert says in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_what_a_generator_overshoots_is_measured_as_it_was_drawn(images, dtype):
    for factor in (1.001, 1.5, 9.9):
        over = (factor * images).to(dtype)
        assert torch.equal(features_of(over, torch.nn.Flatten()), over.flatten(1))


def test_images_without_a_value_below_zero_are_warned_of_at_the_callers_line(classifier, images):
    unsigned = (images + 1) / 2
    unsigned[0] = 0
    for call in (
        lambda x: digit_features(x, classifier),
        lambda x: features_of(x, classifier),
        lambda x: features_of(x, torch.nn.Flatten()),
        lambda x: classifier_error(classifier, x, 1),
        lambda x: digit_shares(classifier, x),
    ):
        with pytest.warns(UnsignedImages, match=r"bring them to \[−1, 1\] by x \* 2 - 1") as told:
            call(unsigned)
        assert told[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            call(unsigned * 2 - 1)


def test_shares_are_the_counts_of_the_verdicts(classifier, images):
    shares = digit_shares(classifier, images)
    assert sum(shares) == pytest.approx(1)
    assert shares == pytest.approx([1 - classifier_error(classifier, images, d) for d in range(10)])


class Pooled(torch.nn.Module):
    """Any feature network: a convolution, BatchNorm, the mean over places."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(3, 5, 3), torch.nn.BatchNorm2d(5)

    def forward(self, x):
        return self.norm(self.conv(x)).mean(dim=(2, 3))


def test_features_of_any_network_do_not_depend_on_batches_or_mode(classifier, images):
    torch.manual_seed(0)
    network, rgb = Pooled(), images.expand(-1, 3, -1, -1)
    network.norm.running_mean += 0.3
    alone = torch.cat([features_of(image[None], network) for image in rgb])
    assert alone.shape == (23, 5)
    assert network.training  # left as it was, though judged in eval mode
    torch.testing.assert_close(features_of(rgb, network, batch=7), alone)
    torch.testing.assert_close(alone, network.eval()(rgb).detach())
    assert torch.equal(features_of(images, classifier), digit_features(images, classifier))
    pixels = features_of(images, torch.nn.Flatten())  # a network without weights
    assert torch.equal(pixels, images.flatten(1))
    assert features_of(rgb.double(), network).dtype == torch.float32  # that of the weights


def test_a_network_that_gives_maps_is_refused(images):
    with pytest.raises(UserError, match=r"must give \(n, d\), Identity gives \(23, 1, 28, 28\)"):
        features_of(images, torch.nn.Identity())


def test_signatures_of_other_networks_have_a_name_and_the_weights():
    network = Pooled()
    name = signature(network)
    assert name.startswith("Pooled/")
    network.name = "pooled/5/28x28"
    assert signature(network) == name.replace("Pooled", "pooled/5/28x28")
    network.norm.running_var += 1
    assert signature(network) != name.replace("Pooled", "pooled/5/28x28")
