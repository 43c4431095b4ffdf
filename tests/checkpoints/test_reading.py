"""Reading strangers' files: nothing is run, and nothing takes more memory than a real checkpoint does."""

import argparse
import builtins
import datetime
import io
import os
import pathlib
import re
import types
import zipfile

import numpy as np
import pytest
import torch

from minegan_lite import UserError
from minegan_lite.checkpoints import LAYOUTS, load, reading
from tests.checkpoints.files import FILES
from tests.checkpoints.test_loading import CRITICS, STATES, sample

BESIDE = {
    "epoch": 7,
    "name": "run",
    "best_fid": np.float64(12.5),
    "step": np.int64(3),
    "curve": np.arange(6.0).reshape(2, 3),
    "names": np.array(["a", "b"]),
    "path": pathlib.PurePosixPath("logs/run"),
    "folder": pathlib.Path("logs"),
    "elsewhere": pathlib.PureWindowsPath("c:/logs"),
    "when": datetime.datetime(2024, 5, 6, tzinfo=datetime.UTC),
    "took": datetime.timedelta(hours=3),
    "day": datetime.date(2024, 5, 6),
    "args": argparse.Namespace(lr=1e-4, out=pathlib.PurePosixPath("x"), seed=np.int64(1), device=torch.device("cpu")),
    "simple": types.SimpleNamespace(lr=1e-4),
    "torch": torch.__version__,
    "shape": torch.Size([2, 3]),
    "nothing": None,
    "list": [1, "a", (2.0,)],
}


class Calls:
    """Unpickled, it would call a function."""

    def __init__(self, function, *given):
        self.called = function, given

    def __reduce__(self):
        return self.called


class Builds(argparse.Namespace):
    """Unpickled, it would be a Namespace whose state is made by a call."""

    def __reduce__(self):
        return argparse.Namespace, (), {"lr": Calls(os.system, f"touch {self.mark}")}


def refused(path, words):
    """One line without anything that a terminal obeys, and without the advice to read the file unsafely."""
    with pytest.raises(UserError, match=words) as error:
        load(path)
    text = str(error.value)
    assert text.isprintable()
    assert "weights_only" not in text
    return text


@pytest.mark.parametrize("new", [True, False])
def test_what_training_scripts_keep_beside_the_weights_is_passed_over(tmp_path, new):
    state = STATES["biggan-studiogan"]
    torch.save({"state_dict": CRITICS["biggan-studiogan"], **BESIDE}, tmp_path / "D.pth",
               _use_new_zipfile_serialization=new)  # fmt: skip
    torch.save(state | BESIDE, tmp_path / "G.pth", _use_new_zipfile_serialization=new)
    gan, plain = load(tmp_path / "G.pth", critic=tmp_path / "D.pth"), load(state, critic=CRITICS["biggan-studiogan"])
    assert torch.equal(sample(gan), sample(plain))
    x = torch.ones(2, *gan.generator.image_shape)
    assert torch.equal(gan.critic(x), plain.critic(x))


