"""The StyleGAN of rosinality/style-based-gan-pytorch: {generator, discriminator, g_running, …}, or a generator alone.

A file always has layers up to 1024 pixels, even if training stopped at 256. In layers that training never reached, all
biases and noise weights are still zero: so the resolution is found. From 128 pixels on, resampling and convolution are
one operation ("fused").
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from minegan_lite.checkpoints.loading import agreed, count, fill, made, shaped
from minegan_lite.checkpoints.parts import check_filters, generator_part, part
from minegan_lite.networks import stylegan

NAME = "stylegan-rosinality"
PARTS = ("g_running", "generator")
AT, RGB = "generator.progression", "generator.to_rgb"


def matches(state: Mapping[str, Any]) -> bool:
    """Whether `state` holds a generator in this layout (Layout.matches)."""
    return any(key.startswith(f"{AT}.") for key in generator_part(state, True, *PARTS))


def generator(state: Mapping[str, Any], averaged: bool) -> nn.Module:
    """The generator that `state` holds (Layout.generator)."""
    own = dict(generator_part(state, averaged, *PARTS))
    check_filters(own, r"\.conv1\.[12]\.weight(_flip)?$", stylegan.BLUR)
    n = count(own, r"generator\.progression\.(\d+)\.")
    top = max((i for i in range(n) if _trained(own, f"{AT}.{i}.", f"{RGB}.{i}.")), default=n - 1)
    channels = [
        agreed(
            own,
            (f"{AT}.{i}.conv2.conv.bias", 0),
            (f"{AT}.{i}.noise1.weight_orig", 1),
            (f"{RGB}.{i}.conv.weight_orig", 1),
        )
        for i in range(top + 1)
    ]
    depth = count(own, r"style\.(\d+)\.") // 2  # they have odd numbers
    latent_dim = agreed(
        own, *((f"style.{2 * i + 1}.linear.bias", 0) for i in range(depth)), ("style.1.linear.weight_orig", 1)
    )
    fused = min((i for i in range(1, n) if _has(own, f"{AT}.{i}.conv1.0.")), default=n)
    network = made(stylegan.Generator, own, channels, latent_dim, depth, fused)
    names = {"constant": f"{AT}.0.conv1.input"} | _equal("to_rgb", f"{RGB}.{top}.conv")
    for i in range(depth):
        names |= _equal(f"mapping.layers.{i}", f"style.{2 * i + 1}.linear")
    for i in range(top + 1):
        ours, theirs = f"blocks.{i - 1}." if i else "", f"{AT}.{i}."
        names |= _equal(f"{ours}conv1", f"{theirs}conv2.conv")
        for k in (0, 1):
            noise = f"{theirs}noise{k + 1}.weight_orig"
            names |= _equal(f"{ours}style{k}.affine", f"{theirs}adain{k + 1}.style.linear") | {
                f"{ours}style{k}.noise": noise
            }
            # equalised there, plain here
            own[noise] = shaped(own, noise, (1, channels[i], 1, 1)) * math.sqrt(2 / channels[i])
        if not i:
            continue
        conv0 = (
            _plain(f"{ours}conv0", f"{theirs}conv1.0")
            if i >= fused
            else _equal(f"{ours}conv0", f"{theirs}conv1.1.conv")
        )
        names |= conv0
    beyond = "|".join(str(i) for i in range(top + 1, n)) or "none"
    ignored = rf"\.conv1\.[12]\.weight(_flip)?$|^generator\.to_rgb\.|^generator\.progression\.({beyond})\."
    keep = [name for name, _ in network.named_buffers()]  # it keeps neither noise nor the mean w
    fill(network, own, names, keep=keep, ignored=ignored)
    network.measure_w_mean()
    return network


def critic(state: Mapping[str, Any]) -> nn.Module | None:
    """The critic that `state` holds, None where it has none (Layout.critic)."""
    own = part(state, "discriminator")
    if not any(key.startswith("from_rgb.") for key in own):
        return None
    check_filters(own, r"\.conv2\.0\.weight(_flip)?$", stylegan.BLUR)
    n = count(own, r"progression\.(\d+)\.")  # counted from 1024×1024 down
    top = min((i for i in range(n) if _trained(own, f"progression.{i}.", f"from_rgb.{i}.")), default=0)
    activated = _has(own, f"from_rgb.{top}.0.")  # older code has no activation there
    places = [(f"from_rgb.{i}.{'0.' if activated else ''}conv", f"progression.{i}.conv1.0.conv") for i in range(n)]
    rgb, conv = places[-1]
    channels = [agreed(own, (f"{rgb}.bias", 0), (f"{rgb}.weight_orig", 0), (f"{conv}.bias", 0))]
    for rgb, conv in reversed(places[top:-1]):
        channels.append(agreed(own, (f"{rgb}.bias", 0), (f"{rgb}.weight_orig", 0), (f"{conv}.weight_orig", 1)))
    plain = [i for i in range(n - 1) if _has(own, f"progression.{i}.conv2.1.weight", f"progression.{i}.conv2.1.bias")]
    fused = n - 1 - max(plain, default=-1)
    network = made(stylegan.Critic, own, channels, rgb_activation=activated, fused=fused)
    names = _equal("from_rgb", places[top][0]) | _equal("score", "linear.linear")
    names |= _equal("last", places[-1][1]) | _equal("dense", f"progression.{n - 1}.conv2.0.conv")
    for i in range(top, n - 1):
        ours, second = f"blocks.{n - 2 - i}", f"progression.{i}.conv2.1"
        names |= _equal(f"{ours}.0", places[i][1])
        names |= _plain(f"{ours}.1", second) if n - 1 - i >= fused else _equal(f"{ours}.1", f"{second}.conv")
    beyond = "|".join(str(i) for i in range(top)) or "none"
    return fill(network, own, names, ignored=rf"\.conv2\.0\.weight(_flip)?$|^from_rgb\.|^progression\.({beyond})\.")


def _has(state: Mapping[str, Any], *prefixes: str) -> bool:
    return any(key.startswith(prefixes) for key in state)


def _equal(ours: str, theirs: str) -> dict[str, str]:
    """The names of an equalised layer's two tensors."""
    return {f"{ours}.weight": f"{theirs}.weight_orig", f"{ours}.bias": f"{theirs}.bias"}


def _plain(ours: str, theirs: str) -> dict[str, str]:
    """The names of a fused layer's two tensors."""
    return {f"{ours}.{what}": f"{theirs}.{what}" for what in ("weight", "bias")}


def _trained(state: Mapping[str, Any], *prefixes: str) -> bool:
    """Whether a tensor that starts at zero is no longer zero: a noise weight, or a bias other than AdaIN's."""
    start = r"noise\d\.weight_orig$|(?<!linear)\.bias$"
    own = (key for key in state if key.startswith(prefixes) and re.search(start, key))
    return any(state[key].any() for key in own)
