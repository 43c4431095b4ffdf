"""Spectral norm against the SVD and torch's own; attention and batch norm against what they reduce to."""

import copy

import pytest
import torch
from torch import nn

from minegan_lite import UserError
from minegan_lite.networks import layers
from minegan_lite.networks.layers import (
    ConditionalBatchNorm,
    SelfAttention,
    SpectralConv2d,
    SpectralEmbedding,
    SpectralLinear,
)
from tests.close import close, terms


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def sigma(weight: torch.Tensor) -> torch.Tensor:
    return torch.linalg.matrix_norm(weight.flatten(1), 2)


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (SpectralConv2d(3, 5, 3, padding=1), torch.randn(2, 3, 4, 4)),
        (SpectralLinear(6, 4), torch.randn(2, 6)),
        (SpectralEmbedding(7, 4), torch.tensor([0, 6])),
    ],
    ids=["conv", "linear", "embedding"],
)
def test_training_finds_the_largest_singular_value(layer, x):
    for _ in range(200):
        layer.train()(x)
    true = sigma(layer.weight)
    assert torch.allclose(sigma(layer.eval().normalised_weight()), torch.ones(()), atol=1e-4)
    assert torch.allclose(layer.normalised_weight(), layer.weight / true, rtol=1e-4)


def test_it_is_torchs_own_spectral_norm():
    """From the same vectors: an update in training, none in eval mode, and the same gradient to the weight."""
    ours = SpectralLinear(6, 4)
    theirs = nn.utils.spectral_norm(nn.Linear(6, 4))
    theirs.load_state_dict(
        {"bias": ours.bias, "weight_orig": ours.weight, "weight_u": ours.u, "weight_v": ours.v}  # v is not yet u's own
    )
    x = torch.randn(3, 6)
    done = []
    for mode in (True, True, False):
        ours.train(mode), theirs.train(mode)
        a, b = ours(x), theirs(x)
        done += [6, 4, 6, 4, 6] if mode else [6, 4, 6]  # sums: an iteration's v and u, σ, then the layer's own
        close(a, b, *done)
        close(ours.u, theirs.weight_u, *done)
        (ga,) = torch.autograd.grad(a.square().sum(), ours.weight)
        (gb,) = torch.autograd.grad(b.square().sum(), theirs.weight_orig)
        close(ga, gb, *2 * done)


def test_eval_mode_changes_nothing_and_training_does():
    layer = SpectralConv2d(3, 5, 3).eval()
    before, x = layer.u.clone(), torch.randn(1, 3, 5, 5)
    assert torch.equal(layer(x), layer(x))
    assert torch.equal(layer.u, before)
    layer.train()(x)
    assert not torch.equal(layer.u, before)


def test_two_forwards_may_share_one_backward():
    """As with WGAN-GP: scores, then their gradient at other images, each forward moving u."""
    layer = SpectralLinear(4, 1)
    a, x = layer(torch.randn(3, 4)), torch.randn(3, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x).sum(), x, create_graph=True)
    (a.mean() + gradient.norm()).backward()
    assert layer.weight.grad.isfinite().all()


def test_fresh_parameters_bring_fresh_vectors():
    layer = SpectralLinear(6, 4)
    weight, u = layer.weight.clone(), layer.u.clone()
    layer.reset_parameters()
    assert not torch.equal(layer.weight, weight)
    assert not torch.equal(layer.u, u)
    assert torch.allclose(layer.u.norm(), torch.ones(()))
    assert torch.equal(copy.deepcopy(layer).u, layer.u)


def test_attention_gathers_what_each_place_resembles():
    attention = SelfAttention(8, nn.Conv2d)
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(attention(x), x)  # gamma starts at 0
    nn.init.ones_(attention.gamma)
    # keys that are all alike make weights that are all alike: the mean of the values' 2×2 maxima
    nn.init.zeros_(attention.key.weight)
    values = nn.functional.max_pool2d(attention.value(x), 2).mean((2, 3), keepdim=True).expand(2, 4, 4, 4)
    close(attention(x), x + attention.out(values), *terms(attention), 4)  # the weighted mean has four values


@pytest.mark.parametrize("base", [0.0, 1.0])
def test_conditional_batch_norm_without_a_condition_is_batch_norm(base):
    norm, plain = ConditionalBatchNorm(3, 2, nn.Linear, 1e-3, base), nn.BatchNorm2d(3, eps=1e-3)
    x, condition = torch.randn(8, 3, 4, 4), torch.zeros(8, 2)
    sums = (8 * 4 * 4, 8 * 4 * 4, 2)  # mean and variance of a channel, the condition's part
    for mode in (True, False):
        norm.train(mode), plain.train(mode)
        close(norm(x, condition), base * plain(x), *sums)
    nn.init.constant_(norm.gain.weight, 2.0)
    nn.init.constant_(norm.bias.weight, 3.0)
    condition[0] = torch.tensor([1.0, 0.0])  # one row of the condition touches one image
    close(norm(x, condition)[0], (base + 2) * plain(x)[0] + 3, *sums)
    close(norm(x, condition)[1:], base * plain(x)[1:], *sums)


def test_an_unpublished_resolution_is_refused():
    with pytest.raises(UserError, match="resolution 48, only for 32, 64"):
        layers.scaled({64: (2, 1), 32: (1, 1)}, 48, 8)
