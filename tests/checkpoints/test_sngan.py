"""The layouts of mimicry's and of the authors' SNGAN against a plain re-implementation of their rules."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from minegan_lite import UserError
from tests.checkpoints.oracle import (
    conv,
    double,
    down,
    drawn,
    iterated_sigma,
    load,
    normed,
    same,
    spectral_shapes,
    spectral_torch,
    stored_sigma,
    up,
)

CHANNELS, LATENT, CLASSES = (12, 8, 4), 5, 4  # 16×16 pixels
LABELS = torch.tensor([0, 3, 2])


def mimicry_state(channels=CHANNELS, bottom=4) -> dict:
    def norm(at, c):
        return {f"{at}.{what}": (c,) for what in ("weight", "bias", "running_mean", "running_var")}

    last = len(channels) + 1
    shapes = {"l1.weight": (channels[0] * bottom**2, LATENT), "l1.bias": (channels[0] * bottom**2,)}
    for i, (a, b) in enumerate(pairwise(channels), 2):
        shapes |= norm(f"block{i}.b1", a) | norm(f"block{i}.b2", b)
        for name, shape in (("c1", (b, a, 3, 3)), ("c2", (b, b, 3, 3)), ("c_sc", (b, a, 1, 1))):
            shapes |= {f"block{i}.{name}.weight": shape, f"block{i}.{name}.bias": (b,)}
    shapes |= norm(f"b{last}", channels[-1])
    state = drawn(shapes | {f"c{last}.weight": (3, channels[-1], 3, 3), f"c{last}.bias": (3,)})
    counters = [key.replace("running_mean", "num_batches_tracked") for key in state if "running_mean" in key]
    return state | {key: torch.tensor(1000) for key in counters}


def mimicry(state, z, *, eps=1e-5, mode="bilinear", bottom=4):
    state, last = double(state), max(int(key[5]) for key in state if key.startswith("block")) + 1

    def bn(x, name):
        return normed(x, *(state[f"{name}.{w}"] for w in ("running_mean", "running_var", "weight", "bias")), eps)

    def layer(x, name):
        return conv(x, state[f"{name}.weight"], state[f"{name}.bias"])

    h = (z @ state["l1.weight"].T + state["l1.bias"]).reshape(len(z), -1, bottom, bottom)
    for at in (f"block{i}" for i in range(2, last)):
        out = layer(up(bn(h, f"{at}.b1").relu(), mode), f"{at}.c1")
        h = layer(bn(out, f"{at}.b2").relu(), f"{at}.c2") + layer(up(h, mode), f"{at}.c_sc")
    return layer(bn(h, f"b{last}").relu(), f"c{last}").tanh()


MIMICRY_CRITICS = {  # pixels: (channels, the last layer, how many blocks pool)
    32: ((8, 8, 8, 8), "l5", 2),
    48: ((2, 4, 6, 8, 10), "l5", 4),
    64: ((2, 4, 6, 8, 10), "l6", 5),
    128: ((2, 4, 6, 8, 10, 10), "l7", 5),
}


def mimicry_critic_state(channels=MIMICRY_CRITICS[32][0], head="l5") -> dict:
    """Where a block pools or changes the number of channels, its shortcut has weights."""
    shapes = spectral_shapes(head, 1, channels[-1])
    pools = next(pools for own, last, pools in MIMICRY_CRITICS.values() if (len(own), last) == (len(channels), head))
    for i, (a, b) in enumerate(zip((3, *channels), channels, strict=False), 1):
        hidden = b if i == 1 else a
        shapes |= spectral_shapes(f"block{i}.c1", hidden, a, 3, 3) | spectral_shapes(f"block{i}.c2", b, hidden, 3, 3)
        shapes |= spectral_shapes(f"block{i}.c_sc", b, a, 1, 1) if a != b or i <= pools else {}
    return drawn(shapes, seed=1)


def mimicry_critic(state, x, *, pools, head, sprung=""):
    state = double(state)

    def weight(name):
        if sprung == "sigma":
            return iterated_sigma(state[f"{name}.weight_orig"], state[f"{name}.weight_u"])
        return spectral_torch(state, name)

    def layer(x, name):
        return conv(x, weight(name), state[f"{name}.bias"])

    for i in range(1, 1 + max(int(key[5]) for key in state if key.startswith("block"))):
        before, pool = (x if i == 1 else x.relu()), (down if i <= pools else lambda x: x)
        shortcut = x if sprung == "out of place" else before
        if f"block{i}.c_sc.weight_orig" in state:
            shortcut = layer(shortcut, f"block{i}.c_sc")
        x = pool(layer(layer(before, f"block{i}.c1").relu(), f"block{i}.c2")) + pool(shortcut)
    return x.relu().sum((2, 3)) @ weight(head).T + state[f"{head}.bias"]


def chainer_state(classes=CLASSES) -> dict:
    def norm(at, c, classes):
        shapes = {f"{at}/avg_mean": (c,), f"{at}/avg_var": (c,)}
        own = ("gamma", "beta") if classes is None else ("gammas/W", "betas/W")
        return shapes | {f"{at}/{what}": (c,) if classes is None else (classes, c) for what in own}

    shapes = {"l1/W": (CHANNELS[0] * 16, LATENT), "l1/b": (CHANNELS[0] * 16,)}
    for i, (a, b) in enumerate(pairwise(CHANNELS), 2):
        shapes |= norm(f"block{i}/b1", a, classes) | norm(f"block{i}/b2", b, classes)
        for name, shape in (("c1", (b, a, 3, 3)), ("c2", (b, b, 3, 3)), ("c_sc", (b, a, 1, 1))):
            shapes |= {f"block{i}/{name}/W": shape, f"block{i}/{name}/b": (b,)}
    shapes |= norm("b4", CHANNELS[-1], None) | {"l4/W": (3, CHANNELS[-1], 3, 3), "l4/b": (3,)}
    state = drawn(shapes)
    return state | {key.replace("avg_mean", "N"): torch.tensor(0) for key in state if "avg_mean" in key}


def chainer(state, z, labels=None, *, eps=2e-5, mode="nearest", base=0.0):
    state = double(state)

    def bn(x, name):
        if f"{name}/gamma" in state:
            gain, bias = state[f"{name}/gamma"], state[f"{name}/beta"]
        else:
            gain, bias = base + state[f"{name}/gammas/W"][labels], state[f"{name}/betas/W"][labels]
        return normed(x, state[f"{name}/avg_mean"], state[f"{name}/avg_var"], gain, bias, eps)

    def layer(x, name):
        return conv(x, state[f"{name}/W"], state[f"{name}/b"])

    h = (z @ state["l1/W"].T + state["l1/b"]).reshape(len(z), -1, 4, 4)
    for at in ("block2", "block3"):
        out = layer(up(bn(h, f"{at}/b1").relu(), mode), f"{at}/c1")
        h = layer(bn(out, f"{at}/b2").relu(), f"{at}/c2") + layer(up(h, mode), f"{at}/c_sc")
    return layer(bn(h, "b4").relu(), "l4").tanh()


def chainer_critic_state(channels, classes=CLASSES) -> dict:
    def layer(name, *shape):
        return {f"{name}/W": shape, f"{name}/b": (shape[0],), f"{name}/u": (1, shape[0])}

    shapes, pools = {}, len(channels) - (len(channels) != 5)
    for i, (a, b) in enumerate(zip((3, *channels), channels, strict=False), 1):
        hidden = b if i == 1 else a
        shapes |= layer(f"block{i}/c1", hidden, a, 3, 3) | layer(f"block{i}/c2", b, hidden, 3, 3)
        shapes |= layer(f"block{i}/c_sc", b, a, 1, 1) if a != b or i <= pools else {}
    shapes |= layer(f"l{len(channels) + 1}", 1, channels[-1])
    if classes is not None:
        shapes |= {"l_y/W": (classes, channels[-1]), "l_y/u": (1, classes)}
    return drawn(shapes, seed=1)


def chainer_critic(state, x, labels=None, *, blocks, sprung=""):
    state = double(state)

    def weight(name):
        w, u = state[f"{name}/W"], state[f"{name}/u"]
        return stored_sigma(w, u, F.normalize(u @ w.flatten(1))) if sprung == "sigma" else iterated_sigma(w, u)

    def layer(x, name):
        return conv(x, weight(name), state[f"{name}/b"])

    for i in range(1, blocks + 1):
        before, pool = (x if i == 1 else x.relu()), (down if i < blocks or blocks == 5 else lambda x: x)
        shortcut = before if sprung == "rectified" else x
        if f"block{i}/c_sc/W" in state:
            shortcut = layer(shortcut, f"block{i}/c_sc")
        x = pool(layer(layer(before, f"block{i}/c1").relu(), f"block{i}/c2")) + pool(shortcut)
    h = x.relu().sum((2, 3))
    score = h @ weight(f"l{blocks + 1}").T + state[f"l{blocks + 1}/b"]
    return score if labels is None else score + (weight("l_y")[labels] * h).sum(1, keepdim=True)


@pytest.fixture
def z():
    return torch.randn(3, LATENT, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.fixture
def x():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(6), dtype=torch.float64)


@pytest.mark.parametrize(("channels", "bottom"), [(CHANNELS, 4), ((4, 4, 4, 4), 4), ((8, 4, 4), 6)])
def test_mimicry_is_the_original(z, channels, bottom):
    state = mimicry_state(channels, bottom)
    gan = load({"model_state_dict": state, "optimizer_state_dict": {"state": {}}, "global_step": 100000})
    generator, resolution = gan.generator, bottom << (len(channels) - 1)
    assert (gan.name, gan.critic) == ("sngan-mimicry", None)
    assert (generator.latent_dim, generator.embedding_dim) == (LATENT, None)
    assert generator.image_shape == (3, resolution, resolution)
    assert same(generator, lambda z: mimicry(state, z, bottom=bottom), z)


@pytest.mark.parametrize("sprung", [{"eps": 1e-4}, {"eps": 2e-5}, {"mode": "nearest"}])
def test_no_trap_of_mimicry_is_sprung(z, sprung):
    state = mimicry_state()
    assert not same(load(state).generator, lambda z: mimicry(state, z, **sprung), z)


@pytest.mark.parametrize("pixels", MIMICRY_CRITICS)
def test_a_mimicry_critic_is_the_original(x, pixels):
    """Those of 48 and 64 pixels differ in the last layer's name alone, and in whether the last block pools."""
    channels, head, pools = MIMICRY_CRITICS[pixels]
    state = mimicry_critic_state(channels, head)
    critic = load(mimicry_state(), critic={"model_state_dict": state, "global_step": 7}).critic
    assert same(critic, lambda x: mimicry_critic(state, x, pools=pools, head=head), x)
    for trap in ({"sprung": "sigma"}, {"sprung": "out of place"}, {"pools": pools - 1}):
        assert not same(critic, lambda x, trap=trap: mimicry_critic(state, x, head=head, **{"pools": pools} | trap), x)


