"""StyleGAN2-ADA's state dicts against its rules; and its pickles, which are not opened."""

import pathlib
import pickle
import sys
import types

import pytest
import torch
from torch.nn import functional as F

from minegan_lite import UserError, checkpoints
from tests.checkpoints.style_oracle import (
    InStyle,
    agree,
    differ,
    double,
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

CHANNELS, LATENT, STYLE, DEPTH = (6, 5, 4), 8, 7, 2
SIDES = (4, 8, 16)
FILTER = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


def linear(name, d_in, d_out):
    return {f"{name}.weight": (d_out, d_in), f"{name}.bias": (d_out,)}


def shapes_g():
    shapes = {"synthesis.b4.const": (CHANNELS[0], 4, 4), "mapping.w_avg": (STYLE,)}
    for i in range(DEPTH):
        shapes |= linear(f"mapping.fc{i}", STYLE if i else LATENT, STYLE)
    for i, (r, c) in enumerate(zip(SIDES, CHANNELS, strict=True)):
        at = f"synthesis.b{r}"
        for name, c_in in (("conv0", CHANNELS[i - 1]), ("conv1", c)):
            if i or name == "conv1":
                shapes |= {f"{at}.{name}.weight": (c, c_in, 3, 3), f"{at}.{name}.bias": (c,)}
                shapes |= {f"{at}.{name}.noise_strength": (), f"{at}.{name}.noise_const": (r, r)}
                shapes |= linear(f"{at}.{name}.affine", STYLE, c_in)
        shapes |= {f"{at}.torgb.weight": (3, c, 1, 1), f"{at}.torgb.bias": (3,)} | linear(
            f"{at}.torgb.affine", STYLE, c
        )
    return shapes


def shapes_d():
    c = CHANNELS[0]
    shapes = (
        {"b4.conv.weight": (c, c + 1, 3, 3), "b4.conv.bias": (c,)} | linear("b4.fc", c * 16, c) | linear("b4.out", c, 1)
    )
    shapes |= {"b16.fromrgb.weight": (CHANNELS[-1], 3, 1, 1), "b16.fromrgb.bias": (CHANNELS[-1],)}
    for r, c, out in zip(SIDES[1:], CHANNELS[1:], CHANNELS[:-1], strict=True):
        shapes |= {f"b{r}.conv0.weight": (c, c, 3, 3), f"b{r}.conv0.bias": (c,), f"b{r}.skip.weight": (out, c, 1, 1)}
        shapes |= {f"b{r}.conv1.weight": (out, c, 3, 3), f"b{r}.conv1.bias": (out,)}
    return shapes


def a_part(shapes, seed):
    """A random state dict with the filters that every layer keeps, used or not."""
    layers = {key.rpartition(".")[0] for key in shapes if "conv" in key or "skip" in key} | {"synthesis.b8"}
    filters = {f"{layer}.resample_filter": FILTER for layer in layers if "affine" not in layer}
    return random_state(shapes, seed) | filters


def a_file(**settings):
    return {"G": a_part(shapes_g(), 0), "D": a_part(shapes_d(), 1), "G_ema": a_part(shapes_g(), 2), **settings}


def act(x, bias, gain=1.0, clamp=None):
    x = lrelu(x + bias.reshape(-1, *[1] * (x.ndim - 2))) * 2**0.5 * gain
    return (
        x if clamp is None else torch.minimum(torch.maximum(x, -x.new_tensor(clamp * gain)), x.new_tensor(clamp * gain))
    )


def oracle_mapping(state):
    state = double(state)

    def ws(z):
        w = unit(z)
        for i in range(DEPTH):
            weight, bias = state[f"mapping.fc{i}.weight"], state[f"mapping.fc{i}.bias"]
            w = act(F.linear(w, weight * he(weight, 1) * 0.01), bias * 0.01)
        return w

    return ws


def oracle_synthesis(state, clamp=None):
    state = double(state)

    def style(w, at):
        affine = state[f"{at}.affine.weight"]
        return F.linear(w, affine * he(affine, 1), state[f"{at}.affine.bias"])

    def layer(x, w, at, up):
        x = modulated(x, state[f"{at}.weight"], style(w, at), up, True)
        return act(x + state[f"{at}.noise_const"] * state[f"{at}.noise_strength"], state[f"{at}.bias"], 1, clamp)

    def images(w):
        w = w[:, None].repeat(1, 2 * len(SIDES), 1) if w.ndim == 2 else w
        x, image, row = state["synthesis.b4.const"].repeat(len(w), 1, 1, 1), None, 0
        for r in SIDES:
            for name in ("conv0", "conv1") if r > 4 else ("conv1",):
                x, row = layer(x, w[:, row], f"synthesis.b{r}.{name}", name == "conv0"), row + 1
            at = f"synthesis.b{r}.torgb"
            weight = state[f"{at}.weight"]
            own = (
                modulated(x, weight, style(w[:, row], at) * he(weight, 1), False, False)
                + state[f"{at}.bias"][:, None, None]
            )
            own = own if clamp is None else own.clamp(-clamp, clamp)
            image = own if image is None else fir(image, up=2, pad=(2, 1), gain=4) + own
        return image

    return images


def oracle_d(state, group=4, clamp=None):
    state = double(state)

    def conv(x, name, **options):
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight * he(weight, 1), **options)

    def scores(x):
        x = act(conv(x, "b16.fromrgb"), state["b16.fromrgb.bias"], 1, clamp)
        for r in (16, 8):
            short = conv(fir(x, down=2, pad=(1, 1)), f"b{r}.skip") * 0.5**0.5
            x = act(conv(x, f"b{r}.conv0", padding=1), state[f"b{r}.conv0.bias"], 1, clamp)
            x = conv(fir(x, pad=(2, 2)), f"b{r}.conv1", stride=2)
            x = act(x, state[f"b{r}.conv1.bias"], 0.5**0.5, clamp) + short
        x = with_deviation(x, strided(len(x), min(len(x), group)), False)
        x = act(conv(x, "b4.conv", padding=1), state["b4.conv.bias"], 1, clamp).flatten(1)
        weight = state["b4.fc.weight"]
        x = act(F.linear(x, weight * he(weight, 1)), state["b4.fc.bias"])
        weight = state["b4.out.weight"]
        return F.linear(x, weight * he(weight, 1), state["b4.out.bias"])

    return scores


