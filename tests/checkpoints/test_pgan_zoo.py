"""pytorch_GAN_zoo's Progressive GAN against its rules, applied to the raw state dict."""

import itertools
import math
import pathlib
import sys
import types

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
    twice,
    unit,
    with_deviation,
)  # fmt: skip
from tests.tiny import everything, same

CHANNELS, LATENT = (6, 5, 4), 7


def shapes_g(m=".module"):
    shapes = {f"formatLayer{m}": (CHANNELS[0] * 16, LATENT), f"groupScale0.0{m}": (CHANNELS[0], CHANNELS[0], 3, 3)}
    for i, (a, b) in enumerate(itertools.pairwise(CHANNELS)):
        shapes |= {f"scaleLayers.{i}.0{m}": (b, a, 3, 3), f"scaleLayers.{i}.1{m}": (b, b, 3, 3)}
    return _with_biases(shapes | {f"toRGBLayers.{i}{m}": (3, c, 1, 1) for i, c in enumerate(CHANNELS)})


def shapes_d(m=".module"):
    c = CHANNELS[0]
    shapes = {
        f"decisionLayer{m}": (1, c),
        f"groupScaleZero.0{m}": (c, c + 1, 3, 3),
        f"groupScaleZero.1{m}": (c, c * 16),
    }
    for i, (a, b) in enumerate(itertools.pairwise(CHANNELS)):
        shapes |= {f"scaleLayers.{i}.0{m}": (b, b, 3, 3), f"scaleLayers.{i}.1{m}": (a, b, 3, 3)}
    return _with_biases(shapes | {f"fromRGBLayers.{i}{m}": (c, 3, 1, 1) for i, c in enumerate(CHANNELS)})


def _with_biases(shapes):
    return {f"{k}.{what}": s if what == "weight" else s[:1] for k, s in shapes.items() for what in ("weight", "bias")}


def a_file(m=".module"):
    states = (random_state(shapes, i) for i, shapes in enumerate((shapes_g(m), shapes_d(m), shapes_g(m))))
    return dict(zip(("netG", "netD", "avgG"), states, strict=True))


