"""Run folders: settings beside an atomic checkpoint, resumed only by the same settings."""

import contextlib
import errno
import functools
import hashlib
import io
import json
import os
import re
import secrets
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minegan_lite.errors import UserError
from minegan_lite.locks import LOCK

SETTINGS, STATE = "run.json", "state.pt"
FREE = ("steps", "log_every", "save_every", "device", "source_request")  # what a resumed run may ask for anew
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


def parts_left(folder: Path) -> list[Path]:
    """What killed processes were about to write into a folder, and what running ones are."""
    return [file for file in folder.iterdir() if _PART.fullmatch(file.name)]


class RunFolder:
    """One run's folder: `run.json` says what was asked for, `state.pt` is the last good checkpoint.

    Opening an empty or absent folder starts a run; opening one with the same settings resumes it. Those of FREE may
    differ, steps only upwards: they are none of the run's identity, and run.json then says the new ones.
    Whoever writes into it holds its lock (locks.locked).
    Raises UserError, and creates nothing, when the path is occupied by something else, cannot be written, lies in
    another run or among the target's images, or holds a run with other settings (the message names them).
    """

    def __init__(self, path: str | Path, settings: dict[str, Any]):
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file, not a run folder: choose another output path")
        self._refuse_places(settings)
        if (self.path / SETTINGS).exists():
            self._refuse_changes(settings)
        elif self.path.exists() and not all(_passing(file.name) for file in self.path.iterdir()):
            raise UserError(f"{self.path} is occupied by files that are not a run: choose an empty or new folder")
        else:
            self._start(settings)
        for part in parts_left(self.path):
            part.unlink(missing_ok=True)

    def _refuse_places(self, settings: dict[str, Any]) -> None:
        here = self.path.resolve()
        if (here.parent / SETTINGS).exists():
            raise UserError(f"{self.path} lies in the folder of another run: choose a folder beside it")
        target = (settings.get("target_request") or {}).get("source")
        if target is not None and here.is_relative_to(Path(target).resolve()):
            raise UserError(f"{self.path} lies among the images of the target: choose a folder outside of {target}")

    def _refuse_changes(self, settings: dict[str, Any]) -> None:
        old, new = read_settings(self.path), json.loads(json.dumps(settings))

        def may(key: str) -> bool:
            if key == "steps" and key in old and key in new:
                return new[key] >= old[key]
            return key in FREE and key in new

        different = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
        changed = [
            f"{key} was {_brief(old.get(key))} and is now {_brief(new.get(key))}" for key in different if not may(key)
        ]
        if changed:
            raise UserError(
                f"{self.path} holds a run with other arguments: {'; '.join(changed)}. "
                "Repeat them to resume it, or choose another folder"
            )
        if different:
            write_atomically(self.path / SETTINGS, _text(settings))

    def _start(self, settings: dict[str, Any]) -> None:
        fresh = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path / SETTINGS, _text(settings))
        except OSError as error:
            for folder in fresh:
                if folder.exists():
                    folder.rmdir()
            raise UserError(f"cannot write to {self.path}: {error.strerror}") from error

    def save(self, state: dict[str, Any]) -> None:
        """Replaces the checkpoint. The same state gives the same bytes."""
        buffer = io.BytesIO()  # torch.save writes a path's own name into the archive; a buffer has none
        torch.save(_canonical(state), buffer)
        write_atomically(self.path / STATE, buffer.getvalue())

    def load(self) -> dict[str, Any] | None:
        """The last checkpoint, tensors on the CPU, or None when the run has none yet."""
        return read_state(self.path) if (self.path / STATE).exists() else None

    def resume(self, restore: Callable[[dict[str, Any]], None]) -> None:
        """Calls restore with the last checkpoint, if there is one; UserError where it is not one of this run."""
        if (state := self.load()) is not None:
            with reading(self.path):
                restore(state)


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
        raise UserError(f"{file} cannot be read: it holds no settings but {_brief(settings)}")
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


def _passing(name: str) -> bool:
    """Whether a file belongs to writing itself: a lock, or what a kill left of a write."""
    return name == LOCK or _PART.fullmatch(name) is not None


def _text(settings: dict[str, Any]) -> bytes:
    return (json.dumps(settings, indent=1) + "\n").encode()


def _canonical(value: Any) -> Any:
    """An equal value whose pickle depends on nothing but its content.

    Pickle writes an object that occurs twice only once; what a resumed run has loaded is equal, but not the same.
    """
    if isinstance(value, dict):
        return {_canonical(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_canonical(item) for item in value)
    return sys.intern(value) if type(value) is str else value


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "…"
