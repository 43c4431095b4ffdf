"""What every layout needs: reading a stranger's file without running it, and filling a network tensor by tensor."""

import math
import re
import statistics
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minegan_lite.errors import UserError
from minegan_lite.impostors import refuse_impostor
from minegan_lite.networks.layers import SpectralNorm

Rule = tuple[str, str | Callable[[re.Match], str]]  # a pattern and its replacement, as re.sub takes them
WRAPPERS = ("state_dict", "model_state_dict")  # a state dict is often kept under one of these, beside an optimizer's
# torch's spectral norm as a parametrization, in the spelling of its older hooks
SPELLINGS = {
    ".parametrizations.weight.original": ".weight_orig",
    ".parametrizations.weight.0._u": ".weight_u",
    ".parametrizations.weight.0._v": ".weight_v",
}
BOOKKEEPING = (".num_batches_tracked", ".v")  # of batch norm and spectral norm: made anew where a file has none
HEAD = 1 << 20  # bytes of a refused file in which a hint's class name is looked for


def read(path: Path, allowed: Iterable[tuple[type, str]] = (), hints: Mapping[str, str] | None = None) -> Any:
    """What a .pth, .npz or .safetensors file holds; its kind is told from its first bytes.

    allowed: pairs (class, "full.name") that a pickle may build besides tensors and containers; hints: {part of a class
    name in a pickle that is refused: what to do}. Raises UserError for a file that is missing or cannot be read safely.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise UserError(f"the checkpoint cannot be read ({type(error).__name__}): {path}") from error
    refuse_impostor(path)
    try:
        if head[8:9] == b"{":
            import safetensors.torch

            return safetensors.torch.load_file(path)
        if head.startswith(b"PK") and not _is_torch(path):
            with np.load(path, allow_pickle=False) as arrays:
                return {key: torch.from_numpy(arrays[key]) for key in arrays.files}
        with torch.serialization.safe_globals(list(allowed)), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that an old pickle protocol is read, which either works or raises
            return torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # readers of damaged files raise almost anything
        if type(error).__name__ != "UnpicklingError":
            raise UserError(f"{path} is damaged or no checkpoint ({type(error).__name__}): fetch it again") from error
        asked = re.search(r"GLOBAL (\S+)", str(error))
        asks = f"it asks for {asked[1]}" if asked else "its pickle holds more than tensors, or is damaged"
        hint = next((hint for part, hint in (hints or {}).items() if part.encode() in head), None)
        advice = hint or "save its state dicts alone, with the code that wrote it"
        raise UserError(f"{path} was not opened, and nothing in it was run: {asks}; {advice}") from error


def tidy(state: Any) -> dict[str, Any]:
    """A state dict with what is common to all layouts put right: float32 tensors on the CPU, also in nested dicts.

    What lies under "state_dict" or "model_state_dict" stands for the whole, and a prefix "module." that all of the keys
    share (nn.DataParallel) is taken off; torch's two spellings of spectral norm become one, weight_orig. Values that
    are neither tensors nor dicts stay. Raises UserError for no dict.
    """
    if not isinstance(state, Mapping):
        raise UserError(f"a checkpoint is a dict of tensors, this is a {type(state).__name__}: give the state dict")
    for wrapper in WRAPPERS:
        if isinstance(state.get(wrapper), Mapping):
            return tidy(state[wrapper])
    prefix = "module." if state and all(str(key).startswith("module.") for key in state) else ""
    return {_spelled(str(key).removeprefix(prefix)): _tidy_value(value) for key, value in state.items()}


def renamed(network: nn.Module, rules: Sequence[Rule], spectral: Mapping[str, str]) -> dict[str, str]:
    """{key in the network: key in the file} for `fill`, each rule substituted in turn in the network's key.

    spectral: what the file calls a spectrally normalised layer's own tensors, such as {"weight": "weight_orig"}; those
    that it does not name stay as they are spelled. Left out are the counters of batch norms, and `v` of spectral norm
    unless `spectral` names it.
    """
    layers = {name for name, part in network.named_modules() if isinstance(part, SpectralNorm)}
    names = {}
    for key in network.state_dict():
        layer, _, own = key.rpartition(".")
        if own == "num_batches_tracked" or (layer in layers and own == "v" and "v" not in spectral):
            continue
        theirs = f"{layer}.{spectral.get(own, own)}" if layer in layers else key
        for pattern, replacement in rules:
            theirs = re.sub(pattern, replacement, theirs)
        names[key] = theirs
    return names


def fill(
    network: nn.Module,
    state: Mapping[str, Any],
    names: Mapping[str, str],
    *,
    keep: Collection[str] = (),
    ignored: str | None = None,
) -> nn.Module:
    """Copies a tensor of `state` into each tensor of the network's state dict, and returns the network.

    names: {key in the network: key in `state`}; keep: the network's keys that stay as they are, as counters of batch
    norm and v of spectral norm may in any case; ignored: a regular expression for keys of `state` that need no place
    (re.search). Axes of length 1 may differ. Raises UserError, with the file's key, for a tensor that is missing,
    misshapen or not finite, and for one left over.
    """
    own = network.state_dict()
    unnamed = own.keys() - names.keys() - set(keep)
    if unnamed := [key for key in unnamed if not key.endswith(BOOKKEEPING)]:
        raise AssertionError(f"the layout names nothing for the network's {sorted(unnamed)[:4]}")
    for key, theirs in names.items():
        tensor = shaped(state, theirs, tuple(own[key].shape))
        if not tensor.isfinite().all():
            raise UserError(f"the checkpoint's tensor {theirs!r} has numbers that are not finite: fetch it again")
        with torch.no_grad():
            own[key].copy_(tensor)
    left = [key for key in state.keys() - set(names.values()) if not (ignored and re.search(ignored, key))]
    if left:
        raise UserError(f"the checkpoint has tensors that this layout has no place for, such as {min(left)!r}")
    return network


def shaped(state: Mapping[str, Any], key: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor `key` of a state dict in this shape, −1 in which matches any length; UserError if it has another."""
    tensor = state.get(key)
    if not isinstance(tensor, Tensor):
        raise UserError(f"the checkpoint lacks the tensor {key!r}: it is incomplete, or in another layout")
    if len(tensor.shape) == len(shape) and all(b in (-1, a) for a, b in zip(tensor.shape, shape, strict=True)):
        return tensor
    if -1 not in shape and [n for n in tensor.shape if n != 1] == [n for n in shape if n != 1]:
        return tensor.reshape(shape)
    raise UserError(f"the checkpoint's tensor {key!r} has the shape {tuple(tensor.shape)}, expected {shape}")


