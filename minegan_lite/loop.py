"""What every training here shares: the bar, the history, checkpoints, and going on after an interruption."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from minegan_lite import runs
from minegan_lite.errors import Diverged
from minegan_lite.locks import locked
from minegan_lite.mined import MinedFamily, MinedGAN
from minegan_lite.progress import bar as progress_bar
from minegan_lite.settings import Settings

Metric = Callable[[Tensor], float]
Watch = Callable[[MinedGAN | MinedFamily], None]
METRIC_SAMPLES, METRIC_SEED = 500, 0


class Loop:
    """Steps over a target's images; what a step is, and what is trained, a subclass says.

    settings: steps, log_every and save_every are the loop's. rngs: every stream that the steps draw from.
    """

    def __init__(self, settings: Settings, rngs: Sequence[torch.Generator], device: torch.device):
        self.settings, self.rngs, self.device = settings, list(rngs), device
        self.step, self.history = 0, []

    def one_step(self, images: Tensor) -> dict[str, float]:
        """One update towards images (n, C, H, W); the losses that the history keeps."""
        raise NotImplementedError

    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds of networks, optimizers and counts, by name."""
        raise NotImplementedError

    def result(self, record: dict[str, Any]) -> MinedGAN | MinedFamily:
        """What the training gives, as it is at this step."""
        raise NotImplementedError

    def scope(self) -> AbstractContextManager:
        """What holds while steps are made, such as that a network is frozen."""
        return nullcontext()

    def noted(self, result: MinedGAN | MinedFamily) -> tuple[dict[str, Any], dict[str, str]]:
        """What more an entry of the history and the bar show."""
        return {}, {}

    def train(
        self,
        images: Tensor,
        record: dict[str, Any],
        out: str | Path | None,
        progress: bool,
        metric: Metric | None,
        watch: Watch | None,
    ) -> MinedGAN | MinedFamily:
        """Runs the remaining steps, logging and saving on the way; no other process may write the same folder."""
        with nullcontext() if out is None else locked(out):
            folder = None if out is None else runs.RunFolder(out, record)
            if folder is not None:
                folder.resume(self.restore)
            return self._run(images, record, folder, progress, metric, watch)

    def _run(
        self,
        images: Tensor,
        record: dict[str, Any],
        folder: runs.RunFolder | None,
        progress: bool,
        metric: Metric | None,
        watch: Watch | None,
    ) -> MinedGAN | MinedFamily:
        images, settings = images.to(self.device), self.settings
        bar = progress_bar(
            total=settings.steps, initial=self.step, desc=f"{record['stage']} {record['target']}", unit="step",
            disable=not progress,
        )  # fmt: skip
        with bar, self.scope():
            while self.step < settings.steps:
                losses = self.one_step(images)
                self.check(losses)
                self.step += 1
                last = self.step == settings.steps
                if last or self.step % settings.log_every == 0:
                    self._log(losses, metric, watch, record, bar)
                if folder is not None and (last or self.step % settings.save_every == 0):
                    self.check_weights()
                    folder.save(self.state())
                bar.update()
        return self.result(record)

    def autocast(self) -> torch.autocast:
        """What networks run under: bfloat16 where the settings say so."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16")

    def check(self, losses: dict[str, float]) -> None:
        """Raises Diverged for losses that no training comes back from."""
        if not all(map(math.isfinite, losses.values())):
            raise Diverged(f"step {self.step + 1}: a loss is not finite ({losses}): lower the learning rates")

    def check_weights(self) -> None:
        """Raises Diverged for weights that are not finite."""
        for name, part in self.parts().items():
            if isinstance(part, nn.Module) and not all(weight.isfinite().all() for weight in part.parameters()):
                raise Diverged(f"step {self.step}: weights of {name} are not finite: lower the learning rates")

    def _log(
        self, losses: dict[str, float], metric: Metric | None, watch: Watch | None, record: dict, bar: tqdm
    ) -> None:
        result, value = self.result(record), None
        if metric is not None:
            value = float(metric(result.sample(METRIC_SAMPLES, seed=METRIC_SEED)))
        more, shown = self.noted(result)
        self.history.append({"step": self.step, **losses, "metric": value, **more})
        shown = {name.removesuffix("_loss"): f"{loss:.2f}" for name, loss in losses.items() if "loss" in name} | shown
        bar.set_postfix(shown if value is None else {**shown, "metric": f"{value:.3f}"}, refresh=False)
        if watch is not None:
            watch(result)

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        state = {name: part.state_dict() for name, part in self.parts().items()}
        return {**state, "step": self.step, "rngs": [rng.get_state() for rng in self.rngs], "history": self.history}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes back to where state() was taken."""
        for name, part in self.parts().items():
            part.load_state_dict(state[name])
        for rng, saved in zip(self.rngs, state["rngs"], strict=True):
            rng.set_state(saved)
        self.step, self.history = state["step"], state["history"]
