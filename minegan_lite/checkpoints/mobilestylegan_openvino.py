"""The MobileStyleGAN of the package random-face: two networks of OpenVINO, SynthesisNetwork and MappingNetwork.

`read` walks both graphs backwards and checks each layer on the way, so that a network is refused unless it computes
what ours does. The constants get the names that the training code, bes-dev/MobileStyleGAN.pytorch, has for them: most
have lost theirs, and the walk tells what they are.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from minegan_lite.checkpoints import openvino_ir
from minegan_lite.checkpoints.loading import agreed, count, fill, made, renamed
from minegan_lite.checkpoints.openvino_ir import Layer
from minegan_lite.errors import UserError
from minegan_lite.networks import mobile_stylegan
from minegan_lite.networks.style_layers import ROOT2
from minegan_lite.shown import shown

NAME = "mobilestylegan-openvino"
SYNTHESIS, MAPPING = "SynthesisNetwork", "MappingNetwork"
FILES = f"{SYNTHESIS}.xml, {SYNTHESIS}.bin, {MAPPING}.xml and {MAPPING}.bin"
SLOPE = 0.2  # of its leaky ReLUs
SHAPING = ("Broadcast", "Reshape", "Squeeze", "Tile", "Unsqueeze")  # layers that move no number
GENERATOR = (
    (r"^mapping\.layers\.", "mapping."),
    (r"^constant$", "input.input"),
    (r"^noise_(\d+)$", lambda match: f"{_conv(int(match[1]))}.noise"),
    (r"^convs\.(\d+)\.", lambda match: f"{_conv(int(match[1]))}."),
    (r"^ups\.(\d+)\.", r"layers.\1.up."),
    (r"^to_image\.", "to_img."),
    (r"\.modulation\.affine\.", ".modulation."),
    (r"\.up\.affine\.", ".up.modulation."),
)

critic = None


def _conv(i: int) -> str:
    """What the training code calls convolution i."""
    return f"layers.{(i - 1) // 2}.conv{2 - i % 2}" if i else "conv1"


def matches(state: Mapping[str, Any]) -> bool:
    """Whether `state` holds a generator in this layout (Layout.matches)."""
    return any(key.startswith("layers.0.conv1.depthwise") for key in state)


def generator(state: Mapping[str, Any], averaged: bool) -> nn.Module:
    """The generator that `state`, as `read` gives it, holds (Layout.generator); its mean w is measured."""
    n = count(state, r"layers\.(\d+)\.")
    channels = [agreed(state, ("conv1.bias", 0), ("conv1.weight", 0), ("input.input", 1))]
    for i in range(n):
        at = f"layers.{i}.conv"
        channels.append(agreed(state, (f"{at}1.bias", 0), (f"{at}2.bias", 0), (f"{at}2.weight", 0)))
    network = made(
        mobile_stylegan.Generator,
        state,
        channels,
        latent_dim=agreed(state, ("mapping.0.weight", 1)),
        style_dim=agreed(state, ("mapping.0.weight", 0), *((f"layers.{i}.up.modulation.weight", 1) for i in range(n))),
        depth=count(state, r"mapping\.(\d+)\."),
        image_channels=agreed(state, ("to_img.bias", 0), ("to_img.weight", 0)) // mobile_stylegan.BANDS,
    )
    names = renamed(network, GENERATOR, {})
    del names["w_mean"]
    fill(network, state, names, keep=["w_mean"])
    network.measure_w_mean()
    return network


# --- from the files to a state dict -----------------------------------------------------------------------------------


def read(path: Path) -> dict[str, np.ndarray]:
    """The state dict in SynthesisNetwork.xml and the three files beside it.

    Raises UserError, in one line, as openvino_ir.read does, and for a network that is no MobileStyleGAN.
    """
    if SYNTHESIS not in path.name:
        raise UserError(f"{shown(path, most=4096)} is not {SYNTHESIS}.xml: give that, with {FILES} in one folder")
    mapping = path.with_name(path.name.replace(SYNTHESIS, MAPPING))
    return _synthesis(openvino_ir.read(path)) | _mapping(openvino_ir.read(mapping))


def _synthesis(output: Layer) -> dict[str, np.ndarray]:
    """Backwards from the image: pairs of convolutions behind a transform each, then the dense one of the constant."""
    x, bias = _by_constant(_before_haar(output), "Add")
    x, weight = _by_constant(x, "Convolution")
    x, modulation = _modulated(x)
    state = {"to_img.weight": weight, "to_img.bias": bias.reshape(-1)} | _under("to_img.modulation", modulation)
    pairs = []
    while "depthwise" in (last := _convolution(x))[1]:
        x, first = _convolution(last[0])
        x, up = _modulated(_before_haar(x))
        pairs.append(_under("up.modulation", up) | _under("conv1", first) | _under("conv2", last[1]))
    for i, pair in enumerate(reversed(pairs)):
        state |= _under(f"layers.{i}", pair)
    return state | _under("conv1", last[1]) | {"input.input": _array(last[0])}


def _mapping(output: Layer) -> dict[str, np.ndarray]:
    """Backwards from w: pairs of a matrix and an activation times √2, then the latent with mean square 1."""
    layers, x = [], output
    while x.inputs and x.inputs[0][0].kind == "PReLU":
        x = _by_number(_by_number(x, "Multiply", ROOT2), "PReLU", SLOPE)
        x, bias = _by_constant(x, "Add")
        x, weight = _by_constant(x, "MatMul", transpose_a="false", transpose_b="true")
        layers.append({"weight": weight, "bias": bias.reshape(-1)})
    (z, _), (product, _) = _inputs(x, "Multiply")
    (one, _), (root, _) = _inputs(product, "Multiply")
    _check(_is(_array(one), 1), one, "a 1")
    for kind, number in (("Power", -1), ("Power", 0.5), ("Add", 1e-8), ("ReduceMean", 1), ("Power", 2)):
        root = _by_number(root, kind, number)
    _check(root is z and z.kind == "Parameter", z, "the latent")
    state: dict[str, np.ndarray] = {}
    for i, layer in enumerate(reversed(layers)):
        state |= _under(f"mapping.{i}", layer)
    return state


def _convolution(x: Layer) -> tuple[Layer, dict[str, np.ndarray]]:
    """What a modulated convolution acts on, and its tensors: "depthwise" among them unless it is a dense one."""
    x, bias = _by_constant(_by_number(x, "PReLU", SLOPE), "Add")
    x, noise = _by_constant(x, "Add")
    x, weight = _by_constant(x, "Convolution")
    own = {"weight": weight, "bias": bias.reshape(-1), "noise": noise}
    if x.kind == "GroupConvolution":
        x, own["depthwise"] = _by_constant(x, "GroupConvolution")
    x, modulation = _modulated(x)
    return x, own | _under("modulation", modulation)


def _modulated(x: Layer) -> tuple[Layer, dict[str, np.ndarray]]:
    """What is multiplied by an affine map of w, on either side of it, and the map's tensors, with its scale if any."""
    left, right = (_source(side)[0] for side in _inputs(x, "Multiply"))
    for style, features in ((left, right), (right, left)):
        own = {}
        if style.kind == "Multiply" and "Const" in [side.kind for side, _ in style.inputs]:
            style, own["scale"] = _by_constant(style, "Multiply")
        if style.kind == "Add" and "MatMul" in [side.kind for side, _ in style.inputs]:
            style, bias = _by_constant(style, "Add")
            w, own["weight"] = _by_constant(style, "MatMul", transpose_a="false", transpose_b="true")
            _check(w.kind == "Parameter", w, "w")
            return features, own | {"bias": bias.reshape(-1)}
    raise _unknown(x, "a modulation by w")


