"""rosinality's StyleGAN against its rules, applied to the raw state dict."""

import pytest
import torch
from torch.nn import functional as F

from minegan_lite import UserError, checkpoints
from tests.checkpoints.style_oracle import (
    InStyle,
    agree,
    differ,
    double,
    each_is_named,
    halved,
    he,
    lrelu,
    normal,
    random_state,
    twice,
    unit,
    with_deviation,
)

CHANNELS, LATENT, DEPTH = (6, 5, 4, 3), 7, 2  # the last two blocks of each network are fused
N = len(CHANNELS)
BLUR = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16


def equal(name, *shape):
    return {f"{name}.weight_orig": shape, f"{name}.bias": shape[:1]}


def plain(name, shape, out):
    return {f"{name}.weight": shape, f"{name}.bias": (out,)}


def shapes_g():
    shapes = {"generator.progression.0.conv1.input": (1, CHANNELS[0], 4, 4)}
    for i in range(DEPTH):
        shapes |= equal(f"style.{2 * i + 1}.linear", LATENT, LATENT)
    for i, c in enumerate(CHANNELS):
        at = f"generator.progression.{i}"
        if i >= 2:
            shapes |= plain(f"{at}.conv1.0", (CHANNELS[i - 1], c, 3, 3), c)
        elif i:
            shapes |= equal(f"{at}.conv1.1.conv", c, CHANNELS[i - 1], 3, 3)
        shapes |= equal(f"{at}.conv2.conv", c, c, 3, 3) | equal(f"generator.to_rgb.{i}.conv", 3, c, 1, 1)
        for k in (1, 2):
            shapes |= {f"{at}.noise{k}.weight_orig": (1, c, 1, 1)} | equal(f"{at}.adain{k}.style.linear", 2 * c, LATENT)
    return shapes


def shapes_d(activated=True):
    shapes = equal("linear.linear", 1, CHANNELS[0])
    wide = list(reversed(CHANNELS))
    for i, c in enumerate(wide):
        shapes |= equal(f"from_rgb.{i}.{'0.' if activated else ''}conv", c, 3, 1, 1)
        if i == N - 1:
            shapes |= equal(f"progression.{i}.conv1.0.conv", c, c + 1, 3, 3)
            shapes |= equal(f"progression.{i}.conv2.0.conv", c, c, 4, 4)
            continue
        out = wide[i + 1]
        shapes |= equal(f"progression.{i}.conv1.0.conv", out, c, 3, 3)
        second = (out, out, 3, 3)
        shapes |= (
            plain(f"progression.{i}.conv2.1", second, out) if i < 2 else equal(f"progression.{i}.conv2.1.conv", *second)
        )
    return shapes


def generator_state(seed):
    state = random_state(shapes_g(), seed)
    for i, c in enumerate(CHANNELS[1:], start=1):
        at = f"generator.progression.{i}.conv1.{1 if i >= 2 else 2}"
        state |= {f"{at}.{name}": BLUR.expand(c, 1, 3, 3).clone() for name in ("weight", "weight_flip")}
    return state


def critic_state(seed, activated=True):
    state = random_state(shapes_d(activated), seed)
    for i, c in enumerate(reversed(CHANNELS[:-1])):
        names = (f"progression.{i}.conv2.0.weight", f"progression.{i}.conv2.0.weight_flip")
        state |= {name: BLUR.expand(c, 1, 3, 3).clone() for name in names}
    return state


def a_file():
    return {"generator": generator_state(0), "discriminator": critic_state(1), "g_running": generator_state(2)}


