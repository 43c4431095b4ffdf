"""The zoo: pretrained weights by name, each with its hash, licence and model card.

The package carries the GANs that the chapters mine. The others are in the repository's weights/ folder. Without a
checkout they are downloaded from there, at the branch or tag `minegan_lite.REFERENCE`, checked against their hash and
kept in the cache.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from minegan_lite.data import download
from minegan_lite.errors import UserError
from minegan_lite.files import write_atomically
from minegan_lite.gan import GAN, StandardNormal, classes_of
from minegan_lite.networks import mnist, progan
from minegan_lite.networks.plain import PlainCritic

WEIGHTS = Path(__file__).parent / "weights"
BESIDE = Path(__file__).parents[1] / "weights"  # in a checkout
REMOTE = "https://github.com/minegan-lite/minegan-lite/raw/{reference}/weights/{file}"
CLASSIFIER = "digit-classifier"
FAMILIES = {"mnist": "wgan-gp", "progan": "logistic-r1", "plain": "wgan-gp"}  # what we trained each architecture with
# The fields of a manifest entry: texts with the form that each must have (no path for file and card), and the types
# of the other fields.
TEXTS = {
    "file": r"[\w-]+\.safetensors", "sha256": r"[0-9a-f]{64}", "kind": r"gan|classifier|critic|miner",
    "architecture": r"mnist|progan|plain|miner", "card": r"[\w-]+\.md",
}  # fmt: skip
VALUES = {"bytes": int, "licence": str, "config": dict, "digits": list, "packaged": bool}


def entries(folder: Path = WEIGHTS) -> dict[str, dict[str, Any]]:
    """The whole manifest, which lists GANs, critics, the digit classifier and recorded miners: {name: entry}.

    An entry is a dict. file, card: names of the weights and of the model card, without a path. sha256, bytes: of the
    weights' file. licence. kind: "gan", "critic", "classifier" or "miner". architecture, config: which networks, and
    the arguments that make them. digits: the classes that were trained on. packaged: whether the weights' file lies in
    `folder`; if not, it lies in the weights/ folder of the repository.

    Raises UserError if the manifest is missing or unreadable, or if an entry lacks one of these fields.
    """
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: neither UTF-8 nor JSON
        raise UserError(
            f"the zoo's manifest cannot be read ({type(error).__name__}): {path}; reinstall minegan-lite"
        ) from error
    if not isinstance(manifest, dict) or not manifest:
        raise UserError(f"the zoo's manifest lists nothing: {path}; reinstall minegan-lite")
    for name, entry in manifest.items():
        if wrong := _faults(entry):
            what = ", ".join(wrong)
            raise UserError(f"the zoo's manifest is damaged: {what} of {name} in {path}; reinstall minegan-lite")
    return manifest


def names(folder: Path = WEIGHTS) -> list[str]:
    """The GANs that `load` knows, sorted."""
    return sorted(name for name, entry in entries(folder).items() if entry["kind"] == "gan")


def load(name: str, folder: Path = WEIGHTS) -> GAN:
    """The GAN of this name: generator (EMA weights) and critic, float32 on the CPU, in eval mode.

    Weights that the package does not carry are downloaded once, with a progress bar. Raises UserError for an unknown
    name, for a file that is missing or differs from the manifest, and if the download fails or MINEGAN_OFFLINE forbids
    it.
    """
    if name not in names(folder):
        known = ", ".join(names(folder)) or "nothing yet"
        raise UserError(f"unknown GAN {name!r}: the zoo holds {known}")
    entry = entries(folder)[name]
    generator, critic = _read(name, entry, folder).children()
    assert isinstance(generator, mnist.Generator | progan.Generator)
    prior = StandardNormal(generator.latent_dim)
    return GAN(generator, critic, prior, name, FAMILIES[entry["architecture"]])


def load_all(names: Iterable[str], folder: Path = WEIGHTS) -> list[GAN]:
    """The GANs of these names, in their order. "mnist-cond-no-9:4" is class 4 of the conditional GAN mnist-cond-no-9.

    A conditional GAN is loaded once, and its classes share its networks. Raises UserError as `load` does, and for a
    class that the GAN does not have.
    """
    loaded: dict[str, dict[str, GAN]] = {}
    for name in names:
        source, colon, _ = name.partition(":")
        if source not in loaded:
            gan = load(source, folder)
            loaded[source] = {one.name: one for one in classes_of(gan)} if colon else {source: gan}
        if name not in loaded[source]:
            raise UserError(f"unknown GAN {name!r}: {source} gives {', '.join(loaded[source])}")
    return [loaded[name.partition(":")[0]][name] for name in names]


def load_critic(name: str, folder: Path = WEIGHTS) -> tuple[PlainCritic, str]:
    """The critic that we taught for another's generator, float32 on the CPU, in eval mode, and the family of its loss.

    Raises UserError as `load` does.
    """
    listed = {own: entry for own, entry in entries(folder).items() if entry["kind"] == "critic"}
    if name not in listed:
        raise UserError(f"unknown critic {name!r}: the zoo holds {', '.join(listed) or 'none'}")
    critic = _read(name, listed[name], folder)
    assert isinstance(critic, PlainCritic)
    return critic, FAMILIES[listed[name]["architecture"]]


def miner(name: str, folder: Path = WEIGHTS) -> Path:
    """The file of a recorded run's miner, as Mined.save wrote it, for `minegan_lite.load`.

    Fetched once where it is not here. Raises UserError for an unknown name, and as `load` does.
    """
    listed = {own: entry for own, entry in entries(folder).items() if entry["kind"] == "miner"}
    if name not in listed:
        raise UserError(f"unknown miner {name!r}: the zoo holds {', '.join(listed) or 'none'}")
    return _whole(name, listed[name], folder)[0]


def load_classifier(folder: Path = WEIGHTS) -> mnist.DigitClassifier:
    """Our digit classifier, float32 on the CPU, in eval mode. Raises UserError as `load` does."""
    if CLASSIFIER not in entries(folder):
        raise UserError(f"the zoo in {folder} holds no {CLASSIFIER}: reinstall minegan-lite")
    classifier = _read(CLASSIFIER, entries(folder)[CLASSIFIER], folder)
    assert isinstance(classifier, mnist.DigitClassifier)
    return classifier


def here(name: str, folder: Path = WEIGHTS) -> bool:
    """Whether the weights of this name are on this machine; otherwise `load` downloads them.

    Raises UserError for a name that the manifest does not have.
    """
    listed = entries(folder)
    if name not in listed:
        raise UserError(f"unknown weights {name!r}: the zoo holds {', '.join(listed)}")
    return _here(listed[name], folder) is not None


def verify(folder: Path = WEIGHTS) -> list[tuple[str, bool, str]]:
    """(name, whether it is in order, a message) for each entry of the manifest; nothing is downloaded.

    Weights on this machine are in order if their hash is right and they load; otherwise the message says what is wrong.
    Weights that are not on this machine are in order, too: the message says that they are downloaded at their first
    use. Raises UserError as `entries` does.
    """
    report = []
    for name, entry in sorted(entries(folder).items()):
        if _here(entry, folder) is None:
            report.append((name, True, f"{entry['bytes'] / 1e6:.2f} MB, not here: fetched when it is first loaded"))
            continue
        try:
            (_whole if entry["kind"] == "miner" else _read)(name, entry, folder)
            report.append((name, True, f"{entry['bytes'] / 1e6:.2f} MB, sha256 {entry['sha256'][:12]}…"))
        except UserError as error:
            report.append((name, False, str(error)))
    return report


def pack(
    name: str,
    network: nn.Module,
    *,
    kind: str,
    config: dict,
    digits: list[int],
    card: str,
    architecture: str = "mnist",
    folder: Path = WEIGHTS,
    beside: Path | None = None,
) -> Path:
    """Writes a network as fp16 safetensors with its model card and manifest entry, and returns the weights' path.

    folder: where manifest, card and weights are written. beside: another folder for the weights, None for the same.
    network: for a GAN nn.ModuleDict(generator=…, critic=…), else the critic or the classifier. config: the arguments of
    their constructors. digits: the digits that the network was trained on, none for natural images. architecture: a
    module of networks, "mnist", "progan" or "plain". Raises UserError if fp16 cannot hold the weights.
    """
    import safetensors.torch

    tensors = {key: x.half() if x.is_floating_point() else x for key, x in network.state_dict().items()}
    if not all(x.isfinite().all() for x in tensors.values()):
        raise UserError(f"the weights of {name} are not finite in fp16: they cannot be shipped")
    content = safetensors.torch.save({key: x.contiguous() for key, x in tensors.items()})
    what = {"kind": kind, "architecture": architecture, "config": config, "digits": digits}
    return _put(name, content, what, card, folder, beside)


def pack_miner(name: str, saved: Path, *, card: str, folder: Path = WEIGHTS, beside: Path | None = BESIDE) -> Path:
    """Lists a file of Mined.save with its card, and returns where it was put; folder, beside: as `pack` takes them."""
    what = {"kind": "miner", "architecture": "miner", "config": {}, "digits": []}
    return _put(name, saved.read_bytes(), what, card, folder, beside)


def _put(name: str, content: bytes, what: dict[str, Any], card: str, folder: Path, beside: Path | None) -> Path:
    """Writes weights, card and manifest entry. what: the fields of the entry that say which network it is."""
    entry = {
        "file": f"{name}.safetensors", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content),
        "licence": "MIT", **what, "card": f"{name}.md", "packaged": beside is None,
    }  # fmt: skip
    weights = (beside or folder) / f"{name}.safetensors"
    listed = entries(folder) if (folder / "manifest.json").exists() else {}
    manifest = json.dumps(dict(sorted((listed | {name: entry}).items())), indent=2) + "\n"
    for path, written in (
        (weights, content),
        (folder / f"{name}.md", card.encode()),
        (folder / "manifest.json", manifest.encode()),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, written)
    return weights


def _faults(entry: Any) -> list[str]:
    """The keys of an entry of the manifest whose values are not what they should be."""
    if not isinstance(entry, dict):
        return ["everything"]
    wrong = [key for key, form in TEXTS.items() if not re.fullmatch(form, str(entry.get(key)))]
    return wrong + [key for key, kind in VALUES.items() if not isinstance(entry.get(key), kind)]


def _read(name: str, entry: dict[str, Any], folder: Path) -> nn.Module:
    """The entry's network with its weights. Not a byte of the file is parsed before its hash is right."""
    import safetensors.torch

    path, content = _whole(name, entry, folder)
    tensors = safetensors.torch.load(content)
    try:
        network = _build(entry)
        network.load_state_dict({key: x.float() if x.dtype == torch.float16 else x for key, x in tensors.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # other arguments, sizes or names of tensors
        raise UserError(
            f"the zoo's manifest is damaged: its config of {name} does not fit the weights in {path}; "
            "reinstall minegan-lite"
        ) from error
    return network.eval()


def _whole(name: str, entry: dict[str, Any], folder: Path) -> tuple[Path, bytes]:
    """The entry's file and what it holds, after a look at its hash; fetched where it is not here."""
    path = _here(entry, folder) or _fetched(name, entry)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"the weights of {name} cannot be read ({type(error).__name__}): {path}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != entry["sha256"]:
        advice = "reinstall minegan-lite" if entry["packaged"] else "delete it, and it is fetched again"
        raise UserError(
            f"the weights of {name} are damaged: {path} has {len(content)} bytes and sha256 {found[:12]}…, expected "
            f"{entry['bytes']} and {entry['sha256'][:12]}…; {advice}"
        )
    return path, content


def _here(entry: dict[str, Any], folder: Path) -> Path | None:
    """The path of an entry's weights on this machine, None if they have not been downloaded yet."""
    if entry["packaged"]:
        return folder / entry["file"]  # even if the file is missing: the package is damaged then
    paths = (BESIDE / entry["file"], download.cache_folder() / "weights" / entry["file"])
    return next((path for path in paths if path.exists()), None)


def _fetched(name: str, entry: dict[str, Any]) -> Path:
    """The weights of an entry, from the repository into the cache. Raises UserError where they cannot be had."""
    from minegan_lite import REFERENCE

    url, folder = REMOTE.format(reference=REFERENCE, file=entry["file"]), download.cache_folder() / "weights"
    return download.fetched(url, entry["sha256"], folder, f"the weights of {name}", progress=True)


def _build(entry: dict[str, Any]) -> nn.Module:
    config = entry["config"]
    if entry["kind"] == "classifier":
        return mnist.DigitClassifier(**config)
    if entry["kind"] == "critic":
        return PlainCritic(**config)
    if entry["architecture"] == "progan":
        return nn.ModuleDict({"generator": progan.Generator(**config), "critic": progan.Critic(config["channels"])})
    if "classes" in config:
        critic = mnist.ConditionalCritic(config["width"], len(config["classes"]))
        return nn.ModuleDict({"generator": mnist.ConditionalGenerator(**config), "critic": critic})
    return nn.ModuleDict({"generator": mnist.Generator(**config), "critic": mnist.Critic(config["width"])})
