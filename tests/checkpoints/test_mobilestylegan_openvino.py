"""MobileStyleGAN in OpenVINO's files against its rules, applied to the raw state dict; and what is no such."""

import math
import random
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from minegan_lite import UserError, checkpoints, mine
from minegan_lite.checkpoints import mobilestylegan_openvino as layout
from minegan_lite.data import packages
from minegan_lite.networks.style_layers import in_style_space
from tests.checkpoints import openvino_files
from tests.checkpoints.style_oracle import InStyle, agree, differ, double, lrelu, normal, random_state, unit
from tests.tiny import everything, same

CHANNELS, LATENT, STYLE, DEPTH = (8, 12, 4), 7, 6, 2
N = len(CHANNELS) - 1
PUBLISHED = packages.place("random-face", "2021.7.21.1", "random_face/data/SynthesisNetwork.xml")


def styled(name, c_in, c_out, r, dense=False):
    shapes = {f"{name}.modulation.weight": (c_in, STYLE), f"{name}.modulation.bias": (c_in,)}
    shapes |= {f"{name}.bias": (c_out,), f"{name}.noise": (1, 1, r, r)}
    if dense:
        return shapes | {f"{name}.weight": (c_out, c_in, 3, 3)}
    return shapes | {f"{name}.weight": (c_out, c_in, 1, 1), f"{name}.depthwise": (c_in, 1, 1, 3, 3)}


