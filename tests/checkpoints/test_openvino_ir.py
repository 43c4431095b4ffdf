"""OpenVINO's files are read as data: whatever lies in one, it is a graph or one line."""

import os
import random

import numpy as np
import pytest

from minegan_lite import UserError, checkpoints
from minegan_lite.checkpoints import openvino_ir
from tests.checkpoints import openvino_files
from tests.checkpoints.openvino_files import IR
from tests.checkpoints.test_mobilestylegan_openvino import generator_state
from tests.checkpoints.test_reading import in_memory, linux

MUTATIONS = 60
LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "ha"}">' for i in range(12))


def small():
    """z + (1, 2), split in halves, of which the second is the output."""
    ir = IR("net")
    x = ir.add("Add", ir.add("Parameter", name="z", shape="1, 2"), ir.const([1.0, 2.0], "shift"), rounding="none")
    number, _, before = ir.add("VariadicSplit", x, ir.const(np.array(1)), ir.const(np.array([1, 1])), outputs=2)
    ir.add("Result", ir.add("Sqrt", (number, 1, before)))
    return ir


def refused(path, words):
    for reads in (openvino_ir.read, checkpoints.load):
        with pytest.raises(UserError) as error:
            reads(path)
        text = str(error.value)
        assert text.isprintable()
        assert len(text) < 600
        if reads is openvino_ir.read:
            assert words in text


@pytest.fixture
def path(tmp_path):
    """small() where checkpoints.load would look for a generator."""
    ir = small()
    ir.name = "SynthesisNetwork"
    return ir.write(tmp_path)


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_graph_is_given_backwards_from_its_output(path):
    top = openvino_ir.read(path)
    assert (top.kind, len(top.inputs), top.constant) == ("Sqrt", 1, None)
    split, which = top.inputs[0]
    assert (split.kind, which) == ("VariadicSplit", 1)
    (add, _), (axis, _), (lengths, _) = split.inputs
    assert (axis.constant.shape, axis.constant.item(), lengths.constant.tolist()) == ((), 1, [1, 1])
    assert (add.kind, add.data) == ("Add", {"rounding": "none"})
    (z, _), (shift, _) = add.inputs
    assert (z.kind, z.name, z.inputs, z.constant) == ("Parameter", "z", (), None)
    assert (shift.name, shift.constant.dtype, shift.constant.tolist()) == ("shift", np.float32, [1, 2])


def test_inputs_are_in_the_order_of_their_ports_whatever_the_order_of_the_edges(tmp_path):
    ir = small()
    ir.edges.reverse()
    split = openvino_ir.read(ir.write(tmp_path)).inputs[0][0]
    assert [one.kind for one, _ in split.inputs] == ["Add", "Const", "Const"]
    assert split.inputs[2][0].constant.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('offset="0"', 'offset="-8"', "constant 'shift' has 8 bytes from -8 on, which is not its shape [2]"),
        ('offset="0"', 'offset="1000"', "constant 'shift' ends 976 bytes behind the .bin"),
        ('offset="0"', f'offset="{2**70}"', "bytes behind the .bin"),
        ('size="8"', 'size="-8"', "which is not its shape"),
        ('size="8"', 'size="12"', "which is not its shape"),
        ('shape="2"', 'shape="3"', "which is not its shape [3]"),
        ('shape="2"', 'shape="-1, -2"', "which is not its shape [-1, -2]"),
        ('shape="2"', f'shape="{2**40}, {2**40}"', "which is not its shape"),
        ('shape="2"', f'shape="{"9" * 5000}"', "is damaged or no network of OpenVINO (ValueError)"),
        ('shape="2"', 'shape="two"', "is damaged or no network of OpenVINO (ValueError)"),
        ('element_type="f32"', 'element_type="object"', "is of the type object, known are f32"),
        ('from-layer="1"', 'from-layer="99"', "is damaged or no network of OpenVINO (KeyError)"),
        ('to-layer="2"', 'to-layer="99"', "is damaged or no network of OpenVINO (KeyError)"),
        ('from-layer="0" from-port="0"', 'from-layer="6"  from-port="1"', "its layers feed each other in a cycle"),
        ('id="1"', 'id="0"', "two of its layers have one id"),
        ('id="1"', "", "is damaged or no network of OpenVINO (KeyError)"),
        ('type="Result"', 'type="Other"', "has 0 outputs, and a generator has one"),
        ('type="Sqrt"', 'type="Result"', "has 2 outputs, and a generator has one"),
        ("<net ", "<mesh ", "is cut or no XML"),
        ("</edges>", "</edges><more", "is cut or no XML"),
        ('name="z"', 'name="&gone;"', "is cut or no XML (undefined entity"),
        ('name="z"', 'name="\\x00"', "is cut or no XML"),
    ],
)
def test_damage_is_one_line(path, old, new, words):
    edit(path, old, new.replace("\\x00", "\x00"))
    refused(path, words)


