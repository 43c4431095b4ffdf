"""The losses of the paper as pure functions of critic scores (Eq. 1 to 4), WGAN-GP's gradient penalty, and relatives.

The paper writes Eq. 1 to 6 with WGAN's losses. The sources that it mines were trained with others, too: SNGAN and
BigGAN with the hinge loss, StyleGAN with the logistic one and R1. LOSSES has each by its name.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def critic_loss(fake_scores: Tensor, real_scores: Tensor) -> Tensor:
    """Eq. 1 and 3: E[D(fake)] − E[D(real)], over scores (n, 1); the penalty is added by the caller.

    Eq. 3 is Eq. 1 with G(M(u)) in the place of G(z), so one function serves pretraining and mining.
    """
    return fake_scores.mean() - real_scores.mean()


def generator_loss(fake_scores: Tensor) -> Tensor:
    """Eq. 2 and 4: −E[D(fake)], over scores (n, 1). In Eq. 4 only the miner's weights follow its gradient."""
    return -fake_scores.mean()


def input_gradient(critic: Any, x: Tensor) -> Tensor:
    """∇ₓD(x), shaped as x, differentiable in the critic's weights.

    Uses the critic's own `input_gradient` if it has one (a mining step on the CPU is a tenth faster), otherwise
    autograd, which differentiates twice.
    """
    if hasattr(critic, "input_gradient"):
        return critic.input_gradient(x.detach())
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return gradient


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
    """E[(‖∇D(x̂)‖₂ − 1)²] at x̂ drawn uniformly on the segments between real and fake (n, C, H, W).

    Gulrajani et al. 2017, Eq. 3, whose weight λ = 10 is the caller's. `rng` is a CPU generator, so that the
    draws are the same on every device. Raises ValueError when the two batches differ in shape.
    """
    if real.shape != fake.shape:
        raise ValueError(f"real {tuple(real.shape)} and fake {tuple(fake.shape)} differ")
    alpha = torch.rand(len(real), 1, 1, 1, generator=rng).to(real.device)
    between = alpha * real + (1 - alpha) * fake  # x̂: (n, C, H, W)
    gradient = input_gradient(critic, between).float()
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def hinge_critic_loss(fake_scores: Tensor, real_scores: Tensor) -> Tensor:
    """E[max(0, 1 + D(fake))] + E[max(0, 1 − D(real))], over scores (n, 1).

    Lim & Ye 2017; Miyato et al. 2018, Sec. 4. The generator's half is `generator_loss`.
    """
    return F.relu(1 + fake_scores).mean() + F.relu(1 - real_scores).mean()


def logistic_critic_loss(fake_scores: Tensor, real_scores: Tensor) -> Tensor:
    """E[log(1 + exp D(fake))] + E[log(1 + exp −D(real))], over scores (n, 1): Goodfellow et al. 2014, Eq. 1."""
    return F.softplus(fake_scores).mean() + F.softplus(-real_scores).mean()


def logistic_generator_loss(fake_scores: Tensor) -> Tensor:
    """E[log(1 + exp −D(fake))], over scores (n, 1): the non-saturating half (Goodfellow et al. 2014, Sec. 3)."""
    return F.softplus(-fake_scores).mean()


def r1_penalty(critic: nn.Module, real: Tensor) -> Tensor:
    """E[‖∇D(x)‖₂²] at real x (n, C, H, W): Mescheder et al. 2018, Eq. 9, whose weight γ/2 is the caller's."""
    return input_gradient(critic, real).float().flatten(1).square().sum(1).mean()


class Loss(NamedTuple):
    """An adversarial loss: critic(fake_scores, real_scores), generator(fake_scores), penalty(critic, real, fake, rng).

    Each gives a number to be minimised; scores are (n, 1), images (n, C, H, W). The penalty's weight is the caller's.
    """

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    penalty: Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]


def _none(critic: nn.Module, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
    return torch.zeros((), device=real.device)


def _r1(critic: nn.Module, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
    return r1_penalty(critic, real)


# By the names that a configuration gives them: only WGAN-GP, and the logistic loss with R1, have a penalty.
LOSSES = {
    "wgan-gp": Loss(critic_loss, generator_loss, gradient_penalty),
    "hinge": Loss(hinge_critic_loss, generator_loss, _none),
    "logistic": Loss(logistic_critic_loss, logistic_generator_loss, _none),
    "logistic-r1": Loss(logistic_critic_loss, logistic_generator_loss, _r1),
}
