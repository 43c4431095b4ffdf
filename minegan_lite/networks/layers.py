"""What SNGAN, BigGAN and BigGAN-deep share: spectral norm, self-attention, conditional batch norm, residual blocks.

Sources: Miyato et al. 2018 (spectral norm, Alg. 1), Miyato & Koyama 2018 (the projection critic), Zhang et al. 2019
(attention) and Brock et al. 2019 (BigGAN's changes), in the form of their public code. Where public codes differ, an
argument chooses.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minegan_lite.errors import UserError

SMALL = 1e-12  # the least that a vector is divided by, since its norm may be 0


class SpectralNorm(nn.Module):
    """Makes a layer divide its weight by the weight's largest singular value σ, estimated with two vectors (Alg. 1).

    It goes before the layer's class among the bases. In training each forward does one power iteration and stores its
    vectors u and v; in eval mode the stored vectors are used unchanged, so that the layer is a function of its input
    alone. σ = uᵀWv, where W is the weight flattened to (outputs, all other axes).
    """

    weight: Tensor
    u: Tensor
    v: Tensor

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.register_buffer("u", torch.empty(len(self.weight)))
        self.register_buffer("v", torch.empty(self.weight[0].numel()))
        self._reset_vectors()

    def reset_parameters(self) -> None:
        super().reset_parameters()  # type: ignore[misc] # of the layer's class, which is the other base
        if "u" in self._buffers:  # not yet when the layer under us is being made
            self._reset_vectors()

    def _reset_vectors(self) -> None:
        self.u.copy_(F.normalize(torch.randn_like(self.u), dim=0, eps=SMALL))
        self.power_iteration()

    @torch.no_grad()
    def power_iteration(self) -> None:
        """v ← Wᵀu / ‖Wᵀu‖, u ← Wv / ‖Wv‖."""
        matrix = self.weight.flatten(1)  # (outputs, all else)
        self.v.copy_(F.normalize(self.u @ matrix, dim=0, eps=SMALL))
        self.u.copy_(F.normalize(matrix @ self.v, dim=0, eps=SMALL))

    def normalised_weight(self) -> Tensor:
        """W / σ, shaped as W."""
        if self.training:
            self.power_iteration()
        u, v = self.u.clone(), self.v.clone()  # the next forward changes them before this one's gradient is computed
        return self.weight / (u @ (self.weight.flatten(1) @ v))


class SpectralConv2d(SpectralNorm, nn.Conv2d):
    """nn.Conv2d, its weight divided by its spectral norm."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.normalised_weight(), self.bias)