def test_a_mimicry_critic_of_another_size_is_refused():
    state = mimicry_critic_state()
    odd = {key.replace("l5", "l6"): x for key, x in state.items()}
    with pytest.raises(UserError, match=r"has 4 blocks and its last layer is 'l6': mimicry's SNGAN critics of 32, 48"):
        load(mimicry_state(), critic=odd)
    with pytest.raises(UserError, match="no critic in the layout sngan-mimicry in the given critic"):
        load(mimicry_state(), critic=mimicry_state())


def test_chainer_is_the_original(z, tmp_path):
    state = chainer_state()
    np.savez(tmp_path / "ResNetGenerator_850000.npz", **{key: x.numpy() for key, x in state.items()})
    gan = load(tmp_path / "ResNetGenerator_850000.npz")
    generator = gan.generator
    assert (gan.name, gan.critic) == ("ResNetGenerator_850000", None)
    assert (generator.latent_dim, generator.embedding_dim, generator.image_shape) == (LATENT, CLASSES, (3, 16, 16))
    assert same(lambda z: generator(z, generator.embed(LABELS).double()), lambda z: chainer(state, z, LABELS), z)


def test_an_unconditional_chainer_is_the_original(z):
    state = chainer_state(classes=None)
    generator = load(state).generator
    assert generator.embedding_dim is None
    assert same(generator, lambda z: chainer(state, z), z)


