"""BigGAN-deep, 128 to 512 pixels: bottleneck blocks, one latent for all of them, statistics for each truncation.

Source: Brock et al. 2019, Appendix B (Fig. 16, Tables 7–9), in the form of the published generators; their critics were
not published, so ours is for training from scratch.
"""

import math
from collections.abc import Collection, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minegan_lite.errors import UserError
from minegan_lite.networks.biggan import CHANNELS, CRITIC_CHANNELS
from minegan_lite.networks.layers import ProjectionHead, SelfAttention, SpectralConv2d, SpectralLinear, scaled


class TruncationStatistics(nn.Module):
    """Means and variances of channels: one row for each of the truncations 0, 1/(rows−1), …, 1.

    Batch norm uses these rows in training, too. They are no running averages: nothing here updates them.
    """

    means: Tensor
    variances: Tensor

    def __init__(self, channels: int, rows: int, eps: float):
        super().__init__()
        self.eps = eps
        self.register_buffer("means", torch.zeros(rows, channels))
        self.register_buffer("variances", torch.ones(rows, channels))

    def row(self, truncation: float) -> tuple[Tensor, Tensor]:
        """Means and variances (c,) of a truncation; between two rows, what the published code makes of both.

        That code gives the nearer row the smaller weight, and its rounding puts 0.14, 0.28, 0.56, 0.58 and 0.94 between
        rows.
        """
        part, whole = math.modf(truncation / (1 / (len(self.means) - 1)))
        row = int(whole)
        if part == 0:
            return self.means[row], self.variances[row]
        mean, variance = (table[row] * part + table[row + 1] * (1 - part) for table in (self.means, self.variances))
        return mean, variance


class BatchNorm(TruncationStatistics):
    """x (n, c, h, w) → x̂ · weight + bias."""

    def __init__(self, channels: int, rows: int, eps: float):
        super().__init__(channels, rows, eps)
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, truncation: float) -> Tensor:
        return F.batch_norm(x, *self.row(truncation), self.weight, self.bias, eps=self.eps)


class ConditionalBatchNorm(TruncationStatistics):
    """x (n, c, h, w), condition (n, d) → x̂ · (1 + gain(condition)) + bias(condition)."""

    def __init__(self, channels: int, condition_dim: int, rows: int, eps: float):
        super().__init__(channels, rows, eps)
        self.gain = SpectralLinear(condition_dim, channels, bias=False)
        self.bias = SpectralLinear(condition_dim, channels, bias=False)

    def forward(self, x: Tensor, truncation: float, condition: Tensor) -> Tensor:
        mean, variance = (one[:, None, None] for one in self.row(truncation))  # (c, 1, 1) each
        gain, bias = (one[:, :, None, None] for one in (1 + self.gain(condition), self.bias(condition)))  # (n, c, 1, 1)
        return (x - mean) / torch.sqrt(variance + self.eps) * gain + bias


class Block(nn.Module):
    """(n, inputs, h, w) → (n, outputs, h, w), or twice the resolution with `up`; outputs ≤ inputs.

    The shortcut has no weights: it drops the surplus channels.
    """

    def __init__(self, inputs: int, outputs: int, condition_dim: int, rows: int, eps: float, *, up: bool):
        super().__init__()
        self.outputs, self.up, hidden = outputs, up, inputs // 4
        self.norms = nn.ModuleList(
            ConditionalBatchNorm(channels, condition_dim, rows, eps) for channels in (inputs, hidden, hidden, hidden)
        )
        self.convs = nn.ModuleList([
            SpectralConv2d(inputs, hidden, 1),
            SpectralConv2d(hidden, hidden, 3, padding=1),
            SpectralConv2d(hidden, hidden, 3, padding=1),
            SpectralConv2d(hidden, outputs, 1),
        ])  # fmt: skip

    def forward(self, x: Tensor, truncation: float, condition: Tensor) -> Tensor:
        h = x
        for i, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            h = F.relu(norm(h, truncation, condition))
            if self.up and i == 1:
                h = F.interpolate(h, scale_factor=2)  # (n, inputs/4, 2h, 2w)
            h = conv(h)
        x = x[:, : self.outputs]
        return h + (F.interpolate(x, scale_factor=2) if self.up else x)


