"""Writes networks of OpenVINO as its converter does: a MobileStyleGAN of any size, from its state dict."""

import math
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

TYPES = {"float32": "f32", "int64": "i64"}
VERSIONS = {"Broadcast": "opset3"}
ROWS, COLUMNS = {"strides": "2, 1"}, {"strides": "1, 2"}


class IR:
    """A network under construction. A layer's output is (its number, which output, how many inputs it has)."""

    def __init__(self, name: str):
        self.name, self.layers, self.edges, self.content = name, [], [], bytearray()

    def add(self, kind: str, *inputs: tuple, name: str = "", outputs: int = 1, **data) -> tuple[int, int, int]:
        number = len(self.layers)
        for port, (source, which, before) in enumerate(inputs):
            self.edges.append([source, before + which, number, port])
        self.layers.append({"name": name or f"{kind}_{number}", "type": kind, "data": data,
                            "ports": (len(inputs), outputs if kind != "Result" else 0)})  # fmt: skip
        return number, 0, len(inputs)

    def const(self, array, name: str = "") -> tuple[int, int, int]:
        array = np.asarray(array, order="C")
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        data = {"element_type": TYPES[str(array.dtype)], "shape": ", ".join(map(str, array.shape))}
        data |= {"offset": len(self.content), "size": array.nbytes}
        self.content += array.tobytes()
        return self.add("Const", name=name, **data)

    def find(self, kind: str) -> list[dict]:
        return [layer for layer in self.layers if layer["type"] == kind]

    def xml(self) -> str:
        lines = ['<?xml version="1.0" ?>', f'<net name="{self.name}" version="10">', "<layers>"]
        for number, layer in enumerate(self.layers):
            version = VERSIONS.get(layer["type"], "opset1")
            lines.append(f'<layer id="{number}" name={quoteattr(layer["name"])} type="{layer["type"]}" '
                         f'version="{version}">')  # fmt: skip
            lines.append(f"<data {' '.join(f'{key}={quoteattr(str(x))}' for key, x in layer['data'].items())}/>")
            fed, gives = layer["ports"]
            for tag, ports in (("input", range(fed)), ("output", range(fed, fed + gives))):
                inner = "".join(f'<port id="{port}" precision="{precision(layer)}"/>' for port in ports)
                lines.append(f"<{tag}>{inner}</{tag}>" if inner else "")
            lines.append("</layer>")
        lines += ["</layers>", "<edges>"]
        keys = ("from-layer", "from-port", "to-layer", "to-port")
        lines += [f"<edge {' '.join(f'{key}={quoteattr(str(x))}' for key, x in zip(keys, edge, strict=True))}/>"
                  for edge in self.edges]  # fmt: skip
        return "\n".join([*lines, "</edges>", "</net>"])

    def write(self, folder: Path) -> Path:
        (folder / f"{self.name}.bin").write_bytes(self.content)
        path = folder / f"{self.name}.xml"
        path.write_text(self.xml())
        return path


def precision(layer: dict) -> str:
    return "I64" if layer["data"].get("element_type") == "i64" else "FP32"


def arrays(state: dict) -> dict[str, np.ndarray]:
    return {key: np.asarray(value, dtype=np.float32) for key, value in state.items()}


