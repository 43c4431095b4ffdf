"""Random checkpoints, and arithmetic for reading them again without our networks."""

import math
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from minegan_lite import UserError, checkpoints


def random_state(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {key: torch.randn(shape, generator=rng) for key, shape in shapes.items()}


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def double(state: dict) -> dict:
    return {key: value.double() for key, value in state.items() if isinstance(value, torch.Tensor)}


def gaps(network: nn.Module, oracle, x: torch.Tensor) -> tuple[float, float]:
    """The largest difference of outputs and of input gradients, over their scales, in double precision."""
    results = []
    for function in (network.double().requires_grad_(False), oracle):
        inputs = x.clone().requires_grad_()
        outputs = function(inputs)
        (gradient,) = torch.autograd.grad((outputs * normal(*outputs.shape, seed=9)).sum(), inputs)
        results.append((outputs.detach(), gradient))
    network.float()
    return tuple(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(*results, strict=True))


def agree(network: nn.Module, oracle, x: torch.Tensor) -> bool:
    outputs, gradients = gaps(network, oracle, x)
    return outputs < 1e-5 and gradients < 1e-4


def differ(network: nn.Module, oracle, x: torch.Tensor) -> bool:
    """Far apart: a rule that the oracle breaks matters for this checkpoint."""
    return gaps(network, oracle, x)[0] > 1e-3


class InStyle(nn.Module):
    """A StyleGAN from w or w+, with these noise maps."""

    def __init__(self, generator: nn.Module, noise: list[torch.Tensor] | None = None):
        super().__init__()
        self.generator, self.noise = generator, noise

    def forward(self, w: torch.Tensor) -> torch.Tensor:
        return self.generator.synthesis(w, self.noise)


def unit(x: torch.Tensor) -> torch.Tensor:
    return x / torch.sqrt((x * x).mean(dim=1, keepdim=True) + 1e-8)


def twice(x: torch.Tensor, times: int = 2) -> torch.Tensor:
    """Nearest-neighbour enlargement."""
    return x.repeat_interleave(times, 2).repeat_interleave(times, 3)


def halved(x: torch.Tensor) -> torch.Tensor:
    return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4


def lrelu(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x > 0, x, 0.2 * x)


def with_deviation(x: torch.Tensor, groups: list[list[int]], unbiased: bool) -> torch.Tensor:
    """x with a channel that holds, for each image, the mean deviation in its group."""
    extra = x.new_zeros(len(x), 1, *x.shape[2:])
    pieces = {}
    for group in groups:
        part = x[group]
        square = ((part - part.mean(0)) ** 2).sum(0) / (len(group) - unbiased)
        pieces |= dict.fromkeys(group, torch.sqrt(square + 1e-8).mean())
    return torch.cat([x, extra + torch.stack([pieces[i] for i in range(len(x))])[:, None, None, None]], dim=1)


def strided(n: int, size: int) -> list[list[int]]:
    """Groups of `size` whose members lie n / size apart."""
    return [list(range(i, n, n // size)) for i in range(n // size)]


def fir(x: torch.Tensor, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0), gain: float = 1) -> torch.Tensor:
    """StyleGAN2's resampling with [1, 3, 3, 1], as one dense convolution of each channel on its own."""
    n, c, h, w = x.shape
    wide = x.new_zeros(n * c, 1, h * up, w * up)
    wide[:, 0, ::up, ::up] = x.flatten(0, 1)
    taps = torch.tensor([1, 3, 3, 1], dtype=x.dtype) / 8
    kernel = torch.outer(taps, taps) * gain
    out = F.conv2d(F.pad(wide, (*pad, *pad)), kernel[None, None])[..., ::down, ::down]
    return out.unflatten(0, (n, c))[:, :, 0]


def modulated(x, weight, style, up: bool, demodulate: bool) -> torch.Tensor:
    """A modulated convolution image by image, each with weights of its own (Karras et al. 2020, Eq. 1 and 3)."""
    images = []
    for image, scales in zip(x, style, strict=True):
        own = weight * scales[None, :, None, None]
        if demodulate:
            own = own / torch.sqrt((own * own).sum((1, 2, 3), keepdim=True) + 1e-8)
        if up:
            image = F.conv_transpose2d(image[None], own.transpose(0, 1), stride=2)
            images.append(fir(image, pad=(1, 1), gain=4))
        else:
            images.append(F.conv2d(image[None], own, padding=weight.shape[-1] // 2))
    return torch.cat(images)


def he(weight: torch.Tensor, gain: float = 2.0) -> float:
    """√(gain / fan-in)."""
    return math.sqrt(gain / weight[0].numel())


def each_is_named(a_file: Callable[[], dict], part: str, keys: Iterable[str]) -> None:
    """Loading a_file() without one of the keys of a part, or with it twice as long, is refused by that key's name."""
    for key in keys:
        state = a_file()
        tensor = state[part].pop(key)
        with pytest.raises(UserError, match=key.replace(".", r"\.")):
            checkpoints.load(state)
        state[part][key] = torch.cat([tensor, tensor])
        with pytest.raises(UserError, match=key.replace(".", r"\.")):
            checkpoints.load(state)
