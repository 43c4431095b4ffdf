"""Eq. 1–4 and the gradient penalty against cases worked by hand."""

import math

import pytest
import torch
from torch import nn

from minegan_lite import losses
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
    assert losses.critic_loss(fake, real).item() == 2 - 5
    assert losses.generator_loss(fake).item() == -2


def test_penalty_of_a_linear_critic_and_its_weight_gradient():
    # ‖∇D‖ = |a|·√16 = 4a; penalty (4a − 1)², its derivative 8(4a − 1)
    critic = Linear(0.5)
    penalty = losses.gradient_penalty(critic, torch.rand(3, 1, 4, 4), torch.rand(3, 1, 4, 4), rng())
    assert penalty.item() == pytest.approx(1.0)
    (slope,) = torch.autograd.grad(penalty, critic.a)
    assert slope.item() == pytest.approx(8.0)


def test_penalty_is_taken_between_real_and_fake():
    # With D = ‖x‖²/2 the penalty is (‖x̂‖ − 1)². Real and fake on one ray at norms 3 and 1: x̂ has norm 1 + 2α.
    ray = torch.ones(4000, 1, 2, 2) / 2
    penalty = losses.gradient_penalty(Square(), 3 * ray, ray, rng())
    assert penalty.item() == pytest.approx(4 / 3, rel=0.05)  # E[(2α)²] = 4/3
    alpha = torch.rand(4000, 1, 1, 1, generator=rng())  # the same draws: one α for each image
    assert penalty.item() == pytest.approx((2 * alpha).square().mean().item(), rel=1e-5)


def test_penalty_equals_finite_differences_on_the_mnist_critic():
    critic = Critic(width=2).double()
    real, fake = torch.rand(2, 1, 28, 28).double(), torch.rand(2, 1, 28, 28).double()
    penalty = losses.gradient_penalty(critic, real, fake, rng())
    alpha = torch.rand(2, 1, 1, 1, generator=rng())
    between, by_hand, h = alpha * real + (1 - alpha) * fake, [], 1e-6
    with torch.no_grad():
        for image in between:
            steps = torch.eye(784, dtype=torch.float64).view(784, 1, 28, 28) * h
            slope = (critic(image + steps) - critic(image - steps)).flatten() / (2 * h)
            by_hand.append((slope.norm() - 1) ** 2)
    assert penalty.item() == pytest.approx(torch.stack(by_hand).mean().item(), rel=1e-4)


def test_hinge_losses_by_hand():
    fake, real = torch.tensor([[1.0], [-3.0]]), torch.tensor([[0.5], [2.0]])
    assert losses.hinge_critic_loss(fake, real).item() == (2 + 0) / 2 + (0.5 + 0) / 2
    separated = losses.hinge_critic_loss(torch.tensor([[-1.0]]), torch.tensor([[1.0]]))
    assert separated.item() == 0


def test_logistic_losses_are_cross_entropies_of_the_sigmoid():
    fake, real = torch.tensor([[1.0], [-3.0]]), torch.tensor([[0.5], [2.0]])

    def sigmoid(score):
        return 1 / (1 + math.exp(-score))

    critic = -sum(math.log(1 - sigmoid(s)) for s in (1, -3)) / 2 - sum(math.log(sigmoid(s)) for s in (0.5, 2)) / 2
    assert losses.logistic_critic_loss(fake, real).item() == pytest.approx(critic)
    generator = -(math.log(sigmoid(1)) + math.log(sigmoid(-3))) / 2
    assert losses.logistic_generator_loss(fake).item() == pytest.approx(generator)
    assert losses.logistic_critic_loss(0 * fake, 0 * real).item() == pytest.approx(2 * math.log(2))
    far = torch.tensor([[1e4]])
    assert losses.logistic_critic_loss(far, -far).item() == 2e4
    assert losses.logistic_generator_loss(-far).item() == 1e4


def test_the_non_saturating_loss_pushes_hardest_where_the_critic_is_sure():
    scores = torch.tensor([[-20.0], [20.0]], requires_grad=True)
    (slopes,) = torch.autograd.grad(losses.logistic_generator_loss(scores), scores)
    assert slopes.flatten().tolist() == pytest.approx([-0.5, 0], abs=1e-6)


def test_r1_of_a_linear_and_of_a_quadratic_critic():
    # ‖∇D‖² = 16a², its derivative 32a; of ‖x‖²/2 it is ‖x‖²
    critic = Linear(0.5)
    penalty = losses.r1_penalty(critic, torch.rand(3, 1, 4, 4))
    assert penalty.item() == pytest.approx(4.0)
    (slope,) = torch.autograd.grad(penalty, critic.a)
    assert slope.item() == pytest.approx(16.0)
    x = torch.tensor([[1.0, 2.0], [0.0, 3.0]]).view(2, 1, 1, 2)
    assert losses.r1_penalty(Square(), x).item() == pytest.approx((5 + 9) / 2)


def test_losses_by_their_names():
    fake, real, x = torch.tensor([[2.0]]), torch.tensor([[-1.0]]), torch.full((2, 1, 2, 2), 0.5)
    told = {}
    for name in losses.LOSSES:
        loss = losses.LOSSES[name]
        penalty = loss.penalty(Square(), 3 * x, 3 * x, rng()).item()
        told[name] = (loss.critic(fake, real).item(), loss.generator(fake).item(), penalty)
    critic, generator = math.log1p(math.exp(2)) + math.log1p(math.exp(1)), math.log1p(math.exp(-2))
    assert told["wgan-gp"] == pytest.approx((3, -2, 4))  # at norm 3: (3 − 1)²
    assert told["hinge"] == pytest.approx((5, -2, 0))
    assert told["logistic"] == pytest.approx((critic, generator, 0))
    assert told["logistic-r1"] == pytest.approx((critic, generator, 9))
    with pytest.raises(KeyError):
        losses.LOSSES["wasserstein"]


def test_batches_of_different_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 1, 4, 4\) and fake \(3, 1, 4, 4\) differ"):
        losses.gradient_penalty(Square(), torch.rand(2, 1, 4, 4), torch.rand(3, 1, 4, 4), rng())


@pytest.mark.parametrize("width", [2, 8])
def test_the_mnist_critics_own_input_gradient_is_autograds_and_so_is_what_it_teaches(width):
    torch.manual_seed(0)
    critic = Critic(width).double()
    x = torch.rand(5, 1, 28, 28, generator=rng(), dtype=torch.float64) * 2 - 1
    leaf = x.clone().requires_grad_()
    (twice,) = torch.autograd.grad(critic(leaf).sum(), leaf, create_graph=True)
    once = losses.input_gradient(critic, x)
    assert torch.allclose(once, twice)
    weights = [weight for name, weight in critic.named_parameters() if name.endswith("weight")]
    taught = [torch.autograd.grad((g.flatten(1).norm(dim=1) - 1).square().mean(), weights) for g in (once, twice)]
    for ours, theirs in zip(*taught, strict=True):
        assert theirs.norm() > 0
        assert torch.allclose(ours, theirs)


def test_a_critic_without_an_own_input_gradient_gets_autograds():
    x = torch.rand(3, 1, 4, 4, generator=rng()) - 0.5
    assert torch.allclose(losses.input_gradient(Square(), x), x)  # of ‖x‖²/2
