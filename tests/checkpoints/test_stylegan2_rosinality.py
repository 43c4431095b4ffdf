"""rosinality's StyleGAN2 against its rules, applied to the raw state dict."""

import argparse

import pytest
import torch
from torch.nn import functional as F

from minegan_lite import UserError, checkpoints, mine
from minegan_lite.networks.style_layers import in_style_space
from tests.checkpoints.style_oracle import (
    InStyle,
    agree,
    differ,
    double,
    each_is_named,
    fir,
    he,
    lrelu,
    modulated,
    normal,
    random_state,
    strided,
    unit,
    with_deviation,
)
from tests.tiny import everything, same

CHANNELS, LATENT, DEPTH = (6, 5, 4), 7, 2
N = len(CHANNELS)
KERNEL = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


def styled(name, c_in, c_out):
    shapes = {
        f"{name}.conv.weight": (1, c_out, c_in, 3, 3),
        f"{name}.noise.weight": (1,),
        f"{name}.activate.bias": (c_out,),
    }
    return shapes | {f"{name}.conv.modulation.weight": (c_in, LATENT), f"{name}.conv.modulation.bias": (c_in,)}


def rgb(name, c):
    shapes = {f"{name}.bias": (1, 3, 1, 1), f"{name}.conv.weight": (1, 3, c, 1, 1)}
    return shapes | {f"{name}.conv.modulation.weight": (c, LATENT), f"{name}.conv.modulation.bias": (c,)}


def shapes_g():
    shapes = {"input.input": (1, CHANNELS[0], 4, 4)}
    for i in range(DEPTH):
        shapes |= {f"style.{i + 1}.weight": (LATENT, LATENT), f"style.{i + 1}.bias": (LATENT,)}
    shapes |= styled("conv1", CHANNELS[0], CHANNELS[0]) | rgb("to_rgb1", CHANNELS[0])
    for i, c in enumerate(CHANNELS[1:]):
        shapes |= styled(f"convs.{2 * i}", CHANNELS[i], c) | styled(f"convs.{2 * i + 1}", c, c) | rgb(f"to_rgbs.{i}", c)
    return shapes


