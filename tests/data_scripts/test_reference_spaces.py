"""The runs of StyleGAN's spaces: three views of one generator that begin alike, and what is measured of them."""

import pytest
import reference_spaces as spaces
import torch
from torch import nn

from minegan_lite import mine
from minegan_lite.data import FewShot
from minegan_lite.gan import GAN, StandardNormal
from minegan_lite.networks import mobile_stylegan


@pytest.fixture(scope="module")
def gan():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = mobile_stylegan.Generator((8, 8), latent_dim=6, style_dim=5, depth=2)  # 16×16 pixels
    generator.measure_w_mean(64)
    return GAN(generator.eval(), None, StandardNormal(6), "tiny", "stylegan")


@pytest.mark.parametrize("space", spaces.SPACES)
def test_all_spaces_begin_with_the_same_pictures(space, gan):
    z = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    expected = gan.generator(z, truncation=spaces.TRUNCATION)
    one = spaces.source(space, gan)
    torch.testing.assert_close(one.generator(spaces.latents_of(one, z)), expected)
    prior = one.prior(3, torch.Generator().manual_seed(1))  # the same three draws of z
    torch.testing.assert_close(one.generator(prior), expected)
    rows = spaces.rows_of(one, prior)
    assert rows.shape == (3, gan.generator.layers, 5)
    torch.testing.assert_close(gan.generator.synthesis(rows), expected)


@pytest.mark.parametrize("space", spaces.SPACES)
def test_a_residual_miner_is_mined_in_each_space_and_starts_as_the_identity(space, gan):
    one = spaces.source(space, gan)
    started = mine(one, torch.full((4, 3, 16, 16), -0.5), steps=1, batch=2, residual=True, hidden=(3,), precision="32",
                   input_dim=one.generator.latent_dim, progress=False, device="cpu", miner_lr=1e-30)  # fmt: skip
    u, latents = started.latents(4, ema=False)
    assert torch.equal(u, latents)
    assert started.miner.residual


def test_the_unusual_is_counted_in_deviations_of_what_is_usual():
    rng = torch.Generator().manual_seed(0)
    root, mean = torch.randn(4, 4, generator=rng, dtype=torch.float64), torch.arange(4.0).double()
    w = torch.randn(20_000, 4, generator=rng, dtype=torch.float64) @ root.T + mean
    covariance = root @ root.T
    assert spaces.unusual(w[:, None], mean, covariance) == pytest.approx(1, abs=0.02)  # four standard errors
    assert spaces.unusual((mean + 0.7 * (w - mean))[:, None], mean, covariance) == pytest.approx(0.7, abs=0.014)
    assert spaces.unusual(mean.expand(2, 3, 4), mean, covariance) == 0
    assert spaces.unusual((mean + 2 * root[:, 0])[None, None], mean, covariance) == pytest.approx(1)  # 2 of √4 axes


def test_usual_is_the_mean_and_covariance_of_the_mapping(gan):
    mean, covariance = spaces.usual(gan.generator, 500)
    w = gan.generator.mapping(torch.randn(500, 6, generator=torch.Generator().manual_seed(1))).detach().double()
    torch.testing.assert_close(mean, w.sum(0) / 500)
    torch.testing.assert_close(covariance, (w - mean).T @ (w - mean) / 499)


def test_layers_that_agree_have_no_spread():
    covariance = torch.diag(torch.tensor([3.0, 1.0])).double()
    w = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    assert spaces.spread(w[:, None].expand(2, 4, 2), covariance) == 0
    apart = torch.tensor([[[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]])  # each one away from their mean
    assert spaces.spread(apart, covariance) == pytest.approx(0.5)


def test_faces_are_seen_through_the_window():
    left, top, right, bottom = spaces.WINDOW
    images = torch.zeros(1, 3, 64, 64)
    images[:, :, top:bottom, left:right] = 0.5
    torch.testing.assert_close(spaces.close(images), torch.full((1, 3, 64, 64), 0.5))


class Means(nn.Module):
    """The mean of each colour."""

    name = "means"

    def forward(self, x):
        return x.mean((2, 3))


@pytest.mark.parametrize("space", spaces.SPACES)
def test_what_is_followed_is_measured_from_the_start(space, gan, monkeypatch):
    monkeypatch.setattr(spaces, "lite0", Means)
    monkeypatch.setattr(spaces, "read_list", lambda: {"women": {"seeds": [3, 4]}, "men": {"seeds": [5, 6, 7]}})
    one, held_out = spaces.source(space, gan), torch.full((3, 3, 16, 16), -0.25)
    target = FewShot(held_out, held_out, "grey", None, "synthetic", 0)
    followed = spaces.Followed(one, target, 0)
    mine(one, target, steps=2, batch=2, residual=True, hidden=(3,), precision="32", log_every=1, progress=False,
         input_dim=one.generator.latent_dim, device="cpu", watch=followed)  # fmt: skip
    start, _, last = followed.numbers
    assert [one["step"] for one in followed.numbers] == [0, 1, 2]
    assert start["drift"] == 0 < last["drift"]
    assert start["spread"] == pytest.approx(0, abs=1e-6)
    assert (last["spread"] > 1e-6) is (space == "wplus")
    means = one.generator(followed.u).mean((2, 3)).detach()
    unit = torch.stack([means[i] - means[i - 1] for i in range(len(means))]).norm(dim=1).mean()
    assert start["to_target"] == pytest.approx(((means + 0.25).norm(dim=1).mean() / unit).item(), rel=1e-4)
    z = torch.cat([torch.randn(1, 6, generator=torch.Generator().manual_seed(seed)) for seed in (4, 7)])
    expected = gan.generator(z, truncation=spaces.TRUNCATION)
    torch.testing.assert_close(followed.pictures[0], expected)
    assert not torch.equal(followed.pictures[0], followed.pictures[-1])


def test_all_spaces_have_about_as_many_weights():
    sizes = {"z": 512, "w": 512, "wplus": 9 * 512}
    weights = [size * hidden + hidden + hidden * size + size for size, (hidden,) in
               ((sizes[space], hidden) for space, hidden in spaces.SPACES.items())]  # fmt: skip
    assert max(weights) < 1.05 * min(weights)
