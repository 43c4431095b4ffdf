"""The zoo: hash before parsing, fp16 there and back, and what the shipped weights must be able to do."""

import ast
import hashlib
import importlib.util
import json
import os
import pickle
import re
import sys
from pathlib import Path

import nbformat
import pytest
import torch
from IPython.core.inputtransformer2 import TransformerManager
from torch import nn

import minegan_lite
from minegan_lite import Unmined, classes_of, data, zoo
from minegan_lite.chapters import runner
from minegan_lite.errors import UserError
from minegan_lite.metrics import digit_shares
from minegan_lite.networks.mnist import ConditionalCritic, ConditionalGenerator, Critic, DigitClassifier, Generator

PACKAGE = Path(minegan_lite.__file__).parent
SHIPPED = zoo.names()
DIGITS = [name for name in SHIPPED if name.startswith("mnist-")]
SOURCES = [name for name in SHIPPED if name not in DIGITS]
PACKAGED = [name for name in SHIPPED if zoo.entries()[name]["packaged"]]
CONFIG = {"width": 2, "latent_dim": 5}


def tiny_pair(seed: int = 0) -> nn.ModuleDict:
    torch.manual_seed(seed)
    return nn.ModuleDict({"generator": Generator(**CONFIG), "critic": Critic(CONFIG["width"])})


@pytest.fixture
def folder(tmp_path):
    """A zoo of one tiny GAN and one tiny classifier."""
    torch.manual_seed(1)
    classifier = DigitClassifier(2, 4)
    classifier.trunk[1].running_mean.normal_()  # buffers must travel too
    gan = {"kind": "gan", "config": CONFIG, "digits": [0, 1]}
    zoo.pack("tiny", tiny_pair(), **gan, card="# tiny\n", folder=tmp_path)
    config = {"width": 2, "feature_dim": 4}
    zoo.pack(
        zoo.CLASSIFIER, classifier, kind="classifier", config=config, digits=[0, 1], card="# judge\n", folder=tmp_path
    )
    return tmp_path


# --- reading and writing ----------------------------------------------------------------------------------------


def test_a_packed_gan_comes_back_rounded_to_fp16(folder):
    gan = zoo.load("tiny", folder)
    original = tiny_pair()
    for part in ("generator", "critic"):
        loaded = getattr(gan, part).state_dict()
        assert loaded.keys() == original[part].state_dict().keys()
        for key, x in original[part].state_dict().items():
            assert loaded[key].dtype == torch.float32
            assert torch.equal(loaded[key], torch.from_numpy(x.numpy().astype("float16").astype("float32")))
    assert gan.name == "tiny"
    assert not gan.generator.training
    assert not gan.critic.training
    z = gan.prior(3, torch.Generator().manual_seed(0))
    assert z.shape == (3, 5)
    assert gan.critic(gan.generator(z)).shape == (3, 1)


def test_a_packed_classifier_keeps_its_batch_statistics(folder):
    torch.manual_seed(1)
    original = DigitClassifier(2, 4)
    original.trunk[1].running_mean.normal_()
    loaded = zoo.load_classifier(folder)
    assert not loaded.training
    torch.testing.assert_close(loaded.trunk[1].running_mean, original.trunk[1].running_mean, rtol=1e-3, atol=1e-3)
    assert loaded.trunk[1].num_batches_tracked.dtype == torch.int64


