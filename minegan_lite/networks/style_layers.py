"""What Progressive GAN and the StyleGANs share: equalised learning rates, normalisations, resampling, style, noise.

Sources: Karras et al. 2018 (Progressive GAN), 2019 (StyleGAN), 2020 (StyleGAN2). Their training draws new noise maps
for every image. Here noise is an argument; by default it is constant and kept in the network, so that an image is a
function of its latent.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minegan_lite.errors import UserError
from minegan_lite.gan import GAN

ROOT2 = math.sqrt(2)


def widths(resolution: int, base: int = 16384, most: int = 512) -> tuple[int, ...]:
    """Channels of the blocks from 4×4 up to `resolution`: base divided by the block's resolution, at most `most`.

    base is 16384 for Progressive GAN, StyleGAN and the configuration paper256 of StyleGAN2-ADA, 32768 for StyleGAN2.
    Raises UserError for a resolution that is below 4 or not a power of two.
    """
    if resolution < 4 or resolution & (resolution - 1):
        raise UserError(f"the resolution must be a power of two, 4 or more, got {resolution}")
    return tuple(max(1, min(base >> i, most)) for i in range(2, resolution.bit_length()))


def pixel_norm(x: Tensor, reciprocal: bool = False) -> Tensor:
    """x (n, c, …) with the channels of each place scaled to mean square 1 (Karras et al. 2018, Sec. 4.2).

    reciprocal: multiply by the reciprocal root instead of dividing by the root. Public codes do one or the other, which
    changes the last bit.
    """
    square = x.square().mean(1, keepdim=True) + 1e-8
    return x * square.rsqrt() if reciprocal else x / square.sqrt()


def leaky(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2, without a gain."""
    return F.leaky_relu(x, 0.2)


class EqualLinear(nn.Module):
    """x (n, d_in) → (n, d_out) with an equalised learning rate (Karras et al. 2018, Sec. 4.1).

    The stored weight starts as N(0, 1) divided by lr_mul. Forward multiplies it by gain·lr_mul/√d_in, and the bias by
    lr_mul. With `after`, forward takes both as stored and multiplies the result by gain·lr_mul/√d_in.
    """

    def __init__(
        self, d_in: int, d_out: int, gain: float = 1.0, lr_mul: float = 1.0, bias: float = 0.0, after: bool = False
    ):
        super().__init__()
        self.scale, self.lr_mul, self.start, self.after = gain / math.sqrt(d_in) * lr_mul, lr_mul, bias, after
        self.weight = nn.Parameter(torch.empty(d_out, d_in))
        self.bias = nn.Parameter(torch.empty(d_out))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=1 / self.lr_mul)
        nn.init.constant_(self.bias, self.start)

    def forward(self, x: Tensor) -> Tensor:
        if self.after:
            return F.linear(x, self.weight, self.bias) * self.scale
        return F.linear(x, self.weight * self.scale, self.bias * self.lr_mul)