def mapping(state: dict) -> IR:
    """z → w, with the arithmetic of the published file: mean square, plus 1e-8, root, reciprocal, product."""
    state, ir = arrays(state), IR("MappingNetwork")
    latent = state["mapping.0.weight"].shape[1]
    z = ir.add("Parameter", name="var", shape=f"1, {latent}", element_type="f32")
    one, two = np.ones((1, 1)), np.full((1, 1), 2.0)
    square = ir.add("Power", z, ir.const(two), auto_broadcast="numpy")
    mean = ir.add("ReduceMean", square, ir.const(np.array([1])), keep_dims="true")
    root = ir.add("Power", ir.add("Add", mean, ir.const(one * 1e-8)), ir.const(one / 2))
    x = ir.add("Multiply", z, ir.add("Multiply", ir.const(one), ir.add("Power", root, ir.const(-one))))
    for i in range(sum(key.startswith("mapping.") for key in state) // 2):
        weight, bias = state[f"mapping.{i}.weight"], state[f"mapping.{i}.bias"]
        x = ir.add("MatMul", x, ir.const(weight), transpose_a="false", transpose_b="true")
        wide = ir.add("Reshape", ir.const(bias), ir.const(np.array([1, len(bias)])), special_zero="true")
        x = ir.add("PReLU", ir.add("Add", x, wide, auto_broadcast="numpy"), ir.const([0.2], "slope"))
        x = ir.add("Multiply", x, ir.const(np.full((1, 1), math.sqrt(2.0))), auto_broadcast="numpy")
    ir.add("Result", x)
    return ir


def synthesis(state: dict) -> IR:
    """w → image."""
    state, ir = arrays(state), IR("SynthesisNetwork")
    style_dim = state["conv1.modulation.weight"].shape[1]
    w = ir.add("Parameter", name="style", shape=f"1, {style_dim}", element_type="f32")

    def modulated(x, name, first):
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        style = ir.add("MatMul", w, ir.const(weight), transpose_a="false", transpose_b="true")
        style = ir.add("Add", style, ir.const(bias[None]), auto_broadcast="numpy")
        style = ir.add("Reshape", style, ir.const(np.array([1, len(bias), 1, 1])), special_zero="true")
        if f"{name}.scale" in state:
            scale = state[f"{name}.scale"].reshape(1, 1, 1, 1)
            style = ir.add("Multiply", style, ir.const(scale), auto_broadcast="numpy")
        # the converter has them in either order
        return ir.add("Multiply", *((style, x) if first else (x, style)), auto_broadcast="numpy")

    def convolved(x, kernel, depthwise=False):
        if depthwise:
            kernel = kernel.reshape(len(kernel), 1, 1, 3, 3)
        pad = f"{kernel.shape[-1] // 2}, {kernel.shape[-1] // 2}"
        data = {"strides": "1, 1", "dilations": "1, 1", "pads_begin": pad, "pads_end": pad, "auto_pad": "explicit"}
        return ir.add("GroupConvolution" if depthwise else "Convolution", x, ir.const(kernel), **data)

    def styled(x, name, first=True):
        x = modulated(x, f"{name}.modulation", first)
        if f"{name}.depthwise" in state:
            x = convolved(x, state[f"{name}.depthwise"], depthwise=True)
        x = convolved(x, state[f"{name}.weight"])
        x = ir.add("Add", x, ir.const(state[f"{name}.noise"]), auto_broadcast="numpy")
        x = ir.add("Add", x, ir.const(state[f"{name}.bias"].reshape(1, -1, 1, 1)), auto_broadcast="numpy")
        return ir.add("PReLU", x, ir.const([0.2], "slope"))

    def haar(x, c, r):
        def split(x, axis, lengths):
            given = ir.const(np.array(axis)), ir.const(np.array(lengths))
            number, _, before = ir.add("VariadicSplit", x, *given, outputs=len(lengths))
            return [(number, i, before) for i in range(len(lengths))]

        def passed(x, sign, along):
            shape = (c, 1, 1, 2, 1) if along is ROWS else (c, 1, 1, 1, 2)
            taps = np.tile(math.sqrt(0.5) * np.array([1.0, sign]), c).reshape(shape)
            data = {"pads_begin": "0, 0", "pads_end": "0, 0", "dilations": "1, 1", "auto_pad": "explicit"}
            data |= {"output_padding": "0, 0"}
            return ir.add("GroupConvolutionBackpropData", x, ir.const(taps), **along, **data)

        low, high = split(x, 1, [c, 3 * c])
        high = ir.add("Reshape", high, ir.const(np.array([1, c, 3, r, r])), special_zero="true")
        bands = [low, *(ir.add("Squeeze", one, ir.const(np.array([2]))) for one in split(high, 2, [1, 1, 1]))]
        rows = [passed(one, sign, ROWS) for one, sign in zip(bands, (1, -1, 1, -1), strict=True)]
        left, right = ir.add("Add", rows[0], rows[1]), ir.add("Add", rows[2], rows[3])
        return ir.add("Add", passed(left, 1, COLUMNS), passed(right, -1, COLUMNS), auto_broadcast="numpy")

    x = ir.const(state["input.input"], "m.input.input")
    x = ir.add("Tile", x, ir.const(np.array([1, 1, 1, 1])))
    x, n = styled(x, "conv1"), sum(key.endswith(".up.modulation.bias") for key in state)
    for i in range(n):
        c = len(state[f"layers.{i}.up.modulation.bias"])
        x = haar(modulated(x, f"layers.{i}.up.modulation", True), c // 4, 4 << i)
        x = styled(styled(x, f"layers.{i}.conv1"), f"layers.{i}.conv2", first=i > 0)
    x = convolved(modulated(x, "to_img.modulation", False), state["to_img.weight"])
    x = ir.add("Add", x, ir.const(state["to_img.bias"].reshape(1, -1, 1, 1)), auto_broadcast="numpy")
    ir.add("Result", haar(x, len(state["to_img.bias"]) // 4, 4 << n))
    return ir


def write(folder: Path, state: dict) -> Path:
    """The four files of a state dict in a folder; returns the path that `checkpoints.load` takes."""
    mapping(state).write(folder)
    return synthesis(state).write(folder)
