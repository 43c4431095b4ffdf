"""What every layout needs: to make a network of the sizes in a file, and to fill it tensor by tensor."""

import math
import re
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from minegan_lite.errors import UserError
from minegan_lite.networks.layers import SpectralNorm
from minegan_lite.shown import shown

Rule = tuple[str, str | Callable[[re.Match], str]]  # a pattern and its replacement, as re.sub takes them
BOOKKEEPING = (".num_batches_tracked", ".v")  # of batch norm and spectral norm: made anew where a file has none
VARIANCES = ("running_var", "variances")  # how our names of variances end
# A network may have SURPLUS times the file's numbers, plus ROOM for what a file may lack: noise maps and filters.
SURPLUS, ROOM = 2, 1 << 23


def made(network: Callable[..., nn.Module], state: Mapping[str, Any], *sizes: Any, **options: Any) -> Any:
    """network(*sizes, **options), after a check that `state` has enough numbers to fill it.

    The check allocates nothing. Raises UserError for a network that is far larger than the file: each size is inferred
    from a single tensor, which may be damaged.
    """
    with torch.device("meta"):
        draft = network(*sizes, **options)
    size = sum(part.numel() for part in (*draft.parameters(), *draft.buffers()))
    held = sum(value.numel() for value in state.values() if isinstance(value, Tensor))
    if size > SURPLUS * held + ROOM:
        raise UserError(f"the checkpoint holds {held:,} numbers, but its sizes are those of a network of {size:,}")
    return network(*sizes, **options)


def renamed(network: nn.Module, rules: Sequence[Rule], spectral: Mapping[str, str]) -> dict[str, str]:
    """{key in the network: key in the file} for `fill`: each rule is substituted in the network's key, in turn.

    spectral: how the file names the tensors of a spectrally normalised layer, such as {"weight": "weight_orig"}; names
    that `spectral` lacks stay. The result leaves out the counters of batch norms, and the vector `v` of spectral norms
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

    names: {key in the network: key in `state`}. keep: keys of the network whose tensors stay unchanged; the counters of
    batch norms and the vectors `v` of spectral norms need not be listed. ignored: a regular expression (re.search) for
    keys of `state` that may be left over. Axes of length 1 may differ. Raises UserError, with the file's key, for a
    tensor that is missing, refused by `shaped`, a negative variance, or left over.
    """
    own = network.state_dict()
    rest = own.keys() - names.keys() - set(keep)
    if unnamed := [key for key in rest if not key.endswith(BOOKKEEPING)]:
        raise AssertionError(f"the layout names nothing for the network's {sorted(unnamed)[:4]}")
    for key, theirs in names.items():
        tensor = shaped(state, theirs, tuple(own[key].shape))
        if key.endswith(VARIANCES) and tensor.min() < 0:
            raise UserError(f"the checkpoint's tensor '{shown(theirs)}' has negative variances: fetch it again")
        with torch.no_grad():
            own[key].copy_(tensor)
    tensors = {key for key, value in state.items() if isinstance(value, Tensor)}
    left = [key for key in tensors - set(names.values()) if not (ignored and re.search(ignored, key))]
    if left:
        raise UserError(f"the checkpoint has tensors that this layout has no place for, such as '{shown(min(left))}'")
    return network


def shaped(state: Mapping[str, Any], key: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor `key` of a state dict, reshaped to `shape`; its own shape may differ only in axes of length 1.

    Raises UserError, with the key, for a tensor that is missing, has another shape, or does not consist of finite
    floating-point numbers.
    """
    tensor, name = state.get(key), f"the checkpoint's tensor '{shown(key)}'"
    if not isinstance(tensor, Tensor):
        raise UserError(f"the checkpoint lacks the tensor '{shown(key)}': it is incomplete, or in another layout")
    if [n for n in tensor.shape if n != 1] != [n for n in shape if n != 1]:
        raise UserError(f"{name} has the shape {tuple(tensor.shape)}, expected {shape}")
    if not tensor.is_floating_point():
        raise UserError(f"{name} is of {tensor.dtype}, weights are floating-point numbers: fetch it again")
    if not tensor.isfinite().all():
        raise UserError(f"{name} has numbers that are not finite: fetch it again")
    return tensor.reshape(shape)


def bottom_side(state: Mapping[str, Any], channels: int, *keys: str) -> int:
    """The side s of a generator's first feature map (channels, s, s), from the tensors of the layer that makes it.

    keys: tensors with channels·s² rows; the side that most of them give is taken, so that one damaged tensor is
    outvoted. Raises UserError, with the first key, if no tensor's rows are channels times a square.
    """
    rows = [len(state[key]) for key in keys if getattr(state.get(key), "ndim", 0)]
    sides = [math.isqrt(n // channels) for n in rows]
    fit = [side for n, side in zip(rows, sides, strict=True) if side and channels * side**2 == n]
    if not fit:
        raise UserError(
            f"the checkpoint's tensor '{shown(keys[0])}' does not have rows for a square map of {channels} channels"
        )
    return statistics.mode(fit)


def agreed(state: Mapping[str, Any], *places: tuple[str, int]) -> int:
    """The length that most of these places (key, axis) have; places that the file lacks do not count.

    A tensor of a wrong shape is outvoted here, and `fill` then names it. Raises UserError if `state` has no such place.
    """
    found = [state[key].shape[axis] for key, axis in places if axis < getattr(state.get(key), "ndim", 0)]
    if not found:
        name = shown(places[0][0])
        raise UserError(f"the checkpoint lacks the tensor '{name}': it is incomplete, or in another layout")
    return statistics.mode(found)


def numbers(state: Mapping[str, Any], pattern: str) -> list[int]:
    """The numbers in the pattern's group where it matches the start of a key, sorted, each once."""
    return sorted({int(match[1]) for key in state if (match := re.match(pattern, key))})


def count(state: Mapping[str, Any], pattern: str) -> int:
    """How many layers, or blocks, the file numbers: the highest number that the pattern finds, plus one; at least 1.

    They count from 0. One that is missing in between is counted, since `fill` names its tensors as missing. Raises
    UserError for a number beyond the count of all tensors, which is damage: callers make lists of that length.
    """
    last = max(numbers(state, pattern), default=0)
    if last > len(state):
        raise UserError(f"the checkpoint numbers its layers up to {shown(last, most=20)}, but has {len(state)} tensors")
    return 1 + last


def iterate(network: nn.Module) -> nn.Module:
    """The network after one power iteration in each spectral norm, started at its stored u.

    For weights of code whose every forward, also in eval mode, iterates once and throws the new vectors away: with the
    vectors stored, our eval mode divides by the same σ.
    """
    for part in network.modules():
        if isinstance(part, SpectralNorm):
            part.power_iteration()
    return network
