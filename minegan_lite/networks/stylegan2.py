"""StyleGAN2 (Karras et al. 2020): weights modulated by w instead of normalised features, and skips to the image.

In plain PyTorch: the authors' resampling kernels are convolutions here, and the modulated weights of a batch are one
grouped convolution. `ada` takes StyleGAN2-ADA's order of operations: demodulated weights are not equalised first, and
the critic scales both summands instead of their sum. The function is the same up to rounding and for all but the
smallest weights.
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

BLUR = (1.0, 3.0, 3.0, 1.0)


def active(x: Tensor, clamp: float | None, share: float = 1) -> Tensor:
    """share · √2 · leaky ReLU of x, bounded to ±share · clamp unless clamp is None."""
    x = leaky(x) * (ROOT2 * share)
    return x if clamp is None else x.clamp(-clamp * share, clamp * share)


class ActiveLinear(EqualLinear):
    """An EqualLinear whose bias is part of the activation."""

    def forward(self, x: Tensor) -> Tensor:
        return active(F.linear(x, self.weight * self.scale) + self.bias * self.lr_mul, None)


class ActiveConv(EqualConv):
    """An EqualConv whose bias is part of the activation."""

    bias: nn.Parameter

    def __init__(
        self, c_in: int, c_out: int, kernel: int, *, clamp: float | None, share: float = 1, stride: int = 1,
        padding: int | None = None,
    ):  # fmt: skip
        super().__init__(c_in, c_out, kernel, stride=stride, padding=padding)
        self.clamp, self.share = clamp, share

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.weight * self.scale, None, self.stride, self.padding)
        return active(x + self.bias[:, None, None], self.clamp, self.share)


class Mapping(nn.Module):
    """z (n, latent_dim) → w (n, style_dim): a perceptron on the normalised latent, with 1 % of the learning rate."""

    def __init__(self, latent_dim: int, style_dim: int, depth: int):
        super().__init__()
        sizes = [latent_dim] + [style_dim] * depth
        self.layers = nn.ModuleList(ActiveLinear(i, o, lr_mul=0.01) for i, o in itertools.pairwise(sizes))

    def forward(self, z: Tensor) -> Tensor:
        w = pixel_norm(z, reciprocal=True)
        for layer in self.layers:
            w = layer(w)
        return w


class ModulatedConv(nn.Module):
    """x (n, c_in, r, r), w (n, style_dim) → (n, c_out, r, r), or 2r with `up`; no bias (Karras et al. 2020, Sec. 2.2).

    An affine map of w scales the input channels (Eq. 1); with `demodulate` the outputs' expected standard deviation is
    1 again (Eq. 3).
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int,
        style_dim: int,
        demodulate: bool = True,
        up: bool = False,
        ada: bool = False,
    ):
        super().__init__()
        self.demodulate, self.padding = demodulate, kernel // 2
        self.scale = 1 if ada and demodulate else 1 / math.sqrt(c_in * kernel**2)
        self.weight = nn.Parameter(torch.randn(c_out, c_in, kernel, kernel))
        self.affine = EqualLinear(style_dim, c_in, bias=1.0)
        self.blur = Resample(BLUR, 1, 1, total=2) if up else None

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        n, c_in, h, _ = x.shape
        weight = self.scale * self.weight * self.affine(w)[:, None, :, None, None]  # (n, c_out, c_in, k, k)
        if self.demodulate:
            weight = weight * (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        x = x.reshape(1, n * c_in, h, h)
        if self.blur is None:
            x = F.conv2d(x, weight.flatten(0, 1), padding=self.padding, groups=n)
            return x.reshape(n, -1, h, h)
        weight = weight.transpose(1, 2).flatten(0, 1)  # (n·c_in, c_out, k, k)
        x = F.conv_transpose2d(x, weight, stride=2, groups=n)
        return self.blur(x.reshape(n, -1, 2 * h + 1, 2 * h + 1))  # (n, c_out, 2r, 2r)


class StyledConv(nn.Module):
    """A modulated 3×3 convolution, noise, bias and activation."""

    def __init__(self, c_in: int, c_out: int, style_dim: int, up: bool, clamp: float | None, ada: bool):
        super().__init__()
        self.conv, self.clamp = ModulatedConv(c_in, c_out, 3, style_dim, up=up, ada=ada), clamp
        self.noise = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(c_out))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        return active(self.conv(x, w) + self.noise * noise + self.bias[:, None, None], self.clamp)


