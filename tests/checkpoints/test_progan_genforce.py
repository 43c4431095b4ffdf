"""genforce's Progressive GANs, new and old names, against their rules, applied to the raw state dict."""

import math

import pytest
import torch
from torch.nn import functional as F

from minegan_lite import UserError, checkpoints, mine
from tests.checkpoints.style_oracle import (
    agree,
    differ,
    double,
    each_is_named,
    halved,
    he,
    lrelu,
    normal,
    random_state,
    strided,
    twice,
    unit,
    with_deviation,
)
from tests.tiny import everything, same

CHANNELS, LATENT, HIDDEN = (6, 5, 4), 7, 8
N = len(CHANNELS)


def shapes_g(w=".weight", b=".bias"):
    shapes = {"layer0": (CHANNELS[0], LATENT, 4, 4)}
    for i, c in enumerate(CHANNELS):
        if i:
            shapes[f"layer{2 * i}"] = (c, CHANNELS[i - 1], 3, 3)
        shapes |= {f"layer{2 * i + 1}": (c, c, 3, 3), f"output{i}": (3, c, 1, 1)}
    return {f"{key}{what}": shape if what == w else shape[:1] for key, shape in shapes.items() for what in (w, b)}


def shapes_d():
    shapes = {}
    for i, c in enumerate(reversed(CHANNELS)):
        shapes[f"input{i}"] = (c, 3, 1, 1)
        if i < N - 1:
            shapes |= {f"layer{2 * i}": (c, c, 3, 3), f"layer{2 * i + 1}": (CHANNELS[N - 2 - i], c, 3, 3)}
    c = CHANNELS[0]
    shapes |= {
        f"layer{2 * N - 2}": (c, c + 1, 3, 3),
        f"layer{2 * N - 1}": (HIDDEN, c * 16),
        f"layer{2 * N}": (1, HIDDEN),
    }
    return {f"{k}.{what}": s if what == "weight" else s[:1] for k, s in shapes.items() for what in ("weight", "bias")}


def a_file(lod=0.0):
    parts = {"generator": shapes_g(), "discriminator": shapes_d(), "generator_smooth": shapes_g()}
    return {
        part: {"lod": torch.tensor(lod), **random_state(shapes, i)} for i, (part, shapes) in enumerate(parts.items())
    }


