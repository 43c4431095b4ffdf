"""Inception as a feature network for RGB images: the one of FID, and torchvision's. Both are fetched when asked for.

They differ in weights and in how images are enlarged: FIDs of one cannot be compared with those of the other.
"""

import io
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minegan_lite.data import download
from minegan_lite.errors import UserError

SIZE = 299
FID_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
FID_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FID_WEIGHTS}"
FID_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


class FIDInception(nn.Module):
    """RGB (n, 3, H, W) in [−1, 1] → (n, 2048): rounded to 8 bits, enlarged as TensorFlow 1 did, pooled features."""

    name = "inception-2015-12-05/2048/8-bit/tf1-bilinear-299"
    label = "Inception"

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(((_rgb(x).float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8))


class TorchvisionInception(nn.Module):
    """RGB (n, 3, H, W) in [−1, 1] → (n, 2048): resized bilinearly, antialiased where it shrinks, pooled features.

    These weights were trained on [−1, 1], so that images go in as they are; torchvision's own chain, normalisation
    and then `transform_input`, comes to the same.
    """

    name = "torchvision-inception-v3/2048/bilinear-antialias-299"
    label = "torchvision's Inception"

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        size = (SIZE, SIZE)
        return self.network(F.interpolate(_rgb(x), size, mode="bilinear", align_corners=False, antialias=True))


def fid_inception() -> FIDInception:
    """The network of FID and KID (Heusel et al. 2017), TensorFlow's of 2015-12-05, as torchmetrics runs it.

    It needs the package torch-fidelity (the extra `fid`) and, once, 96 MB of weights, which are checked
    against their sha256 and kept in the library's cache. Images are enlarged as in the original, so that numbers are
    comparable with published FIDs of the same n, m and reals. Grey images are refused: enlarged digits are nothing
    that it has seen. Raises UserError where package or weights cannot be had.
    """
    from torchmetrics.image import fid

    if not fid._TORCH_FIDELITY_AVAILABLE:
        raise UserError("FID's Inception needs the package torch-fidelity: pip install torch-fidelity")
    state = torch.load(_fid_weights(), map_location="cpu", weights_only=True)
    ours = io.BytesIO()  # torch-fidelity unpickles without restraint: give it what weights_only let through
    torch.save(state, ours)
    ours.seek(0)
    # torch.load is what reads it, from a file as from the path that the annotation asks for
    network = fid.NoTrainInceptionV3("inception-v3-compat", ["2048"], ours)  # type: ignore[arg-type]
    network.use_antialias = False  # torchmetrics' own default differs from every other FID
    return FIDInception(network)


def torchvision_inception() -> TorchvisionInception:
    """torchvision's Inception v3 (weights IMAGENET1K_V1, 109 MB, fetched once and checked by torchvision's hash).

    Its features are those of several papers' KMMD and in-training FIDs; call a Fréchet distance of them so, not FID.
    Raises UserError where the weights cannot be had.
    """
    from torchvision import models

    state = download.torchvision_weights(models.Inception_V3_Weights.IMAGENET1K_V1)
    network = models.inception_v3(weights=None, init_weights=False, transform_input=False)
    network.load_state_dict(state)
    network.fc = nn.Identity()
    return TorchvisionInception(network.eval())


def _fid_weights() -> Path:
    return download.fetched(FID_URL, FID_SHA256, download.cache_folder(), "FID's Inception")


def _rgb(x: Tensor) -> Tensor:
    if x.shape[1] != 3:
        raise UserError(
            f"Inception looks at RGB images (n, 3, H, W), got {tuple(x.shape)}: use features of another net"
        )
    return x
