"""Batch statistics adaptation against SciPy, brute force and the layers it scales."""

import math

import pytest
import torch
from scipy import stats
from scipy.spatial.distance import cdist
from torch import nn

from minegan_lite import UserError, zoo
from minegan_lite.networks.sngan import Generator as SNGAN
from minegan_lite.transfer import adapt, bsa
from minegan_lite.transfer.layers import in_order
from tests.close import close, terms
from tests.tiny import TinyGenerator, tiny_gan, tiny_target


@pytest.mark.parametrize("bound", [0.3, 1.0, 2.5])
def test_truncated_normal_is_scipys(bound):
    z = bsa.TruncatedNormal(64, bound)(200, torch.Generator().manual_seed(0))
    assert z.shape == (200, 64)
    assert z.abs().max() <= bound
    assert stats.kstest(z.flatten().numpy(), stats.truncnorm(-bound, bound).cdf).pvalue > 0.01
    assert torch.equal(z, bsa.TruncatedNormal(64, bound)(200, torch.Generator().manual_seed(0)))


def test_earth_mover_is_brute_force():
    codes = torch.randn(6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    draws = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)).double()
    squared = cdist(codes, draws, "sqeuclidean")
    expected = squared.min(axis=0).mean() + squared.min(axis=1).mean()
    assert bsa.earth_mover(codes, torch.Generator().manual_seed(0)).item() == pytest.approx(expected, rel=1e-6)


def test_earth_mover_prefers_a_normal_to_a_point_and_to_a_wide_cloud():
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(200, 4, generator=rng)
    values = [bsa.earth_mover(scale * z, torch.Generator().manual_seed(1)).item() for scale in (0.0, 1.0, 3.0)]
    assert values[1] < values[0]
    assert values[1] < values[2]


def test_scales_start_as_the_source_and_are_all_that_learns():
    generator = zoo.load("mnist-no-9").generator
    copied, z = bsa.with_scales(generator), torch.randn(4, 128, generator=torch.Generator().manual_seed(0))
    close(copied(z), generator.eval()(z), *terms(generator))
    learning = {name: weight.numel() for name, weight in copied.named_parameters() if weight.requires_grad}
    w = generator.width
    assert learning == {
        f"{layer}.scale_shift.{part}": channels
        for layer, channels in (("project", 4 * w), ("up1", 2 * w), ("up2", w))
        for part in ("scale", "shift")
    }


def test_a_channels_scale_is_that_of_its_filters():
    """γ and β behind a layer are its weights and biases, channel by channel, multiplied and moved."""
    generator = zoo.load("mnist-no-9").generator
    copied, z = bsa.with_scales(generator), torch.randn(4, 128)
    edited = zoo.load("mnist-no-9").generator
    with torch.no_grad():
        copied.project.scale_shift.scale[5], copied.project.scale_shift.shift[5] = 1.7, 0.2
        copied.up1.scale_shift.scale[3], copied.up1.scale_shift.shift[3] = 0.4, -0.1
        rows = slice(5 * 16, 6 * 16)  # channel 5 of a 4×4 map
        edited.project.weight[rows] *= 1.7
        edited.project.bias[rows] = edited.project.bias[rows] * 1.7 + 0.2
        edited.up1.weight[:, 3] *= 0.4
        edited.up1.bias[3] = edited.up1.bias[3] * 0.4 - 0.1
    torch.testing.assert_close(copied(z), edited.eval()(z), atol=1e-5, rtol=1e-5)
    assert (copied(z) - generator.eval()(z)).abs().max() > 0.01


def test_where_there_is_batch_norm_scales_stand_behind_it():
    copied = bsa.with_scales(TinyGenerator())
    scaled = [name for name, part in copied.named_modules() if hasattr(part, "scale_shift")]
    assert scaled == ["project", "norm"]
    natural = bsa.with_scales(SNGAN(resolution=32, width=2, latent_dim=8))
    pairs = [part for part in natural.modules() if isinstance(part, bsa.ScaleShift)]
    norms = [part for part in natural.modules() if isinstance(part, nn.BatchNorm2d)]
    assert len(pairs) == len(norms) + 1  # BSA's eleven for SNGAN-128: ten norms in blocks and the first linear map


def test_the_running_statistics_stay(tmp_path):
    gan = tiny_gan()
    before = {name: value.clone() for name, value in gan.generator.named_buffers()}
    adapted = adapt("bsa", gan, tiny_target(), steps=8, device="cpu", progress=False)
    after = dict(adapted.gan.generator.named_buffers())
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_the_pixel_loss_falls_and_codes_are_learned_for_each_image():
    gan, rng = zoo.load("mnist-no-9"), torch.Generator().manual_seed(0)
    target = gan.generator.eval()(torch.randn(4, 128, generator=rng)).detach()  # images that it can draw
    adapted = adapt("bsa", gan, target, steps=100, batch=8, log_every=10, device="cpu", progress=False)
    losses = [entry["pixel_loss"] for entry in adapted.history]
    assert sum(losses[-3:]) < 0.6 * sum(losses[:3])
    assert all(math.isfinite(loss) for loss in losses)


def test_a_wider_cut_is_more_varied():
    adapted = adapt("bsa", tiny_gan(), tiny_target(), steps=20, device="cpu", progress=False)
    spreads = [bsa.truncated(adapted, cut).sample(300).var(0).mean().item() for cut in (0.1, 0.3, 1.0)]
    assert spreads == sorted(spreads)
    assert torch.equal(adapted.sample(5), bsa.truncated(adapted, 0.3).sample(5))


def test_the_rate_falls_as_in_the_released_code():
    assert [bsa.decay(step) for step in (0, 2999, 3000, 6000)] == pytest.approx([1, 1, 0.2, 0.04])


def test_a_generator_without_layers_is_refused():
    class Bare(nn.Module):
        latent_dim = 4

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4))

        def forward(self, z):
            return self.weight * z

    with pytest.raises(UserError, match="Bare has no hidden layers"):
        bsa.with_scales(Bare())


def test_layers_come_in_the_order_of_the_pass():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.b, self.a, self.unused = nn.Linear(3, 2), nn.Linear(2, 3), nn.Linear(1, 1)

        def forward(self, x):
            return self.b(self.a(self.b(self.a(x))))

    network = Backwards().train()
    assert [name for name, _ in in_order(network, torch.zeros(2, 2))] == ["a", "b"]
    assert network.training
    assert not any(part._forward_pre_hooks for part in network.modules())
