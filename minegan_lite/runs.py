"""Run folders: settings beside an atomic checkpoint, resumed only by the same settings."""

import hashlib
import io
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minegan_lite.errors import UserError
from minegan_lite.locks import LOCK

SETTINGS, STATE = "run.json", "state.pt"


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
    """The file holds either what it held before or all of `content`, also after a kill or a full disk."""
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


class RunFolder:
    """One run's folder: `run.json` says what was asked for, `state.pt` is the last good checkpoint.

    Opening an empty or absent folder starts a run; opening one with the same settings resumes it.
    Raises UserError, and creates nothing, when the path is occupied by something else, cannot be written, or
    holds a run with other settings (the message names them).
    """

    def __init__(self, path: str | Path, settings: dict[str, Any]):
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file, not a run folder: choose another output path")
        if (self.path / SETTINGS).exists():
            self._refuse_changes(settings)
        elif self.path.exists() and any(file.name not in (f"{SETTINGS}.part", LOCK) for file in self.path.iterdir()):
            raise UserError(f"{self.path} is occupied by files that are not a run: choose an empty or new folder")
        else:
            self._start(settings)

    def _refuse_changes(self, settings: dict[str, Any]) -> None:
        old, new = read_settings(self.path), json.loads(json.dumps(settings))
        changed = [
            f"{key} was {_brief(old.get(key))} and is now {_brief(new.get(key))}"
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key)
        ]
        if changed:
            raise UserError(
                f"{self.path} holds a run with other arguments: {'; '.join(changed)}. "
                "Repeat them to resume it, or choose another folder"
            )

    def _start(self, settings: dict[str, Any]) -> None:
        fresh = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path / SETTINGS, (json.dumps(settings, indent=1) + "\n").encode())
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


def read_settings(path: str | Path) -> dict[str, Any]:
    """What run.json of a run folder holds. Raises UserError when there is none or it cannot be read."""
    file = Path(path) / SETTINGS
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        raise UserError(f"{path} is not a run folder: it has no {SETTINGS}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {error}") from None


def read_state(path: str | Path) -> dict[str, Any]:
    """The checkpoint of a run folder. Raises UserError when there is none or it is damaged."""
    file = Path(path) / STATE
    if not file.exists():
        raise UserError(f"{path} has no checkpoint yet: run its command again to go on")
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load's errors for a truncated or foreign file have no common class
        raise UserError(f"{file} is damaged: {str(error).splitlines()[0]}") from None


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
