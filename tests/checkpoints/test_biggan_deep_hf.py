"""Hugging Face's BigGAN-deep layout against a plain re-implementation of its rules."""

import math
from itertools import pairwise

import pytest
import torch

from minegan_lite import UserError
from tests.checkpoints.oracle import attention, conv, double, drawn, load, normed, one_hot, same, spectral_shapes, up
from tests.checkpoints.oracle import spectral_torch as weight

CHANNELS, LATENT, EMBEDDING, CLASSES, ROWS = (16, 16, 8), 4, 4, 5, 51  # 16×16 pixels, a pair of blocks for each step
LABELS = torch.tensor([0, 4, 2])
PARTS = ("theta", "phi", "g", "o_conv")


def generator_state(seed: int = 0) -> dict:
    d = LATENT + EMBEDDING
    shapes = {"embeddings.weight": (EMBEDDING, CLASSES), **spectral_shapes("generator.gen_z", CHANNELS[0] * 16, d)}

    def norm(at, size):
        return {f"{at}.running_means": (ROWS, size), f"{at}.running_vars": (ROWS, size)}

    pairs = [(a, c) for a, b in pairwise(CHANNELS) for c in (a, b)]
    places = [0, 1, 3, 4]  # attention is number 2
    for place, (a, b) in zip(places, pairs, strict=True):
        at, h = f"generator.layers.{place}", a // 4
        for k, size in enumerate((a, h, h, h)):
            shapes |= norm(f"{at}.bn_{k}", size)
            for to in ("scale", "offset"):
                shapes |= spectral_shapes(f"{at}.bn_{k}.{to}", size, d, bias=False)
        for k, shape in enumerate([(h, a, 1, 1), (h, h, 3, 3), (h, h, 3, 3), (b, h, 1, 1)]):
            shapes |= spectral_shapes(f"{at}.conv_{k}", *shape)
    shapes["generator.layers.2.gamma"] = (1,)
    c = CHANNELS[1]
    for part, shape in zip(PARTS, [(c // 8, c), (c // 8, c), (c // 2, c), (c, c // 2)], strict=True):
        shapes |= spectral_shapes(f"generator.layers.2.snconv1x1_{part}", *shape, 1, 1, bias=False)
    c = CHANNELS[-1]
    shapes |= {"generator.bn.weight": (c,), "generator.bn.bias": (c,), **norm("generator.bn", c)}
    return drawn(shapes | spectral_shapes("generator.conv_to_rgb", c, c, 3, 3), seed)


def reference(state, z, labels, truncation: float = 1.0, *, sprung: str = ""):
    """The generator's rules. `sprung` is the trap that it falls into."""
    state, eps = double(state), 1e-5 if sprung == "eps" else 1e-4
    y = one_hot(labels, CLASSES) @ state["embeddings.weight"].T
    condition = torch.cat([y, z] if sprung == "order" else [z, y], 1)

    def layer(x, name):
        return conv(x, weight(state, name), state[f"{name}.bias"])

    def statistics(name):
        part, row = math.modf(truncation / (1.0 / (ROWS - 1)))
        if sprung == "rows":
            part, row = 0.0, round(truncation * (ROWS - 1))
        for what in ("means", "vars"):
            table, row = state[f"{name}.running_{what}"], int(row)
            yield table[row] if part == 0 else part * table[row] + (1 - part) * table[row + 1]

    def bn(x, name):
        gain, bias = (condition @ weight(state, f"{name}.{to}").T for to in ("scale", "offset"))
        return normed(x, *statistics(name), 1 + gain, bias, eps)

    h = condition @ weight(state, "generator.gen_z").T + state["generator.gen_z.bias"]
    if sprung == "bottom":
        h = h.reshape(len(z), CHANNELS[0], 4, 4)
    else:
        h = h.reshape(len(z), 4, 4, CHANNELS[0]).permute(0, 3, 1, 2)
    for number, place in enumerate([0, 1, 3, 4]):
        at, doubles = f"generator.layers.{place}", number % 2 == 1
        out = layer(bn(h, f"{at}.bn_0").relu(), f"{at}.conv_0")
        out = bn(out, f"{at}.bn_1").relu()
        out = layer(up(out, "nearest") if doubles else out, f"{at}.conv_1")
        out = layer(bn(out, f"{at}.bn_2").relu(), f"{at}.conv_2")
        out = layer(bn(out, f"{at}.bn_3").relu(), f"{at}.conv_3")
        h = h[:, -out.shape[1] :] if sprung == "dropped" else h[:, : out.shape[1]]
        h = out + (up(h, "nearest") if doubles else h)
        if place == 1:
            maps = (weight(state, f"generator.layers.2.snconv1x1_{part}") for part in PARTS)
            h = attention(h, *maps, state["generator.layers.2.gamma"])
    h = normed(h, *statistics("generator.bn"), state["generator.bn.weight"], state["generator.bn.bias"], eps)
    h = layer(h.relu(), "generator.conv_to_rgb")
    return (h[:, -3:] if sprung == "colours" else h[:, :3]).tanh()


@pytest.fixture
def z():
    return torch.randn(3, LATENT, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.fixture(scope="module")
def state():
    return generator_state()


@pytest.fixture(scope="module")
def generator(state):
    return load(state).generator


def test_a_generator_is_the_original(state, z):
    gan = load(state)
    generator = gan.generator
    assert (gan.name, gan.critic, len(generator.classes)) == ("biggan-deep-hf", None, CLASSES)
    assert (generator.latent_dim, generator.embedding_dim, generator.image_shape) == (LATENT, EMBEDDING, (3, 16, 16))
    assert same(lambda z: generator(z, generator.embed(LABELS).double()), lambda z: reference(state, z, LABELS), z)


@pytest.mark.parametrize("truncation", [0.02, 0.14, 0.4, 0.425, 0.94, 0.995])
def test_the_statistics_are_those_of_the_original(state, generator, z, truncation):
    """0.14 and 0.94 miss their rows by rounding there, 0.425 and 0.995 lie between two."""
    ours = lambda z: generator(z, generator.embed(LABELS).double(), truncation=truncation)  # noqa: E731
    assert same(ours, lambda z: reference(state, z, LABELS, truncation), z)
    if truncation == 0.14:
        assert not same(ours, lambda z: reference(state, z, LABELS, truncation, sprung="rows"), z)


@pytest.mark.parametrize("sprung", ["eps", "order", "bottom", "dropped", "colours"])
def test_no_trap_of_the_generator_is_sprung(state, generator, z, sprung):
    ours = lambda z: generator(z, generator.embed(LABELS).double())  # noqa: E731
    assert not same(ours, lambda z: reference(state, z, LABELS, sprung=sprung), z)


def test_training_leaves_the_statistics_alone(state, z):
    generator = load(state).generator.train()
    generator(z, generator.embed(LABELS).double()).sum().backward()
    assert torch.equal(generator.norm.means, state["generator.bn.running_means"])


@pytest.mark.parametrize("truncation", [0.0, -0.5, 1.02])
def test_a_truncation_outside_is_refused(generator, z, truncation):
    with pytest.raises(UserError, match="truncation"):
        generator(z, generator.embed(LABELS).double(), truncation=truncation)


def test_it_has_no_critic(state):
    with pytest.raises(UserError, match=r"the layout biggan-deep-hf reads no critics \(of them: never published\)"):
        load(state, critic=state)