def _before_haar(x: Layer) -> Layer:
    """What an inverse Haar transform acts on: low and high passes of rows, then of columns, of what two splits give."""
    left, right = _inputs(x, "Add")
    bands = []
    for side, kind in ((left, "low"), (right, "high")):
        both, _ = _passed(side[0], kind, axis=4)
        low, high = _inputs(both, "Add")
        bands += [_passed(low[0], "low", axis=3), _passed(high[0], "high", axis=3)]
    outer, inner = bands[0][0], bands[1][0]
    below = _split(outer, 1)
    details = _split(inner, 2)
    _check(
        details == (outer, 1) and bands == [(outer, 0), (inner, 0), (inner, 1), (inner, 2)], x,
        "an inverse Haar transform",
    )  # fmt: skip
    return below[0]


def _split(x: Layer, axis: int) -> tuple[Layer, int]:
    """What a layer splits: along 1 a quarter of the channels from the others, along 2 one by one."""
    split, along, lengths = _inputs(x, "VariadicSplit", 3)
    parts = _array(lengths[0]).tolist()
    fits = parts == ([parts[0], 3 * parts[0]] if axis == 1 else [1, 1, 1])
    _check(fits and _is(_array(along[0]), axis), x, f"a split along axis {axis}")
    return _source(split)


