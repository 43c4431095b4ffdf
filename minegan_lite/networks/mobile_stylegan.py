"""MobileStyleGAN (Belousov 2021): a StyleGAN2 distilled into depthwise convolutions and inverse wavelet transforms.

The demodulation of its convolutions is a constant and already part of their weights, and so is the strength of the
noise part of the noise maps. `cut` stops after the block of a smaller side, where a small head of ours draws the image.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from minegan_lite.errors import UserError
from minegan_lite.gan import GAN
from minegan_lite.networks.style_layers import ROOT2, StyleGenerator, leaky, pixel_norm
from minegan_lite.shown import shown

HEADS = Path(__file__).parents[1] / "weights"
CHANNELS = (512, 512, 512, 512, 512, 256, 128, 64)  # of the published one, at 4×4 to 512×512
BANDS = 4  # of a Haar transform in two dimensions


def inverse_haar(x: Tensor) -> Tensor:
    """x (n, 4c, r, r) → (n, c, 2r, 2r): the inverse Haar wavelet transform of each channel (Belousov 2021, Sec. 3.2).

    Of the input's channels the first c are averages. Three follow for each of these: the differences of rows, of
    columns, and of both.
    """
    low, high = x.split([x.shape[1] // BANDS, x.shape[1] - x.shape[1] // BANDS], dim=1)
    rows, columns, both = high.unflatten(1, (-1, 3)).unbind(2)  # (n, c, r, r) each
    up, down, left, right = low + rows, low - rows, columns + both, columns - both
    pixels = torch.stack([up + left, up - left, down + right, down - right], dim=2)  # of each square of four
    return F.pixel_shuffle(pixels.flatten(1, 2), 2) / 2


class Mapping(nn.Module):
    """z (n, latent_dim) → w (n, style_dim): a perceptron on the normalised latent; its weights are used as stored."""

    def __init__(self, latent_dim: int, style_dim: int, depth: int):
        super().__init__()
        sizes = [latent_dim] + [style_dim] * depth
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in itertools.pairwise(sizes))

    def forward(self, z: Tensor) -> Tensor:
        w = pixel_norm(z, reciprocal=True)
        for layer in self.layers:
            w = leaky(layer(w)) * ROOT2
        return w


class Modulation(nn.Module):
    """x (n, c, r, r) with its channels multiplied by an affine map of w (n, style_dim), times `scale` (a buffer)."""

    scale: Tensor

    def __init__(self, style_dim: int, c: int, scale: float | None = None):
        super().__init__()
        self.affine = nn.Linear(style_dim, c)
        nn.init.ones_(self.affine.bias)
        self.register_buffer("scale", None if scale is None else torch.tensor(scale))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.affine(w)
        if self.scale is not None:
            style = style * self.scale
        return x * style[:, :, None, None]


class StyledConv(nn.Module):
    """x (n, c_in, r, r), w (n, style_dim) → (n, c_out, r, r): modulation, a 3×3 convolution, noise, bias, leaky ReLU.

    The convolution is a dense one, or depthwise and then pointwise.
    """

    def __init__(self, c_in: int, c_out: int, style_dim: int, dense: bool = False):
        super().__init__()
        self.modulation = Modulation(style_dim, c_in, 1 / math.sqrt(9 * c_in))
        self.depthwise = None if dense else nn.Parameter(torch.randn(c_in, 1, 3, 3))
        self.weight = nn.Parameter(torch.randn(c_out, c_in, *((3, 3) if dense else (1, 1))))
        self.bias = nn.Parameter(torch.zeros(c_out))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        x = self.modulation(x, w)
        if self.depthwise is not None:
            x = F.conv2d(x, self.depthwise, padding=1, groups=x.shape[1])
        x = F.conv2d(x, self.weight, self.bias, padding=self.weight.shape[-1] // 2)
        return leaky(x + noise)  # (n, c_out, r, r)


class ToImage(nn.Module):
    """Features (n, c, r, r) and w → an image (n, image_channels, 2r, 2r), drawn as its wavelet transform."""

    def __init__(self, c: int, image_channels: int, style_dim: int):
        super().__init__()
        self.modulation = Modulation(style_dim, c, 1 / math.sqrt(c))
        self.weight = nn.Parameter(torch.randn(BANDS * image_channels, c, 1, 1))
        self.bias = nn.Parameter(torch.zeros(BANDS * image_channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return inverse_haar(F.conv2d(self.modulation(x, w), self.weight, self.bias))


class Blocks(StyleGenerator):
    """What Generator and Cut share: `features` from the constant to the last block; see StyleGenerator.

    Of w+, row i goes to convolution i, the modulation before it included, and the last row to what draws the image.
    Noise maps that are given must have the noise's strength.
    """

    constant: Tensor
    convs: nn.ModuleList
    ups: nn.ModuleList

    def features(self, rows: Sequence[Tensor], maps: Sequence[Tensor]) -> Tensor:
        """The features (n, c, r, r) of the last block."""
        x = self.constant.expand(len(rows[0]), -1, -1, -1)
        x = self.convs[0](x, rows[0], maps[0])  # (n, c₀, 4, 4)
        for i in range(1, len(self.convs), 2):
            x = inverse_haar(self.ups[i // 2](x, rows[i]))  # (n, c/4, 2r, 2r)
            x = self.convs[i](x, rows[i], maps[i])  # (n, c, 2r, 2r)
            x = self.convs[i + 1](x, rows[i + 1], maps[i + 1])
        return x


class Generator(Blocks):
    """z (n, latent_dim) → images (n, image_channels, R, R), nominally in [−1, 1].

    channels: of the blocks at 4×4, 8×8, …, R/2×R/2, all but the last multiples of 4. depth: layers of the mapping.
    """

    def __init__(
        self,
        channels: Sequence[int] = CHANNELS,
        latent_dim: int = 512,
        style_dim: int = 512,
        depth: int = 8,
        image_channels: int = 3,
    ):
        if wrong := [c for c in channels[:-1] if c % BANDS]:
            raise UserError(f"a transform takes its channels in fours, and a block has {wrong[0]}")
        side = 4 << (len(channels) - 1)
        noise_sizes = [4] + [4 << i for i in range(1, len(channels)) for _ in range(2)]
        super().__init__(
            Mapping(latent_dim, style_dim, depth), latent_dim, style_dim, 2 * len(channels), noise_sizes,
            (image_channels, 2 * side, 2 * side),
        )  # fmt: skip
        self.constant = nn.Parameter(torch.randn(1, channels[0], 4, 4))
        self.convs = nn.ModuleList([StyledConv(channels[0], channels[0], style_dim, dense=True)])
        self.ups = nn.ModuleList(Modulation(style_dim, c) for c in channels[:-1])
        for c_in, c_out in itertools.pairwise(channels):
            self.convs.extend(StyledConv(c, c_out, style_dim) for c in (c_in // BANDS, c_out))
        self.to_image = ToImage(channels[-1], image_channels, style_dim)

    def synthesis(self, w: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """w (n, style_dim) or (n, layers, style_dim) → images; noise: a map for each convolution."""
        rows = self.rows(w).unbind(1)
        return self.to_image(self.features(rows, self.noise_maps(noise)), rows[-1])  # (n, C, R, R)


class Cut(Blocks):
    """A Generator that stops at the features of `side`×`side` pixels, from which a head draws images of that size.

    head: features (n, c, r, r) → images (n, C, r, r). Mapping, blocks and noise are the Generator's own, shared and not
    copied. Raises UserError for a side that no block has, or that the last one has.
    """

    def __init__(self, generator: Generator, side: int, head: nn.Module):
        sides = {4 << i: i for i in range(len(generator.ups))}
        if side not in sides:
            raise UserError(f"a generator is cut at {', '.join(map(str, sides))} pixels, not at {side}")
        layers = 2 * sides[side] + 1
        super().__init__(
            generator.mapping, generator.latent_dim, generator.style_dim, layers, generator.noise_sizes[:layers],
            (generator.image_shape[0], side, side),
        )  # fmt: skip
        self.w_mean = generator.w_mean
        for i in range(layers):
            setattr(self, f"noise_{i}", getattr(generator, f"noise_{i}"))
        self.constant, self.convs = generator.constant, generator.convs[:layers]
        self.ups, self.head = generator.ups[: sides[side]], head

    def synthesis(self, w: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """w (n, style_dim) or (n, layers, style_dim) → images; noise: a map for each convolution."""
        return self.head(self.features(self.rows(w).unbind(1), self.noise_maps(noise)))  # (n, C, r, r)


def cut(gan: GAN, side: int, head: Path | None = None) -> GAN:
    """The GAN whose generator is a Cut of this one's at `side` pixels, called after both; it has no critic.

    head: a file of the head's weight (C, c, 1, 1) and bias (C,); None takes the one that we fitted for the published
    generator, at 64 or 128 pixels (data_scripts/fit_image_heads.py). Raises UserError for a generator of another kind,
    for a side that it cannot be cut at, and for a head that cannot be read or does not fit.
    """
    generator = gan.generator
    if not isinstance(generator, Generator):
        raise UserError(f"{shown(gan.name)} is no MobileStyleGAN: nothing else is cut")
    network = Cut(generator, side, nn.Identity())
    path = HEADS / f"ffhq-head-{side}.safetensors" if head is None else head
    last: Any = network.convs[-1]
    network.head = nn.utils.skip_init(nn.Conv2d, len(last.weight), network.image_shape[0], 1)
    try:
        network.head.load_state_dict({key: tensor.float() for key, tensor in load_file(path).items()})
    except (OSError, RuntimeError, SafetensorError) as error:  # RuntimeError: other names or shapes
        what = shown(f"{type(error).__name__}: {error}".replace("\n", " "))
        raise UserError(
            f"{shown(path, most=4096)} is no head of {shown(gan.name)} at {side} pixels ({what})"
        ) from error
    return replace(gan, generator=network.eval(), critic=None, name=f"{gan.name}-{side}", request=None)