def noises():
    return {f"noises.noise_{i}": (1, 1, 4 << (i + 1) // 2, 4 << (i + 1) // 2) for i in range(2 * N - 1)}


def shapes_d():
    c = CHANNELS[0]
    shapes = {"convs.0.0.weight": (CHANNELS[-1], 3, 1, 1), "convs.0.1.bias": (CHANNELS[-1],)}
    for i, (out, into) in enumerate(zip(CHANNELS[-2::-1], CHANNELS[:0:-1], strict=True), start=1):
        at = f"convs.{i}"
        shapes |= {f"{at}.conv1.0.weight": (into, into, 3, 3), f"{at}.conv1.1.bias": (into,)}
        shapes |= {
            f"{at}.conv2.1.weight": (out, into, 3, 3),
            f"{at}.conv2.2.bias": (out,),
            f"{at}.skip.1.weight": (out, into, 1, 1),
        }
    shapes |= {"final_conv.0.weight": (c, c + 1, 3, 3), "final_conv.1.bias": (c,), "final_linear.0.weight": (c, c * 16)}
    return shapes | {"final_linear.0.bias": (c,), "final_linear.1.weight": (1, c), "final_linear.1.bias": (1,)}


def generator_state(seed, noise=True):
    state = random_state(shapes_g() | (noises() if noise else {}), seed)
    for i in range(N - 1):
        state |= {f"convs.{2 * i}.conv.blur.kernel": 4 * KERNEL, f"to_rgbs.{i}.upsample.kernel": 4 * KERNEL}
    return state


def critic_state(seed):
    state = random_state(shapes_d(), seed)
    kernels = (f"convs.{i}.{part}.0.kernel" for i in range(1, N) for part in ("conv2", "skip"))
    return state | dict.fromkeys(kernels, KERNEL)


def a_file():
    return {"g": generator_state(0), "d": critic_state(1), "g_ema": generator_state(2)}


def act(x, bias):
    return lrelu(x + bias.reshape(-1, *[1] * (x.ndim - 2))) * 2**0.5


def oracle_mapping(state, lr_mul=0.01):
    state = double(state)

    def ws(z):
        w = unit(z)
        for i in range(DEPTH):
            weight, bias = state[f"style.{i + 1}.weight"], state[f"style.{i + 1}.bias"]
            w = act(F.linear(w, weight * he(weight, 1) * lr_mul), bias * lr_mul)
        return w

    return ws


def oracle_synthesis(state, maps=None, demodulate=True, rgb_demodulate=False, noise=True):
    """w (n, LATENT), or a row a layer, to images; maps None takes the stored ones."""
    state = double(state)
    maps = [state[f"noises.noise_{i}"] for i in range(2 * N - 1)] if maps is None else maps

    def conv(x, w, name, up, demodulate):
        weight = state[f"{name}.weight"][0]
        affine = state[f"{name}.modulation.weight"]
        style = F.linear(w, affine * he(affine, 1), state[f"{name}.modulation.bias"])
        return modulated(x, weight * he(weight, 1), style, up, demodulate)

    def layer(x, w, name, i, up):
        x = conv(x, w, f"{name}.conv", up, demodulate) + noise * state[f"{name}.noise.weight"] * maps[i].to(x)
        return act(x, state[f"{name}.activate.bias"])

    def images(w):
        w = w[:, None].repeat(1, 2 * N, 1) if w.ndim == 2 else w
        x = layer(state["input.input"].repeat(len(w), 1, 1, 1), w[:, 0], "conv1", 0, False)
        image = conv(x, w[:, 1], "to_rgb1.conv", False, rgb_demodulate) + state["to_rgb1.bias"]
        for k in range(N - 1):
            x = layer(x, w[:, 2 * k + 1], f"convs.{2 * k}", 2 * k + 1, True)
            x = layer(x, w[:, 2 * k + 2], f"convs.{2 * k + 1}", 2 * k + 2, False)
            own = conv(x, w[:, 2 * k + 3], f"to_rgbs.{k}.conv", False, rgb_demodulate) + state[f"to_rgbs.{k}.bias"]
            image = fir(image, up=2, pad=(2, 1), gain=4) + own
        return image

    return images


def oracle_d(state, group=4, unbiased=False, contiguous=False):
    state = double(state)

    def conv(x, name, **options):
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight * he(weight, 1), **options)

    def scores(x):
        x = act(conv(x, "convs.0.0"), state["convs.0.1.bias"])
        for i in range(1, N):
            at = f"convs.{i}"
            y = act(conv(x, f"{at}.conv1.0", padding=1), state[f"{at}.conv1.1.bias"])
            y = act(conv(fir(y, pad=(2, 2)), f"{at}.conv2.1", stride=2), state[f"{at}.conv2.2.bias"])
            x = (y + conv(fir(x, pad=(1, 1)), f"{at}.skip.1", stride=2)) / 2**0.5
        n = len(x)
        groups = strided(n, min(n, group))
        if contiguous:
            groups = [list(range(i, i + min(n, group))) for i in range(0, n, min(n, group))]
        x = with_deviation(x, groups, unbiased)
        x = act(conv(x, "final_conv.0", padding=1), state["final_conv.1.bias"]).flatten(1)
        first, last = state["final_linear.0.weight"], state["final_linear.1.weight"]
        x = act(F.linear(x, first * he(first, 1)), state["final_linear.0.bias"])
        return F.linear(x, last * he(last, 1), state["final_linear.1.bias"])

    return scores


def test_generator_agrees_with_the_rules_in_z_w_and_w_plus():
    state = a_file()
    for averaged, part in ((True, "g_ema"), (False, "g")):
        network = checkpoints.load(state, averaged=averaged).generator
        mapping, synthesis = oracle_mapping(state[part]), oracle_synthesis(state[part])
        assert (network.latent_dim, network.image_shape, network.embedding_dim) == (LATENT, (3, 16, 16), None)
        assert network.layers == 2 * N
        assert agree(network, lambda z, m=mapping, s=synthesis: s(m(z)), normal(3, LATENT))
        assert agree(InStyle(network), synthesis, normal(3, LATENT))
        assert agree(InStyle(network), synthesis, normal(3, 2 * N, LATENT))


def test_each_rule_matters():
    state = a_file()
    network, own, w = checkpoints.load(state).generator, state["g_ema"], normal(3, LATENT)
    assert differ(network.mapping, oracle_mapping(own, lr_mul=1), w)
    assert differ(InStyle(network), oracle_synthesis(own, demodulate=False), w)
    assert differ(InStyle(network), oracle_synthesis(own, rgb_demodulate=True), w)
    assert differ(InStyle(network), oracle_synthesis(own, noise=False), w)


def test_missing_noise_is_made_up_from_a_fixed_seed():
    state = generator_state(0, noise=False)
    one, other = (checkpoints.load(state).generator for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.noise_maps(None), other.noise_maps(None), strict=True))
    assert agree(InStyle(one), oracle_synthesis(state, one.noise_maps(None)), normal(2, LATENT))
    partly = {key: value for key, value in generator_state(0).items() if key != "noises.noise_2"}
    maps = checkpoints.load(partly).generator.noise_maps(None)
    assert torch.equal(maps[1], partly["noises.noise_1"])
    assert torch.equal(maps[2], one.noise_2)