def _passed(x: Layer, kind: str, axis: int) -> tuple[Layer, int]:
    """The output that a Haar filter, "low" or "high", doubles along an axis: 3 for rows, 4 for columns."""
    strides = "2, 1" if axis == 3 else "1, 2"
    below, filters = _inputs(
        x, "GroupConvolutionBackpropData", strides=strides, pads_begin="0, 0", pads_end="0, 0", dilations="1, 1"
    )
    taps = _array(filters[0])
    known = math.sqrt(0.5) * np.array([1, 1 if kind == "low" else -1])
    fits = taps.ndim == 5 and taps.shape[axis] == taps[0].size == 2
    _check(fits and np.allclose(taps.reshape(-1, 2), known, atol=1e-4), x, f"a {kind} pass of Haar's")
    return _source(below)


def _by_number(x: Layer, kind: str, number: float) -> Layer:
    """What a layer that computes with one known number acts on."""
    below, constant = _by_constant(x, kind)
    _check(_is(constant, number), x, f"{kind} by {number:.4g}")
    return below


def _by_constant(x: Layer, kind: str, **settings: Any) -> tuple[Layer, np.ndarray]:
    """What a layer of this kind acts on, and the constant that it computes with, its second input."""
    below, second = _inputs(x, kind, **settings)
    constant = _array(_source(second)[0])
    if kind in ("Convolution", "GroupConvolution"):
        pad = f"{constant.shape[-1] // 2}, {constant.shape[-1] // 2}"
        _inputs(x, kind, strides="1, 1", dilations="1, 1", pads_begin=pad, pads_end=pad)
    return _source(below)[0], constant


def _array(x: Layer) -> np.ndarray:
    """The array of a constant."""
    if x.constant is None:
        raise _unknown(x, "a constant")
    return x.constant


def _inputs(x: Layer, kind: str, number: int = 2, **settings: str) -> tuple[tuple[Layer, int], ...]:
    """The inputs of a layer, checked to be of this kind, with as many inputs and these settings."""
    _check(x.kind == kind and len(x.inputs) == number, x, kind)
    for key, value in settings.items():
        _check(x.data.get(key) == value, x, f"{kind} with {key} {value}")
    return x.inputs


def _source(output: tuple[Layer, int]) -> tuple[Layer, int]:
    """The output that reaches this one unchanged but in shape."""
    while output[0].kind in SHAPING and output[0].inputs:
        output = output[0].inputs[0]
    return output


def _under(name: str, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{name}.{key}": value for key, value in tensors.items()}


def _is(constant: np.ndarray, number: float) -> bool:
    return constant.size == 1 and math.isclose(constant.item(), number, rel_tol=1e-5)


def _check(fits: bool, x: Layer, expected: str) -> None:
    if not fits:
        raise _unknown(x, expected)


def _unknown(x: Layer, expected: str) -> UserError:
    layer = f"'{shown(x.name)}' ({shown(x.kind, most=40)})"
    return UserError(f"the network is no MobileStyleGAN as random-face has it: its layer {layer} is not {expected}")