def test_generator_agrees_with_the_rules_in_z_w_and_w_plus():
    state = a_file()
    for averaged, part in ((True, "G_ema"), (False, "G")):
        network = checkpoints.load(state, averaged=averaged).generator
        mapping, synthesis = oracle_mapping(state[part]), oracle_synthesis(state[part])
        assert (network.latent_dim, network.style_dim, network.image_shape) == (LATENT, STYLE, (3, 16, 16))
        assert agree(network, lambda z, m=mapping, s=synthesis: s(m(z)), normal(3, LATENT))
        assert agree(InStyle(network), synthesis, normal(3, 2 * len(SIDES), STYLE))
    assert agree(InStyle(checkpoints.load(state["G"]).generator), oracle_synthesis(state["G"]), normal(2, STYLE))


def test_truncation_draws_towards_w_avg():
    state = a_file()
    network = checkpoints.load(state).generator
    w, mean = oracle_mapping(state["G_ema"])(normal(3, LATENT)), state["G_ema"]["mapping.w_avg"].double()
    expected = oracle_synthesis(state["G_ema"])(mean + 0.6 * (w - mean))
    result = network.double()(normal(3, LATENT), truncation=0.6)
    assert torch.allclose(result, expected, rtol=0, atol=1e-5 * expected.abs().max())


@pytest.mark.parametrize("n", [1, 2, 8])
def test_critic_agrees_with_the_rules(n):
    state = a_file()
    assert agree(checkpoints.load(state).critic, oracle_d(state["D"]), normal(n, 3, 16, 16))
    critic = checkpoints.load(state["G"], critic=state["D"]).critic
    assert agree(critic, oracle_d(state["D"]), normal(n, 3, 16, 16))


def test_the_settings_that_the_recipe_keeps_are_heeded():
    state, x = a_file(mbstd_group_size=8, conv_clamp=0.8), normal(8, 3, 16, 16)
    x[1::2] = 0  # groups of four would hold them alone
    gan = checkpoints.load(state)
    assert agree(gan.critic, oracle_d(state["D"], 8, 0.8), x)
    assert agree(InStyle(gan.generator), oracle_synthesis(state["G_ema"], 0.8), normal(3, STYLE))
    assert differ(gan.critic, oracle_d(state["D"], 4, 0.8), x)
    assert differ(gan.critic, oracle_d(state["D"], 8), x)
    assert differ(InStyle(gan.generator), oracle_synthesis(state["G_ema"]), normal(3, STYLE))


def test_its_pickles_are_refused_with_the_recipe_and_not_run(tmp_path, monkeypatch):
    """As in the published files: an object that is remade by torch_utils.persistence from the source it brings."""
    trace = tmp_path / "run"
    module = types.ModuleType("torch_utils.persistence")
    module._reconstruct_persistent_obj = lambda meta: trace.touch()
    module._reconstruct_persistent_obj.__module__ = module.__name__
    module._reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    monkeypatch.setitem(sys.modules, "torch_utils", types.ModuleType("torch_utils"))
    monkeypatch.setitem(sys.modules, "torch_utils.persistence", module)

    class Network:
        def __reduce__(self):
            return (module._reconstruct_persistent_obj, ({"module_src": "", "class_name": "Generator"},))

    path = pathlib.Path(tmp_path / "ffhq.pkl")
    path.write_bytes(pickle.dumps({"training_set_kwargs": None, "G_ema": Network()}))
    with pytest.raises(UserError, match=r"torch\.save") as caught:
        checkpoints.load(path)
    assert "\n" not in str(caught.value)
    assert not trace.exists()


def test_a_conditional_generator_is_refused():
    state = a_file()
    state["G_ema"]["mapping.embed.weight"] = torch.zeros(STYLE, 10)
    with pytest.raises(UserError, match="conditional"):
        checkpoints.load(state)


def test_another_filter_is_refused():
    state = a_file()
    state["D"]["b8.conv1.resample_filter"] = FILTER + 0.1
    with pytest.raises(UserError, match=r"b8\.conv1\.resample_filter"):
        checkpoints.load(state)


@pytest.mark.parametrize("part", ["G_ema", "D"])
def test_a_missing_or_misshapen_tensor_is_named(part):
    for key, shape in (shapes_g() if part == "G_ema" else shapes_d()).items():
        state = a_file()
        tensor = state[part].pop(key)
        with pytest.raises(UserError, match=key.replace(".", r"\.")):
            checkpoints.load(state)
        state[part][key] = torch.cat([tensor, tensor]) if shape else torch.zeros(2)
        with pytest.raises(UserError, match=key.replace(".", r"\.")):
            checkpoints.load(state)