def shapes():
    sizes = [LATENT] + [STYLE] * DEPTH
    found = {}
    for i in range(DEPTH):
        found |= {f"mapping.{i}.weight": (sizes[i + 1], sizes[i]), f"mapping.{i}.bias": (sizes[i + 1],)}
    found |= {"input.input": (1, CHANNELS[0], 4, 4)} | styled("conv1", CHANNELS[0], CHANNELS[0], 4, dense=True)
    for i in range(N):
        at, c_in, c_out, r = f"layers.{i}", CHANNELS[i], CHANNELS[i + 1], 8 << i
        found |= {f"{at}.up.modulation.weight": (c_in, STYLE), f"{at}.up.modulation.bias": (c_in,)}
        found |= styled(f"{at}.conv1", c_in // 4, c_out, r) | styled(f"{at}.conv2", c_out, c_out, r)
    c = CHANNELS[-1]
    found |= {"to_img.modulation.weight": (c, STYLE), "to_img.modulation.bias": (c,)}
    return found | {"to_img.weight": (12, c, 1, 1), "to_img.bias": (12,)}


def scales():
    """What each scaled modulation is multiplied by: one over the root of its convolution's fan-in."""
    found = {"conv1": CHANNELS[0] * 9}
    for i in range(N):
        found |= {f"layers.{i}.conv1": CHANNELS[i] // 4 * 9, f"layers.{i}.conv2": CHANNELS[i + 1] * 9}
    return {f"{name}.modulation.scale": torch.tensor(n**-0.5) for name, n in (found | {"to_img": CHANNELS[-1]}).items()}


def generator_state(seed=0):
    state = random_state(shapes(), seed)
    for value in state.values():
        if value.ndim == 2:  # a layer of the mapping or a modulation, whose outputs are of the inputs' size
            value /= value.shape[1] ** 0.5
    return state | scales()


def oracle_mapping(state, gain=2**0.5):
    state = double(state)

    def ws(z):
        w = unit(z)
        for i in range(DEPTH):
            w = lrelu(F.linear(w, state[f"mapping.{i}.weight"], state[f"mapping.{i}.bias"])) * gain
        return w

    return ws


def squares(x, c, transposed=False, interleaved=False):
    """An inverse Haar transform, written pixel by pixel of each 2×2 square."""
    n, _, r, _ = x.shape
    bands = x.reshape(n, c, 4, r, r).unbind(2) if interleaved else None
    if bands is None:
        details = x[:, c:].reshape(n, c, 3, r, r)
        bands = x[:, :c], details[:, :, 0], details[:, :, 1], details[:, :, 2]
    average, rows, columns, both = bands
    if transposed:
        rows, columns = columns, rows
    out = x.new_zeros(n, c, 2 * r, 2 * r)
    for i in (0, 1):
        for j in (0, 1):
            down, right = 1 - 2 * i, 1 - 2 * j
            out[..., i::2, j::2] = (average + down * rows + right * columns + down * right * both) / 2
    return out


def oracle_synthesis(state, maps=None, slope=0.2, gain=1, noise=1, scaled=True, scaled_up=False, demodulated=False,
                     **haar):  # fmt: skip
    """w (n, STYLE), or a row a layer, to images; maps None takes the stored ones."""
    state = double(state)
    named = [f"layers.{i}.conv{k}" for i in range(N) for k in (1, 2)]
    maps = [state[f"{name}.noise"] for name in ["conv1", *named]] if maps is None else maps

    def modulate(x, w, name):
        style = F.linear(w, state[f"{name}.weight"], state[f"{name}.bias"])
        if f"{name}.scale" in state:
            style = style * (state[f"{name}.scale"] if scaled else 1)
        elif scaled_up:
            style = style / math.sqrt(style.shape[1])
        return x * style.reshape(*style.shape, 1, 1), style

    def layer(x, w, name, i):
        x, style = modulate(x, w, f"{name}.modulation")
        weight = state[f"{name}.weight"]
        if f"{name}.depthwise" in state:  # as one dense convolution
            weight = weight * state[f"{name}.depthwise"].reshape(1, -1, 3, 3)
        x = F.conv2d(x, weight, padding=1)
        if demodulated:
            x = x / ((weight[None] * style[:, None, :, None, None]) ** 2).sum((2, 3, 4)).sqrt()[:, :, None, None]
        x = x + noise * maps[i].to(x) + state[f"{name}.bias"].reshape(1, -1, 1, 1)
        return torch.where(x > 0, x, slope * x) * gain

    def images(w):
        w = w[:, None].repeat(1, 2 * N + 2, 1) if w.ndim == 2 else w
        x = layer(state["input.input"].repeat(len(w), 1, 1, 1), w[:, 0], "conv1", 0)
        for i in range(N):
            x, _ = modulate(x, w[:, 2 * i + 1], f"layers.{i}.up.modulation")
            x = squares(x, CHANNELS[i] // 4, **haar)
            x = layer(x, w[:, 2 * i + 1], f"layers.{i}.conv1", 2 * i + 1)
            x = layer(x, w[:, 2 * i + 2], f"layers.{i}.conv2", 2 * i + 2)
        x, _ = modulate(x, w[:, -1], "to_img.modulation")
        return squares(F.conv2d(x, state["to_img.weight"], state["to_img.bias"]), 3, **haar)

    return images


def test_generator_agrees_with_the_rules_in_z_w_and_w_plus():
    state = generator_state()
    network = checkpoints.load(state).generator
    mapping, synthesis = oracle_mapping(state), oracle_synthesis(state)
    assert (network.latent_dim, network.image_shape, network.embedding_dim) == (LATENT, (3, 32, 32), None)
    assert (network.style_dim, network.layers) == (STYLE, 2 * N + 2)
    assert agree(network, lambda z: synthesis(mapping(z)), normal(3, LATENT))
    assert agree(InStyle(network), synthesis, normal(3, STYLE))
    assert agree(InStyle(network), synthesis, normal(3, 2 * N + 2, STYLE))


def test_each_rule_matters():
    state = generator_state()
    network, w = checkpoints.load(state).generator, normal(3, STYLE)
    assert differ(network.mapping, oracle_mapping(state, gain=1), normal(3, LATENT))
    for broken in ({"slope": 0.1}, {"gain": 2**0.5}, {"noise": 0}, {"scaled": False}, {"scaled_up": True},
                   {"demodulated": True}, {"transposed": True}, {"interleaved": True}):  # fmt: skip
        assert differ(InStyle(network), oracle_synthesis(state, **broken), w), broken


def test_noise_is_an_argument_with_its_strength_in_it():
    state = generator_state()
    network = checkpoints.load(state).generator
    maps = [normal(2, 1, r, r, seed=i) for i, r in enumerate(network.noise_sizes)]
    assert agree(InStyle(network, maps), oracle_synthesis(state, maps), normal(2, STYLE))
    with pytest.raises(UserError, match="noise"):
        network(torch.zeros(2, LATENT), noise=maps[1:])


def test_truncation_draws_towards_the_measured_mean():
    state = generator_state()
    network = checkpoints.load(state).generator
    mapping, synthesis = oracle_mapping(state), oracle_synthesis(state)
    mean = mapping(torch.randn(4096, LATENT, generator=torch.Generator().manual_seed(0)).double()).mean(0)
    z = normal(3, LATENT)
    expected = synthesis(mean + 0.6 * (mapping(z) - mean))
    assert torch.allclose(network.double()(z, truncation=0.6), expected, rtol=0, atol=1e-5 * expected.abs().max())


def test_the_four_files_hold_the_state_and_give_the_gan(tmp_path):
    state = generator_state()
    path = openvino_files.write(tmp_path, state)
    read = layout.read(path)
    assert sorted(read) == sorted(state)
    for key, value in state.items():
        assert np.array_equal(read[key].reshape(value.shape), value.numpy()), key
    gan = checkpoints.load(path)
    assert (gan.name, gan.family, gan.critic) == ("SynthesisNetwork", "stylegan", None)
    assert not gan.generator.training
    assert torch.equal(gan.sample(2), checkpoints.load(state).sample(2))  # one computation, done twice
    told = checkpoints.describe(path)
    assert (told["layout"], told["architecture"]) == ("mobilestylegan-openvino", "MobileStyleGAN")
    assert "not for commercial use" in told["weights_licence"]


def test_loading_draws_nothing_and_keeps_no_file_open_or_changed(tmp_path):
    path = openvino_files.write(tmp_path, generator_state())
    before, content = torch.get_rng_state(), {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    gan = checkpoints.load(path)
    assert torch.equal(torch.get_rng_state(), before)
    for weight in gan.generator.parameters():
        weight.data.add_(1)
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == content


@pytest.mark.parametrize("key", random.Random(0).sample(sorted(shapes() | scales()), 12))
def test_a_missing_or_misshapen_tensor_is_named(key):
    state = generator_state()
    del state[key]
    with pytest.raises(UserError, match=re.escape(f"lacks the tensor '{key}'")):
        checkpoints.load(state)
    state[key] = torch.zeros(7, 6, 5)
    with pytest.raises(UserError, match=rf"{re.escape(key)}' has the shape \(7, 6, 5\)"):
        checkpoints.load(state)


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_stage_one_mines_it_and_leaves_every_byte(space):
    critic = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 1))
    gan = replace(checkpoints.load(generator_state()), critic=critic)
    before = everything(gan.generator)
    source = gan if space == "z" else in_style_space(gan, per_layer=space == "w+")
    assert source.generator.latent_dim == {"z": LATENT, "w": STYLE, "w+": (2 * N + 2) * STYLE}[space]
    target = normal(6, 3, 32, 32).float().clamp(-1, 1)
    mined = mine(source, target, steps=2, batch=4, critic_steps=1, device="cpu", progress=False)
    assert same(everything(gan.generator), before)
    assert mined.sample(3).shape == (3, 3, 32, 32)


# --- networks that compute something else -----------------------------------------------------------------------------


def first(kind, **changes):
    """Replaces settings of the first layer of a kind."""
    return lambda ir: ir.find(kind)[0]["data"].update(changes)


def last(kind, **changes):
    return lambda ir: ir.find(kind)[-1]["data"].update(changes)


def renamed(kind, other):
    return lambda ir: ir.find(kind)[0].update(type=other)


def constants(ir, *values):
    """Where the .bin has this float32 array."""
    at = ir.content.find(np.array(values, dtype=np.float32).tobytes())
    assert at >= 0
    return at


def number(old, new):
    """Replaces the first constant that begins with these numbers."""

    def change(ir):
        at, content = constants(ir, *old), np.array(new, dtype=np.float32).tobytes()
        ir.content[at : at + len(content)] = content

    return change


def swapped(kind, of=0):
    """Exchanges the two sources that feed a layer."""

    def change(ir):
        layer = [i for i, one in enumerate(ir.layers) if one["type"] == kind][of]
        one, other = [edge for edge in ir.edges if edge[2] == layer][:2]
        one[:2], other[:2] = other[:2], one[:2]

    return change


def moved(ir):
    """The first detail of a transform is taken for the second."""
    inner = [i for i, one in enumerate(ir.layers) if one["type"] == "VariadicSplit"][1]
    for edge in ir.edges:
        if edge[0] == inner:
            edge[1] = 3 + (1 - (edge[1] - 3) if edge[1] < 5 else 2)


def rootless(ir):
    """The latent is not normalised by its own square but by another input's."""
    other, _, _ = ir.add("Parameter", name="other", shape="1, 7", element_type="f32")
    power = next(i for i, one in enumerate(ir.layers) if one["type"] == "Power")
    next(edge for edge in ir.edges if edge[2] == power and edge[3] == 0)[0] = other


def of_a_split(ir, port, size):
    """Where the .bin has the axis of the first split, port 1, or its lengths, port 2."""
    split = next(i for i, one in enumerate(ir.layers) if one["type"] == "VariadicSplit")
    given = next(edge[0] for edge in ir.edges if edge[2] == split and edge[3] == port)
    at = ir.layers[given]["data"]["offset"]
    return at, at + size


HALF = math.sqrt(0.5)
SYNTHESIS = {
    "slope": number([0.2], [0.1]),
    "strides of a convolution": first("Convolution", strides="2, 2"),
    "padding of a convolution": first("Convolution", pads_begin="0, 0"),
    "dilation of a depthwise one": first("GroupConvolution", dilations="2, 2"),
    "padding of the last one": last("Convolution", pads_end="1, 1"),
    "another activation": renamed("PReLU", "Relu"),
    "a difference": renamed("Add", "Subtract"),
    "matrix not transposed": first("MatMul", transpose_b="false"),
    "low pass that is none": number([HALF, HALF], [1.0, 0.0]),
    "high pass that is low": number([HALF, -HALF], [HALF, HALF]),
    "rows doubled thrice": first("GroupConvolutionBackpropData", strides="3, 1"),
    "rows for columns": swapped("Add", of=-1),
    "details exchanged": moved,
    "split in halves": lambda ir: ir.content.__setitem__(slice(*of_a_split(ir, 2, 16)), np.int64([4, 4]).tobytes()),
    "split along rows": lambda ir: ir.content.__setitem__(slice(*of_a_split(ir, 1, 8)), np.int64(3).tobytes()),
}
MAPPINGS = {
    "gain": number([math.sqrt(2)], [1.5]),
    "slope": number([0.2], [0.3]),
    "root of another": rootless,
    "exponent": number([2.0], [3.0]),
    "epsilon": number([1e-8], [1e-3]),
    "matrix not transposed": first("MatMul", transpose_b="false"),
    "maximum": renamed("ReduceMean", "ReduceMax"),
    "product exchanged": renamed("Multiply", "Divide"),
}


def told(path):
    """What loading is refused with: one printable line."""
    with pytest.raises(UserError) as error:
        checkpoints.load(path)
    text = str(error.value)
    assert text.isprintable()
    assert len(text) < 600
    return text


@pytest.mark.parametrize("what", SYNTHESIS)
def test_a_synthesis_that_computes_something_else_is_refused(tmp_path, what):
    ir = openvino_files.synthesis(generator_state())
    openvino_files.mapping(generator_state()).write(tmp_path)
    SYNTHESIS[what](ir)
    assert "is no MobileStyleGAN as random-face has it: its layer" in told(ir.write(tmp_path))


@pytest.mark.parametrize("what", MAPPINGS)
def test_a_mapping_that_computes_something_else_is_refused(tmp_path, what):
    path = openvino_files.write(tmp_path, generator_state())
    ir = openvino_files.mapping(generator_state())
    MAPPINGS[what](ir)
    ir.write(tmp_path)
    assert "is no MobileStyleGAN as random-face has it: its layer" in told(path)


def test_any_layer_turned_into_another_is_one_line_or_changes_nothing(tmp_path):
    """Each layer of both graphs in turn: what is accepted is the same network."""
    state = generator_state()
    path, same_state = openvino_files.write(tmp_path, state), layout.read(tmp_path / "SynthesisNetwork.xml")
    accepted, said = [], []
    for make in (openvino_files.synthesis, openvino_files.mapping):
        whole = make(state)
        for i, layer in enumerate(whole.layers):
            if layer["type"] in layout.SHAPING:
                continue  # any of these for another
            ir = make(state)
            ir.layers[i]["type"] = "Sigmoid"
            ir.write(tmp_path)
            try:
                read = layout.read(path)
            except UserError as error:
                said.append(str(error))
            else:
                accepted.append(layer["type"])
                assert all(np.array_equal(read[key], value) for key, value in same_state.items())
        whole.write(tmp_path)
    assert set(accepted) <= {"Const"}, "only constants that give a shape are passed over"
    assert all(one.isprintable() for one in said)


def test_the_wrong_one_of_the_two_is_named(tmp_path):
    path = openvino_files.write(tmp_path, generator_state())
    assert "MappingNetwork.xml is not SynthesisNetwork.xml: give that" in told(path.with_name("MappingNetwork.xml"))
    assert "is a directory, give a file" in told(tmp_path)
    swapped_files = tmp_path / "swapped"
    swapped_files.mkdir()
    for one, other in (("Synthesis", "Mapping"), ("Mapping", "Synthesis")):
        for suffix in ("xml", "bin"):
            content = (tmp_path / f"{one}Network.{suffix}").read_bytes()
            (swapped_files / f"{other}Network.{suffix}").write_bytes(content)
    assert "is no MobileStyleGAN" in told(swapped_files / "SynthesisNetwork.xml")


@pytest.mark.parametrize(
    "name", ["SynthesisNetwork.bin", "MappingNetwork.xml", "MappingNetwork.bin", "SynthesisNetwork.xml"]
)
def test_a_missing_file_of_the_four_is_named(tmp_path, name):
    path = openvino_files.write(tmp_path, generator_state())
    (tmp_path / name).unlink()
    assert f"there is no file {tmp_path / name}" in told(path)


def test_weights_that_are_not_finite_are_named(tmp_path):
    state = generator_state()
    state["layers.1.conv2.weight"][0, 0] = math.nan
    assert "'layers.1.conv2.weight' has numbers that are not finite" in told(openvino_files.write(tmp_path, state))


def test_shapes_that_do_not_fit_are_named(tmp_path):
    state = generator_state()
    state["layers.0.conv2.depthwise"] = state["layers.0.conv2.depthwise"][:5]
    text = told(openvino_files.write(tmp_path, state))
    assert "'layers.0.conv2.depthwise' has the shape (5, 1, 1, 3, 3), expected (12, 1, 3, 3)" in text


# --- against OpenVINO itself, where it is installed -------------------------------------------------------------------


def ran(path, x):
    """What OpenVINO makes of the network in a file, in float32, an input at a time."""
    openvino = pytest.importorskip("openvino", reason="pip install openvino: the judge of its own files")
    core = openvino.Core()
    network = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.concatenate([network(one[None])[0] for one in x.detach().numpy()])


def apart(ours, theirs):
    return np.abs(ours.detach().numpy() - theirs).max()


def test_openvino_makes_the_same_of_what_these_tests_write(tmp_path):
    path = openvino_files.write(tmp_path, generator_state())
    network, z = checkpoints.load(path).generator, normal(3, LATENT).float()
    w = network.mapping(z)
    assert apart(w, ran(path.with_name("MappingNetwork.xml"), z)) <= 1e-5 * w.abs().max()
    images = network.synthesis(w)
    assert apart(images, ran(path, w)) <= 1e-4 * images.abs().max()


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the package random-face has not been fetched to the cache")
def test_openvino_makes_the_same_of_the_published_files():
    """About a minute. OpenVINO is further from float64 than we are (1.8e-4 against 6e-5, without truncation)."""
    network, z = checkpoints.load(PUBLISHED).generator, normal(2, 512).float()
    assert (network.image_shape, network.layers, len(network.mapping.layers)) == ((3, 1024, 1024), 16, 8)
    w = network.truncate(network.mapping(z), 0.7)
    assert apart(network.mapping(z), ran(PUBLISHED.with_name("MappingNetwork.xml"), z)) <= 2e-5
    with torch.no_grad():
        assert apart(network.synthesis(w), ran(PUBLISHED, w)) <= 2e-4
