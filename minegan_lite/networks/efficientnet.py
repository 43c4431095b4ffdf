"""EfficientNet-Lite0: the features that pictures are judged by, and a classifier of ImageNet's 1000 classes.

Source: Tan & Le 2019 (EfficientNet-B0), in Google's lite form: no squeeze-and-excitation, ReLU6 for swish, and a stem
and a head that no multiplier scales. The layout of the weights is that of the PyTorch ports.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# of each stage: how much a block widens inside, channels, blocks, stride of the first one, kernel
STAGES = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)  # fmt: skip
STEM, FEATURES, CLASSES = 32, 1280, 1000
EPS = 1e-3  # of batch norm, as in TensorFlow


class SameConv(nn.Conv2d):
    """A convolution without bias that gives ⌈size / stride⌉, padded as TensorFlow does: the odd zero goes behind."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for size in (x.shape[3], x.shape[2]):  # F.pad begins with the last dimension
            kernel, stride = self.kernel_size[0], self.stride[0]
            total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads))


class Block(nn.Module):
    """Widened by 1×1, filtered channel by channel, narrowed by 1×1; added to its input where both have one shape."""

    def __init__(self, inputs: int, outputs: int, widen: int, kernel: int, stride: int):
        super().__init__()
        inside = inputs * widen
        if widen > 1:
            self.expand_conv, self.bn0 = SameConv(inputs, inside, 1), nn.BatchNorm2d(inside, EPS)
        self.depthwise_conv = SameConv(inside, inside, kernel, stride, groups=inside)
        self.bn1 = nn.BatchNorm2d(inside, EPS)
        self.project_conv, self.bn2 = SameConv(inside, outputs, 1), nn.BatchNorm2d(outputs, EPS)
        self.widens, self.adds = widen > 1, stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu6(self.bn0(self.expand_conv(x))) if self.widens else x
        h = F.relu6(self.bn1(self.depthwise_conv(h)))
        h = self.bn2(self.project_conv(h))
        return x + h if self.adds else h


class EfficientNetLite0(nn.Module):
    """RGB (n, 3, H, W), scaled as `scaled` does → logits (n, 1000); `features` gives what stands before them."""

    def __init__(self):
        super().__init__()
        self.conv_stem, self.bn0 = SameConv(3, STEM, 3, 2), nn.BatchNorm2d(STEM, EPS)
        blocks, inputs = [], STEM
        for widen, outputs, count, stride, kernel in STAGES:
            for i in range(count):
                blocks.append(Block(inputs, outputs, widen, kernel, 1 if i else stride))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.conv_head, self.bn1 = SameConv(inputs, FEATURES, 1), nn.BatchNorm2d(FEATURES, EPS)
        self.fc = nn.Linear(FEATURES, CLASSES)

    def features(self, x: Tensor) -> Tensor:
        """(n, 1280): the last maps, averaged over places."""
        h = F.relu6(self.bn0(self.conv_stem(x)))
        h = F.relu6(self.bn1(self.conv_head(self.blocks(h))))
        return h.mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x))


def scaled(images: Tensor) -> Tensor:
    """Images in [−1, 1] as the network takes them: (pixel − 127) / 128 of pixels from 0 to 255."""
    return ((images + 1) * 127.5 - 127) / 128


def from_published(state: dict[str, Tensor]) -> EfficientNetLite0:
    """The network in eval mode, with weights in the PyTorch ports' names, which differ by underscores alone.

    Raises RuntimeError for other names and shapes.
    """
    with torch.device("meta"):
        network = EfficientNetLite0()
    ours = {name.replace("._", ".").removeprefix("_"): tensor for name, tensor in state.items()}
    network.load_state_dict(ours, assign=True)
    return network.eval()
