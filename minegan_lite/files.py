"""What lies on the disk: written all at once or not at all, told by fingerprints, and read with suspicion."""

import contextlib
import errno
import functools
import hashlib
import json
import os
import re
import secrets
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minegan_lite.errors import UserError

SETTINGS, STATE = "run.json", "state.pt"
LARGEST = 1 << 20  # bytes of a run.json
_PART = re.compile(r"\.[0-9a-f]{16}\.part|run\.json\.part")  # the second as earlier versions called theirs


def fingerprint(*tensors: Tensor) -> str:
    """sha256 over the bytes of tensors, in order: which images or weights a run used."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def weights_fingerprint(*modules: nn.Module) -> str:
    """sha256 over every parameter and buffer of modules."""
    return fingerprint(*(tensor.flatten() for module in modules for tensor in module.state_dict().values()))


def sources_fingerprint(sources: Iterable[Any]) -> str:
    """sha256 over the weights of GANs, generators and critics, in order."""
    return weights_fingerprint(*(part for gan in sources for part in (gan.generator, gan.critic) if part is not None))


def write_atomically(path: Path, content: bytes) -> None:
    """The file holds either what it held before or all of `content`, also after a kill or a full disk.

    Through a link, the file that it leads to. Raises OSError, also for what is there and no file, such as a device.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a file", str(path))
    part = path.with_name(f".{secrets.token_hex(8)}.part")  # of one's own: others may be writing the same file
    try:
        with open(part, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def is_part(name: str) -> bool:
    """Whether a file of this name is what a kill left of a write."""
    return _PART.fullmatch(name) is not None


def parts_left(folder: Path) -> list[Path]:
    """What killed processes were about to write into a folder, and what running ones are."""
    return [file for file in folder.iterdir() if is_part(file.name)]


@contextlib.contextmanager
def reading(run: str | Path) -> Iterator[None]:
    """Inside, what a run folder says is used: whatever does not fit becomes one UserError.

    Its files are a user's to edit, and another version's to write; what is wrong with them has no common class.
    """
    try:
        yield
    except (UserError, torch.OutOfMemoryError):
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"{run} is damaged: its {SETTINGS} and {STATE} do not fit each other or this version of minegan-lite "
            f"({type(error).__name__}); restore them, or run its command into another folder"
        ) from error


def reads_run(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose first argument is a run folder, as if all of it stood in `reading`."""

    @functools.wraps(function)
    def wrapped(run: str | Path, *arguments: Any, **options: Any) -> Any:
        with reading(run):
            return function(run, *arguments, **options)

    return wrapped


def read_settings(path: str | Path) -> dict[str, Any]:
    """What run.json of a run folder holds. Raises UserError when there is none or it cannot be read."""
    file = Path(path) / SETTINGS
    if not file.is_file():
        raise UserError(f"{path} is not a run folder: it has no {SETTINGS}")
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError("too large")
        settings = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be read: {error}") from None
    if not isinstance(settings, dict):
        raise UserError(f"{file} cannot be read: it holds no settings but {brief(settings)}")
    return settings


def read_state(path: str | Path) -> dict[str, Any]:
    """The checkpoint of a run folder. Raises UserError when there is none, or one that is damaged or not finite."""
    file = Path(path) / STATE
    if not file.is_file():
        raise UserError(f"{path} has no checkpoint yet: run its command again to go on")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of how a file is written that then loads or does not
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load's errors for a truncated or foreign file have no common class
        state, why = None, type(error).__name__
    else:
        why = _faults(state)
    if why:
        raise UserError(f"{file} is damaged ({why}): restore it, or run its command into another folder")
    if strange := [name for name, part in state.items() if "optimizer" not in name and not _finite(part)]:
        raise UserError(f"{file} holds numbers in {strange[0]} that are not finite: mine again into another folder")
    return state


def read_saved(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The record and the tensors of a file of Mined.save(). Raises UserError for any other file, or a damaged one."""
    import safetensors

    from minegan_lite.data.impostors import refuse_impostor  # here, since data imports this module

    tensors: dict[str, Tensor] = {}
    try:
        refuse_impostor(path)
        with safetensors.safe_open(str(path), "pt") as file:
            record = json.loads((file.metadata() or {})["minegan_lite"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 no dict
    except KeyError:
        raise UserError(f"{path} was not written by Mined.save(): give a file of it, or a run folder") from None
    except (OSError, ValueError, RecursionError, safetensors.SafetensorError) as error:
        raise UserError(f"{path} cannot be read as a saved miner: {error}") from None
    if not isinstance(record, dict) or not _finite(tensors):
        raise UserError(f"{path} is damaged: restore it, or save it again")
    return record, tensors


def _faults(state: Any) -> str:
    """What a checkpoint lacks to be one that any loop wrote; "" for nothing."""
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        return f"a {type(state).__name__} where a dict is needed"
    step, history, rngs = (state.get(key) for key in ("step", "history", "rngs"))
    if type(step) is not int or step < 1:
        return "no step"
    if not isinstance(history, list) or not all(isinstance(e, dict) and type(e.get("step")) is int for e in history):
        return "no history"
    if not isinstance(rngs, list) or not all(isinstance(rng, Tensor) and rng.dtype == torch.uint8 for rng in rngs):
        return "no streams of random numbers"
    if any(x.numel() * x.element_size() > x.untyped_storage().nbytes() for x in _tensors(state)):
        return "a tensor that is larger than the file"
    return ""


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


def _finite(value: Any) -> bool:
    return all(x.isfinite().all() for x in _tensors(value) if x.is_floating_point())


def brief(value: Any) -> str:
    """A value as a message shows it: JSON, cut where it is long."""
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "…"