def test_noise_is_an_argument():
    state = generator_state(0)
    network = checkpoints.load(state).generator
    maps = [normal(2, 1, r, r, seed=i) for i, r in enumerate(network.noise_sizes)]
    assert agree(InStyle(network, maps), oracle_synthesis(state, maps), normal(2, LATENT))
    with pytest.raises(UserError, match="noise"):
        network(torch.zeros(2, LATENT), noise=maps[1:])


@pytest.mark.parametrize("stored", [True, False])
def test_truncation_draws_towards_the_stored_mean_or_the_measured_one(stored):
    state = a_file() | ({"latent_avg": normal(LATENT).float()} if stored else {})
    network = checkpoints.load(state).generator
    mapping, synthesis = oracle_mapping(state["g_ema"]), oracle_synthesis(state["g_ema"])
    z = torch.randn(4096, LATENT, generator=torch.Generator().manual_seed(0)).double()
    mean = state["latent_avg"].double() if stored else mapping(z).mean(0)
    z = normal(3, LATENT)
    expected = synthesis(mean + 0.6 * (mapping(z) - mean))
    assert torch.allclose(network.double()(z, truncation=0.6), expected, rtol=0, atol=1e-5 * expected.abs().max())


@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_critic_agrees_with_the_rules(n):
    state = a_file()
    network = checkpoints.load(state).critic
    assert network.image_shape == (3, 16, 16)
    assert agree(network, oracle_d(state["d"]), normal(n, 3, 16, 16))


def test_deviation_is_the_populations_in_strided_groups_of_four():
    state, x = a_file(), normal(8, 3, 16, 16)
    x[:4] *= 5
    network = checkpoints.load(state).critic
    assert agree(network, oracle_d(state["d"]), x)
    assert differ(network, oracle_d(state["d"], unbiased=True), x)
    assert differ(network, oracle_d(state["d"], contiguous=True), x)


def test_a_file_as_training_writes_it_with_its_options_beside(tmp_path):
    """g_optim holds dicts of its own, args is an argparse.Namespace; the keys may begin with module."""
    optim = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}
    own = a_file()
    parts = {part: {f"module.{key}": value for key, value in state.items()} for part, state in own.items()}
    torch.save({**parts, "g_optim": optim, "args": argparse.Namespace(size=16), "ada_aug_p": 0.0}, tmp_path / "1.pt")
    gan = checkpoints.load(tmp_path / "1.pt")
    assert agree(InStyle(gan.generator), oracle_synthesis(own["g_ema"]), normal(2, LATENT))
    assert agree(gan.critic, oracle_d(own["d"]), normal(2, 3, 16, 16))


def test_a_generator_alone_and_a_critic_of_its_own():
    assert checkpoints.load(generator_state(0)).critic is None
    critic = checkpoints.load(generator_state(0), critic=critic_state(1)).critic
    assert agree(critic, oracle_d(critic_state(1)), normal(2, 3, 16, 16))


@pytest.mark.parametrize(("part", "key"), [("g_ema", "to_rgbs.0.upsample.kernel"), ("d", "convs.1.skip.0.kernel")])
def test_another_filter_is_refused(part, key):
    state = a_file()
    state[part][key] = state[part][key] + 0.1
    with pytest.raises(UserError, match=key):
        checkpoints.load(state)


@pytest.mark.parametrize("part", ["g_ema", "d"])
def test_a_missing_or_misshapen_tensor_is_named(part):
    each_is_named(a_file, part, shapes_g() if part == "g_ema" else shapes_d())


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_stage_one_mines_it_and_leaves_every_byte(space):
    gan = checkpoints.load(a_file())
    before = everything(gan.generator), everything(gan.critic)
    source = gan if space == "z" else in_style_space(gan, per_layer=space == "w+")
    assert source.generator.latent_dim == {"z": LATENT, "w": LATENT, "w+": 2 * N * LATENT}[space]
    target = normal(6, 3, 16, 16).float().clamp(-1, 1)
    mined = mine(source, target, steps=2, batch=4, critic_steps=1, device="cpu", progress=False)
    assert same(everything(gan.generator), before[0])
    assert same(everything(gan.critic), before[1])
    assert mined.sample(3).shape == (3, 3, 16, 16)
