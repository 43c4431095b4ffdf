"""A stranger's state dict put in order: what any of its values may be is checked here once, for all layouts."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minegan_lite.checkpoints.reading import LIMIT
from minegan_lite.errors import UserError
from minegan_lite.shown import shown

UNDER = ("state_dict", "model_state_dict")  # a state dict is often kept under one of these, beside an optimizer's
PARALLEL = "module."  # before every name: DataParallel, DistributedDataParallel, AveragedModel, in any number
COMPILED = "_orig_mod."  # before the names of a compiled module, at any depth
AVERAGED = "n_averaged"  # AveragedModel's counter, beside the network
# torch's spectral norm as a parametrization, in the spelling of its older hooks
SPELLINGS = {
    ".parametrizations.weight.original": ".weight_orig",
    ".parametrizations.weight.0._u": ".weight_u",
    ".parametrizations.weight.0._v": ".weight_v",
}


def tidy(state: Any) -> dict[str, Any]:
    """A state dict with what is common to all layouts put right, in nested dicts, too.

    Floating-point tensors become float32, tensors move to the CPU, and numpy's arrays of numbers become tensors. A dict
    with "state_dict" or "model_state_dict" is replaced by the dict under that key. Names lose the prefixes of wrappers
    (DataParallel, AveragedModel, torch.compile, in any order); torch's two spellings of spectral norm become one,
    weight_orig. Values that are neither tensors nor dicts stay. Raises UserError for anything but a dict, a dict that
    contains itself, tensors that are sparse, quantised or without data, and more than LIMIT bytes of tensors.
    """
    if not isinstance(state, Mapping):
        raise UserError(f"a checkpoint is a dict of tensors, this is a {type(state).__name__}: give the state dict")
    try:
        _check(state)
        return _tidied(state, {})
    except RecursionError:
        raise UserError("the checkpoint's dicts are nested hundreds deep: it is damaged, fetch it again") from None


def _check(state: Mapping) -> None:
    """Raises UserError, before anything is copied, unless all tensors are ordinary ones and together within LIMIT."""
    size = 0
    for key, value in _values(state, set()):
        size += 4 * (value.numel() if isinstance(value, Tensor) else value.size)  # as float32
        if size > LIMIT:
            raise UserError(f"the checkpoint's tensors have more than {LIMIT >> 30} GiB: no checkpoint known here does")
        if isinstance(value, np.ndarray):
            continue
        if value.layout != torch.strided or value.is_meta or value.is_quantized:
            raise UserError(
                f"the checkpoint's tensor '{shown(key)}' is sparse, quantised or without data: save it dense"
            )
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            shape = tuple(value.shape)
            raise UserError(f"the checkpoint's tensor '{shown(key)}' has the shape {shape}, but data for fewer numbers")


def _values(state: Mapping, seen: set[int]) -> Iterator[tuple[Any, Tensor | np.ndarray]]:
    """(name, tensor or array) in a dict and in those that it holds, each dict once."""
    seen.add(id(state))
    for key, value in state.items():
        if isinstance(value, (Tensor, np.ndarray)):
            yield key, value
        elif isinstance(value, Mapping) and id(value) not in seen:
            yield from _values(value, seen)


def _tidied(state: Mapping, done: dict[int, dict | None]) -> dict[str, Any]:
    """done: {id of a dict: what it became, None while its values are looked at}."""
    if id(state) in done:
        before = done[id(state)]
        if before is None:
            raise UserError("a dict of the checkpoint holds itself: it is damaged, fetch it again")
        return before
    done[id(state)] = None
    under = next((key for key in UNDER if isinstance(state.get(key), Mapping)), None)
    if under is None:
        own = _unwrapped({_spelled(str(key)): _value(value, done) for key, value in state.items()})
    else:
        own = _tidied(state[under], done)
    done[id(state)] = own
    return own


def _value(value: Any, done: dict[int, dict | None]) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiubc":
        value = torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("="), order="C"))
    if isinstance(value, Tensor):
        return value.detach().cpu().float() if value.is_floating_point() else value.detach().cpu()
    return _tidied(value, done) if isinstance(value, Mapping) else value


def _spelled(key: str) -> str:
    key = key.replace(COMPILED, "")
    for new, old in SPELLINGS.items():
        if key.endswith(new):
            return key.removesuffix(new) + old
    return key


def _unwrapped(state: dict[str, Any]) -> dict[str, Any]:
    """Without the wrappers' prefixes, which all of a network's tensors have."""
    names = [key for key, value in state.items() if isinstance(value, Tensor) and key != AVERAGED]
    if not names or not all(key.startswith(PARALLEL) for key in names):
        return state
    return _unwrapped({key.removeprefix(PARALLEL): value for key, value in state.items() if key != AVERAGED})
