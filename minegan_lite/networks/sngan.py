"""SNGAN's residual networks, unconditional and class-conditional, 32 to 256 pixels.

Source: Miyato et al. 2018 (spectral normalisation), Miyato & Koyama 2018 (projection critic, conditional batch norm),
in the form of their public code; it is what MineGAN mines in its comparison with BSA (Sec. 5.3).
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minegan_lite.networks.layers import ConditionalBatchNorm, ResidualCritic, UpBlock, scaled

# resolution → channels before the first block and after each, in units of width
CHANNELS = {32: (4, 4, 4, 4), 64: (16, 8, 4, 2, 1), 128: (16, 16, 8, 4, 2, 1), 256: (16, 16, 8, 8, 4, 2, 1)}
# resolution → channels after each block of the critic
CRITIC_CHANNELS = {32: (2, 2, 2, 2), 64: (1, 2, 4, 8, 16), 128: (1, 2, 4, 8, 16, 16), 256: (1, 2, 4, 8, 8, 16, 16)}
CRITIC_POOLS = {32: 2, 64: 5, 128: 5, 256: 6}


class Generator(nn.Module):
    """Latent (n, latent_dim), and with classes an embedding (n, classes) → images (n, 3, R, R) in [−1, 1].

    width: the original's ch. classes: their number, None for an unconditional generator. channels: before the first
    block and after each, instead of the published ones. Public codes differ in eps (of batch norm), base (see
    ConditionalBatchNorm) and upsample ("nearest" or "bilinear"); the defaults are the authors'. Raises UserError for a
    resolution that is not published, unless channels are given.
    """

    def __init__(
        self,
        resolution: int = 128,
        width: int = 64,
        latent_dim: int = 128,
        classes: int | None = None,
        *,
        channels: Sequence[int] | None = None,
        eps: float = 2e-5,
        base: float = 0.0,
        upsample: str = "nearest",
    ):
        super().__init__()
        channels = scaled(CHANNELS, resolution, width) if channels is None else tuple(channels)
        self.latent_dim, self.embedding_dim, self.image_shape = latent_dim, classes, (3, resolution, resolution)
        bottom = resolution >> (len(channels) - 1)
        norm: Callable[..., nn.Module] = partial(nn.BatchNorm2d, eps=eps)
        if classes is not None:
            self.classes = range(classes)
            norm = partial(ConditionalBatchNorm, condition_dim=classes, linear=nn.Linear, eps=eps, base=base)
        self.project = nn.Linear(latent_dim, channels[0] * bottom**2)
        self.bottom = (channels[0], bottom, bottom)
        self.blocks = nn.ModuleList(
            UpBlock(inputs, outputs, norm, nn.Conv2d, upsample) for inputs, outputs in pairwise(channels)
        )
        self.norm = nn.BatchNorm2d(channels[-1], eps=eps)
        self.to_rgb = nn.Conv2d(channels[-1], 3, 3, padding=1)
        for part in self.modules():
            if isinstance(part, ConditionalBatchNorm):  # every class starts from gain 1 and bias 0
                nn.init.constant_(part.gain.weight, 1 - base)
                nn.init.zeros_(part.bias.weight)

    one_hot = True  # what embed gives

    def embed(self, labels: Tensor) -> Tensor:
        """Class numbers (n,) → one-hot rows (n, embedding_dim): each conditional layer has a row for each class."""
        return F.one_hot(labels, len(self.classes)).float()

    def forward(self, z: Tensor, *embedding: Tensor) -> Tensor:
        h = self.project(z).unflatten(1, self.bottom)  # (n, c, 4, 4)
        for block in self.blocks:
            h = block(h, *embedding)  # twice the resolution
        return torch.tanh(self.to_rgb(F.relu(self.norm(h))))  # (n, 3, R, R)


class Critic(ResidualCritic):
    """Images (n, 3, R, R) → scores (n, 1), with labels (n,) and classes also their projection term.

    width: the original's ch; the rest as ResidualCritic has it. Raises UserError for a resolution not published.
    """

    def __init__(self, resolution: int = 128, width: int = 64, classes: int | None = None):
        super().__init__(scaled(CRITIC_CHANNELS, resolution, width), CRITIC_POOLS[resolution], classes, wide=False)
