"""Eq. 1–4 and the gradient penalty against cases worked by hand."""

import pytest
import torch
from torch import nn

from minegan_lite import objectives
from minegan_lite.networks.mnist import Critic


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class Linear(nn.Module):
    """D(x) = a·Σx: its gradient is a everywhere, with norm |a|·√(CHW)."""

    def __init__(self, a: float):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a))

    def forward(self, x):
        return self.a * x.flatten(1).sum(1, keepdim=True)


class Square(nn.Module):
    """D(x) = ‖x‖²/2: its gradient at x is x itself."""

    def forward(self, x):
        return x.flatten(1).square().sum(1, keepdim=True) / 2


def test_losses_are_the_papers_expectations():
    fake, real = torch.tensor([[1.0], [3.0]]), torch.tensor([[10.0], [0.0]])
    assert objectives.critic_loss(fake, real).item() == 2 - 5
    assert objectives.generator_loss(fake).item() == -2


def test_penalty_of_a_linear_critic_and_its_weight_gradient():
    # ‖∇D‖ = |a|·√16 = 4a; penalty (4a − 1)², its derivative 8(4a − 1)
    critic = Linear(0.5)
    penalty = objectives.gradient_penalty(critic, torch.rand(3, 1, 4, 4), torch.rand(3, 1, 4, 4), rng())
    assert penalty.item() == pytest.approx(1.0)
    (slope,) = torch.autograd.grad(penalty, critic.a)
    assert slope.item() == pytest.approx(8.0)


def test_penalty_is_taken_between_real_and_fake():
    # With D = ‖x‖²/2 the penalty is (‖x̂‖ − 1)². Real and fake on one ray at norms 3 and 1: x̂ has norm 1 + 2α.
    ray = torch.ones(4000, 1, 2, 2) / 2
    penalty = objectives.gradient_penalty(Square(), 3 * ray, ray, rng())
    assert penalty.item() == pytest.approx(4 / 3, rel=0.05)  # E[(2α)²] = 4/3
    alpha = torch.rand(4000, 1, 1, 1, generator=rng())  # the same draws: one α for each image
    assert penalty.item() == pytest.approx((2 * alpha).square().mean().item(), rel=1e-5)


def test_penalty_equals_finite_differences_on_the_mnist_critic():
    critic = Critic(width=2).double()
    real, fake = torch.rand(2, 1, 28, 28).double(), torch.rand(2, 1, 28, 28).double()
    penalty = objectives.gradient_penalty(critic, real, fake, rng())
    alpha = torch.rand(2, 1, 1, 1, generator=rng())
    between, by_hand, h = alpha * real + (1 - alpha) * fake, [], 1e-6
    with torch.no_grad():
        for image in between:
            steps = torch.eye(784, dtype=torch.float64).view(784, 1, 28, 28) * h
            slope = (critic(image + steps) - critic(image - steps)).flatten() / (2 * h)
            by_hand.append((slope.norm() - 1) ** 2)
    assert penalty.item() == pytest.approx(torch.stack(by_hand).mean().item(), rel=1e-4)


def test_batches_of_different_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 1, 4, 4\) and fake \(3, 1, 4, 4\) differ"):
        objectives.gradient_penalty(Square(), torch.rand(2, 1, 4, 4), torch.rand(3, 1, 4, 4), rng())


@pytest.mark.parametrize("width", [2, 8])
def test_the_mnist_critics_own_input_gradient_is_autograds_and_so_is_what_it_teaches(width):
    torch.manual_seed(0)
    critic = Critic(width).double()
    x = torch.rand(5, 1, 28, 28, generator=rng(), dtype=torch.float64) * 2 - 1
    leaf = x.clone().requires_grad_()
    (twice,) = torch.autograd.grad(critic(leaf).sum(), leaf, create_graph=True)
    once = objectives.input_gradient(critic, x)
    assert torch.allclose(once, twice)
    weights = [weight for name, weight in critic.named_parameters() if name.endswith("weight")]
    taught = [torch.autograd.grad((g.flatten(1).norm(dim=1) - 1).square().mean(), weights) for g in (once, twice)]
    for ours, theirs in zip(*taught, strict=True):
        assert theirs.norm() > 0
        assert torch.allclose(ours, theirs)


def test_a_critic_without_an_own_input_gradient_gets_autograds():
    x = torch.rand(3, 1, 4, 4, generator=rng()) - 0.5
    assert torch.allclose(objectives.input_gradient(Square(), x), x)  # of ‖x‖²/2
