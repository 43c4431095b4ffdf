"""A plain convolutional critic for images of any shape: what stands in for a critic that nobody published."""

import math

from torch import Tensor, nn


def halving(image_shape: tuple[int, int, int], width: int = 32) -> tuple[nn.Sequential, int]:
    """Convolutions that halve images (n, C, H, W) until no more than 4 pixels are left, each wider than the one before.

    Their output is flat; the second value says how long.
    """
    channels, *size = image_shape
    layers: list[nn.Module] = []
    while max(size) > 4:
        layers += [nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        channels, width, size = width, min(2 * width, 512), [pixels // 2 for pixels in size]
    return nn.Sequential(*layers, nn.Flatten()), channels * math.prod(size)


class PlainCritic(nn.Module):
    """Images (n, C, H, W) → scores (n, 1), unbounded."""

    def __init__(self, image_shape: tuple[int, int, int], width: int = 32):
        super().__init__()
        self.body, features = halving(image_shape, width)
        self.head = nn.Linear(features, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))
