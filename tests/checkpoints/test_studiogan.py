"""StudioGAN's two layouts against a plain re-implementation of their rules."""

from itertools import pairwise

import pytest
import torch

from tests.checkpoints.oracle import (
    attention,
    conv,
    double,
    down,
    drawn,
    iterated_sigma,
    load,
    normed,
    same,
    spectral_shapes,
    up,
)
from tests.checkpoints.oracle import spectral_torch as weight

CHANNELS, CHUNK, EMBEDDING, CLASSES = (16, 16, 8), 3, 5, 4  # 16×16 pixels
LABELS = torch.tensor([0, 3, 2])
PARTS = ("theta", "phi", "g", "attn")


def attention_shapes(at: str, c: int) -> dict:
    shapes = {f"{at}.sigma": (1,)}
    for part, shape in zip(PARTS, [(c // 8, c), (c // 8, c), (c // 2, c), (c, c // 2)], strict=True):
        shapes |= spectral_shapes(f"{at}.conv1x1_{part}", *shape, 1, 1, bias=False)
    return shapes


def statistics(at: str, c: int) -> dict:
    return {f"{at}.running_mean": (c,), f"{at}.running_var": (c,)}


def tracked(state: dict) -> dict:
    counters = [key.replace("running_mean", "num_batches_tracked") for key in state if "running_mean" in key]
    return state | {key: torch.tensor(1000) for key in counters}


def biggan_state() -> dict:
    """Attention comes after the first block, as number 1 of the row."""
    shapes = {"shared.weight": (CLASSES, EMBEDDING), **spectral_shapes("linear0", CHANNELS[0] * 16, CHUNK)}
    for place, (a, b) in zip((0, 2), pairwise(CHANNELS), strict=True):
        at = f"blocks.{place}.0"
        for k, c in ((1, a), (2, b)):
            shapes |= statistics(f"{at}.bn{k}.bn", c)
            for to in ("gain", "bias"):
                shapes |= spectral_shapes(f"{at}.bn{k}.{to}", c, EMBEDDING + CHUNK, bias=False)
        for k, shape in enumerate([(b, a, 1, 1), (b, a, 3, 3), (b, b, 3, 3)]):
            shapes |= spectral_shapes(f"{at}.conv2d{k}", *shape)
    c = CHANNELS[-1]
    shapes |= attention_shapes("blocks.1.0", CHANNELS[1]) | {
        "bn4.weight": (c,),
        "bn4.bias": (c,),
        **statistics("bn4", c),
    }
    return tracked(drawn(shapes | spectral_shapes("conv2d5", 3, c, 3, 3)))


def sngan_state(classes: int | None = CLASSES) -> dict:
    def layer(name, *shape):
        return {f"{name}.weight": shape, f"{name}.bias": (shape[0],)}

    def norm(name, c, classes):
        if classes is None:
            return {f"{name}.weight": (c,), f"{name}.bias": (c,), **statistics(name, c)}
        rows = {f"{name}.{to}.weight": (c, classes) for to in ("gain", "bias")}
        return rows | statistics(f"{name}.bn", c)

    shapes = layer("linear0", CHANNELS[0] * 16, 9)
    for i, (a, b) in enumerate(pairwise(CHANNELS)):
        at = f"blocks.{i}.0"
        shapes |= norm(f"{at}.bn1", a, classes) | norm(f"{at}.bn2", b, classes)
        shapes |= layer(f"{at}.conv2d0", b, a, 1, 1) | layer(f"{at}.conv2d1", b, a, 3, 3)
        shapes |= layer(f"{at}.conv2d2", b, b, 3, 3)
    c = CHANNELS[-1]
    return tracked(drawn(shapes | norm("bn4", c, None) | layer("conv2d5", 3, c, 3, 3)))


def critic_state(channels=(16, 8, 12), classes: int | None = CLASSES, attends: bool = True) -> dict:
    shapes, pools, place = {}, len(channels) - (2 if len(channels) == 4 else 1), 0
    for i, (a, b) in enumerate(zip((3, *channels), channels, strict=False)):
        at = f"blocks.{place}.0"
        shapes |= spectral_shapes(f"{at}.conv2d1", b, a, 3, 3) | spectral_shapes(f"{at}.conv2d2", b, b, 3, 3)
        shapes |= spectral_shapes(f"{at}.conv2d0", b, a, 1, 1) if a != b or i < pools else {}
        if attends and i == 0:
            shapes |= attention_shapes("blocks.1.0", b)
        place += 1 + (attends and i == 0)
    shapes |= spectral_shapes("linear1", 1, channels[-1])
    if classes is not None:
        shapes |= spectral_shapes("embedding", classes, channels[-1], bias=False)
    return drawn(shapes, seed=1)


def weights(state, name, sprung=""):
    if f"{name}.weight" in state:
        return state[f"{name}.weight"]
    if sprung == "sigma":
        return iterated_sigma(state[f"{name}.weight_orig"], state[f"{name}.weight_u"])
    return weight(state, name)


def attended(state, x, at):
    maps = (weight(state, f"{at}.conv1x1_{part}") for part in PARTS)
    return attention(x, *maps, state[f"{at}.sigma"])


def reference(state, z, labels=None, *, sprung: str = ""):
    """Both generators' rules: BigGAN's where there are shared rows. `sprung` is the trap that it falls into."""
    state, eps = double(state), 1e-5 if sprung == "eps" else 1e-4
    parts = z.split(CHUNK, 1) if "shared.weight" in state else [z] * 3

    def layer(x, name):
        return conv(x, weights(state, name, sprung), state[f"{name}.bias"])

    def bn(x, name, condition):
        if f"{name}.weight" in state:
            return normed(x, *(state[f"{name}.{w}"] for w in ("running_mean", "running_var", "weight", "bias")), eps)
        gain, bias = (condition @ weights(state, f"{name}.{to}", sprung).T for to in ("gain", "bias"))
        gain = gain if sprung == "gain" else 1 + gain
        return normed(x, state[f"{name}.bn.running_mean"], state[f"{name}.bn.running_var"], gain, bias, eps)

    h = parts[0] @ weights(state, "linear0", sprung).T + state["linear0.bias"]
    h, parts, condition = h.reshape(len(z), -1, 4, 4), iter(parts[1:]), None
    for place in sorted({int(key.split(".")[1]) for key in state if key.startswith("blocks.")}):
        at = f"blocks.{place}.0"
        if f"{at}.sigma" in state:
            h = attended(state, h, at)
            continue
        if "shared.weight" in state:
            condition = torch.cat([state["shared.weight"][labels], next(parts)], 1)
        elif labels is not None:
            condition = torch.eye(CLASSES, dtype=torch.float64)[labels]
        mode = "bilinear" if sprung == "upsample" else "nearest"
        out = layer(up(bn(h, f"{at}.bn1", condition).relu(), mode), f"{at}.conv2d1")
        out = layer(bn(out, f"{at}.bn2", condition).relu(), f"{at}.conv2d2")
        h = out + layer(up(h, mode), f"{at}.conv2d0")
    return layer(bn(h, "bn4", None).relu(), "conv2d5").tanh()


def critic_reference(state, x, labels=None, *, sprung: str = ""):
    """The critic's rules: its ReLU works in place, so that a shortcut after the first block starts behind it."""
    state = double(state)

    def layer(x, name):
        return conv(x, weight(state, name), state[f"{name}.bias"])

    places = sorted({int(key.split(".")[1]) for key in state if key.startswith("blocks.")})
    blocks = [place for place in places if f"blocks.{place}.0.sigma" not in state]
    for place in places:
        at = f"blocks.{place}.0"
        if place not in blocks:
            x = attended(state, x, at)
            continue
        rests = place in blocks[-2 if len(blocks) == 4 else -1 :]
        pool = (lambda x: x) if rests else down
        before = x.relu() if place else x
        shortcut = x if sprung == "out of place" else before
        if f"{at}.conv2d0.bias" in state:
            shortcut = layer(shortcut, f"{at}.conv2d0")
        x = pool(layer(layer(before, f"{at}.conv2d1").relu(), f"{at}.conv2d2")) + pool(shortcut)
    h = x.relu().sum((2, 3))
    score = h @ weight(state, "linear1").T + state["linear1.bias"]
    return score if labels is None else score + (weight(state, "embedding")[labels] * h).sum(1, keepdim=True)


@pytest.fixture
def z():
    return torch.randn(3, 9, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.fixture
def x():
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(6), dtype=torch.float64)


@pytest.mark.parametrize(
    ("state", "name", "embedding_dim"),
    [(biggan_state(), "biggan-studiogan", EMBEDDING), (sngan_state(), "sngan-studiogan", CLASSES)],
    ids=["biggan", "sngan"],
)
def test_a_generator_is_the_original(z, state, name, embedding_dim):
    gan = load({"state_dict": state, "optimizer": {}, "epoch": 100})
    generator = gan.generator
    assert (gan.name, gan.critic, len(generator.classes)) == (name, None, CLASSES)
    assert (generator.latent_dim, generator.embedding_dim, generator.image_shape) == (9, embedding_dim, (3, 16, 16))
    ours = lambda z: generator(z, generator.embed(LABELS).double())  # noqa: E731
    assert same(ours, lambda z: reference(state, z, LABELS), z)
    for sprung in ("eps", "gain", "upsample", *(["sigma"] if name == "biggan-studiogan" else [])):
        assert not same(ours, lambda z, sprung=sprung: reference(state, z, LABELS, sprung=sprung), z), sprung


def test_an_unconditional_sngan_is_the_original(z):
    state = sngan_state(classes=None)
    generator = load(state).generator
    assert generator.embedding_dim is None
    assert same(generator, lambda z: reference(state, z), z)


@pytest.mark.parametrize(
    ("generator", "state"),
    [
        (biggan_state(), critic_state()),
        (biggan_state(), critic_state((8, 8, 8, 8), attends=False)),
        (sngan_state(), critic_state(attends=False)),
    ],
    ids=["biggan", "32 pixels", "sngan"],
)
def test_a_critic_is_the_original(x, generator, state):
    critic = load(generator, critic=state).critic
    assert same(critic, lambda x: critic_reference(state, x), x)
    assert same(lambda x: critic(x, LABELS), lambda x: critic_reference(state, x, LABELS), x)
    assert not same(critic, lambda x: critic_reference(state, x, sprung="out of place"), x)


def test_an_unconditional_critic_is_the_original(x):
    state = critic_state(classes=None, attends=False)
    critic = load(sngan_state(classes=None), critic=state).critic
    assert same(critic, lambda x: critic_reference(state, x), x)


def test_parametrizations_are_read_as_the_hooks_are(z):
    """torch spells spectral norm in two ways; a file written again by newer code has the newer one."""
    state = biggan_state()
    newer = {"weight_orig": "original", "weight_u": "0._u", "weight_v": "0._v"}
    renamed = {}
    for key, x in state.items():
        layer, _, own = key.rpartition(".")
        renamed[f"{layer}.parametrizations.weight.{newer[own]}" if own in newer else key] = x
    a, b = load(state).generator, load(renamed).generator
    assert torch.equal(a(z, a.embed(LABELS).double()), b(z, b.embed(LABELS).double()))
