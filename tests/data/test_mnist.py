"""MNIST comes with the package, whole; the original files win where MINEGAN_DATA has them; nothing is downloaded."""

import hashlib
import lzma
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from minegan_lite.data import mnist
from minegan_lite.errors import UserError

# How many images of each digit there are, as counted in LeCun's own files.
TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Each test reads anew, from the package."""
    monkeypatch.delenv("MINEGAN_DATA", raising=False)
    mnist._read.cache_clear()
    yield
    mnist._read.cache_clear()


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> Path:
    """A folder with the four original files, unpacked."""
    root = tmp_path_factory.mktemp("originals")
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split, files in mnist.MNIST_FILES.items():
        for (name, *_), content in zip(files, mnist.unpack(split), strict=True):
            (raw / name).write_bytes(content)
    return root


@pytest.mark.parametrize(("split", "counts"), [("train", TRAIN), ("test", TEST)])
def test_the_package_has_every_digit(split, counts):
    images, labels = mnist.load_mnist(split)
    assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
    assert images.shape == (sum(counts), 1, 28, 28)
    assert labels.bincount().tolist() == counts


def test_the_pack_is_the_published_files_bit_for_bit(originals):
    """Read by torchvision, whose MD5s are of the packed originals and whose parser is not ours."""
    import torchvision.datasets

    for split in ("train", "test"):
        theirs = torchvision.datasets.MNIST(str(originals), train=split == "train", download=False)
        images, labels = mnist.load_mnist(split)
        assert torch.equal(images[:, 0], theirs.data)
        assert torch.equal(labels, theirs.targets)
        for name, md5, size in mnist.MNIST_FILES[split]:
            content = (originals / "MNIST" / "raw" / name).read_bytes()
            assert (hashlib.md5(content).hexdigest(), len(content)) == (md5, size)


def test_the_original_files_win_where_they_are_named(originals, monkeypatch):
    assert mnist.original_files() is None
    monkeypatch.setattr(mnist, "PACKS", Path("nowhere"))  # so that only the originals can give the images
    monkeypatch.setenv("MINEGAN_DATA", str(originals))
    assert mnist.original_files() == originals / "MNIST" / "raw"
    assert mnist.load_mnist("test")[1].bincount().tolist() == TEST


def test_a_folder_without_mnist_leaves_the_package(monkeypatch, tmp_path, originals):
    for name in ("empty", "partly"):
        raw = tmp_path / name / "MNIST" / "raw"
        raw.mkdir(parents=True)
        if name == "partly":
            shutil.copy(originals / "MNIST" / "raw" / "t10k-labels-idx1-ubyte", raw)
        monkeypatch.setenv("MINEGAN_DATA", str(tmp_path / name))
        assert mnist.original_files() is None
        assert mnist.load_mnist("test")[1].bincount().tolist() == TEST


@pytest.mark.parametrize("harm", ["a bit", "cut", "empty"])
@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_damaged_original_is_refused(originals, monkeypatch, tmp_path, name, harm):
    shutil.copytree(originals, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "MNIST" / "raw" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes({"a bit": content, "cut": content[:-1], "empty": b""}[harm])
    monkeypatch.setenv("MINEGAN_DATA", str(tmp_path))
    with pytest.raises(UserError, match=f"{name} is damaged.*MINEGAN_DATA") as caught:
        mnist.load_mnist("test")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("harm", ["a bit", "cut", "empty", "missing", "other digits"])
def test_a_damaged_pack_is_refused(monkeypatch, tmp_path, harm):
    content = bytearray((mnist.PACKS / "mnist-test.xz").read_bytes())
    middle = len(content) // 2
    content[middle] ^= 1
    harmed = {"a bit": content, "cut": content[:middle], "empty": b"", "other digits": lzma.compress(bytes(7_850_024))}
    if harm in harmed:
        (tmp_path / "mnist-test.xz").write_bytes(harmed[harm])
    monkeypatch.setattr(mnist, "PACKS", tmp_path)
    with pytest.raises(UserError) as caught:
        mnist.load_mnist("test")
    assert "\n" not in str(caught.value)
    assert "mnist-test.xz" in str(caught.value)


@pytest.mark.parametrize("load", [mnist.load_mnist, mnist.load_uci])
@pytest.mark.parametrize("split", ["val", "", None])
def test_there_are_two_splits(load, split):
    with pytest.raises(UserError, match="'train' or 'test'"):
        load(split)


def test_a_bare_process_asks_no_network_and_is_silent(tmp_path):
    """No data folder, an empty cache, and every connection refused: MNIST is there all the same."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MINEGAN_")}
    environment |= {"MINEGAN_CACHE": str(tmp_path), "PYTHONPATH": str(Path(mnist.__file__).parents[2])}
    code = (
        "import socket\n"
        "def refuse(*args, **kwargs): raise SystemExit('a connection was tried')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "import minegan_lite.data as d; print(d.few_shot('mnist', digit=9, n=100).origin)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "mnist\n", "")
    assert list(tmp_path.iterdir()) == []