class Generator(nn.Module):
    """Latent (n, latent_dim) and class embedding (n, embedding_dim) → images (n, 3, R, R) in [−1, 1].

    width: the original's ch. attention: the resolutions that self-attention follows. channels: before the first pair of
    blocks and after each, instead of the published ones. rows: of the tables of statistics. Raises UserError for a
    resolution that is not published, unless channels are given.
    """

    def __init__(
        self,
        resolution: int = 128,
        width: int = 128,
        latent_dim: int = 128,
        embedding_dim: int = 128,
        classes: int = 1000,
        *,
        attention: Collection[int] = (64,),
        channels: Sequence[int] | None = None,
        rows: int = 51,
        eps: float = 1e-4,
    ):
        super().__init__()
        channels = scaled(CHANNELS, resolution, width) if channels is None else tuple(channels)
        self.latent_dim, self.embedding_dim, self.image_shape = latent_dim, embedding_dim, (3, resolution, resolution)
        self.classes = range(classes)
        condition_dim, bottom = latent_dim + embedding_dim, resolution >> (len(channels) - 1)
        self.bottom = (bottom, bottom, channels[0])
        self.embedding = nn.Linear(classes, embedding_dim, bias=False)  # its columns are the classes' embeddings
        self.project = SpectralLinear(condition_dim, channels[0] * bottom**2)
        self.blocks, self.attention = nn.ModuleList(), nn.ModuleDict()
        for i, (inputs, outputs) in enumerate(pairwise(channels)):
            self.blocks.append(Block(inputs, inputs, condition_dim, rows, eps, up=False))
            self.blocks.append(Block(inputs, outputs, condition_dim, rows, eps, up=True))
            if bottom << (i + 1) in attention:
                self.attention[str(2 * i + 1)] = SelfAttention(outputs)
        self.norm = BatchNorm(channels[-1], rows, eps)
        self.to_rgb = SpectralConv2d(channels[-1], channels[-1], 3, padding=1)  # of its outputs the first three count

    def embed(self, labels: Tensor) -> Tensor:
        """Class numbers (n,) → embeddings (n, embedding_dim)."""
        return F.embedding(labels, self.embedding.weight.T)

    def forward(self, z: Tensor, embedding: Tensor, truncation: float = 1.0) -> Tensor:
        """Images (n, 3, R, R). truncation, in (0, 1], chooses the row of the statistics; 1 means no truncation.

        The latents are not changed: whoever draws them draws them truncated. Raises UserError for a truncation out of
        range.
        """
        if not 0 < truncation <= 1:
            raise UserError(f"truncation is above 0 and at most 1 (none), got {truncation}")
        condition = torch.cat([z, embedding], dim=1)  # (n, latent_dim + embedding_dim)
        h = self.project(condition).unflatten(1, self.bottom).movedim(3, 1).contiguous()  # (n, 4, 4, c) → (n, c, 4, 4)
        for i, block in enumerate(self.blocks):
            h = block(h, truncation, condition)  # every second block doubles the resolution
            if str(i) in self.attention:
                h = self.attention[str(i)](h)
        h = F.relu(self.norm(h, truncation))
        weight, bias = self.to_rgb.normalised_weight(), self.to_rgb.get_parameter("bias")
        return torch.tanh(F.conv2d(h, weight[:3], bias[:3], padding=1))


class CriticBlock(nn.Module):
    """(n, inputs, h, w) → (n, outputs, h, w), or half the resolution with `down`; outputs ≥ inputs.

    The shortcut keeps the input channels and makes the missing ones with a convolution.
    """

    def __init__(self, inputs: int, outputs: int, *, down: bool):
        super().__init__()
        hidden, self.down = outputs // 4, down
        self.conv1 = SpectralConv2d(inputs, hidden, 1)
        self.conv2 = SpectralConv2d(hidden, hidden, 3, padding=1)
        self.conv3 = SpectralConv2d(hidden, hidden, 3, padding=1)
        self.conv4 = SpectralConv2d(hidden, outputs, 1)
        self.more = SpectralConv2d(inputs, outputs - inputs, 1) if outputs > inputs else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.relu(x))
        h = F.relu(self.conv3(F.relu(self.conv2(F.relu(h)))))
        if self.down:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        return self.conv4(h) + (x if self.more is None else torch.cat([x, self.more(x)], dim=1))


class Critic(nn.Module):
    """Images (n, 3, R, R) → scores (n, 1), with labels (n,) also their projection term.

    width: the original's ch; attention: the resolutions that self-attention follows; classes: None for a critic
    without projection term. Raises UserError for a resolution that is not published.
    """

    def __init__(
        self, resolution: int = 128, width: int = 128, classes: int | None = 1000, *, attention: Collection[int] = (64,)
    ):
        super().__init__()
        channels = scaled(CRITIC_CHANNELS, resolution, width)
        self.from_rgb = SpectralConv2d(3, channels[0], 3, padding=1)
        self.blocks, self.attention = nn.ModuleList(), nn.ModuleDict()
        for i, (inputs, outputs) in enumerate(pairwise(channels)):
            self.blocks += [CriticBlock(inputs, outputs, down=True), CriticBlock(outputs, outputs, down=False)]
            if resolution >> (i + 1) in attention:
                self.attention[str(2 * i + 1)] = SelfAttention(outputs)
        self.head = ProjectionHead(channels[-1], classes)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        h = self.from_rgb(x)
        for i, block in enumerate(self.blocks):
            h = block(h)  # every pair of blocks halves the resolution, down to 4×4
            if str(i) in self.attention:
                h = self.attention[str(i)](h)
        return self.head(F.relu(h).sum((2, 3)), labels)