class ToRGB(nn.Module):
    """Features (n, c, r, r) and w → an image (n, image_channels, r, r); no demodulation."""

    def __init__(self, c: int, image_channels: int, style_dim: int, clamp: float | None):
        super().__init__()
        self.conv, self.clamp = ModulatedConv(c, image_channels, 1, style_dim, demodulate=False), clamp
        self.bias = nn.Parameter(torch.zeros(image_channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        x = self.conv(x, w) + self.bias[:, None, None]
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class Generator(StyleGenerator):
    """z (n, latent_dim) → images (n, image_channels, R, R), nominally in [−1, 1]; see StyleGenerator.

    channels: of the blocks at 4×4, 8×8, …, R×R; widths(R, 32768) gives the paper's. depth: layers of the mapping.
    clamp: bound on activations, which StyleGAN2-ADA sets to 256 where it trains in half precision; ada: see above.
    """

    def __init__(
        self,
        channels: Sequence[int] = widths(1024, 32768),
        latent_dim: int = 512,
        style_dim: int = 512,
        depth: int = 8,
        image_channels: int = 3,
        clamp: float | None = None,
        ada: bool = False,
    ):
        sides = [4 << i for i in range(len(channels))]
        mapping = Mapping(latent_dim, style_dim, depth)
        noise_sizes = [4] + [side for side in sides[1:] for _ in range(2)]
        image_shape = (image_channels, sides[-1], sides[-1])
        super().__init__(mapping, latent_dim, style_dim, 2 * len(sides), noise_sizes, image_shape)
        self.constant = nn.Parameter(torch.randn(1, channels[0], 4, 4))
        pairs = list(itertools.pairwise(channels))
        self.convs = nn.ModuleList([StyledConv(channels[0], channels[0], style_dim, False, clamp, ada)])
        for i, o in pairs:
            self.convs.append(StyledConv(i, o, style_dim, True, clamp, ada))
            self.convs.append(StyledConv(o, o, style_dim, False, clamp, ada))
        self.to_rgb = nn.ModuleList(ToRGB(c, image_channels, style_dim, clamp) for c in channels)
        self.enlarge = Resample(BLUR, 2, 1, up=2, total=2)

    def synthesis(self, w: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """w (n, style_dim) or (n, layers, style_dim) → images; noise: a map for each convolution.

        Of w+, row i goes to convolution i, and a resolution's image takes the row of the convolution that follows it.
        """
        rows, maps = self.rows(w).unbind(1), self.noise_maps(noise)
        x = self.convs[0](self.constant.expand(len(w), -1, -1, -1), rows[0], maps[0])  # (n, c₀, 4, 4)
        image = self.to_rgb[0](x, rows[1])
        for i in range(1, len(self.convs), 2):
            x = self.convs[i](x, rows[i], maps[i])  # (n, c, 2r, 2r)
            x = self.convs[i + 1](x, rows[i + 1], maps[i + 1])
            image = self.enlarge(image) + self.to_rgb[(i + 1) // 2](x, rows[i + 2])
        return image  # (n, C, R, R)


class CriticBlock(nn.Module):
    """x (n, c_in, r, r) → (n, c_out, r/2, r/2): the sum of two convolutions and a shortcut, divided by √2."""

    def __init__(self, c_in: int, c_out: int, clamp: float | None, ada: bool):
        super().__init__()
        self.ada = ada
        self.conv0 = ActiveConv(c_in, c_in, 3, clamp=clamp)
        self.conv1 = ActiveConv(c_in, c_out, 3, clamp=clamp, share=math.sqrt(0.5) if ada else 1, stride=2, padding=0)
        self.skip = EqualConv(c_in, c_out, 1, bias=False)
        self.blur, self.shrink = Resample(BLUR, 2, 2), Resample(BLUR, 1, 1, down=2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.blur(self.conv0(x))  # (n, c_in, r + 1, r + 1)
        h, short = self.conv1(h), self.skip(self.shrink(x))  # (n, c_out, r/2, r/2)
        return h + short * math.sqrt(0.5) if self.ada else (h + short) / ROOT2


class Critic(nn.Module):
    """Images (n, image_channels, R, R) → scores (n, 1), unbounded; images of a group influence each other's scores.

    channels, clamp, ada: as in the Generator. group: images in a group of the minibatch deviation.
    """

    def __init__(
        self,
        channels: Sequence[int] = widths(1024, 32768),
        image_channels: int = 3,
        group: int = 4,
        clamp: float | None = None,
        ada: bool = False,
    ):
        super().__init__()
        side = 4 << (len(channels) - 1)
        self.image_shape = (image_channels, side, side)
        self.from_rgb = ActiveConv(image_channels, channels[-1], 1, clamp=clamp)
        self.blocks = nn.ModuleList(CriticBlock(i, o, clamp, ada) for o, i in itertools.pairwise(channels))
        self.stddev = MinibatchStddev(group)
        self.last = ActiveConv(channels[0] + 1, channels[0], 3, clamp=clamp)
        self.dense = ActiveLinear(channels[0] * 16, channels[0])
        self.score = EqualLinear(channels[0], 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.from_rgb(x)  # (n, c, R, R)
        for block in reversed(self.blocks):
            h = block(h)  # (n, cᵢ, r/2, r/2)
        h = self.last(self.stddev(h))  # (n, c₀, 4, 4)
        return self.score(self.dense(h.flatten(1)))  # (n, 1)