class SpectralLinear(SpectralNorm, nn.Linear):
    """nn.Linear, its weight divided by its spectral norm."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.normalised_weight(), self.bias)


class SpectralEmbedding(SpectralNorm, nn.Embedding):
    """nn.Embedding, its weight divided by its spectral norm."""

    def forward(self, labels: Tensor) -> Tensor:
        return F.embedding(labels, self.normalised_weight())


class SelfAttention(nn.Module):
    """x (n, c, h, w) → x + gamma · attention(x), over all places; keys and values have half the resolution."""

    def __init__(self, channels: int, conv: Callable[..., nn.Module] = SpectralConv2d):
        super().__init__()
        self.query = conv(channels, channels // 8, 1, bias=False)
        self.key = conv(channels, channels // 8, 1, bias=False)
        self.value = conv(channels, channels // 2, 1, bias=False)
        self.out = conv(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x).flatten(2)  # (n, c/8, hw)
        key = F.max_pool2d(self.key(x), 2).flatten(2)  # (n, c/8, hw/4)
        value = F.max_pool2d(self.value(x), 2).flatten(2)  # (n, c/2, hw/4)
        weights = (query.mT @ key).softmax(dim=-1)  # (n, hw, hw/4), rows add up to 1
        gathered = (value @ weights.mT).unflatten(2, x.shape[2:])  # (n, c/2, h, w)
        return x + self.gamma * self.out(gathered)


class ConditionalBatchNorm(nn.Module):
    """x (n, c, h, w), condition (n, d) → x̂ · (base + gain(condition)) + bias(condition).

    x̂ is x normalised, in eval mode with the running statistics. base: 1 if the linear layer's output is added to a gain
    of 1, 0 if its output is the gain. linear: the layer's class, nn.Linear or SpectralLinear.
    """

    def __init__(self, channels: int, condition_dim: int, linear: type[nn.Linear], eps: float, base: float = 1.0):
        super().__init__()
        self.base = base
        self.norm = nn.BatchNorm2d(channels, eps=eps, affine=False)
        self.gain = linear(condition_dim, channels, bias=False)
        self.bias = linear(condition_dim, channels, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        gain, bias = self.base + self.gain(condition), self.bias(condition)  # (n, c) each
        return self.norm(x) * gain[:, :, None, None] + bias[:, :, None, None]


class UpBlock(nn.Module):
    """A generator's residual block: (n, inputs, h, w) → (n, outputs, 2h, 2w).

    norm: called with a number of channels, makes a normalisation; that is called with all arguments of forward. conv:
    the convolutions' class. upsample: F.interpolate's mode, "nearest" or "bilinear".
    """

    def __init__(self, inputs: int, outputs: int, norm: Callable, conv: Callable, upsample: str = "nearest"):
        super().__init__()
        self.upsample = upsample
        self.norm1, self.norm2 = norm(inputs), norm(outputs)
        self.conv1 = conv(inputs, outputs, 3, padding=1)
        self.conv2 = conv(outputs, outputs, 3, padding=1)
        self.shortcut = conv(inputs, outputs, 1)

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        h = F.relu(self.norm1(x, *condition))
        h = self.conv1(F.interpolate(h, scale_factor=2, mode=self.upsample))  # (n, outputs, 2h, 2w)
        h = self.conv2(F.relu(self.norm2(h, *condition)))
        return h + self.shortcut(F.interpolate(x, scale_factor=2, mode=self.upsample))


class DownBlock(nn.Module):
    """A critic's residual block: (n, inputs, h, w) → (n, outputs, h/2, w/2), or the same size where `pool` is false.

    hidden: channels between the two convolutions. first: the input is images, so that no ReLU comes first. rectified:
    the shortcut takes the output of the first ReLU, as in code whose ReLU works in place.
    """

    def __init__(self, inputs: int, outputs: int, hidden: int, *, pool: bool, first: bool, rectified: bool):
        super().__init__()
        self.pool, self.first, self.rectified = pool, first, rectified
        self.conv1 = SpectralConv2d(inputs, hidden, 3, padding=1)
        self.conv2 = SpectralConv2d(hidden, outputs, 3, padding=1)
        self.shortcut = SpectralConv2d(inputs, outputs, 1) if pool or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = x if self.first else F.relu(x)
        if self.rectified:
            x = h
        h = self.conv2(F.relu(self.conv1(h)))
        if not self.pool:
            return h + self.shortcut(x)
        # The two orders differ by rounding only, but a later ReLU may enlarge that: each case has the original's order.
        x = self.shortcut(F.avg_pool2d(x, 2)) if self.first else F.avg_pool2d(self.shortcut(x), 2)
        return F.avg_pool2d(h, 2) + x


class ProjectionHead(nn.Module):
    """Features (n, c), labels (n,) or None → scores (n, 1).

    The score is a linear map of the features and, with a label, plus their inner product with the label's row (Miyato &
    Koyama 2018, Eq. 4). classes: the number of rows, None for an unconditional critic.
    """

    def __init__(self, channels: int, classes: int | None):
        super().__init__()
        self.linear = SpectralLinear(channels, 1)
        self.rows = None if classes is None else SpectralEmbedding(classes, channels)

    def forward(self, h: Tensor, labels: Tensor | None) -> Tensor:
        if labels is None:
            return self.linear(h)
        if self.rows is None:
            raise UserError("this critic is unconditional: call it without labels")
        return self.linear(h) + (self.rows(labels) * h).sum(1, keepdim=True)  # (n, 1)


class ResidualCritic(nn.Module):
    """Images (n, 3, R, R) → scores (n, 1), unbounded; with labels (n,) also their projection term.

    channels: output channels of each block. pools: how many blocks, from the first on, halve the resolution. classes:
    number of classes of the projection term, None for a critic without it. wide: whether a block has as many hidden
    channels as outputs (BigGAN) or as inputs (SNGAN). attention: the blocks, counted from 0, that self-attention
    follows. rectified: see DownBlock.
    """

    def __init__(
        self,
        channels: Sequence[int],
        pools: int,
        classes: int | None,
        *,
        wide: bool,
        attention: Collection[int] = (),
        rectified: bool = False,
    ):
        super().__init__()
        self.blocks = nn.ModuleList()
        for i, (inputs, outputs) in enumerate(zip((3, *channels), channels, strict=False)):
            hidden = outputs if wide or i == 0 else inputs
            block = DownBlock(inputs, outputs, hidden, pool=i < pools, first=i == 0, rectified=rectified and i > 0)
            self.blocks.append(block)
        self.attention = nn.ModuleDict({str(i): SelfAttention(channels[i]) for i in attention})
        self.head = ProjectionHead(channels[-1], classes)

    def last_hidden(self, x: Tensor) -> Tensor:
        """Features (n, c), summed over all places."""
        for i, block in enumerate(self.blocks):
            x = block(x)  # (n, channels[i], R/2ⁱ⁺¹, R/2ⁱ⁺¹) while blocks pool
            if str(i) in self.attention:
                x = self.attention[str(i)](x)
        return F.relu(x).sum((2, 3))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.head(self.last_hidden(x), labels)


def scaled(table: dict[int, tuple[int, ...]], resolution: int, width: int) -> tuple[int, ...]:
    """The table's channels for a resolution, times width. Raises UserError for a resolution that the table lacks."""
    if resolution not in table:
        known = ", ".join(map(str, sorted(table)))
        raise UserError(f"no published channels for resolution {resolution}, only for {known}: give channels yourself")
    return tuple(width * times for times in table[resolution])