def layer(state, x, name, gain=2.0, scaled_bias=False, padding=None):
    w, b = state[f"{name}.weight"], state[f"{name}.bias"]
    b = b * he(w) if scaled_bias else b
    w = w * he(w, gain)
    return (
        F.linear(x, w, b)
        if w.ndim == 2
        else F.conv2d(x, w, b, padding=w.shape[-1] // 2 if padding is None else padding)
    )


def oracle_g(state, lod=0.0, scaled_bias=False, padding=3, upright=False):
    """The image is blended from those of the two resolutions that lod lies between."""
    state = double(state)
    if upright:
        state["layer0.weight"] = state["layer0.weight"].flip(2, 3)

    def images(z):
        h, drawn = unit(z)[:, :, None, None], []
        for i in range(N):
            h = layer(state, unit(twice(h) if i else h), f"layer{2 * i}", 2, scaled_bias, None if i else padding)
            h = layer(state, unit(lrelu(h)), f"layer{2 * i + 1}", 2, scaled_bias)
            h = lrelu(h)
            drawn.append(twice(layer(state, unit(h), f"output{i}", 1, scaled_bias), 2 ** (N - 1 - i)))
        low, high = math.ceil(lod), math.floor(lod)
        return (1 - lod % 1) * drawn[N - 1 - high] + lod % 1 * drawn[N - 1 - low]

    return images


def oracle_d(state, lod=0.0, group=16, unbiased=False):
    state = double(state)

    def scores(x):
        for _ in range(math.floor(lod)):
            x = halved(x)
        h = None
        for i in range(math.floor(lod), N):
            if h is None:
                h = lrelu(layer(state, x, f"input{i}"))
            elif i == math.ceil(lod) and lod % 1:
                h = (1 - lod % 1) * h + lod % 1 * lrelu(layer(state, halved(x), f"input{i}"))
            if i < N - 1:
                h = halved(lrelu(layer(state, lrelu(layer(state, h, f"layer{2 * i}")), f"layer{2 * i + 1}")))
        h = with_deviation(h, strided(len(x), min(group, len(x))), unbiased)
        h = lrelu(layer(state, h, f"layer{2 * N - 2}"))
        return layer(state, lrelu(layer(state, h.flatten(1), f"layer{2 * N - 1}")), f"layer{2 * N}", gain=1)

    return scores


def test_generator_agrees_with_the_rules():
    state, z = a_file(), normal(3, LATENT)
    gan = checkpoints.load(state)
    assert (gan.generator.latent_dim, gan.generator.image_shape, gan.generator.embedding_dim) == (
        LATENT,
        (3, 16, 16),
        None,
    )
    assert agree(gan.generator, oracle_g(state["generator_smooth"]), z)
    assert agree(checkpoints.load(state, averaged=False).generator, oracle_g(state["generator"]), z)
    assert agree(checkpoints.load(state["generator"]).generator, oracle_g(state["generator"]), z)
    assert agree(checkpoints.load({"models": state}).generator, oracle_g(state["generator_smooth"]), z)


def test_bias_is_not_scaled_and_the_first_layer_lies_upside_down():
    state, z = a_file(), normal(3, LATENT)
    network = checkpoints.load(state).generator
    assert differ(network, oracle_g(state["generator_smooth"], scaled_bias=True), z)
    assert differ(network, oracle_g(state["generator_smooth"], upright=True), z)


@pytest.mark.parametrize("n", [1, 3, 16, 32])
def test_critic_agrees_with_the_rules(n):
    state = a_file()
    assert agree(checkpoints.load(state).critic, oracle_d(state["discriminator"]), normal(n, 3, 16, 16))


def test_deviation_is_the_populations_in_strided_groups_of_sixteen():
    state, x = a_file(), normal(32, 3, 16, 16)
    x[::2] *= 5
    network = checkpoints.load(state).critic
    assert agree(network, oracle_d(state["discriminator"]), x)
    assert differ(network, oracle_d(state["discriminator"], unbiased=True), x)
    assert differ(network, oracle_d(state["discriminator"], group=4), x)


@pytest.mark.parametrize("lod", [0.3, 1.0, 1.25, 2.0])
def test_lod_is_the_lower_resolutions_share(lod):
    state, z, x = a_file(lod), normal(3, LATENT), normal(4, 3, 16, 16)
    gan = checkpoints.load(state)
    assert agree(gan.generator, oracle_g(state["generator_smooth"], lod), z)
    assert agree(gan.critic, oracle_d(state["discriminator"], lod), x)
    if lod % 1:
        other = math.floor(lod) + 1 - lod % 1
        assert differ(gan.generator, oracle_g(state["generator_smooth"], other), z)
        assert differ(gan.critic, oracle_d(state["discriminator"], other), x)


def test_a_lod_beyond_the_resolutions_is_refused():
    with pytest.raises(UserError, match="lod"):
        checkpoints.load(a_file(2.5))


@pytest.mark.parametrize("lod", [0.0, 0.3, 1.5])
def test_old_names_are_the_same_network_without_blending(lod):
    new = random_state(shapes_g(), 3)
    old = {key.replace(".weight", ".conv.weight").replace(".bias", ".wscale.bias"): value for key, value in new.items()}
    gan = checkpoints.load({**old, "lod": torch.tensor(lod)})
    assert gan.critic is None
    assert agree(gan.generator, oracle_g(new, math.floor(lod)), normal(3, LATENT))
    critic = checkpoints.load(old, critic=a_file()["discriminator"]).critic
    assert agree(critic, oracle_d(a_file()["discriminator"]), normal(2, 3, 16, 16))


@pytest.mark.parametrize("part", ["generator_smooth", "discriminator"])
def test_a_missing_or_misshapen_tensor_is_named(part):
    each_is_named(a_file, part, a_file()[part].keys() - {"lod"})


def test_the_raw_generator_alone_stands_in_for_the_averaged_but_not_the_other_way_round():
    state = a_file()
    only_raw = {"generator": state["generator"]}
    assert agree(checkpoints.load(only_raw).generator, oracle_g(state["generator"]), normal(2, LATENT))
    with pytest.raises(UserError, match="averaged=True"):
        checkpoints.load({"generator_smooth": state["generator_smooth"]}, averaged=False)


def test_stage_one_mines_it_and_leaves_every_byte():
    gan = checkpoints.load(a_file())
    before = everything(gan.generator), everything(gan.critic)
    target = normal(6, 3, 16, 16).float().clamp(-1, 1)
    mined = mine(gan, target, steps=2, batch=4, critic_steps=1, device="cpu", progress=False)
    assert same(everything(gan.generator), before[0])
    assert same(everything(gan.critic), before[1])
    assert mined.sample(3).shape == (3, 3, 16, 16)
