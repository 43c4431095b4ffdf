"""OpenVINO's files of a network (IR): an .xml with its layers and what feeds what, and a .bin with their constants.

They are read as data, with the standard library and numpy: no layer is run. `read` gives the graph backwards, from the
layer that makes the output; what it means is for a layout to recognise.
"""

import graphlib
import math
import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from minegan_lite.checkpoints.reading import NPZ_LIMIT
from minegan_lite.errors import UserError
from minegan_lite.shown import shown

XML_LIMIT = 8 << 20  # bytes; the largest published one has 0.4 MB
TYPES = {"f32": "<f4", "f16": "<f2", "i64": "<i8", "i32": "<i4"}


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of a graph without cycles. kind: as in "Convolution"; name: the file's; data: its settings, as text.

    inputs: (layer, which of that layer's outputs, from 0), in order. constant: the array of a Const, else None.
    """

    kind: str
    name: str
    data: dict[str, str]
    inputs: tuple[tuple["Layer", int], ...]
    constant: np.ndarray | None


def read(path: Path) -> Layer:
    """The layer that makes the output of the network in an .xml, whose .bin lies beside it under the same name.

    Raises UserError, in one line, for a file that is missing, is too large, is no such XML or declares a document type
    (which may hold entities), for a graph with a cycle, and for a constant that lies outside the .bin.
    """
    name = shown(path, most=4096)
    try:
        root, content = _parsed(path), _content(path.with_suffix(".bin"), NPZ_LIMIT)
        return _output(root, content, name)
    except UserError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{name} is damaged or no network of OpenVINO ({type(error).__name__}): fetch it again"
        ) from error


def _parsed(path: Path) -> ElementTree.Element:
    name = shown(path, most=4096)
    try:
        text = _content(path, XML_LIMIT).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{name} is no XML in UTF-8: give the .xml of a network of OpenVINO") from None
    # as text, whose encoding no declaration can change: nothing else can be hidden from this
    if re.search(r"<!\s*(doctype|entity)", text, re.IGNORECASE):
        raise UserError(f"{name} declares a document type, as no network of OpenVINO does: it was not read")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:  # ValueError: a null character
        raise UserError(f"{name} is cut or no XML ({shown(error)}): fetch it again") from None
    if root.tag != "net":
        raise UserError(
            f"{name} is no network of OpenVINO: its XML begins with '{shown(root.tag, most=40)}', not 'net'"
        )
    return root


def _content(path: Path, limit: int) -> bytes:
    """All of a file. One that is no plain file is not opened: reading a pipe would wait for ever."""
    name = shown(path, most=4096)
    if not path.is_file():
        raise UserError(f"there is no file {name}: a network of OpenVINO is an .xml and a .bin of the same name")
    try:
        size, content = path.stat().st_size, b""
        if size <= limit:
            content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{name} cannot be read ({type(error).__name__})") from error
    if size > limit:
        raise UserError(f"{name} has {size:,} bytes, and no network known here has {limit:,}: it was not opened")
    return content


def _output(root: ElementTree.Element, content: bytes, name: str) -> Layer:
    elements = {element.attrib["id"]: element for element in root.iterfind("layers/layer")}
    if len(elements) != len(root.findall("layers/layer")):
        raise UserError(f"{name} is damaged: two of its layers have one id")
    feeds: dict[str, dict[int, tuple[str, int]]] = {one: {} for one in elements}
    for edge in root.iterfind("edges/edge"):
        source, target = edge.attrib["from-layer"], edge.attrib["to-layer"]
        feeds[target][int(edge.attrib["to-port"])] = elements[source].attrib["id"], int(edge.attrib["from-port"])
    order = graphlib.TopologicalSorter({one: {source for source, _ in ports.values()} for one, ports in feeds.items()})
    layers: dict[str, Layer] = {}
    try:
        for one in order.static_order():
            inputs = [feeds[one][port] for port in sorted(feeds[one])]
            # a layer's outputs are numbered after its inputs
            fed = tuple((layers[source], port - len(feeds[source])) for source, port in inputs)
            layers[one] = _layer(elements[one], fed, content, name)
    except graphlib.CycleError:
        raise UserError(f"{name} is damaged: its layers feed each other in a cycle") from None
    results = [layer for layer in layers.values() if layer.kind == "Result" and layer.inputs]
    if len(results) != 1:
        raise UserError(f"{name} has {len(results)} outputs, and a generator has one")
    return results[0].inputs[0][0]


def _layer(element: ElementTree.Element, inputs: tuple, content: bytes, name: str) -> Layer:
    found = element.find("data")
    data = {} if found is None else dict(found.attrib)
    kind, own = element.attrib["type"], element.get("name", "")
    return Layer(kind, own, data, inputs, _constant(data, own, content, name) if kind == "Const" else None)


def _constant(data: dict[str, str], own: str, content: bytes, name: str) -> np.ndarray:
    """The array of a Const: a view into the .bin."""
    shape = [int(length) for length in data["shape"].split(",")] if data["shape"].strip() else []
    offset, size = int(data["offset"]), int(data["size"])
    what = f"{name} is damaged: its constant '{shown(own)}'"
    if data["element_type"] not in TYPES:
        raise UserError(f"{what} is of the type {shown(data['element_type'], most=20)}, known are {', '.join(TYPES)}")
    dtype = np.dtype(TYPES[data["element_type"]])
    if min([offset, size, *shape]) < 0 or size != math.prod(shape) * dtype.itemsize:
        raise UserError(
            f"{what} has {shown(size)} bytes from {shown(offset)} on, which is not its shape {shown(shape)}"
        )
    if offset + size > len(content):
        raise UserError(f"{what} ends {shown(offset + size - len(content))} bytes behind the .bin: fetch both again")
    return np.frombuffer(content, dtype, math.prod(shape), offset if size else 0).reshape(shape)
