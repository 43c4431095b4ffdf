"""What data sets would note of a face, `woman`, `senior` and `smiling`: a linear head on Lite0's maps.

It is a judge. Nothing in mining is trained, tuned or chosen by it, no step, no setting and no picture, but for the
drawn targets (data/drawn.py), whose seeds it sorted once. It repeats the binary labels of CelebA and UTKFace, and does
not say who a person is: the model card, weights/face-attributes.md, has its accuracy and its limits.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minegan_lite.errors import UserError
from minegan_lite.metrics.features import features_of
from minegan_lite.metrics.pictures import AT_A_TIME, SIZE, lite0
from minegan_lite.networks.efficientnet import EfficientNetLite0, scaled
from minegan_lite.published import TIGHT

NAMES = ("woman", "senior", "smiling")
FILE = Path(__file__).parents[1] / "weights" / "face-attributes.safetensors"
SHA256 = "e7165b2aeb987422a3257096049ff6dcaf345e1a6c7e76db19c9a87e60c50bb5"
BLOCKS, MAPS, PLACES = 11, 112, 8  # of Lite0: how many blocks are passed, and what they give of 128×128
THRESHOLD = 0.5  # of each attribute


class Share(NamedTuple):
    """The share of n images that have an attribute, in [0, 1]."""

    value: float
    n: int


class FaceMaps(nn.Module):
    """RGB (n, 3, H, W) in [−1, 1] → (n, 7168): Lite0's 112 maps of 8×8 behind its fifth stage, with their places.

    An aligned face has its mouth always in the same place, of which Lite0's pooled features no longer know.
    """

    name = f"efficientnet-lite0/{MAPS}x{PLACES}x{PLACES}/bilinear-antialias-{SIZE}"

    def __init__(self, network: EfficientNetLite0):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._maps(part) for part in x.split(AT_A_TIME if x.device.type == "cpu" else len(x))])

    def _maps(self, x: Tensor) -> Tensor:
        x = scaled(F.interpolate(x, (SIZE, SIZE), mode="bilinear", align_corners=False, antialias=True))
        return self.network.blocks[:BLOCKS](F.relu6(self.network.bn0(self.network.conv_stem(x)))).flatten(1)


class FaceAttributes(nn.Module):
    """RGB faces (n, 3, H, W) in [−1, 1] → probabilities (n, 3), in the order of `names`, on the CPU.

    Faces framed as CelebA's (aligned, the square at the centre) or as UTKFace's (tighter: `tight` makes those of
    CelebA's so). `senior`, 66 years and more, was learnt on tight faces alone: of wider ones it says nothing.
    """

    names = NAMES
    threshold = THRESHOLD

    def __init__(self, maps: FaceMaps, head: nn.Linear):
        super().__init__()
        self.maps, self.head = maps, head

    def forward(self, images: Tensor) -> Tensor:
        if isinstance(images, Tensor) and images.ndim == 4 and images.shape[1] != 3:
            raise UserError(f"faces are judged in RGB, got {tuple(images.shape)}")
        with torch.no_grad():
            return torch.sigmoid(self.head(features_of(images, self.maps)))

    def share(self, images: Tensor, name: str) -> Share:
        """The share of images (n, 3, H, W) that are more probably `name` than not, and n.

        Raises UserError for another attribute than `names`, and for images as features_of does.
        """
        if name not in self.names:
            raise UserError(f"no attribute {name!r}: there are {', '.join(self.names)}")
        probabilities = self(images)[:, self.names.index(name)]
        return Share((probabilities > self.threshold).double().mean().item(), len(images))


def tight(images: Tensor) -> Tensor:
    """CelebA's framing (n, C, H, W), H = W, → UTKFace's, of the same size: the box TIGHT, enlarged."""
    left, top, right, bottom = (round(side * images.shape[-1] / 64) for side in TIGHT)
    cut = images[..., top:bottom, left:right]
    return F.interpolate(cut, images.shape[-2:], mode="bilinear", antialias=True, align_corners=False)


def face_attributes() -> FaceAttributes:
    """The judge with its shipped weights, in eval mode; Lite0 is fetched once, as `lite0` says.

    Raises UserError where Lite0 cannot be had, and where the head is missing or is not the shipped one.
    """
    return FaceAttributes(FaceMaps(lite0().network), read_head()).eval()


def new_head() -> nn.Linear:
    """The head, untrained: what FaceMaps gives (n, 7168) → logits (n, 3)."""
    return nn.Linear(MAPS * PLACES * PLACES, len(NAMES))


def read_head() -> nn.Linear:
    """The head as shipped. Not a byte is parsed before its hash is right; raises UserError where it is not."""
    import safetensors.torch

    try:
        content = FILE.read_bytes()
    except OSError as error:
        raise UserError(f"{FILE} cannot be read ({error.strerror}): reinstall minegan-lite") from None
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise UserError(f"{FILE} is damaged (sha256 {found[:12]}…, not {SHA256[:12]}…): reinstall minegan-lite")
    head = new_head()
    head.load_state_dict({key: x.float() for key, x in safetensors.torch.load(content).items()})
    return head.requires_grad_(False)
