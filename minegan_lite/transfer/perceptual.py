"""What BSA compares images by, beside their pixels: the maps of a frozen network."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minegan_lite.data.download import torchvision_weights
from minegan_lite.errors import UserError
from minegan_lite.gan import GAN
from minegan_lite.nn import clone
from minegan_lite.probe import check_critic
from minegan_lite.transfer.layers import in_order, is_linear

VGG_RELUS = (1, 3, 6, 8, 11, 13, 15, 18, 20, 22)  # behind conv1_1 … conv4_3


class CriticMaps(nn.Module):
    """Images (n, C, H, W) → what each hidden linear map of a critic gives.

    Ours: for grey images there is no VGG, the digit network is their judge, and a critic comes with the source. The
    maps' scale is the critic's own, so they are compared relative to it.
    """

    weight, relative = 0.1, True

    def __init__(self, critic: nn.Module, image_shape: tuple[int, int, int]):
        super().__init__()
        self.critic = clone(critic).eval().requires_grad_(False)
        device = next(self.critic.parameters()).device
        passed = in_order(self.critic, torch.zeros(2, *image_shape, device=device))
        self.hidden = [name for name, part in passed if is_linear(part)][:-1]

    def forward(self, images: Tensor) -> list[Tensor]:
        maps: list[Tensor] = []
        hooks = [
            self.critic.get_submodule(name).register_forward_hook(lambda _, __, output: maps.append(output))
            for name in self.hidden
        ]
        try:
            self.critic(images)
        finally:
            for hook in hooks:
                hook.remove()
        return maps


class VGGMaps(nn.Module):
    """RGB images (n, 3, H, W) in [−1, 1] → the ten maps conv1_1 … conv4_3 of VGG-16, after their ReLUs.

    Pixels from 0 to 255 and the weights of VGG's authors, as BSA's code has it, hence its small weight. torchvision
    fetches them once (528 MB) and checks their hash. Raises UserError where they cannot be had.
    """

    weight, relative = 0.001, False
    mean: Tensor

    def __init__(self):
        super().__init__()
        from torchvision import models

        state = torchvision_weights(models.VGG16_Weights.IMAGENET1K_FEATURES)
        network = models.vgg16(weights=None, init_weights=False)
        network.load_state_dict(state, strict=False)  # its authors' classifier is not among these weights
        self.layers = network.features[: VGG_RELUS[-1] + 1].eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor([0.48235, 0.45882, 0.40784])[:, None, None])

    def forward(self, images: Tensor) -> list[Tensor]:
        h, maps = 255 * ((images + 1) / 2 - self.mean), []
        for i, layer in enumerate(self.layers):
            h = F.relu(h) if isinstance(layer, nn.ReLU) else layer(h)  # VGG's own would overwrite the map before
            if i in VGG_RELUS:
                maps.append(h)
        return maps


def default_maps(gan: GAN) -> CriticMaps | VGGMaps:
    """VGG's for RGB, the source's critic's for other images. Raises UserError where neither can be had."""
    if gan.generator.image_shape[0] == 3:
        return VGGMaps()
    if gan.critic is None:
        raise UserError(f"{gan.name} has no critic, whose maps bsa compares grey images by")
    check_critic(gan.critic, gan.generator.image_shape, gan.name)
    return CriticMaps(gan.critic, gan.generator.image_shape)


def distance(maps: CriticMaps | VGGMaps, fake: Tensor, real: Tensor) -> Tensor:
    """Σ_l mean|φ_l(fake) − φ_l(real)|, relative to mean|φ_l(real)| where the maps say so; differentiable in fake."""
    with torch.no_grad():
        wanted = maps(real)
    terms = []
    for of_fake, of_real in zip(maps(fake), wanted, strict=True):
        term = (of_fake.float() - of_real.float()).abs().mean()
        terms.append(term / of_real.float().abs().mean().clamp_min(1e-8) if maps.relative else term)
    return torch.stack(terms).sum()
