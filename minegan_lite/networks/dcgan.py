"""DCGAN's generator (Radford et al. 2016): transposed convolutions, batch norm and ReLU, and a tanh at the end."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Generator(nn.Module):
    """Latent z (n, latent_dim) → images (n, colours, R, R) in [−1, 1], R = 4·2^len(channels).

    channels: of the maps of 4, 8, … pixels a side. Sizes of the original: 1024, 512, 256, 128; PyTorch's tutorial takes
    half of each.
    """

    embedding_dim = None

    def __init__(self, latent_dim: int = 100, channels: Sequence[int] = (512, 256, 128, 64), colours: int = 3):
        super().__init__()
        self.latent_dim = latent_dim
        side = 4 << len(channels)
        self.image_shape = (colours, side, side)
        first = nn.ConvTranspose2d(latent_dim, channels[0], 4, bias=False)  # (n, ·, 1, 1) → (n, ·, 4, 4)
        others = [nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False) for a, b in pairwise((*channels, colours))]
        self.convs = nn.ModuleList([first, *others])
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in channels)

    def forward(self, z: Tensor) -> Tensor:
        h = z[:, :, None, None]
        for conv, norm in zip(self.convs, self.norms, strict=False):  # the last convolution has no norm
            h = F.relu(norm(conv(h)))
        return torch.tanh(self.convs[-1](h))