@pytest.mark.parametrize("sprung", [{"eps": 1e-4}, {"eps": 1e-5}, {"mode": "bilinear"}, {"base": 1.0}])
def test_no_trap_of_chainer_is_sprung(z, sprung):
    state = chainer_state()
    generator = load(state).generator
    ours = lambda z: generator(z, generator.embed(LABELS).double())  # noqa: E731
    assert not same(ours, lambda z: chainer(state, z, LABELS, **sprung), z)


@pytest.mark.parametrize("channels", [(4, 8, 8), (4, 6, 8, 8, 6)])
def test_a_chainer_critic_is_the_original(x, channels):
    """Five blocks, at 64 pixels, all pool; else the last one rests."""
    state = chainer_critic_state(channels)
    gan = load(chainer_state(), critic=state)
    reference = lambda x, labels=None: chainer_critic(state, x, labels, blocks=len(channels))  # noqa: E731
    assert same(gan.critic, reference, x)
    assert same(lambda x: gan.critic(x, LABELS), lambda x: reference(x, LABELS), x)


@pytest.mark.parametrize("sprung", ["sigma", "rectified"])
def test_no_trap_of_the_chainer_critic_is_sprung(x, sprung):
    state = chainer_critic_state((4, 8, 8))
    critic = load(chainer_state(), critic=state).critic
    assert not same(critic, lambda x: chainer_critic(state, x, blocks=3, sprung=sprung), x)


def test_an_unconditional_critic_takes_no_labels(x):
    state = chainer_critic_state((4, 8, 8), classes=None)
    critic = load(chainer_state(), critic=state).critic
    assert same(critic, lambda x: chainer_critic(state, x, blocks=3), x)
    with pytest.raises(UserError, match="without labels"):
        critic(x, LABELS)