def layer(state, x, name, scaled_bias=True, weight=1.0):
    w, b = state[f"{name}.module.weight"], state[f"{name}.module.bias"]
    s, w = he(w), w * weight
    if not scaled_bias:
        b = b / s
    return (F.linear(x, w, b) if w.ndim == 2 else F.conv2d(x, w, b, padding=w.shape[-1] // 2)) * s


def oracle_g(state, alpha=0.0, scaled_bias=True, quarter=False):
    state = double(state)

    def images(z):
        h = layer(state, unit(z), "formatLayer", scaled_bias, 0.25 if quarter else 1)
        h = unit(lrelu(h).reshape(len(z), -1, 4, 4))
        h = unit(lrelu(layer(state, h, "groupScale0.0", scaled_bias)))
        for i in range(len(CHANNELS) - 1):
            low, h = h, twice(h)
            for k in (0, 1):
                h = unit(lrelu(layer(state, h, f"scaleLayers.{i}.{k}", scaled_bias)))
        top = len(CHANNELS) - 1
        return (1 - alpha) * layer(state, h, f"toRGBLayers.{top}", scaled_bias) + alpha * twice(
            layer(state, low, f"toRGBLayers.{top - 1}", scaled_bias)
        )

    return images


def oracle_d(state, alpha=0.0, unbiased=True, contiguous=True):
    state = double(state)

    def scores(x):
        n, top = len(x), len(CHANNELS) - 1
        h = lrelu(layer(state, x, f"fromRGBLayers.{top}"))
        for i in reversed(range(top)):
            h = halved(lrelu(layer(state, lrelu(layer(state, h, f"scaleLayers.{i}.0")), f"scaleLayers.{i}.1")))
            if i == top - 1:
                h = (1 - alpha) * h + alpha * lrelu(layer(state, halved(x), f"fromRGBLayers.{i}"))
        size = 4 if n % 4 == 0 else n
        groups = [list(range(i, i + size)) for i in range(0, n, size)]
        if not contiguous:
            groups = [list(range(i, n, n // size)) for i in range(n // size)]
        h = torch.cat([h, h.new_zeros(1, 1, 4, 4)], dim=1) if n == 1 else with_deviation(h, groups, unbiased)
        h = lrelu(layer(state, h, "groupScaleZero.0"))
        return layer(state, lrelu(layer(state, h.flatten(1), "groupScaleZero.1")), "decisionLayer")

    return scores


def test_generator_agrees_with_the_rules():
    state = a_file()
    z = normal(3, LATENT)
    gan = checkpoints.load(state)
    assert (gan.generator.latent_dim, gan.generator.image_shape, gan.generator.embedding_dim) == (
        LATENT,
        (3, 16, 16),
        None,
    )
    assert gan.critic.image_shape == (3, 16, 16)
    assert not gan.generator.training
    assert agree(gan.generator, oracle_g(state["avgG"]), z)
    assert agree(checkpoints.load(state, averaged=False).generator, oracle_g(state["netG"]), z)
    assert agree(checkpoints.load(state["netG"]).generator, oracle_g(state["netG"]), z)


def test_bias_is_scaled_and_the_first_layer_has_no_quarter():
    state = a_file()
    network = checkpoints.load(state).generator
    assert differ(network, oracle_g(state["avgG"], scaled_bias=False), normal(3, LATENT))
    assert differ(network, oracle_g(state["avgG"], quarter=True), normal(3, LATENT))


@pytest.mark.parametrize("n", [1, 3, 4, 6, 8])
def test_critic_agrees_with_the_rules(n):
    state = a_file()
    assert agree(checkpoints.load(state).critic, oracle_d(state["netD"]), normal(n, 3, 16, 16))


def test_deviation_is_unbiased_and_of_neighbours():
    state, x = a_file(), normal(8, 3, 16, 16)
    x[:4] *= 5  # the groups are told apart by what they hold
    network = checkpoints.load(state).critic
    assert agree(network, oracle_d(state["netD"]), x)
    assert differ(network, oracle_d(state["netD"], unbiased=False), x)
    assert differ(network, oracle_d(state["netD"], contiguous=False), x)


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a file with a config of the class that these files pickle, then takes that class away."""

    def write(**settings):
        package = types.ModuleType("models.utils.config")
        package.BaseConfig = type("BaseConfig", (), {"__module__": "models.utils.config"})
        with monkeypatch.context() as patch:
            for name in ("models", "models.utils"):
                patch.setitem(sys.modules, name, types.ModuleType(name))
            patch.setitem(sys.modules, "models.utils.config", package)
            config = package.BaseConfig()
            vars(config).update(settings)
            torch.save({"config": config, **a_file()}, tmp_path / "zoo.pth", _use_new_zipfile_serialization=False)
        return tmp_path / "zoo.pth"

    return write


def test_alpha_in_the_pickled_config_is_the_lower_resolutions_share(written):
    path = written(alpha=0.3, leakyReluLeak=0.2, depthOtherScales=[5, 4], attribKeysOrder=None)
    assert "models" not in sys.modules
    gan, state = checkpoints.load(path), a_file()
    z, x = normal(3, LATENT), normal(4, 3, 16, 16)
    assert gan.name == "zoo"
    assert agree(gan.generator, oracle_g(state["avgG"], alpha=0.3), z)
    assert agree(gan.critic, oracle_d(state["netD"], alpha=0.3), x)
    assert differ(gan.generator, oracle_g(state["avgG"], alpha=0.7), z)
    assert differ(gan.critic, oracle_d(state["netD"], alpha=0.7), x)


def test_a_config_that_the_network_is_not_is_refused(written):
    with pytest.raises(UserError, match="leakyReluLeak"):
        checkpoints.load(written(leakyReluLeak=0.1))


@pytest.mark.parametrize("loss", ["WGANGP", "Logistic", "MSE", "DCGAN"])
def test_the_loss_in_the_config_says_whether_a_tanh_ends_the_generator(written, loss):
    linear, z = oracle_g(a_file()["avgG"], alpha=0.3), normal(3, LATENT)
    right, wrong = linear, lambda z: linear(z).tanh()
    if loss in ("MSE", "DCGAN"):
        right, wrong = wrong, right
    generator = checkpoints.load(written(alpha=0.3, lossCriterion=loss)).generator
    assert agree(generator, right, z)
    assert differ(generator, wrong, z)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lossCriterion": "Hinge"}, "has the loss Hinge: known are WGANGP"),
        ({"lossCriterion": ["MSE"]}, "has the loss"),
        ({"lossCriterion": None}, "has the loss None"),
        ({"alpha": math.nan}, "alpha = nan: a share lies between 0 and 1"),
        ({"alpha": -0.5}, "alpha = -0.5"),
        ({"alpha": "0.5"}, "alpha = 0.5"),
        ({"alpha": True}, "alpha = True"),
        ({"alpha": None}, "alpha = None"),
        ({"alpha": torch.ones(2)}, "alpha = tensor"),
        ({"alpha": 1 + 2j}, "alpha ="),
        ({"categoryVectorDim": 40}, "categoryVectorDim = 40, only 0 is supported"),
        ({"leakyReluLeak": torch.ones(2)}, "cannot be read in the layout pgan-zoo"),
    ],
)
def test_settings_that_are_none_are_refused(written, settings, words):
    with pytest.raises(UserError, match=words):
        checkpoints.load(written(**settings))


def test_another_class_in_the_config_is_not_made(tmp_path):
    trace = tmp_path / "run"

    class Evil:
        def __reduce__(self):
            return (pathlib.Path.touch, (trace,))

    torch.save({"config": Evil(), **a_file()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="nothing in it was run"):
        checkpoints.load(tmp_path / "evil.pth")
    assert not trace.exists()


def test_older_spelling_without_module():
    new, z = a_file(), normal(2, LATENT)
    old = {part: {key.replace(".module", ""): value for key, value in state.items()} for part, state in new.items()}
    gan = checkpoints.load(old)
    assert agree(gan.generator, oracle_g(new["avgG"]), z)
    assert agree(gan.critic, oracle_d(new["netD"]), normal(4, 3, 16, 16))


@pytest.mark.parametrize("part", ["avgG", "netD"])
def test_a_missing_or_misshapen_tensor_is_named(part):
    each_is_named(a_file, part, a_file()[part])


def test_half_precision_is_read_as_float32():
    state = {part: {key: value.half() for key, value in own.items()} for part, own in a_file().items()}
    network = checkpoints.load(state).generator
    assert network.project.weight.dtype == torch.float32
    assert agree(network, oracle_g(state["avgG"]), normal(2, LATENT))


def test_stage_one_mines_it_and_leaves_every_byte():
    gan = checkpoints.load(a_file())
    before = everything(gan.generator), everything(gan.critic)
    target = normal(6, 3, 16, 16).float().clamp(-1, 1)
    mined = mine(gan, target, steps=2, batch=4, critic_steps=1, device="cpu", progress=False)
    assert same(everything(gan.generator), before[0])
    assert same(everything(gan.critic), before[1])
    assert mined.sample(3).shape == (3, 3, 16, 16)
    assert math.isfinite(mined.history[-1]["miner_loss"])