def untrained(state, last):
    """The same file as training that ended at block `last` leaves it."""
    state = {part: dict(own) for part, own in state.items()}
    for part in ("generator", "g_running"):
        for key in state[part]:
            block = [p for p in key.split(".") if p.isdigit()][:1]
            if key.startswith("generator.") and int(block[0]) > last and ("noise" in key or key.endswith(".bias")):
                state[part][key] = torch.zeros_like(state[part][key])
                if "adain" in key:
                    state[part][key][: len(state[part][key]) // 2] = 1
    for key in state["discriminator"]:
        block = [p for p in key.split(".") if p.isdigit()][:1]
        if block and int(block[0]) < N - 1 - last and key.endswith(".bias"):
            state["discriminator"][key] = torch.zeros_like(state["discriminator"][key])
    return state


def layer(state, x, name, padding=1, scaled_bias=False):
    w, b = state[f"{name}.weight_orig"], state[f"{name}.bias"]
    b = b * he(w) if scaled_bias else b
    return F.linear(x, w * he(w), b) if w.ndim == 2 else F.conv2d(x, w * he(w), b, padding=padding)


def fused_kernel(w):
    """The kernel summed over the four shifts by which a pixel's four copies see it."""
    w = F.pad(w, (1, 1, 1, 1))
    return (w[..., 1:, 1:] + w[..., :-1, 1:] + w[..., 1:, :-1] + w[..., :-1, :-1]) / 4


def blur(x):
    return F.conv2d(x.flatten(0, 1)[:, None], BLUR.to(x)[None, None], padding=1).reshape(x.shape)


def oracle_mapping(state):
    state = double(state)

    def ws(z):
        w = unit(z)
        for i in range(DEPTH):
            w = lrelu(layer(state, w, f"style.{2 * i + 1}.linear"))
        return w

    return ws


def oracle_synthesis(state, noise, last=N - 1, scaled_bias=False, plain_noise=False, alpha=1.0):
    """w (n, LATENT), or two rows a block, to images of block `last`."""
    state = double(state)

    def style(x, w, at, k, i):
        weight = state[f"{at}.noise{k}.weight_orig"]
        x = lrelu(x + weight * (1 if plain_noise else (2 / x.shape[1]) ** 0.5) * noise[i].to(x))
        mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, unbiased=False)
        scale, shift = layer(state, w, f"{at}.adain{k}.style.linear").chunk(2, dim=1)
        return scale[:, :, None, None] * (x - mean) / torch.sqrt(variance + 1e-5) + shift[:, :, None, None]

    def images(w):
        w = w[:, None].repeat(1, 2 * N, 1) if w.ndim == 2 else w
        low = None
        for i in range(last + 1):
            at = f"generator.progression.{i}"
            if not i:
                x = state[f"{at}.conv1.input"].repeat(len(w), 1, 1, 1)
            elif f"{at}.conv1.0.weight" in state:
                low, kernel = x, state[f"{at}.conv1.0.weight"]
                s = (2 / (kernel.shape[0] * 9)) ** 0.5
                x = blur(
                    F.conv_transpose2d(x, fused_kernel(kernel * s), state[f"{at}.conv1.0.bias"], stride=2, padding=1)
                )
            else:
                low, x = x, blur(layer(state, twice(x), f"{at}.conv1.1.conv"))
            x = style(x, w[:, 2 * i], at, 1, i)
            x = style(layer(state, x, f"{at}.conv2.conv", 1, scaled_bias), w[:, 2 * i + 1], at, 2, i)
        image = layer(state, x, f"generator.to_rgb.{last}.conv", 0)
        return alpha * image + (1 - alpha) * twice(layer(state, low, f"generator.to_rgb.{last - 1}.conv", 0))

    return images


