"""StyleGAN (Karras et al. 2019) in the form whose weights circulate in PyTorch (rosinality's).

A learnt constant goes through Progressive GAN's blocks. The latent enters as w through adaptive instance normalisation,
twice in each block, and noise through learnt weights per channel. This form differs from the paper's network: one noise
map serves both layers of a resolution, the mapping learns at the full rate, every layer has the gain √2, and the
minibatch deviation is taken over the whole batch.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minegan_lite.networks.style_layers import (
    ROOT2,
    EqualConv,
    EqualLinear,
    MinibatchStddev,
    Resample,
    StyleGenerator,
    leaky,
    pixel_norm,
    widths,
)

BLUR = (1.0, 2.0, 1.0)


class Mapping(nn.Module):
    """z (n, latent_dim) → w (n, latent_dim): a perceptron on the normalised latent (Karras et al. 2019, Sec. 2)."""

    def __init__(self, latent_dim: int, depth: int):
        super().__init__()
        self.layers = nn.ModuleList(EqualLinear(latent_dim, latent_dim, ROOT2) for _ in range(depth))

    def forward(self, z: Tensor) -> Tensor:
        w = pixel_norm(z)
        for layer in self.layers:
            w = leaky(layer(w))
        return w


def spread(kernel: Tensor) -> Tensor:
    """A kernel (…, 3, 3) → (…, 4, 4), the mean of its four shifts: with stride 2 it also resamples."""
    kernel = F.pad(kernel, (1, 1, 1, 1))
    return (kernel[..., 1:, 1:] + kernel[..., :-1, 1:] + kernel[..., 1:, :-1] + kernel[..., :-1, :-1]) / 4


class UpConv(nn.Module):
    """x (n, c_in, r, r) → (n, c_out, 2r, 2r): upsampling and convolution, `fused` or one after the other.

    Fused, the weight has the shape (c_in, c_out, 3, 3), and the values are a quarter as large.
    """

    def __init__(self, c_in: int, c_out: int, fused: bool):
        super().__init__()
        self.fused, self.scale = fused, ROOT2 / math.sqrt(c_in * 9)
        self.weight = nn.Parameter(torch.randn(*((c_in, c_out) if fused else (c_out, c_in)), 3, 3))
        self.bias = nn.Parameter(torch.zeros(c_out))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.scale
        if self.fused:
            return F.conv_transpose2d(x, spread(weight), self.bias, stride=2, padding=1)
        return F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), weight, self.bias, padding=1)


class DownConv(EqualConv):
    """x (n, c_in, r, r) → (n, c_out, r/2, r/2): convolution and average pooling, `fused` or one after the other."""

    def __init__(self, c_in: int, c_out: int, fused: bool):
        super().__init__(c_in, c_out, 3, ROOT2)
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        if self.fused:
            return F.conv2d(x, spread(self.weight * self.scale), self.bias, stride=2, padding=1)
        return F.avg_pool2d(super().forward(x), 2)


class Style(nn.Module):
    """Noise, leaky ReLU, and adaptive instance normalisation by w (Karras et al. 2019, Eq. 1)."""

    def __init__(self, channels: int, style_dim: int):
        super().__init__()
        self.noise = nn.Parameter(torch.zeros(channels, 1, 1))
        self.affine = EqualLinear(style_dim, 2 * channels, ROOT2)
        nn.init.ones_(self.affine.bias[:channels])  # the scale's half

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        x = F.instance_norm(leaky(x + self.noise * noise))  # (n, c, r, r), each map with mean 0 and variance 1
        scale, shift = self.affine(w)[:, :, None, None].chunk(2, dim=1)  # (n, c, 1, 1) each
        return scale * x + shift


class Block(nn.Module):
    """x (n, c_in, r, r) → (n, c_out, 2r, 2r), from 4×4 on: upsampling, two convolutions, two styles."""

    def __init__(self, c_in: int, c_out: int, style_dim: int, fused: bool):
        super().__init__()
        self.conv0, self.conv1 = UpConv(c_in, c_out, fused), EqualConv(c_out, c_out, 3, ROOT2)
        self.blur = Resample(BLUR, 1, 1)
        self.style0, self.style1 = Style(c_out, style_dim), Style(c_out, style_dim)

    def forward(self, x: Tensor, w0: Tensor, w1: Tensor, noise: Tensor) -> Tensor:
        x = self.blur(self.conv0(x))
        x = self.style0(x, w0, noise)
        return self.style1(self.conv1(x), w1, noise)


class Generator(StyleGenerator):
    """z (n, latent_dim) → images (n, 3, R, R), nominally in [−1, 1]; see StyleGenerator.

    channels: of the blocks at 4×4, 8×8, …, R×R. depth: layers of the mapping. fused: the first block in which
    resampling and convolution are one operation; 5 is the block of 128×128.
    """

    def __init__(self, channels: Sequence[int] = widths(1024), latent_dim: int = 512, depth: int = 8, fused: int = 5):
        sides = [4 << i for i in range(len(channels))]
        image_shape = (3, sides[-1], sides[-1])
        super().__init__(Mapping(latent_dim, depth), latent_dim, latent_dim, 2 * len(sides), sides, image_shape)
        self.constant = nn.Parameter(torch.randn(1, channels[0], 4, 4))
        self.conv1 = EqualConv(channels[0], channels[0], 3, ROOT2)
        self.style0, self.style1 = Style(channels[0], latent_dim), Style(channels[0], latent_dim)
        self.blocks = nn.ModuleList(
            Block(i, o, latent_dim, k >= fused) for k, (i, o) in enumerate(itertools.pairwise(channels), start=1)
        )
        self.to_rgb = EqualConv(channels[-1], 3, 1, ROOT2)

    def synthesis(self, w: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """w (n, style_dim), or (n, layers, style_dim), two layers a block → images; noise: one map for a resolution."""
        rows, maps = self.rows(w).unbind(1), self.noise_maps(noise)
        x = self.style0(self.constant.expand(len(w), -1, -1, -1), rows[0], maps[0])  # (n, c₀, 4, 4)
        x = self.style1(self.conv1(x), rows[1], maps[0])
        for i, block in enumerate(self.blocks, start=1):
            x = block(x, rows[2 * i], rows[2 * i + 1], maps[i])  # (n, cᵢ, r, r)
        return self.to_rgb(x)


class Critic(nn.Module):
    """Images (n, 3, R, R) → scores (n, 1), unbounded; the images of a batch influence each other's scores.

    channels, fused: as in the Generator; rgb_activation: whether a leaky ReLU follows the first layer, as in the paper.
    """

    def __init__(self, channels: Sequence[int] = widths(1024), rgb_activation: bool = True, fused: int = 5):
        super().__init__()
        side = 4 << (len(channels) - 1)
        self.image_shape, self.rgb_activation = (3, side, side), rgb_activation
        self.from_rgb = EqualConv(3, channels[-1], 1, ROOT2)
        self.blur = Resample(BLUR, 1, 1)
        self.blocks = nn.ModuleList(
            nn.ModuleList([EqualConv(i, o, 3, ROOT2), DownConv(o, o, k >= fused)])
            for k, (o, i) in enumerate(itertools.pairwise(channels), start=1)
        )  # unlike Progressive GAN's, the first of the two widens
        self.stddev = MinibatchStddev(None)
        self.last = EqualConv(channels[0] + 1, channels[0], 3, ROOT2)
        self.dense = EqualConv(channels[0], channels[0], 4, ROOT2, padding=0)
        self.score = EqualLinear(channels[0], 1, ROOT2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.from_rgb(x)  # (n, c, R, R)
        h = leaky(h) if self.rgb_activation else h
        for block in reversed(self.blocks):
            conv0, conv1 = block.children()
            h = leaky(conv1(self.blur(leaky(conv0(h)))))  # (n, cᵢ, r/2, r/2)
        h = leaky(self.last(self.stddev(h)))  # (n, c₀, 4, 4)
        return self.score(leaky(self.dense(h)).flatten(1))  # (n, 1)