def test_another_xml_is_told_from_a_network(path):
    path.write_text("<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code></Error>")
    refused(path, "is no network of OpenVINO: its XML begins with 'Error', not 'net'")
    path.write_text("<net/>")
    refused(path, "has 0 outputs")
    path.write_bytes(b"")
    refused(path, "is cut or no XML")


@linux
@pytest.mark.parametrize(
    "declared",
    [
        f"<!DOCTYPE net [{LAUGHS}]>",
        '<!DOCTYPE net [<!ENTITY l11 SYSTEM "file://{mark}">]>',
        '<!DOCTYPE net SYSTEM "http://127.0.0.1:9/net.dtd">',
        "<!doctype net>",
        '<!ENTITY l11 "ha">',
    ],
)
def test_entities_are_refused_before_they_are_looked_at(path, tmp_path, declared):
    mark = tmp_path / "mark"
    os.mkfifo(mark)  # opened, it would wait for ever
    edit(path, '<?xml version="1.0" ?>', declared.replace("{mark}", str(mark)))
    edit(path, 'name="z"', 'name="&l11;"')
    assert in_memory(lambda: refused(path, "declares a document type, as no network of OpenVINO does")) < 1 << 24


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "cp037"])
def test_no_encoding_hides_a_document_type(path, encoding):
    text = path.read_text().replace('<?xml version="1.0" ?>', f"<!DOCTYPE net [{LAUGHS}]>")
    path.write_bytes(f'<?xml version="1.0" encoding="{encoding}"?>'.encode() + text.encode(encoding))
    refused(path, "")
    hidden = text.encode(encoding).decode("latin-1").encode("utf-8")  # valid UTF-8, unlike the above
    path.write_bytes(f'<?xml version="1.0" encoding="{encoding}"?>'.encode() + hidden)
    refused(path, "")


@linux
def test_a_file_that_is_larger_than_any_network_is_not_opened(path):
    with path.with_suffix(".bin").open("r+b") as file:
        file.truncate(2 << 30)  # of holes
    words = "SynthesisNetwork.bin has 2,147,483,648 bytes, and no network known here has 1,073,741,824"
    assert in_memory(lambda: refused(path, words)) < 1 << 26
    with path.open("r+b") as file:
        file.truncate(9 << 20)
    refused(
        path, "SynthesisNetwork.xml has 9,437,184 bytes, and no network known here has 8,388,608: it was not opened"
    )


@linux
def test_many_constants_in_one_place_take_its_memory_once(tmp_path):
    ir = small()
    ir.content += bytes(1 << 22)
    data = {"element_type": "f32", "shape": str(1 << 20), "offset": "24", "size": str(1 << 22)}
    for _ in range(1000):
        ir.add("Const", **data)  # 4 GB together
    path = ir.write(tmp_path)
    assert in_memory(lambda: openvino_ir.read(path)) < 1 << 26


def test_only_files_are_opened(path):
    binary = path.with_suffix(".bin")
    binary.unlink()
    os.mkfifo(binary)  # opened, it would wait for ever
    refused(path, "there is no file")
    binary.unlink()
    binary.mkdir()
    refused(path, "there is no file")


@pytest.mark.parametrize("suffix", ["xml", "bin"])
@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, suffix, part):
    path = openvino_files.write(tmp_path, generator_state())
    cut = path.with_suffix(f".{suffix}")
    content = cut.read_bytes()
    cut.write_bytes(content[: int(part * len(content))])
    refused(path, "cut or no XML" if suffix == "xml" else "behind the .bin: fetch both again")


def test_whatever_is_changed_in_the_text_it_is_a_gan_or_one_line(tmp_path):
    path = openvino_files.write(tmp_path, generator_state())
    text, rng, loaded = path.read_text(), random.Random(0), 0
    for _ in range(MUTATIONS):
        lines = text.split("\n")
        for _ in range(rng.randint(1, 3)):
            i, j = rng.sample(range(3, len(lines) - 3), 2)
            match rng.randrange(4):
                case 0:
                    lines[i], lines[j] = lines[j], lines[i]
                case 1:
                    del lines[i]
                case 2:
                    lines.insert(i, lines[j])
                case 3:
                    lines[i] = "".join(rng.choice("0123456789") if one.isdigit() else one for one in lines[i])
        path.write_text("\n".join(lines))
        try:
            images = checkpoints.sample(checkpoints.load(path), 2)
        except UserError as error:
            said = str(error)
        else:
            loaded, said = loaded + 1, ""
            assert images.isfinite().all()
        assert said == "" or said.isprintable()
        assert len(said) < 600
    assert loaded < MUTATIONS