def bottom_side(state: Mapping[str, Any], channels: int, *keys: str) -> int:
    """The side of a generator's first map, of so many channels, from tensors that have a row for each of its numbers.

    Raises UserError, with the first key, if none of them has as many rows as channels times a square.
    """
    rows = [len(state[key]) for key in keys if getattr(state.get(key), "ndim", 0)]
    sides = [math.isqrt(n // channels) for n in rows]
    fit = [side for n, side in zip(rows, sides, strict=True) if side and channels * side**2 == n]
    if not fit:
        raise UserError(
            f"the checkpoint's tensor {keys[0]!r} does not have rows for a square map of {channels} channels"
        )
    return statistics.mode(fit)


def agreed(state: Mapping[str, Any], *places: tuple[str, int]) -> int:
    """The length that most of these (key, axis) have, so that a misshapen tensor is outvoted, and `fill` names it.

    Raises UserError if `state` has none of them.
    """
    found = [state[key].shape[axis] for key, axis in places if axis < getattr(state.get(key), "ndim", 0)]
    if not found:
        raise UserError(f"the checkpoint lacks the tensor {places[0][0]!r}: it is incomplete, or in another layout")
    return statistics.mode(found)


def numbers(state: Mapping[str, Any], pattern: str) -> list[int]:
    """The numbers that the pattern's group finds at the keys' start, sorted, each once."""
    return sorted({int(match[1]) for key in state if (match := re.match(pattern, key))})


def count(state: Mapping[str, Any], pattern: str) -> int:
    """How many there are of what the pattern numbers from 0, at least 1: what is missing is for `fill` to name."""
    return 1 + max(numbers(state, pattern), default=0)


def iterate(network: nn.Module) -> nn.Module:
    """The network after one power iteration in each spectral norm, from its stored u.

    For code that iterates in every forward, in eval mode too, without storing the vectors: its σ is then ours.
    """
    for part in network.modules():
        if isinstance(part, SpectralNorm):
            part.power_iteration()
    return network


def _spelled(key: str) -> str:
    for new, old in SPELLINGS.items():
        if key.endswith(new):
            return key.removesuffix(new) + old
    return key


def _tidy_value(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu().float() if value.is_floating_point() else value.detach().cpu()
    if isinstance(value, np.ndarray):
        return _tidy_value(torch.from_numpy(value))
    return tidy(value) if isinstance(value, Mapping) else value


def _is_torch(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("data.pkl") for name in names):
        return True
    if all(name.endswith(".npy") for name in names):
        return False
    raise UserError(f"{path} is an archive of other files: unpack it and give the generator's file")