class EqualConv(nn.Module):
    """x (n, c_in, h, w) → (n, c_out, h, w), equalised as EqualLinear.

    padding: pixels on each side; None for as many as keep h and w at stride 1.
    """

    def __init__(
        self, c_in: int, c_out: int, kernel: int, gain: float = 1.0, stride: int = 1, padding: int | None = None,
        bias: bool = True, after: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.scale, self.stride, self.after = gain / math.sqrt(c_in * kernel**2), stride, after
        self.padding = kernel // 2 if padding is None else padding
        self.weight = nn.Parameter(torch.empty(c_out, c_in, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(c_out)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.after:
            return F.conv2d(x, self.weight, self.bias, self.stride, self.padding) * self.scale
        return F.conv2d(x, self.weight * self.scale, self.bias, self.stride, self.padding)


class MinibatchStddev(nn.Module):
    """x (n, c, h, w) → (n, c + 1, h, w): how much the images of a group differ (Karras et al. 2018, Sec. 3).

    group: images in a group, None for the whole batch. If the batch is smaller, or not a multiple of it, the group has
    the largest size below that divides the batch. As in the paper's code, the members of a group lie a stride apart in
    the batch, and the variance is divided by the group's size. With `contiguous`, as in pytorch_GAN_zoo, they are
    neighbours, the variance is the unbiased one, a batch that is no multiple is one group, and a single image has
    deviation 0.
    """

    def __init__(self, group: int | None = 4, contiguous: bool = False):
        super().__init__()
        self.group, self.contiguous = group, contiguous

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        size = n if self.group is None else min(self.group, n)
        if self.contiguous:
            size = n if n % size else size
            if size == 1:
                return torch.cat([x, x.new_zeros(n, 1, h, w)], dim=1)
            variance = x.reshape(-1, size, c, h, w).var(1)  # (n/size, c, h, w)
        else:
            size = next(size for size in range(size, 0, -1) if n % size == 0)
            variance = x.reshape(size, -1, c, h, w).var(0, unbiased=False)  # (n/size, c, h, w)
        deviation = (variance + 1e-8).sqrt().mean((1, 2, 3))  # (n/size,)
        each = deviation.repeat_interleave(size) if self.contiguous else deviation.repeat(size)
        return torch.cat([x, each[:, None, None, None].expand(n, 1, h, w)], dim=1)


class Resample(nn.Module):
    """Inserts zeros between pixels, pads, filters each channel, and keeps every down-th pixel ("upfirdn").

    taps: the low-pass filter along each axis, scaled to sum to `total`: 2 makes up for the zeros that doubling inserts.
    before, after: pixels of padding on each side.
    """

    kernel: Tensor

    def __init__(self, taps: Sequence[float], before: int, after: int, up: int = 1, down: int = 1, total: float = 1.0):
        super().__init__()
        self.up, self.down, self.padding = up, down, (before, after, before, after)
        line = torch.tensor(taps) * total / sum(taps)
        self.register_buffer("kernel", torch.outer(line, line), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        if self.up > 1:
            x = x.reshape(n, c, h, 1, w, 1)
            x = F.pad(x, (0, self.up - 1, 0, 0, 0, self.up - 1))  # zeros below and to the right of each pixel
        x = F.pad(x.reshape(n, c, h * self.up, w * self.up), self.padding)
        kernel = self.kernel.to(x.dtype).expand(c, 1, -1, -1)
        # (n, c, h·up/down, w·up/down) where the padding makes up for the filter's length
        return F.conv2d(x, kernel, stride=self.down, groups=c)


class StyleGenerator(nn.Module):
    """What both StyleGANs do around their synthesis: z (n, latent_dim) → w (n, style_dim) → images (n, C, R, R).

    mapping: z → w. A subclass defines `synthesis`, in which each of the `layers` may have a w of its own (w+). Buffers:
    `w_mean` (style_dim,), for truncation, and one constant noise map (1, 1, r, r) for each of `noise_sizes`, drawn from
    a fixed seed unless a checkpoint brings its own.
    """

    embedding_dim: int | None = None
    w_mean: Tensor

    def __init__(
        self,
        mapping: nn.Module,
        latent_dim: int,
        style_dim: int,
        layers: int,
        noise_sizes: Sequence[int],
        image_shape: tuple[int, int, int],
    ):
        super().__init__()
        self.latent_dim, self.style_dim, self.layers = latent_dim, style_dim, layers
        self.image_shape, self.mapping, self.noise_sizes = image_shape, mapping, tuple(noise_sizes)
        self.register_buffer("w_mean", torch.zeros(self.style_dim))
        rng = torch.Generator().manual_seed(0)
        for i, r in enumerate(noise_sizes):
            self.register_buffer(f"noise_{i}", torch.randn(1, 1, r, r, generator=rng))

    def forward(self, z: Tensor, truncation: float = 1.0, noise: Sequence[Tensor] | None = None) -> Tensor:
        """Images (n, C, R, R). truncation: ψ, 1 for none, 0 for the mean image; noise: see noise_maps."""
        return self.synthesis(self.truncate(self.mapping(z), truncation), noise)

    def synthesis(self, w: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """w (n, style_dim) or w+ (n, layers, style_dim) → images (n, C, R, R); noise: see noise_maps."""
        raise NotImplementedError

    def truncate(self, w: Tensor, truncation: float) -> Tensor:
        """w (n, style_dim) or (n, layers, style_dim) drawn towards the mean: w̄ + ψ(w − w̄) (2019, App. B)."""
        return w if truncation == 1 else self.w_mean + truncation * (w - self.w_mean)

    def rows(self, w: Tensor) -> Tensor:
        """w or w+ as (n, layers, style_dim). Raises UserError for another shape."""
        if w.shape[1:] == (self.style_dim,):
            return w[:, None].expand(-1, self.layers, -1)
        if w.shape[1:] != (self.layers, self.style_dim):
            raise UserError(
                f"w must be (n, {self.style_dim}) or (n, {self.layers}, {self.style_dim}), got {tuple(w.shape)}"
            )
        return w

    def noise_maps(self, noise: Sequence[Tensor] | None) -> list[Tensor]:
        """The maps given, each (1 or n, 1, r, r), or the stored ones. Raises UserError for a wrong number or shape."""
        if noise is None:
            return [getattr(self, f"noise_{i}") for i in range(len(self.noise_sizes))]
        if [tuple(part.shape[1:]) for part in noise] != [(1, r, r) for r in self.noise_sizes]:
            raise UserError(f"noise must be maps (1 or n, 1, r, r) for r in {self.noise_sizes}, got another shape")
        return list(noise)

    @torch.no_grad()
    def measure_w_mean(self, n: int = 4096) -> None:
        """Sets w_mean to the mean w of n latents from a fixed seed."""
        z = torch.randn(n, self.latent_dim, generator=torch.Generator().manual_seed(0))
        self.w_mean.copy_(self.mapping(z.to(self.w_mean)).mean(0))


class StyleSpace(nn.Module):
    """A StyleGAN as a generator whose latent is w (n, style_dim), or w+ (n, layers·style_dim), layer after layer."""

    embedding_dim: int | None = None

    def __init__(self, generator: StyleGenerator, per_layer: bool = False):
        super().__init__()
        self.generator, self.image_shape = generator, generator.image_shape
        w_plus = (generator.layers, generator.style_dim)
        self.latent_shape = w_plus if per_layer else w_plus[1:]
        self.latent_dim = math.prod(self.latent_shape)

    def forward(self, w: Tensor) -> Tensor:
        return self.generator.synthesis(w.unflatten(1, self.latent_shape))

    def prior(self, n: int, rng: torch.Generator) -> Tensor:
        """n draws of z ~ N(0, I) mapped to w, (n, latent_dim) on the CPU; in w+ all layers of a draw are alike."""
        z = torch.randn(n, self.generator.latent_dim, generator=rng)
        with torch.no_grad():
            w = self.generator.mapping(z.to(self.generator.w_mean)).cpu()  # (n, style_dim)
        return w.repeat(1, self.latent_dim // w.shape[1])


def in_style_space(gan: GAN, per_layer: bool = False) -> GAN:
    """The same StyleGAN as a source for mine() whose latent is w, or with per_layer w+; its prior is that of mapped z.

    Raises UserError for a generator that is no StyleGAN of ours.
    """
    if not isinstance(gan.generator, StyleGenerator):
        raise UserError(f"{gan.name} has no style space: only a StyleGAN or StyleGAN2 does, mine it in z")
    space = StyleSpace(gan.generator, per_layer)
    return GAN(space, gan.critic, space.prior, f"{gan.name} in {'w+' if per_layer else 'w'}", gan.family)
