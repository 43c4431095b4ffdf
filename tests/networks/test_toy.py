"""The map in the plane against scipy, against itself and against finite differences; and as a source for mining."""

import math

import pytest
import torch
from scipy import stats

from minegan_lite import GAN, StandardNormal, UserError, finetune, mine
from minegan_lite.mined import Unmined
from minegan_lite.networks import toy
from minegan_lite.networks.toy import MixtureGenerator, PointCritic
from minegan_lite.nn import draw, frozen
from tests.tiny import everything, same

MEANS = [[0.5, 0.2], [-0.3, 0.4], [-0.25, -0.5], [0.1, -0.1]]
SDS = torch.tensor([0.08, 0.05, 0.1, 0.06])
WEIGHTS = torch.tensor([0.4, 0.3, 0.2, 0.1])


def mixture() -> MixtureGenerator:
    return MixtureGenerator(MEANS, SDS, WEIGHTS).double()


def normal(n: int, scale: float = 1.0, seed: int = 0) -> torch.Tensor:
    return scale * torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def marginal(x, i: int):
    """scipy's distribution function of coordinate i."""
    parts = zip(WEIGHTS.tolist(), torch.tensor(MEANS)[:, i].tolist(), SDS.tolist(), strict=True)
    return sum(w * stats.norm.cdf(x, m, s) for w, m, s in parts)


def test_it_is_a_generator_of_two_numbers():
    generator = mixture()
    assert (generator.latent_dim, generator.embedding_dim, generator.image_shape) == (2, None, (2, 1, 1))
    for dtype in (torch.float32, torch.float64):
        x = generator(torch.zeros(3, 2, dtype=dtype))
        assert x.shape == (3, 2, 1, 1)
        assert x.dtype == dtype
    assert torch.equal(generator(normal(9)), generator(normal(9)))
    assert [name for name, _ in generator.named_parameters()] == ["means"]


@pytest.mark.parametrize("i", [0, 1])
def test_each_coordinate_has_the_mixtures_distribution(i):
    x = mixture()(normal(20_000))[:, i, 0, 0].detach().numpy()
    # 1.95/√n is the 0.1 % point
    assert stats.kstest(x, lambda values: marginal(values, i)).statistic < 1.95 / math.sqrt(20_000)


def test_the_coordinates_belong_together():
    """Marginals alone would not see it: the components' shares, centres and widths."""
    generator = mixture()
    x = generator(normal(20_000)).detach()
    component = generator.log_joint(x).argmax(1)
    for k, (mean, sd, weight) in enumerate(zip(MEANS, SDS, WEIGHTS, strict=True)):
        own = x.flatten(1)[component == k]
        assert len(own) / 20_000 == pytest.approx(weight.item(), abs=0.015)
        assert torch.allclose(own.mean(0), torch.tensor(mean, dtype=torch.float64), atol=0.01)
        assert torch.allclose(own.std(0), sd.double().expand(2), rtol=0.06)


def test_the_first_coordinate_is_scipys_quantile():
    z = torch.linspace(-6, 6, 49, dtype=torch.float64)
    x = mixture()(torch.stack([z, torch.zeros_like(z)], 1))[:, 0, 0, 0].detach()
    for below, above, ours in ((z <= 0, False, x), (z > 0, True, x)):
        at, where = z[below].numpy(), ours[below].numpy()
        if above:  # in the upper tail by what lies beyond, where 1 − F would have no digits left
            parts = zip(WEIGHTS.tolist(), torch.tensor(MEANS)[:, 0].tolist(), SDS.tolist(), strict=True)
            assert sum(w * stats.norm.sf(where, m, s) for w, m, s in parts) == pytest.approx(
                stats.norm.sf(at), rel=1e-6
            )
        else:
            assert marginal(where, 0) == pytest.approx(stats.norm.cdf(at), rel=1e-6)


def test_one_component_is_a_shift_and_a_scale():
    generator = MixtureGenerator([[0.25, -0.5]], 0.125).double()
    z = normal(50, scale=4)
    expected = torch.tensor([0.25, -0.5], dtype=torch.float64) + 0.125 * z
    assert torch.allclose(generator(z).flatten(1), expected, rtol=0, atol=1e-12)


def test_inverse_is_the_way_back():
    generator = mixture()
    z = normal(2000, scale=2)
    with torch.no_grad():
        x = generator(z)
    assert torch.allclose(generator(generator.inverse(x)), x, rtol=0, atol=1e-12)
    assert torch.allclose(generator.inverse(x), z, rtol=0, atol=1e-7)


@pytest.mark.parametrize("far", [6.0, 12.0, 36.0])
def test_tails_are_finite_and_come_back(far):
    corners = far * torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1], [0, 1], [1, 0], [0, -1], [-1, 0]]).double()
    corners.requires_grad_()
    generator = mixture()
    x = generator(corners)
    (gradient,) = torch.autograd.grad(x.sum(), corners)
    assert gradient.isfinite().all()
    assert torch.allclose(generator.inverse(x), corners, rtol=0, atol=1e-6)


