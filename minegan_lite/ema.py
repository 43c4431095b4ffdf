"""Exponential moving average of weights: the averaged copy is what samples are drawn from."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

DECAY = 0.999


def decay_at(updates: int, decay: float = DECAY) -> float:
    """The decay used at an update, warmed up so that early averages are not dominated by the initialisation."""
    return min(decay, (1 + updates) / (10 + updates))


def averaged(module: nn.Module, decay: float = DECAY) -> AveragedModel:
    """A copy of `module` (as `.module`); `update_parameters(module)` moves it by 1 − decay towards the original."""

    @torch.no_grad()
    def step(averages: list[Tensor], currents: list[Tensor], updates: Tensor) -> None:
        torch._foreach_lerp_(averages, currents, 1 - decay_at(int(updates), decay))

    average = AveragedModel(module, multi_avg_fn=step, use_buffers=False)
    return average.requires_grad_(False).eval()
