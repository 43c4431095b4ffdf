"""BigGAN, 32 to 512 pixels: what MineGAN mines for ImageNet → Places365 (Sec. 5.2), 128 pixels at width 96 there.

Source: Brock et al. 2019, Appendix B, in the form of the authors' PyTorch code. The latent is cut into chunks, one for
the bottom and one for each block; a block's conditional batch norms see the class embedding and the block's chunk.
"""

from collections.abc import Collection, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minegan_lite.networks.layers import (
    ConditionalBatchNorm,
    ResidualCritic,
    SelfAttention,
    SpectralConv2d,
    SpectralLinear,
    UpBlock,
    scaled,
)

# resolution → channels before the first block and after each, in units of width
CHANNELS = {
    32: (4, 4, 4, 4),
    64: (16, 16, 8, 4, 2),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
    512: (16, 16, 8, 8, 4, 2, 1, 1),
}
# resolution → channels after each block of the critic, whose last `RESTING` blocks do not pool
CRITIC_CHANNELS = {
    32: (4, 4, 4, 4),
    64: (1, 2, 4, 8, 16),
    128: (1, 2, 4, 8, 16, 16),
    256: (1, 2, 4, 8, 8, 16, 16),
    512: (1, 1, 2, 4, 8, 8, 16, 16),
}
RESTING = {32: 2, 64: 1, 128: 1, 256: 1, 512: 1}


class Generator(nn.Module):
    """Latent (n, latent_dim) and class embedding (n, embedding_dim) → images (n, 3, R, R) in [−1, 1].

    width: the original's ch. chunk: latent numbers for each block, so that latent_dim = chunk · (blocks + 1).
    attention: the resolutions that self-attention follows. channels: before the first block and after each, instead of
    the published ones. eps: batch norm's. This generator has no truncation: whoever draws z draws it truncated. Raises
    UserError for a resolution that is not published, unless channels are given.
    """

    def __init__(
        self,
        resolution: int = 128,
        width: int = 96,
        chunk: int = 20,
        embedding_dim: int = 128,
        classes: int = 1000,
        *,
        attention: Collection[int] = (64,),
        channels: Sequence[int] | None = None,
        eps: float = 1e-5,
    ):
        super().__init__()
        channels = scaled(CHANNELS, resolution, width) if channels is None else tuple(channels)
        self.chunk, self.latent_dim, self.embedding_dim = chunk, chunk * len(channels), embedding_dim
        self.image_shape, self.classes = (3, resolution, resolution), range(classes)
        bottom = resolution >> (len(channels) - 1)
        self.bottom = (channels[0], bottom, bottom)
        self.rows = nn.Embedding(classes, embedding_dim)
        self.project = SpectralLinear(chunk, channels[0] * bottom**2)
        norm = partial(ConditionalBatchNorm, condition_dim=embedding_dim + chunk, linear=SpectralLinear, eps=eps)
        self.blocks = nn.ModuleList(
            UpBlock(inputs, outputs, norm, SpectralConv2d) for inputs, outputs in pairwise(channels)
        )
        after = [i for i in range(len(self.blocks)) if bottom << (i + 1) in attention]
        self.attention = nn.ModuleDict({str(i): SelfAttention(channels[i + 1]) for i in after})
        self.norm = nn.BatchNorm2d(channels[-1], eps=eps)
        self.to_rgb = SpectralConv2d(channels[-1], 3, 3, padding=1)

    def embed(self, labels: Tensor) -> Tensor:
        """Class numbers (n,) → embeddings (n, embedding_dim)."""
        return self.rows(labels)

    def forward(self, z: Tensor, embedding: Tensor) -> Tensor:
        first, *chunks = z.split(self.chunk, dim=1)  # (n, chunk) each
        h = self.project(first).unflatten(1, self.bottom)  # (n, c, 4, 4)
        for i, (block, chunk) in enumerate(zip(self.blocks, chunks, strict=True)):
            h = block(h, torch.cat([embedding, chunk], dim=1))  # twice the resolution
            if str(i) in self.attention:
                h = self.attention[str(i)](h)
        return torch.tanh(self.to_rgb(F.relu(self.norm(h))))  # (n, 3, R, R)


class Critic(ResidualCritic):
    """Images (n, 3, R, R) → scores (n, 1); with labels (n,) also their projection term, which MineGAN leaves out.

    width: the original's ch; attention: the resolutions that self-attention follows; classes: None for a critic
    without projection term. Raises UserError for a resolution that is not published.
    """

    def __init__(
        self, resolution: int = 128, width: int = 96, classes: int | None = 1000, *, attention: Collection[int] = (64,)
    ):
        channels = scaled(CRITIC_CHANNELS, resolution, width)
        pools = len(channels) - RESTING[resolution]
        after = [i for i in range(pools) if resolution >> (i + 1) in attention]
        super().__init__(channels, pools, classes, wide=True, attention=after)