def test_beyond_all_digits_it_stays_finite_and_the_inverse_says_so():
    generator, z = mixture(), torch.tensor([[100.0, -1000.0]]).double().requires_grad_()
    x = generator(z)
    x.sum().backward()
    assert x.isfinite().all()
    assert z.grad.isfinite().all()
    assert generator.inverse(x).tolist() == [[math.inf, -math.inf]]


def test_a_newton_step_makes_good_what_bisection_leaves(monkeypatch):
    z = normal(200)
    fine = mixture()(z)
    monkeypatch.setattr(toy, "HALVINGS", 18)
    assert torch.allclose(mixture()(z), fine, rtol=0, atol=1e-8)


def test_gradients_to_latents_and_means_are_those_of_finite_differences():
    generator = mixture()
    z = normal(6, scale=1.5).requires_grad_()

    def at(z, means):
        return torch.func.functional_call(generator, {"means": means}, (z,)).flatten(1)

    assert torch.autograd.gradcheck(at, (z, generator.means.detach().clone().requires_grad_()), atol=1e-5, rtol=1e-4)


def test_at_zero_the_gradient_is_as_between_its_neighbours():
    """|z| has no gradient there; the map has one."""
    generator = mixture()
    rows = [torch.autograd.functional.jacobian(lambda z: generator(z).flatten(), torch.full((1, 2), at).double())
            for at in (-1e-6, 0.0, 1e-6)]  # fmt: skip
    assert torch.allclose(rows[1], (rows[0] + rows[2]) / 2, rtol=1e-4)


def test_density_is_scipys_and_that_of_the_change_of_variables():
    generator, z = mixture(), normal(40, scale=1.5)
    x = generator(z).detach()
    parts = zip(WEIGHTS.tolist(), MEANS, SDS.tolist(), strict=True)
    theirs = sum(w * stats.multivariate_normal.pdf(x.flatten(1), m, s**2) for w, m, s in parts)
    assert generator.log_density(x).exp().tolist() == pytest.approx(theirs.tolist(), rel=1e-5)
    jacobian = torch.stack(
        [torch.autograd.functional.jacobian(lambda row: generator(row[None]).flatten(), row) for row in z]
    )
    prior = -z.square().sum(1) / 2 - math.log(2 * math.pi)
    assert torch.allclose(generator.log_density(x), prior - torch.linalg.slogdet(jacobian).logabsdet, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5, 0.5], 0.1), "means"),
        (([[0.5, 0.5, 0.5]], 0.1), "means"),
        ((torch.zeros(0, 2), 0.1), "means"),
        (([[0.5, math.nan]], 0.1), "means"),
        ((MEANS, 0.0), "standard deviation"),
        ((MEANS, [0.1, 0.1, -0.1, 0.1]), "standard deviation"),
        ((MEANS, [0.1, 0.1]), "standard deviation"),
        ((MEANS, math.inf), "standard deviation"),
        ((MEANS, 0.1, [0.5, 0.5]), "weights"),
        ((MEANS, 0.1, [0.5, 0.5, 0.5, 0.5]), "weights"),
        ((MEANS, 0.1, [1.5, -0.5, 0.5, -0.5]), "weights"),
        ((MEANS, 0.1, [math.nan] * 4), "weights"),
    ],
)
def test_what_is_no_mixture_is_refused(arguments, message):
    with pytest.raises(UserError, match=message) as caught:
        MixtureGenerator(*arguments)
    assert "\n" not in str(caught.value)


def test_the_critics_weights_come_from_its_generator_of_numbers():
    x = normal(5).float()[:, :, None, None]
    one, again, other = (PointCritic(8, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert one(x).shape == (5, 1)
    assert torch.equal(one(x), again(x))
    assert not torch.equal(one(x), other(x))
    assert torch.equal(PointCritic(8)(x), PointCritic(8)(x))


def test_mining_it_moves_samples_to_the_target_and_leaves_it_as_it_is():
    generator = MixtureGenerator(MEANS, SDS, WEIGHTS)
    gan = GAN(generator, PointCritic(32), StandardNormal(2), "four in the plane")
    wanted = torch.tensor(MEANS[1])
    points = draw(MixtureGenerator(wanted[None], 0.05), normal(200).float())
    before = everything(generator)
    options = {
        "batch": 64, "betas": (0.0, 0.9), "penalty": 0.1, "miner_lr": 3e-3, "critic_lr": 3e-3,
        "device": "cpu", "progress": False,
    }  # fmt: skip
    mined = mine(gan, points, steps=150, hidden=(16, 16), **options)
    assert same(everything(generator), before)
    hit, of_all = (
        ((x.flatten(1) - wanted).norm(dim=1) < 0.2).float().mean()
        for x in (mined.sample(500), Unmined(gan).sample(500))
    )
    assert hit > of_all + 0.25
    tuned = finetune(mined, points, steps=2, **options)
    assert same(everything(generator), before)
    assert not torch.equal(tuned.gan.generator.means, generator.means)


def test_frozen_keeps_the_means_out_of_the_gradient():
    generator, z = mixture(), normal(3).requires_grad_()
    with frozen(generator):
        generator(z).sum().backward()
    assert generator.means.grad is None
    assert z.grad.abs().min() > 0