def test_the_card_names_the_files_and_their_licence():
    card = (mnist.PACKS / "mnist.md").read_text("utf-8")
    assert "LeCun" in card
    assert "https://creativecommons.org/licenses/by-sa/3.0/" in card
    for split in mnist.MNIST_FILES:
        content = (mnist.PACKS / f"mnist-{split}.xz").read_bytes()
        assert f"| `mnist-{split}.xz` | {len(content):,} | `{hashlib.sha256(content).hexdigest()}` |" in card


def test_packing_loses_nothing_and_checks_first(originals, monkeypatch):
    """On the labels alone, which are small."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "data_scripts"))
    import pack_mnist

    raw = originals / "MNIST" / "raw"
    labels = mnist.MNIST_FILES["test"][1]
    monkeypatch.setitem(mnist.MNIST_FILES, "test", [labels])
    assert lzma.decompress(pack_mnist.pack("test", raw)) == (raw / labels[0]).read_bytes()
    monkeypatch.setitem(mnist.MNIST_FILES, "test", [(labels[0], "0" * 32, labels[2])])
    with pytest.raises(UserError, match="MD5"):
        pack_mnist.pack("test", raw)


def test_the_packs_are_those_of_the_card_says_the_script(capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "data_scripts"))
    import pack_mnist

    assert pack_mnist.main(["--check"]) == 0
    assert "mnist-train.xz: 60,000 images" in capsys.readouterr().out
    monkeypatch.setattr(pack_mnist, "CARD", Path(__file__))
    assert pack_mnist.main(["--check"]) == 2
    assert "does not name" in capsys.readouterr().err


# --- the other hand ---------------------------------------------------------------------------------------------


def test_uci_digits_are_framed_as_mnist_is():
    from sklearn.datasets import load_digits

    images, labels = mnist.load_uci("train")
    assert images.shape == (1200, 1, 28, 28)
    assert torch.equal(labels, torch.from_numpy(load_digits().target[:1200]).long())
    border = torch.ones(28, 28, dtype=torch.bool)
    border[4:24, 4:24] = False
    assert images[:, 0, border].max() == 0
    assert images.max() == 255
    small = torch.from_numpy(load_digits().images[:1200]) * 255 / 16
    means = images[:, 0, 4:24, 4:24].double().mean((1, 2))
    assert (means - small.mean((1, 2))).abs().max() < 12  # enlarging keeps the ink, but for the edges


def test_splits_of_the_uci_digits_are_disjoint():
    train, test = (mnist.load_uci(split)[0] for split in ("train", "test"))
    assert (len(train), len(test)) == (1200, 597)
    assert not {image.numpy().tobytes() for image in train} & {image.numpy().tobytes() for image in test}
