"""The miner's inits, measured on what they promise."""

import math
from dataclasses import replace

import pytest
import torch
from tiny import tiny_gan, tiny_target

from minegan_lite import UserError, mine
from minegan_lite.miner import ACTIVATIONS, INITS, ConditionalMiner, Miner, built, mean_square_shift, told


def outputs(init: str, sizes=(128, 128, 128), n=4096, **options) -> torch.Tensor:
    miner = Miner(sizes, init=init, rng=torch.Generator().manual_seed(1), **options)
    u = torch.randn(n, sizes[0], generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return miner(u)


def mean_cosine(z: torch.Tensor) -> float:
    unit = z / z.norm(dim=1, keepdim=True)
    n = len(z)
    return ((unit.sum(0).square().sum() - n) / (n * (n - 1))).item()


def test_paper_init_is_the_supplements_normal():
    miner = Miner((128, 128, 128), init="paper", rng=torch.Generator().manual_seed(0))
    weights = torch.cat([layer.weight.flatten() for layer in miner.layers])
    assert weights.mean().abs() < 3 * 0.01 / math.sqrt(len(weights))
    assert weights.std().item() == pytest.approx(0.01, rel=0.02)
    assert all((layer.bias == 0).all() for layer in miner.layers)


def test_paper_init_collapses_and_scale_preserving_does_not():
    # 128·0.01²/2·128·0.01² ≈ 8e-5: the variance that theory gives the paper's init after ReLU and two layers
    assert outputs("paper").var().item() == pytest.approx(128 * 1e-4 * 128 * 1e-4 / 2, rel=0.15)
    kept = outputs("scale-preserving")
    assert kept.mean().abs() < 0.02
    assert kept.std().item() == pytest.approx(1, abs=0.03)
    assert abs(mean_cosine(kept)) < 0.01  # a He init leaves about 1/π here


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("sizes", [(8, 64, 128, 256, 512), (128, 256, 64), (64, 64, 64, 64, 64)])
def test_scale_is_preserved_at_any_depth_width_and_activation(sizes, activation):
    z = outputs("scale-preserving", sizes, activation=activation)
    assert z.std().item() == pytest.approx(1, abs=0.15)
    assert abs(mean_cosine(z)) < 0.08


def test_pytorchs_init_starts_partly_collapsed():
    """As was measured of the released StyleGAN code's miner: std 0.235, mean cosine 0.32."""
    z = outputs("pytorch", (512, 512, 512))
    assert z.std().item() == pytest.approx(0.235, abs=0.01)
    assert mean_cosine(z) == pytest.approx(0.32, abs=0.02)
    weight = Miner((400, 300), init="pytorch").layers[0].weight
    assert weight.abs().max().item() == pytest.approx(1 / 20, rel=1e-3)


def test_the_affine_miners_of_the_released_biggan_code_keep_the_law_of_u():
    """As was measured of that code: std 1.005 of z, 0.974 of the class."""
    options = {"activation": "linear", "spectral_norm": True}
    z, embedding = (outputs("orthogonal", (120,) * 4 + (last,), **options) for last in (120, 128))
    assert z.std().item() == pytest.approx(1.005, abs=0.01)
    assert embedding.std().item() == pytest.approx(0.974, abs=0.01)
    miner = Miner((5, 6, 4), init="orthogonal", **options)
    a, b, c = (torch.randn(1, 5, generator=torch.Generator().manual_seed(s)) for s in range(3))
    torch.testing.assert_close(miner(a + b - c), miner(a) + miner(b) - miner(c))


@pytest.mark.parametrize("init", list(INITS))
def test_spectral_norm_makes_the_largest_singular_value_one_from_the_start_on(init):
    miner = Miner((20, 30, 10), init=init, spectral_norm=True).eval()
    for layer in miner.layers:
        assert torch.linalg.svdvals(layer.normalised_weight())[0].item() == pytest.approx(1, abs=0.05)
    again = Miner((20, 30, 10), init=init, spectral_norm=True).eval()
    assert all(torch.equal(a, b) for a, b in zip(miner.buffers(), again.buffers(), strict=True))


def test_forward_is_the_textbook_mlp():
    miner = Miner((3, 4, 2))
    u = torch.randn(5, 3)
    first, second = miner.layers
    by_hand = (u @ first.weight.T + first.bias).clamp(min=0) @ second.weight.T + second.bias
    torch.testing.assert_close(miner(u), by_hand)


def test_one_seed_one_miner():
    for init in INITS:
        first, second, other = (Miner((4, 4, 4), init=init, rng=torch.Generator().manual_seed(s)) for s in (0, 0, 1))
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
        assert not torch.equal(first.layers[0].weight, other.layers[0].weight)


def test_a_residual_miner_starts_as_the_identity_and_adds_its_shift():
    u = torch.randn(6, 4, generator=torch.Generator().manual_seed(2))
    for init in INITS:
        assert torch.equal(Miner((4, 7, 4), init=init, residual=True)(u), u)
    miner = Miner((4, 7, 4), residual=True)
    with torch.no_grad():
        miner.layers[-1].weight.normal_(generator=torch.Generator().manual_seed(3))
        miner.layers[-1].bias.fill_(0.3)
    first, second = miner.layers
    by_hand = (u @ first.weight.T + first.bias).clamp(min=0) @ second.weight.T + second.bias
    torch.testing.assert_close(miner.shift(u), by_hand)
    torch.testing.assert_close(miner(u), u + by_hand)
    assert mean_square_shift(miner, u).item() == pytest.approx(by_hand.square().mean().item(), rel=1e-5)


@pytest.mark.parametrize("residual", [False, True])
def test_on_the_shell_every_latent_has_the_length_that_the_prior_has(residual):
    z = outputs("paper", (64, 64, 64), residual=residual, shell=True)
    assert (z.norm(dim=1) - 8).abs().max() < 1e-4
    plain = outputs("paper", (64, 64, 64), residual=residual)
    cosines = torch.nn.functional.cosine_similarity(z, plain)
    assert (cosines - 1).abs().max() < 1e-5, "their directions stay"
    assert (plain.norm(dim=1) - 8).abs().max() > 0.5


def test_of_two_miners_only_that_of_z_is_residual_or_on_the_shell():
    miner = ConditionalMiner((4, 5, 4), (4, 5, 3), residual=True, shell=True)
    u = torch.randn(6, 4, generator=torch.Generator().manual_seed(2))
    z, embedding = miner(u).split((4, 3), dim=1)
    torch.testing.assert_close(z, 2 * torch.nn.functional.normalize(u))
    torch.testing.assert_close(embedding, miner.embedding.shift(u))
    assert mean_square_shift(miner, u) == 0


def test_what_is_told_of_a_miner_builds_it_again_and_old_records_say_less():
    for options in ({}, {"residual": True}, {"shell": True}, {"spectral_norm": True, "shell": True}):
        miner = Miner((4, 5, 4), "tanh", **options)
        again = built(told(miner))
        assert told(again) == told(miner)
        again.load_state_dict(miner.state_dict())
        u = torch.randn(6, 4, generator=torch.Generator().manual_seed(2))
        assert torch.equal(again.eval()(u), miner.eval()(u))
    both = ConditionalMiner((4, 5, 4), (4, 5, 3), residual=True, shell=True)
    assert told(built(told(both))) == told(both)
    old = {"sizes": [4, 5, 4], "activation": "relu", "spectral_norm": False}
    assert told(built([old])) == [old | {"residual": False, "shell": False}]


BAD = [
    {"sizes": (4,)}, {"sizes": (4, 0)}, {"activation": "sine"}, {"init": "zero"},
    {"sizes": (4, 5, 3), "residual": True}, {"sizes": (4, 4), "residual": True, "spectral_norm": True},
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_bad_arguments_are_refused(bad):
    with pytest.raises(ValueError, match=r"size|unknown|residual"):
        Miner(**bad)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"shift_penalty": 0.5}, "set residual=True"),
        ({"residual": True, "spectral_norm": True}, "choose one of them"),
        ({"residual": True, "input_dim": 3}, "leave out input_dim, or give 4"),
        ({"residual": "yes"}, "True or False"),
        ({"residual": True, "shift_penalty": -1}, "at least 0"),
    ],
)
def test_mining_with_a_form_that_cannot_be_is_refused_in_one_line(options, match):
    with pytest.raises(UserError, match=match) as error:
        mine(tiny_gan(), tiny_target(), steps=1, batch=4, progress=False, **options)
    assert "\n" not in str(error.value)


def test_a_prior_that_is_not_normal_has_no_shell_and_may_be_added_to():
    gan = replace(tiny_gan(), prior=lambda n, rng: torch.rand(n, 4, generator=rng))
    options = {"steps": 1, "batch": 4, "progress": False, "device": "cpu"}
    with pytest.raises(UserError, match=r"a shell is for latents of N\(0, I\), and tiny draws its own"):
        mine(gan, tiny_target(), shell=True, **options)
    u, z = mine(gan, tiny_target(), residual=True, **options).latents(50, seed=1)
    assert u.min() >= 0, "u is of the source's own prior"
    assert 0 < (z - u).abs().max() < 0.1, "one step from the identity"
