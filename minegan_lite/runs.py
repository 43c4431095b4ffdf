"""Runs: a training on its way, and its folder, where settings lie beside an atomic checkpoint."""

import contextlib
import io
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from minegan_lite.config import Training
from minegan_lite.errors import Diverged, UserError
from minegan_lite.files import (
    SETTINGS,
    STATE,
    brief,
    is_part,
    parts_left,
    read_settings,
    read_state,
    reading,
    write_atomically,
)
from minegan_lite.locks import LOCK, locked
from minegan_lite.progress import bar, say

if TYPE_CHECKING:
    from minegan_lite.mined import Mined

FREE = ("steps", "log_every", "save_every", "device", "source_requests")  # what a resumed run may ask for anew
METRIC_SAMPLES, METRIC_SEED = 500, 0
Metric = Callable[[Tensor], float]
Watch = Callable[["Mined"], None]


def course_of(options: dict[str, Any], metric: Metric | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of a call's options those of its Course, with this metric where none was asked for, and the rest."""
    course = {name: options[name] for name in ("out", "progress", "metric", "watch") if name in options}
    rest = {name: value for name, value in options.items() if name not in course}
    return course | {"metric": course.get("metric") or metric}, rest


class Trained(Protocol):
    """What a Course follows: a training's state, with its step, history and streams of random numbers.

    parts: what a checkpoint holds of networks, optimizers and counts, by name. result: what the training gives as it is
    at this step. noted: what more an entry of the history holds.
    """

    rngs: list[torch.Generator]
    step: int
    history: list[dict[str, Any]]

    @property
    def config(self) -> Training: ...

    def parts(self) -> dict[str, Any]: ...

    def result(self, record: dict[str, Any]) -> "Mined": ...

    def noted(self) -> dict[str, Any]: ...


class Course:
    """A training on its way: its bar, its history, its checkpoints, and where it goes on after an interruption.

        with Course(state, record, out) as course:
            while course.goes_on():
                course.after(losses of one step)

    state: the training's. record: what run.json says. out: the run folder, None to keep everything in memory; inside
    the block no other process may write it. metric, watch: as in training.mine. told: a line to show as it begins.
    """

    def __init__(
        self,
        state: Trained,
        record: dict[str, Any],
        out: str | Path | None = None,
        *,
        progress: bool = True,
        metric: Metric | None = None,
        watch: Watch | None = None,
        told: str = "",
    ):
        self.state, self.record, self.out, self.metric, self.watch = state, record, out, metric, watch
        self.progress, self.told, self.closing = progress, told, contextlib.ExitStack()
        self.folder: RunFolder | None = None

    def __enter__(self) -> "Course":
        with contextlib.ExitStack() as opened:
            if self.out is not None:
                opened.enter_context(locked(self.out))
                self.folder = RunFolder(self.out, self.record)
                self.folder.resume(self._restore)
            if self.progress and self.told:  # not before: of what is refused nothing else is said
                say(self.told)
            desc = f"{self.record['stage']} {self.record['target']} on {self.record['device']}"
            steps = {"total": self.state.config.steps, "initial": self.state.step, "unit": "step"}
            self.bar = opened.enter_context(bar(**steps, desc=desc, disable=not self.progress))
            self.closing = opened.pop_all()
        return self

    def __exit__(self, *failure: Any) -> None:
        self.closing.__exit__(*failure)

    def goes_on(self) -> bool:
        """Whether there is a step to make."""
        return self.state.step < self.state.config.steps

    def after(self, losses: dict[str, float]) -> None:
        """Counts a step, logs and saves where it is time to. Raises Diverged for what no training comes back from."""
        state, config = self.state, self.state.config
        if not all(map(math.isfinite, losses.values())):
            raise Diverged(f"step {state.step + 1}: a loss is not finite ({losses}): lower the learning rates")
        state.step += 1
        if not self.goes_on() or state.step % config.log_every == 0:
            self._log(losses)
        if self.folder is not None and (not self.goes_on() or state.step % config.save_every == 0):
            check_weights(state)
            self.folder.save(self._snapshot())
        self.bar.update()

    def _log(self, losses: dict[str, float]) -> None:
        result, value = self.state.result(self.record), None
        if self.metric is not None:
            value = float(self.metric(result.sample(METRIC_SAMPLES, seed=METRIC_SEED)))
        noted = self.state.noted()
        self.state.history.append({"step": self.state.step, **losses, "metric": value, **noted})
        shown = {name.removesuffix("_loss"): f"{loss:.2f}" for name, loss in losses.items() if "loss" in name}
        if len(p := noted.get("probabilities", ())) > 1:
            best = max(range(len(p)), key=p.__getitem__)
            shown["most"] = f"{self.record['sources'][best]} {p[best]:.2f}"
        self.bar.set_postfix(shown if value is None else {**shown, "metric": f"{value:.3f}"}, refresh=False)
        if self.watch is not None:
            self.watch(result)

    def _snapshot(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        state = self.state
        parts = {name: part.state_dict() for name, part in state.parts().items()}
        return parts | {"step": state.step, "rngs": [rng.get_state() for rng in state.rngs], "history": state.history}

    def _restore(self, saved: dict[str, Any]) -> None:
        for name, part in self.state.parts().items():
            part.load_state_dict(saved[name])
        for rng, own in zip(self.state.rngs, saved["rngs"], strict=True):
            rng.set_state(own)
        self.state.step, self.state.history = saved["step"], saved["history"]


def check_weights(state: Trained) -> None:
    """Raises Diverged for weights that are not finite."""
    for name, part in state.parts().items():
        if isinstance(part, nn.Module) and not all(weight.isfinite().all() for weight in part.parameters()):
            raise Diverged(f"step {state.step}: weights of {name} are not finite: lower the learning rates")


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
        elif self.path.exists() and not all((file.name == LOCK or is_part(file.name)) for file in self.path.iterdir()):
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
            f"{key} was {brief(old.get(key))} and is now {brief(new.get(key))}" for key in different if not may(key)
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
