"""The authors' SNGAN (pfnet-research/sngan_projection, also BSA's source model), an .npz of Chainer.

Generators of 64 to 256 pixels, class-conditional or not, and their projection critics.

A conditional batch norm has a row of gains and one of biases for each class, the gains as they are; eps is 2e-5. Each
forward of the critic starts one power iteration at the stored u, in eval mode too.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from minegan_lite.checkpoints.loading import agreed, bottom_side, count, fill, iterate, made, renamed
from minegan_lite.networks import sngan
from minegan_lite.networks.layers import ResidualCritic

NAME = "sngan-chainer"
PARAMETERS = ((r"/weight$", "/W"), (r"/bias$", "/b"))
BLOCK = ((r"\.", "/"), (r"/conv([12])/", r"/c\1/"), (r"/shortcut/", "/c_sc/"))


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether `state` holds a generator in this layout (Layout.matches)."""
    return any(key.endswith("/avg_mean") for key in state)


def generator(state: Mapping[str, Tensor], averaged: bool) -> nn.Module:
    """The generator that `state` holds (Layout.generator)."""
    last = count(state, r"block(\d+)/")  # blocks count from 2, and what follows them goes on
    # rows of classes (classes, channels) become the weights of a linear layer (channels, classes)
    tables = {key: x.mT for key, x in state.items() if key.endswith(("gammas/W", "betas/W")) and x.ndim == 2}
    state = {**state, **tables}
    at = [f"block{i}" for i in range(2, last)]
    channels = [agreed(state, (f"{b}/c1/W", 1), (f"{b}/c_sc/W", 1), (f"{b}/b1/avg_mean", 0)) for b in at]
    channels.append(agreed(state, *((f"b{last}/{what}", 0) for what in ("gamma", "beta", "avg_mean"))))
    network = made(
        sngan.Generator,
        state,
        bottom_side(state, channels[0], "l1/b", "l1/W") << len(at),
        latent_dim=agreed(state, ("l1/W", 1)),
        classes=agreed(state, *((key, 1) for key in tables)) if tables else None,
        channels=channels,
    )
    rules = (
        *BLOCK,
        (r"^blocks/(\d+)/", lambda match: f"block{int(match[1]) + 2}/"),
        (r"^(block\d+)/norm([12])/", r"\1/b\2/"),
        (r"/norm/", "/"),
        (r"/gain/", "/gammas/"),
        (r"/bias/", "/betas/"),
        (r"^project/", "l1/"),
        (r"^to_rgb/", f"l{last}/"),
        (r"^norm/", f"b{last}/"),
        (r"(/b\d|^b\d+)/weight$", r"\1/gamma"),
        (r"(/b\d|^b\d+)/bias$", r"\1/beta"),
        (r"/running_", "/avg_"),
        *PARAMETERS,
    )
    return fill(network, state, renamed(network, rules, {}), ignored=r"(^|/)N$")


def critic(state: Mapping[str, Tensor]) -> nn.Module | None:
    """The critic that `state` holds, None where it has none (Layout.critic)."""
    if matches(state):  # a generator's file
        return None
    last = count(state, r"block(\d+)/")
    channels = [
        agreed(state, (f"block{i}/c2/W", 0), (f"block{i}/c2/b", 0), (f"block{i}/c2/u", 1)) for i in range(1, last)
    ]
    network = made(
        ResidualCritic,
        state,
        channels,
        pools=5 if len(channels) == 5 else len(channels) - 1,  # at 64 pixels all blocks pool, else all but the last
        classes=agreed(state, ("l_y/W", 0)) if any(key.startswith("l_y/") for key in state) else None,
        wide=False,
    )
    rules = (
        *BLOCK,
        (r"^blocks/(\d+)/", lambda match: f"block{int(match[1]) + 1}/"),
        (r"^head/linear/", f"l{last}/"),
        (r"^head/rows/", "l_y/"),
        *PARAMETERS,
    )
    return iterate(fill(network, state, renamed(network, rules, {})))