def test_what_older_numpy_and_newer_pathlib_call_themselves_is_passed_over(tmp_path):
    """Both spellings, whichever version wrote the tests' own files."""
    torch.save(STATES["sngan-mimicry"] | {"fid": np.float64(1), "path": pathlib.PurePosixPath("a")}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    for new, old in ((b"numpy._core.", b"numpy.core."), (b"pathlib\n", b"pathlib._local\n")):
        with zipfile.ZipFile(tmp_path / "b.pth", "w") as archive:
            for name, content in parts.items():
                archive.writestr(name, content.replace(new, old) if name.endswith("data.pkl") else content)
        assert load(tmp_path / "b.pth").generator.latent_dim == 5


def test_stand_ins_are_inert():
    """None of the classes that a file may ask for is the real one, and ours keep nothing of what they are given."""
    assert vars(reading.Inert(1, 2)) == {}
    made = reading.Inert.__new__(reading.Inert, "a")
    made.__setstate__({"__class__": dict, "lr": 1})
    assert vars(made) == {}
    assert type(made) is reading.Inert
    allowed = [pair for layout in LAYOUTS for pair in getattr(layout, "ALLOWED_GLOBALS", ())]
    assert [(one.__module__, name) for one, name in allowed] == [
        ("minegan_lite.checkpoints.pgan_zoo", "models.utils.config.BaseConfig")
    ]


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("name", ["system", "eval", "exec", "getattr", "path", "state", "array", "dtype"])
def test_nothing_hostile_is_run(tmp_path, name, new):
    mark = tmp_path / "mark"
    touch = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    hostile = {
        "system": Calls(os.system, f"touch {mark}"),
        "eval": Calls(builtins.eval, touch),
        "exec": Calls(builtins.exec, touch),
        "getattr": Calls(builtins.getattr, Calls(pathlib.Path, str(mark)), "touch"),
        "path": Calls(pathlib.Path.touch, pathlib.PurePosixPath(mark)),
        "state": Builds(mark=mark),
        "array": np.array([Calls(os.system, f"touch {mark}")], dtype=object),
        "dtype": Calls(np.dtype, Calls(builtins.eval, touch)),
    }[name]
    path = tmp_path / "G.pth"
    torch.save(STATES["sngan-mimicry"] | {"args": hostile}, path, _use_new_zipfile_serialization=new)
    refused(path, "nothing in it was run: it asks for ")
    assert not mark.exists()


def test_a_refusal_does_not_hand_on_advice_to_read_unsafely(tmp_path):
    torch.save({"a": Calls(os.system, "true")}, tmp_path / "a.pth")
    with pytest.raises(UserError) as error:
        load(tmp_path / "a.pth")
    assert error.value.__suppress_context__, "the traceback would show torch's message, too"


def in_memory(change):
    """By how many bytes the process's memory grew at most while a file was refused."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the largest size so far is forgotten
    before = largest()
    change()
    return largest() - before


def largest():
    status = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])


linux = pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="asks Linux for its memory")


@linux
def test_an_expanded_tensor_is_refused_before_it_is_copied(tmp_path):
    wide = torch.zeros(1, dtype=torch.float16).expand(2**19, 2**12)  # 8 GB as float32
    torch.save(STATES["sngan-mimicry"] | {"l1.weight": wide}, tmp_path / "wide.pth")
    assert (tmp_path / "wide.pth").stat().st_size < 1 << 20
    assert in_memory(lambda: refused(tmp_path / "wide.pth", "more than 4 GiB")) < 1 << 28
    less = torch.zeros(1).expand(2**10, 2**10)
    torch.save(STATES["sngan-mimicry"] | {"l1.weight": less}, tmp_path / "less.pth")
    refused(tmp_path / "less.pth", r"'l1.weight' has the shape \(1024, 1024\), but data for fewer numbers")


@linux
def test_one_storage_under_many_names_is_counted_each_time(tmp_path):
    shared = torch.zeros(2**22, dtype=torch.float16)
    torch.save({f"a{i}": shared for i in range(300)}, tmp_path / "many.pth")
    assert in_memory(lambda: refused(tmp_path / "many.pth", "more than 4 GiB")) < 1 << 28


def zeros(path, name, size, pad=b""):
    """A zip whose one part unpacks to so many zeros, written piece by piece."""
    archive = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with archive, archive.open(name, "w") as part:
        part.write(pad)
        for _ in range(size >> 22):
            part.write(bytes(1 << 22))


def npy_header(shape):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue()


@linux
@pytest.mark.parametrize(("name", "limit"), [("l1/W.npy", "NPZ_LIMIT"), ("a/data.pkl", "LIMIT")])
def test_what_an_archive_unpacks_to_is_bounded_before_it_is_unpacked(tmp_path, monkeypatch, name, limit):
    assert (reading.LIMIT, reading.NPZ_LIMIT) == (4 << 30, 1 << 30)
    monkeypatch.setattr(reading, limit, 1 << 26)  # as 64 MiB: the real limits would take seconds to exceed
    path = tmp_path / ("G.npz" if name.endswith("npy") else "G.pth")
    zeros(path, name, 1 << 28, npy_header((1 << 26,)) if name.endswith("npy") else b"")
    assert path.stat().st_size < 1 << 23
    grown = in_memory(
        lambda: refused(path, r"unpacks to 268,435,\d\d\d bytes, and no checkpoint known here has 67,108,864")
    )
    assert grown < 1 << 26


def test_a_header_that_claims_more_than_its_part_has_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "G.npz", "w") as archive:
        archive.writestr("block2/b1/avg_mean.npy", npy_header((1 << 40,)) + bytes(16))
    refused(tmp_path / "G.npz", "its part block2/b1/avg_mean.npy is cut")


def test_a_file_that_is_larger_than_any_checkpoint_is_not_opened(tmp_path):
    with (tmp_path / "G.pth").open("wb") as file:
        file.truncate(5 << 30)  # of holes: no byte is written
    refused(
        tmp_path / "G.pth", "has 5,368,709,120 bytes, and no checkpoint known here has 4,294,967,296: it was not opened"
    )


@pytest.mark.parametrize("name", FILES)
def test_a_bit_flipped_in_a_tensor_is_noticed(tmp_path, name):
    path = tmp_path / ("G.npz" if name == "sngan-chainer" else "G.pth")
    if path.suffix == ".npz":
        np.savez_compressed(path, **{key: x.numpy() for key, x in FILES[name]().items()})
    else:
        torch.save(FILES[name](), path)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda part: part.compress_size)
    content[largest.header_offset + 200 + largest.compress_size // 2] ^= 1
    path.write_bytes(content)
    refused(path, "is damaged")


def test_only_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")  # opened, it would wait for ever
    refused(tmp_path / "pipe.pth", "pipe.pth is a pipe or a device, give a file")
    refused("/dev/zero", "/dev/zero is a pipe or a device")
    refused(tmp_path, "is a directory, give a file")
    refused(tmp_path / "\0.pth", "cannot be read")
    with pytest.raises(UserError, match="is a pipe"):
        load(STATES["biggan-pytorch"], critic=tmp_path / "pipe.pth")


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_program_is_told_from_weights(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "G.pt")
    refused(tmp_path / "G.pt", r"is TorchScript, which is a program: save the network's state_dict\(\)")


@pytest.mark.parametrize(
    "key",
    ["\x1b[2Jgone", "a\nb", "\u202eesrever", "\ud800", "x" * 200_000, "\x9b31m"],
    ids=["escape", "line end", "direction", "surrogate", "long", "control"],
)
def test_names_in_a_file_do_not_reach_the_terminal_raw(tmp_path, key):
    mimicry, path = STATES["sngan-mimicry"], tmp_path / "G.pth"
    states = (
        {key: torch.zeros(2)},
        {key: mimicry},
        mimicry | {key: torch.zeros(2)},
        {"a": {key: 1}, key: {}},
        mimicry | {key: torch.zeros(2, device="meta")},
        {f"block{key}.b1.running_mean": torch.ones(2)},
    )
    for state in states:
        torch.save(state, path)
        assert len(refused(path, "the checkpoint|no known")) < 1000


def test_the_name_of_a_class_is_shown_on_one_line(tmp_path):
    name = "evil\x1b[2J" + "x" * 2_000
    content = b"\x80\x02c" + name.encode() + b"\ncall\n)R."
    torch.save({"a": 1}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "b.pth", "w") as archive:
        archive.writestr("b/data.pkl", content)
        archive.writestr("b/version", b"3\n")
    assert len(refused(tmp_path / "b.pth", r"it asks for evil\\x1b\[2Jx")) < 1000
