"""Progressive GAN (Karras et al. 2018), the source of the paper's faces, cars, buses and scenes.

Convolutions with equalised learning rates, pixel norm in the generator, minibatch deviation in the critic, nearest
upsampling and average pooling, no tanh. pytorch_GAN_zoo's variant (`zoo`) differs in three points: its first layer has
a bias for each pixel, its last layers have the gain √2 as well, and the biases are scaled with the weights. Training
fades in one resolution after another. `lod` ("level of detail") is how far training was from the full resolution: 0 at
the full one, 1 at half of it; 1.25 is a blend of half (weight 0.75) and a quarter of it (weight 0.25).
"""

import itertools
import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from minegan_lite.networks.style_layers import (
    ROOT2,
    EqualConv,
    EqualLinear,
    MinibatchStddev,
    leaky,
    pixel_norm,
    widths,
)


class Generator(nn.Module):
    """Latent (n, latent_dim) → images (n, image_channels, R, R), nominally in [−1, 1].

    channels: of the blocks at 4×4, 8×8, …, R×R; widths(R) gives the paper's. lod: see above, at most the number of
    blocks less one. norms: how many times the latent is normalised inside. Its length therefore does not matter; one
    and two times differ for tiny latents only. zoo: see above.
    """

    embedding_dim = None

    def __init__(
        self,
        channels: Sequence[int] = widths(1024),
        latent_dim: int = 512,
        image_channels: int = 3,
        lod: float = 0,
        norms: int = 1,
        zoo: bool = False,
    ):
        super().__init__()
        self.latent_dim, self.lod, self.norms, self.zoo = latent_dim, lod, norms, zoo
        side = 4 << (len(channels) - 1)
        self.image_shape = (image_channels, side, side)
        self.project: nn.Module
        if zoo:
            self.project = EqualLinear(latent_dim, channels[0] * 16, ROOT2, after=True)
        else:  # of a 1×1 image: a dense layer with one bias per channel
            self.project = EqualConv(latent_dim, channels[0], 4, ROOT2, padding=3)
        self.first = EqualConv(channels[0], channels[0], 3, ROOT2, after=zoo)
        self.blocks = nn.ModuleList(
            nn.ModuleList([EqualConv(i, o, 3, ROOT2, after=zoo), EqualConv(o, o, 3, ROOT2, after=zoo)])
            for i, o in itertools.pairwise(channels)
        )
        self.to_rgb = nn.ModuleList(EqualConv(c, image_channels, 1, ROOT2 if zoo else 1, after=zoo) for c in channels)

    def forward(self, z: Tensor) -> Tensor:
        steps, fade = math.floor(self.lod), self.lod % 1
        top = len(self.blocks) - steps
        h = z
        for _ in range(self.norms):
            h = self.norm(h)
        h = self.project(h if self.zoo else h[:, :, None, None])
        h = self.norm(leaky(h).reshape(len(z), -1, 4, 4))  # (n, c₀, 4, 4)
        h = self.norm(leaky(self.first(h)))
        before = h
        for block in self.blocks[:top]:
            conv0, conv1 = block.children()
            before = h
            h = self.norm(leaky(conv0(upsample(h))))  # (n, cᵢ, 2r, 2r)
            h = self.norm(leaky(conv1(h)))
        image = self.to_rgb[top](h)
        if fade:
            image = (1 - fade) * image + fade * upsample(self.to_rgb[top - 1](before))
        return upsample(image, 2**steps)  # (n, C, R, R)

    def norm(self, x: Tensor) -> Tensor:
        return pixel_norm(x, reciprocal=self.zoo)


class Critic(nn.Module):
    """Images (n, C, R, R) → scores (n, 1), unbounded; in a batch, the images of a group influence each other's score.

    channels, lod, zoo: as in the Generator. hidden: units of the dense layer, by default channels[0]. stddev: groups of
    4 images in the paper's code, of 16 in genforce, of 4 neighbours in pytorch_GAN_zoo.
    """

    def __init__(
        self,
        channels: Sequence[int] = widths(1024),
        image_channels: int = 3,
        hidden: int | None = None,
        lod: float = 0,
        stddev: MinibatchStddev | None = None,
        zoo: bool = False,
    ):
        super().__init__()
        side = 4 << (len(channels) - 1)
        self.image_shape, self.lod = (image_channels, side, side), lod
        hidden = hidden or channels[0]
        self.from_rgb = nn.ModuleList(EqualConv(image_channels, c, 1, ROOT2, after=zoo) for c in channels)
        self.blocks = nn.ModuleList(
            nn.ModuleList([EqualConv(i, i, 3, ROOT2, after=zoo), EqualConv(i, o, 3, ROOT2, after=zoo)])
            for o, i in itertools.pairwise(channels)
        )
        self.stddev = stddev or MinibatchStddev(4)
        self.last = EqualConv(channels[0] + 1, channels[0], 3, ROOT2, after=zoo)
        self.dense = EqualLinear(channels[0] * 16, hidden, ROOT2, after=zoo)
        self.score = EqualLinear(hidden, 1, ROOT2 if zoo else 1, after=zoo)

    def forward(self, x: Tensor) -> Tensor:
        steps, fade = math.floor(self.lod), self.lod % 1
        top = len(self.blocks) - steps
        x = F.avg_pool2d(x, 2**steps)
        h = leaky(self.from_rgb[top](x))  # (n, c, r, r)
        for i in reversed(range(top)):
            conv0, conv1 = self.blocks[i].children()
            h = F.avg_pool2d(leaky(conv1(leaky(conv0(h)))), 2)  # (n, cᵢ, r/2, r/2)
            if fade and i == top - 1:
                h = (1 - fade) * h + fade * leaky(self.from_rgb[i](F.avg_pool2d(x, 2)))
        h = leaky(self.last(self.stddev(h)))  # (n, c₀, 4, 4)
        return self.score(leaky(self.dense(h.flatten(1))))  # (n, 1)


def upsample(x: Tensor, factor: int = 2) -> Tensor:
    """Each pixel factor² times: (n, c, h, w) → (n, c, factor·h, factor·w)."""
    return F.interpolate(x, scale_factor=factor, mode="nearest")