def oracle_d(state, last=N - 1, activated=True, whole_batch=True, unbiased=False):
    state = double(state)

    def scores(x):
        for i in range(N - 1 - last, N):
            if i == N - 1 - last:
                x = layer(state, x, f"from_rgb.{i}.{'0.' if activated else ''}conv", 0)
                x = lrelu(x) if activated else x
            if i == N - 1:
                groups = [list(range(len(x)))] if whole_batch else [[2 * k, 2 * k + 1] for k in range(len(x) // 2)]
                x = with_deviation(x, groups, unbiased)
            x = lrelu(layer(state, x, f"progression.{i}.conv1.0.conv"))
            if i == N - 1:
                x = lrelu(layer(state, x, f"progression.{i}.conv2.0.conv", 0))
            elif f"progression.{i}.conv2.1.weight" in state:
                kernel = state[f"progression.{i}.conv2.1.weight"]
                kernel, bias = fused_kernel(kernel * he(kernel)), state[f"progression.{i}.conv2.1.bias"]
                x = lrelu(F.conv2d(blur(x), kernel, bias, stride=2, padding=1))
            else:
                x = lrelu(halved(layer(state, blur(x), f"progression.{i}.conv2.1.conv")))
        return layer(state, x.flatten(1), "linear.linear")

    return scores


def test_generator_agrees_with_the_rules_in_z_w_and_w_plus():
    state = a_file()
    for averaged, part in ((True, "g_running"), (False, "generator")):
        network = checkpoints.load(state, averaged=averaged).generator
        maps = network.noise_maps(None)
        mapping, synthesis = oracle_mapping(state[part]), oracle_synthesis(state[part], maps)
        assert (network.latent_dim, network.image_shape, network.layers) == (LATENT, (3, 32, 32), 2 * N)
        assert agree(network.mapping, mapping, normal(3, LATENT))
        assert agree(network, lambda z, m=mapping, s=synthesis: s(m(z)), normal(3, LATENT))
        assert agree(InStyle(network), synthesis, normal(3, LATENT))
        assert agree(InStyle(network), synthesis, normal(3, 2 * N, LATENT))


def test_rules_that_other_layouts_have_do_not_hold_here():
    state = a_file()
    network = checkpoints.load(state).generator
    maps, own, w = network.noise_maps(None), state["g_running"], normal(3, LATENT)
    assert differ(InStyle(network), oracle_synthesis(own, maps, scaled_bias=True), w)
    assert differ(InStyle(network), oracle_synthesis(own, maps, plain_noise=True), w)
    assert differ(InStyle(network), oracle_synthesis(own, maps, alpha=0), w)  # alpha is the higher resolution's share


def test_noise_is_an_argument_whose_default_are_constants():
    state = a_file()
    network = checkpoints.load(state).generator
    again = checkpoints.load(state).generator
    z = normal(2, LATENT).float()
    assert torch.equal(network(z), again(z))
    maps = [normal(2, 1, 4 << i, 4 << i, seed=i) for i in range(N)]
    oracle = oracle_synthesis(state["g_running"], maps)
    assert agree(InStyle(network, maps), oracle, normal(2, LATENT))
    with pytest.raises(UserError, match="noise"):
        network(z, noise=maps[1:])


def test_truncation_draws_towards_the_mean_style():
    state = a_file()
    network = checkpoints.load(state).generator
    mapping, synthesis = (
        oracle_mapping(state["g_running"]),
        oracle_synthesis(state["g_running"], network.noise_maps(None)),
    )
    mean = mapping(torch.randn(4096, LATENT, generator=torch.Generator().manual_seed(0)).double()).mean(0)
    assert torch.allclose(network.w_mean.double(), mean, atol=1e-5)
    z = normal(3, LATENT)
    truncated = synthesis(mean + 0.6 * (mapping(z) - mean))
    assert torch.allclose(network.double()(z, truncation=0.6), truncated, rtol=0, atol=1e-4 * truncated.abs().max())


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("activated", [True, False])
def test_critic_agrees_with_the_rules(n, activated):
    state = {**a_file(), "discriminator": critic_state(5, activated)}
    oracle = oracle_d(state["discriminator"], activated=activated)
    assert agree(checkpoints.load(state).critic, oracle, normal(n, 3, 32, 32))


def test_deviation_is_the_populations_over_the_whole_batch():
    state, x = a_file(), normal(4, 3, 32, 32)
    x[2:] *= 5
    network = checkpoints.load(state).critic
    assert differ(network, oracle_d(state["discriminator"], unbiased=True), x)
    assert differ(network, oracle_d(state["discriminator"], whole_batch=False), x)


@pytest.mark.parametrize("last", [1, 2])
def test_the_resolution_is_where_training_stopped(last):
    state = untrained(a_file(), last)
    gan = checkpoints.load(state)
    side = 4 << last
    assert gan.generator.image_shape == gan.critic.image_shape == (3, side, side)
    synthesis = oracle_synthesis(state["g_running"], gan.generator.noise_maps(None), last)
    assert agree(InStyle(gan.generator), synthesis, normal(2, LATENT))
    assert agree(gan.critic, oracle_d(state["discriminator"], last), normal(2, 3, side, side))


def test_a_generator_alone_and_a_critic_of_its_own():
    gan = checkpoints.load(generator_state(0))
    assert gan.critic is None
    gan = checkpoints.load(generator_state(0), critic=critic_state(1))
    assert agree(gan.critic, oracle_d(critic_state(1)), normal(2, 3, 32, 32))


def test_another_blur_is_refused():
    state = generator_state(0)
    state["generator.progression.1.conv1.2.weight"] += 0.1
    with pytest.raises(UserError, match=r"generator\.progression\.1\.conv1\.2\.weight"):
        checkpoints.load(state)


@pytest.mark.parametrize("part", ["g_running", "discriminator"])
def test_a_missing_or_misshapen_tensor_is_named(part):
    rgb = "to_rgb.3." if part == "g_running" else "from_rgb.0."
    shapes = shapes_g() if part == "g_running" else shapes_d()
    used = [key for key in shapes if "_rgb." not in key or rgb in key]  # only the full resolution's
    each_is_named(a_file, part, used)