def test_the_manifest_describes_the_files(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert sorted(manifest) == [zoo.CLASSIFIER, "tiny"]
    assert zoo.names(folder) == ["tiny"]
    entry = manifest["tiny"]
    content = (folder / entry["file"]).read_bytes()
    assert (entry["sha256"], entry["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
    assert (entry["kind"], entry["architecture"], entry["licence"]) == ("gan", "mnist", "MIT")
    assert (entry["config"], entry["digits"]) == (CONFIG, [0, 1])
    assert (folder / entry["card"]).read_text() == "# tiny\n"
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".md", ".md", ".safetensors", ".safetensors"]


def test_packing_twice_gives_the_same_bytes_and_keeps_the_others(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    zoo.pack("tiny", tiny_pair(), kind="gan", config=CONFIG, digits=[0, 1], card="# tiny\n", folder=folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_weights_that_fp16_cannot_hold_are_not_packed(folder, tmp_path):
    pair = tiny_pair()
    pair["critic"].score.bias.data.fill_(1e6)
    before = sorted(folder.iterdir())
    with pytest.raises(UserError, match="not finite in fp16"):
        zoo.pack("huge", pair, kind="gan", config=CONFIG, digits=[], card="", folder=folder)
    assert sorted(folder.iterdir()) == before


def test_unknown_names_say_the_known_ones(folder):
    for name in ("mnist-no-10", zoo.CLASSIFIER):
        with pytest.raises(UserError, match=f"unknown GAN '{name}': the zoo holds tiny"):
            zoo.load(name, folder)


# --- damage -----------------------------------------------------------------------------------------------------


class Trap:
    """Unpickling this creates a file: proof that somebody parsed it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def flipped(content: bytes, trap: Path) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def truncated(content: bytes, trap: Path) -> bytes:
    return content[: len(content) // 2]


def empty(content: bytes, trap: Path) -> bytes:
    return b""


def pickled(content: bytes, trap: Path) -> bytes:
    return pickle.dumps(Trap(trap))


@pytest.mark.parametrize("damage", [flipped, truncated, empty, pickled])
def test_damage_is_found_before_anything_is_parsed(folder, tmp_path, monkeypatch, damage):
    import safetensors.torch

    parsed = []
    monkeypatch.setattr(safetensors.torch, "load", parsed.append)
    for file in ("tiny.safetensors", f"{zoo.CLASSIFIER}.safetensors"):
        (folder / file).write_bytes(damage((folder / file).read_bytes(), tmp_path / "sprung"))
    for load in (lambda: zoo.load("tiny", folder), lambda: zoo.load_classifier(folder)):
        with pytest.raises(UserError, match="are damaged") as caught:
            load()
        assert "\n" not in str(caught.value)
    assert parsed == []
    assert not (tmp_path / "sprung").exists()
    assert [ok for _, ok, _ in zoo.verify(folder)] == [False, False]


def test_the_hash_is_checked_at_every_load(folder):
    zoo.load("tiny", folder)
    path = folder / "tiny.safetensors"
    path.write_bytes(flipped(path.read_bytes(), folder))
    with pytest.raises(UserError, match="are damaged"):
        zoo.load("tiny", folder)


def test_missing_files_are_refused(folder, tmp_path):
    (folder / "tiny.safetensors").unlink()
    with pytest.raises(UserError, match="cannot be read"):
        zoo.load("tiny", folder)
    report = {name: (ok, message) for name, ok, message in zoo.verify(folder)}
    assert report[zoo.CLASSIFIER][0]
    assert not report["tiny"][0]
    assert "cannot be read" in report["tiny"][1]
    assert zoo.here("tiny", folder)  # it should be, so that nothing is fetched in its place
    with pytest.raises(UserError, match="unknown weights 'mnist-no-10': the zoo holds digit-classifier, tiny"):
        zoo.here("mnist-no-10", folder)


MANIFESTS = {
    "empty": b"", "cut": b'{"tiny": {"file": "ti', "not UTF-8": b"\xff\xfe{}", "a list": b"[]", "of nothing": b"{}",
    "deep": b"[" * 100_000, "a number as entry": b'{"tiny": 1}',
}  # fmt: skip


@pytest.mark.parametrize("content", [None, *MANIFESTS.values()], ids=["missing", *MANIFESTS])
def test_without_a_whole_manifest_nothing_goes_on(folder, content):
    path = folder / "manifest.json"
    path.unlink() if content is None else path.write_bytes(content)
    for act in (zoo.verify, zoo.names, zoo.load_classifier, lambda where: zoo.load("tiny", where)):
        with pytest.raises(UserError, match=r"the zoo's manifest .*manifest\.json; reinstall minegan-lite") as caught:
            act(folder)
        assert "\n" not in str(caught.value)


ENTRY = {"file": 7, "sha256": "f00", "bytes": "many", "licence": None, "kind": "gun", "architecture": "dcgan"}
ENTRY |= {"config": [], "digits": "01", "card": None, "packaged": 1}


@pytest.mark.parametrize("harm", [*ENTRY.items(), ("file", "../tiny.safetensors"), ("card", "/etc/passwd")], ids=str)
@pytest.mark.parametrize("gone", [False, True], ids=["changed", "gone"])
def test_every_key_of_an_entry_is_needed(folder, harm, gone):
    (key, value), path = harm, folder / "manifest.json"
    manifest = json.loads(path.read_text())
    assert set(ENTRY) == set(manifest["tiny"])
    manifest["tiny"][key] = value
    if gone:
        del manifest["tiny"][key]
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=rf"manifest is damaged: {key} of tiny in "):
        zoo.verify(folder)


@pytest.mark.parametrize(
    "config", [{}, {"width": 3, "latent_dim": 5}, {"width": "2", "latent_dim": 5}, {"width": -2}, {"depth": 3}], ids=str
)
@pytest.mark.parametrize("name", ["tiny", "digit-classifier"])
def test_a_config_that_does_not_fit_the_weights_is_told(folder, name, config):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest[name]["config"] = config
    path.write_text(json.dumps(manifest))
    assert [(row[0], row[1]) for row in zoo.verify(folder)] == [(n, n != name) for n in sorted(manifest)]
    with pytest.raises(UserError, match=f"its config of {name} does not fit the weights in "):
        zoo.load("tiny", folder) if name == "tiny" else zoo.load_classifier(folder)


def test_a_zoo_without_judge_says_so(tmp_path):
    zoo.pack("tiny", tiny_pair(), kind="gan", config=CONFIG, digits=[0], card="# tiny\n", folder=tmp_path)
    with pytest.raises(UserError, match="holds no digit-classifier"):
        zoo.load_classifier(tmp_path)


def test_no_bare_unpickling_in_the_library():
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = [alias.name for alias in node.names] + [getattr(node, "module", None)]
                assert "pickle" not in modules, path
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                assert path.name != "zoo.py", "weights are safetensors"
                assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords), path


# --- what the package does not hold ----------------------------------------------------------------------------


@pytest.fixture
def apart(tmp_path, monkeypatch, serve):
    """A zoo whose one GAN lies on a server, as an installed package finds it: the server's folder."""
    offered = tmp_path / "raw" / "v9" / "weights"
    zoo.pack(
        "far", tiny_pair(), kind="gan", config=CONFIG, digits=[0], card="# far\n", folder=tmp_path / "package",
        beside=offered,
    )  # fmt: skip
    monkeypatch.setattr(zoo, "BESIDE", tmp_path / "no checkout")
    server = serve(tmp_path)
    monkeypatch.setattr(zoo, "REMOTE", zoo.REMOTE.replace("https://github.com/minegan-lite/minegan-lite/", server))
    monkeypatch.setattr(minegan_lite, "REFERENCE", "v9")
    monkeypatch.setenv("MINEGAN_CACHE", str(tmp_path / "cache"))
    return offered


def test_weights_beside_the_package_are_fetched_once_by_reference_and_hash(apart, tmp_path):
    package = tmp_path / "package"
    assert not (package / "far.safetensors").exists()
    ((name, ok, message),) = zoo.verify(package)
    assert (name, ok, zoo.here("far", package)) == ("far", True, False)
    assert message.endswith("not here: fetched when it is first loaded")
    first = zoo.load("far", package)
    assert torch.equal(first.critic.score.weight, tiny_pair()["critic"].score.weight.half().float())
    (apart / "far.safetensors").unlink()  # from the cache now
    assert torch.equal(zoo.load("far", package).critic.score.weight, first.critic.score.weight)
    assert zoo.here("far", package)
    assert "not here" not in zoo.verify(package)[0][2]


def test_a_damaged_file_of_the_cache_is_fetched_again_once_it_is_deleted(apart, tmp_path):
    zoo.load("far", tmp_path / "package")
    (kept,) = (tmp_path / "cache").rglob("*.safetensors")
    kept.write_bytes(kept.read_bytes()[:-1])
    with pytest.raises(UserError, match=rf"are damaged: {kept} .*; delete it, and it is fetched again$"):
        zoo.load("far", tmp_path / "package")
    kept.unlink()
    zoo.load("far", tmp_path / "package")


def test_a_checkouts_own_weights_come_first(apart, tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "BESIDE", apart)
    zoo.load("far", tmp_path / "package")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("harm", ["other bytes", "truncated", "missing"])
def test_a_half_or_foreign_download_never_looks_complete(apart, tmp_path, harm):
    content = (apart / "far.safetensors").read_bytes()
    (apart / "far.safetensors").unlink()
    if harm != "missing":
        (apart / "far.safetensors").write_bytes(content[:99] if harm == "truncated" else b"<html>hello</html>")
    with pytest.raises(UserError, match=r"weights of far cannot be fetched .*raw/v9/weights/far.safetensors") as caught:
        zoo.load("far", tmp_path / "package")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    (apart / "far.safetensors").write_bytes(content)
    zoo.load("far", tmp_path / "package")


def test_offline_never_fetches(apart, tmp_path, monkeypatch):
    monkeypatch.setenv("MINEGAN_OFFLINE", "1")
    with pytest.raises(UserError, match="MINEGAN_OFFLINE forbids"):
        zoo.load("far", tmp_path / "package")
    assert not (tmp_path / "cache").exists()


def test_a_packed_conditional_gan_comes_back_with_its_classes(tmp_path):
    config = {"width": 2, "latent_dim": 5, "classes": ["3", "8"]}
    pair = nn.ModuleDict({"generator": ConditionalGenerator(**config), "critic": ConditionalCritic(2, 2)})
    zoo.pack("cond", pair, kind="gan", config=config, digits=[3, 8], card="# cond\n", folder=tmp_path)
    gan = zoo.load("cond", tmp_path)
    z, rows = torch.randn(2, 5), gan.generator.embed(torch.tensor([1, 0]))
    assert rows.tolist() == [[0, 1], [1, 0]]
    with torch.no_grad():
        torch.testing.assert_close(gan.generator(z, rows), pair["generator"](z, rows), atol=1e-2, rtol=1e-2)
    assert [one.name for one in minegan_lite.classes_of(gan)] == ["cond:3", "cond:8"]


# --- the export of the training scripts -------------------------------------------------------------------------


@pytest.fixture
def shipping(monkeypatch):
    """The training scripts' shared module; they are not part of the package."""
    path = PACKAGE.parent / "data_scripts" / "shipping.py"
    spec = importlib.util.spec_from_file_location("shipping", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "shipping", module)
    spec.loader.exec_module(module)
    return module


def test_an_exported_gan_comes_with_a_complete_card(shipping, tmp_path):
    settings = {
        "name": "mnist-no-4", **CONFIG, "steps": 14_000, "seed": 3, "batch": 64, "lr": 2e-4, "critic_steps": 3,
        "penalty": 10.0, "betas": [0.5, 0.9], "precision": "bf16-mixed", "ema_decay": 0.999,
    }  # fmt: skip
    pair, digits = tiny_pair(), [0, 1, 2, 3, 5, 6, 7, 8, 9]
    held_out = data.few_shot("uci-digits", digit=0).held_out
    torch.manual_seed(0)
    judge = DigitClassifier(2, 4).eval()
    shipping.ship_gan(pair["generator"], pair["critic"], digits, settings, held_out, judge, tmp_path)
    card = (tmp_path / "mnist-no-4.md").read_text("utf-8")
    for fact in (
        "width 2", "latent dimension 5", "digits 0, 1, 2, 3, 5, 6, 7, 8, 9; never the excluded digit 4",
        "python data_scripts/train_zoo.py mnist-no-4 --steps 14000 --width 2", "14,000 generator steps", "seed 3",
        "bf16-mixed", "MIT", "Intended use", "Limitations", "2,000 samples", "Fréchet distance", "floor", "n = 29 ",
    ):  # fmt: skip
        assert fact in card, fact
    gan = zoo.load("mnist-no-4", tmp_path)
    z = gan.prior(shipping.SAMPLES, torch.Generator().manual_seed(0))
    with torch.no_grad():
        guesses = judge(gan.generator(z)).argmax(1)
    stated = [float(x) for x in re.findall(r"[\d.]+(?=%)", card)]
    counted = [100 * (guesses == digit).float().mean().item() for digit in range(10)]
    assert stated == pytest.approx(counted, abs=0.051)
    assert zoo.entries(tmp_path)["mnist-no-4"]["digits"] == digits


# --- what ships -------------------------------------------------------------------------------------------------


def test_the_promised_weights_ship_and_are_whole():
    assert set(PACKAGED) == {"mnist-all", "mnist-no-9", "mnist-only-06", "mnist-only-17", "mnist-cond-no-9"}
    apart = {f"mnist-no-{digit}" for digit in range(9)} | {"mnist-only-23", "mnist-only-45"}
    apart |= {f"mnist-cond-{which}" for which in ("all", "no-1", "no-5")}
    apart |= {"men-32", "women-32"}
    assert set(SHIPPED) - set(PACKAGED) == apart
    assert zoo.entries()[zoo.CLASSIFIER]["packaged"]
    assert all(ok and zoo.here(name) for name, ok, _ in zoo.verify()), zoo.verify()


def named(source: str) -> set[str]:
    """The GANs that a piece of Python names, "mnist-no-9" or f"mnist-no-{digit}"."""
    forms = []
    for node in ast.walk(ast.parse(source)):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        texts = [part.value if isinstance(part, ast.Constant) else None for part in parts]
        if str(texts[0]).startswith("mnist-"):
            forms.append("".join(".+" if text is None else re.escape(text) for text in texts))
    return {name for name in SHIPPED if any(re.fullmatch(form, name) for form in forms)}


def test_names_are_found_in_code():
    assert named("a = load('mnist-all')  # mnist-no-1\nb = 'a mnist-no-2', f'{a}'") == {"mnist-all"}
    assert named("[f'mnist-no-{d}' for d in '12']") == {f"mnist-no-{digit}" for digit in range(10)}


# Ten GANs that all draw nines are compared there. With them the package would be over its size; a checkout holds them,
# and in Colab there is a network.
FETCHED = {"measuring": {f"mnist-no-{digit}" for digit in range(9)}}


@pytest.mark.parametrize("chapter", runner.chapters())
def test_what_a_chapter_loads_is_in_the_package(chapter):
    notebook = nbformat.read(runner.book() / f"{chapter}.ipynb", as_version=4)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    needed = named(TransformerManager().transform_cell("\n".join(code)))
    assert needed - set(PACKAGED) == FETCHED.get(chapter, set())


def test_the_weights_folder_holds_what_the_manifest_lists_and_stays_small():
    entries = zoo.entries().values()
    listed = {"manifest.json"} | {e["card"] for e in entries} | {e["file"] for e in entries if e["packaged"]}
    parts = ("face-attributes", "ffhq-head-64", "ffhq-head-128")  # of networks whose rest a package ships
    listed |= {f"{part}.{suffix}" for part in parts for suffix in ("md", "safetensors")}
    assert {path.name for path in zoo.WEIGHTS.iterdir()} == listed
    assert sum(path.stat().st_size for path in zoo.WEIGHTS.iterdir()) <= 10 * 2**20
    assert {path.name for path in zoo.BESIDE.iterdir()} == {e["file"] for e in entries if not e["packaged"]}


@pytest.mark.parametrize("name", DIGITS)
def test_a_shipped_gan_draws_its_digits_and_not_the_excluded_one(name):
    """The classifier gives every digit of the model ≥4 % of 2,000 samples and the excluded one <3 %."""
    gan = zoo.load(name)
    which = re.fullmatch(r"mnist-(?:cond-)?(all|no-(?P<no>\d)|only-(?P<only>\d+))", name)
    excluded = [d for d in range(10) if (str(d) not in which["only"] if which["only"] else str(d) == which["no"])]
    assert zoo.entries()[name]["digits"] == [digit for digit in range(10) if digit not in excluded]
    shares = digit_shares(zoo.load_classifier(), Unmined(gan).sample(2000, seed=0))
    for digit, share in enumerate(shares):
        assert share < 0.03 if digit in excluded else share >= 0.04, (name, digit, share)


@pytest.mark.parametrize("name", [name for name in SHIPPED if "cond" in name])
def test_each_class_of_a_shipped_conditional_gan_is_its_digit(name):
    """At least nine of ten of 500 samples, of every class, are what the class is called."""
    for one in classes_of(zoo.load(name)):
        digit = int(one.name.partition(":")[2])
        assert digit_shares(zoo.load_classifier(), Unmined(one).sample(500, seed=1))[digit] > 0.9, one.name


@pytest.mark.parametrize("name", DIGITS)
def test_a_shipped_card_states_the_distance_with_its_floor(name):
    card = (zoo.WEIGHTS / zoo.entries()[name]["card"]).read_text("utf-8")
    value, floor = re.search(r"Fréchet distance \| ([\d.]+) ± [\d.]+ \| ([\d.]+) ± ", card).groups()
    assert float(value) > float(floor) > 0
    assert re.search(r"n = [\d,]+ samples against m = [\d,]+ images", card)
    assert f"train_zoo.py {name} " in card


@pytest.mark.parametrize("name", SOURCES)
def test_a_shipped_source_draws_many_pictures_and_copies_none(name):
    """Of natural images: in range and sharp, no two alike, and the card says that it does not copy."""
    gan = zoo.load(name)
    assert gan.family == "logistic-r1"
    x = gan.sample(64, seed=0)
    assert x.shape == (64, *gan.generator.image_shape)
    assert (x.abs() <= 1).float().mean() > 0.95
    assert gan.critic(x).shape == (64, 1)
    detail = (x - x.flip(0)).square().mean((1, 2, 3)).sqrt()
    assert detail.min() > 0.1
    card = (zoo.WEIGHTS / zoo.entries()[name]["card"]).read_text("utf-8")
    nearer = float(re.search(r"nearer to a training than to a held-out picture \| ([\d.]+) \|", card)[1])
    assert 0.4 < nearer < 0.6
    assert re.search(rf"train_source.py .*\b{name}$", card, re.M)
    assert "Their terms:" in card


def test_the_classifier_knows_the_test_digits():
    images, labels = data.load_mnist("test")
    classifier = zoo.load_classifier()
    with torch.no_grad():
        guesses = torch.cat([classifier(data.to_signed(part)).argmax(1) for part in images.split(500)])
    assert len(labels) == 10_000
    assert (guesses == labels).float().mean() >= 0.99
