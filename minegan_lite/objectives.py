"""The objectives of the paper as pure functions of critic scores, and WGAN-GP's gradient penalty."""

import torch
from torch import Tensor, nn


def critic_loss(fake_scores: Tensor, real_scores: Tensor) -> Tensor:
    """Eq. 1 and 3: E[D(fake)] − E[D(real)], over scores (n, 1); the penalty is added by the caller.

    Eq. 3 is Eq. 1 with G(M(u)) in the place of G(z), so one function serves pretraining and mining.
    """
    return fake_scores.mean() - real_scores.mean()


def generator_loss(fake_scores: Tensor) -> Tensor:
    """Eq. 2 and 4: −E[D(fake)], over scores (n, 1). In Eq. 4 only the miner's weights follow its gradient."""
    return -fake_scores.mean()


def input_gradient(critic: nn.Module, x: Tensor) -> Tensor:
    """∇ₓD(x), shaped as x, differentiable in the critic's weights.

    By the critic's own `input_gradient` where it has one (a tenth of a mining step faster, on a CPU), else by autograd,
    which differentiates twice.
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
