"""mine() and finetune(): the two stages of MineGAN (Sec. 3.2 and 3.4), resumable and bit-for-bit repeatable."""

import copy
import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from minegan_lite import ema, objectives, runs
from minegan_lite.data import FewShot
from minegan_lite.errors import Diverged, UserError
from minegan_lite.gan import GAN
from minegan_lite.mined import MinedGAN, frozen, input_prior
from minegan_lite.miner import Miner
from minegan_lite.settings import Settings, check_images, describe, pick_device, resolve

Metric = Callable[[Tensor], float]
METRIC_SAMPLES, METRIC_SEED = 500, 0


def mine(
    gan: GAN,
    target: FewShot | Tensor,
    *,
    preset: str = "default",
    out: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
    metric: Metric | None = None,
    **options: Any,
) -> MinedGAN:
    """Stage one, "MineGAN (w/o FT)": trains a miner and the critic by Eq. 3 and 4; the generator stays frozen.

    gan: the source; its generator moves to the device and is not changed in any byte, flag or mode; its critic is
        copied.
    target: a few_shot result (its .train is used) or images (n, C, H, W) in [−1, 1], n ≥ 2.
    preset: "default", "paper" (the supplement to the letter) or "official" (the released code's settings).
    out: a run folder; None keeps everything in memory. The same call resumes it bit for bit after an interruption.
    device: "auto" (cuda, then mps, then cpu) or a torch device. progress: whether to show the bar.
    metric: images (500, C, H, W) → a number, shown and recorded at every logged step; None takes the digit
        classifier's error where the target is a digit.
    options: fields of Settings (steps, seed, batch, miner_lr, …) that replace the preset's.
    Raises UserError for wrong input (nothing is written), Diverged when training leaves the finite numbers.
    """
    settings = resolve(preset, options)
    images, where = check_images(target, gan), pick_device(device)
    stage = _Stage.one(gan, settings, where)
    record = describe("mine", gan, target, images, preset, settings, where)
    return stage.train(images, record, out, progress, metric or _default_metric(target, gan))


def finetune(
    mined: MinedGAN,
    target: FewShot | Tensor,
    *,
    out: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
    metric: Metric | None = None,
    **options: Any,
) -> MinedGAN:
    """Stage two, the full MineGAN (Sec. 3.4): releases the generator and trains it with miner and critic.

    mined: the result of mine(); it is left as it is, the new one holds copies. The preset and the miner's shape are
    those of stage one; target, out, device, progress, metric, options and errors are as in mine().
    """
    done = mined.history[-1]["step"] if mined.history else 0
    if done < mined.settings["steps"]:
        raise UserError(f"stage one is at step {done} of {mined.settings['steps']}: finish it before stage two")
    inherited = {key: mined.settings[key] for key in ("hidden", "input_dim", "activation", "init")}
    settings = resolve(mined.settings["preset"], inherited | options)
    images, where = check_images(target, mined.gan), pick_device(device)
    record = describe("finetune", mined.gan, target, images, mined.settings["preset"], settings, where)
    record["mined_sha256"] = runs.weights_fingerprint(mined.miner, mined.critic)
    stage = _Stage.two(replace(mined.gan, critic=mined.critic), mined.miner, settings, where)
    return stage.train(images, record, out, progress, metric or _default_metric(target, mined.gan))


def load(run: str | Path, gan: GAN | None = None) -> MinedGAN:
    """The MinedGAN of a run folder, finished or not, at its last checkpoint, on the CPU.

    gan: the source it was mined from; None takes the zoo's GAN of the recorded name.
    Raises UserError for a folder without a run or checkpoint, for a run of another version of this library, and for
    a source other than the recorded one.
    """
    record = runs.read_settings(run)
    state = runs.read_state(run)
    if missing := [
        key for key in ("stage", "source", "source_sha256", *Settings.__dataclass_fields__) if key not in record
    ]:
        raise UserError(f"{run} is no run of this version of minegan-lite: its run.json has no {missing[0]}")
    if gan is None:
        from minegan_lite import zoo

        gan = zoo.load(record["source"])
    if record["stage"] == "mine" and runs.weights_fingerprint(gan.generator, gan.critic) != record["source_sha256"]:
        raise UserError(f"{run} was mined from other weights than these of {gan.name}")
    options = {key: record[key] for key in Settings.__dataclass_fields__}
    settings = Settings(**{key: tuple(value) if isinstance(value, list) else value for key, value in options.items()})
    cpu = torch.device("cpu")
    if record["stage"] == "mine":
        stage = _Stage.one(gan, settings, cpu)
    else:
        stage = _Stage.two(gan, _new_miner(gan, settings, torch.Generator()), settings, cpu)
    stage.restore(state)
    return stage.result(record)


def stream(purpose: str, seed: int) -> torch.Generator:
    """A generator for one purpose of a seed, so that equal seeds for training and sampling share no draws.

    They would otherwise: the first latents sampled with seed 0 would be the numbers that the first layer of a miner
    trained with seed 0 was made of, and come out of it stretched.
    """
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def clone(module: nn.Module) -> nn.Module:
    """A deep copy that shares nothing with `module`.

    Hook-based spectral norm leaves its last weight behind as a graph's output, which deepcopy refuses: detached
    first (the next forward makes it anew).
    """
    for part in module.modules():
        for name, value in vars(part).items():
            if isinstance(value, Tensor) and not value.is_leaf:
                setattr(part, name, value.detach())
    return copy.deepcopy(module)


def _new_miner(gan: GAN, settings: Settings, rng: torch.Generator) -> Miner:
    latent = gan.generator.latent_dim
    hidden = (latent,) if settings.hidden is None else tuple(settings.hidden)
    return Miner((settings.input_dim or latent, *hidden, latent), settings.activation, settings.init, rng)


def _default_metric(target: FewShot | Tensor, gan: GAN) -> Metric | None:
    if not isinstance(target, FewShot) or target.digit is None or tuple(gan.generator.image_shape) != (1, 28, 28):
        return None
    from minegan_lite import metrics, zoo

    classifier = zoo.load_classifier()
    return lambda images: metrics.classifier_error(classifier, images, target.digit)


class _Stage:
    """The loop that both stages share: critic_steps × Eq. 3, then Eq. 4, then the averages."""

    def __init__(
        self, gan: GAN, miner: Miner, released: bool, settings: Settings, rng: torch.Generator, device: torch.device
    ):
        self.gan, self.released, self.settings, self.rng, self.device = gan, released, settings, rng, device
        gan.generator.to(device)
        self.miner, self.critic = miner.to(device), clone(gan.critic).train().requires_grad_(True)
        self.critic.to(device, memory_format=torch.channels_last)  # a tenth faster on a CPU
        self.prior = input_prior(gan, miner)
        self.averages = {"miner_average": ema.averaged(self.miner, settings.ema_decay)}
        groups = [{"params": list(self.miner.parameters()), "lr": settings.miner_lr}]
        if released:
            gan.generator.train().requires_grad_(True)
            self.averages["generator_average"] = ema.averaged(gan.generator, settings.ema_decay)
            groups.append({"params": list(gan.generator.parameters()), "lr": settings.generator_lr})
        self.optimizer = torch.optim.Adam(groups, betas=settings.betas, fused=True)
        self.critic_optimizer = torch.optim.Adam(
            self.critic.parameters(), lr=settings.critic_lr, betas=settings.betas, fused=True
        )
        self.step, self.history = 0, []
        # A 1-Lipschitz critic cannot tell two images further apart than they lie; ten times that is an explosion.
        self.largest_gap = 10 * 2 * math.sqrt(math.prod(gan.generator.image_shape))

    @classmethod
    def one(cls, gan: GAN, settings: Settings, device: torch.device) -> "_Stage":
        """Stage one: a new miner, the source's critic to start from, the generator as it is."""
        rng = stream("mine", settings.seed)
        return cls(gan, _new_miner(gan, settings, rng), False, settings, rng, device)

    @classmethod
    def two(cls, gan: GAN, miner: Miner, settings: Settings, device: torch.device) -> "_Stage":
        """Stage two: copies of miner and generator, all trained."""
        rng = stream("finetune", settings.seed)
        return cls(replace(gan, generator=clone(gan.generator)), clone(miner), True, settings, rng, device)

    def train(
        self, images: Tensor, record: dict[str, Any], out: str | Path | None, progress: bool, metric: Metric | None
    ) -> MinedGAN:
        """Runs the remaining steps, logging and saving on the way."""
        folder = None if out is None else runs.RunFolder(out, record)
        if folder is not None and (state := folder.load()) is not None:
            self.restore(state)
        images, settings = images.to(self.device), self.settings
        bar = tqdm(
            total=settings.steps, initial=self.step, desc=f"{record['stage']} {record['target']}", unit="step",
            disable=not progress,
        )  # fmt: skip
        with bar, frozen() if self.released else frozen(self.gan.generator):
            while self.step < settings.steps:
                losses = self.one_step(images)
                self._check(losses)
                self.step += 1
                last = self.step == settings.steps
                if last or self.step % settings.log_every == 0:
                    self._log(losses, metric, record, bar)
                if folder is not None and (last or self.step % settings.save_every == 0):
                    self._check_weights()
                    folder.save(self.state())
                bar.update()
        return self.result(record)

    def one_step(self, images: Tensor) -> dict[str, float]:
        """critic_steps updates of the critic (Eq. 3 and the penalty), one of the miner (Eq. 4), one of the averages."""
        batch, settings = self.settings.batch, self.settings
        self.critic.requires_grad_(True)
        for _ in range(settings.critic_steps):
            pick = torch.randint(len(images), (batch,), generator=self.rng)
            real = images[pick.to(self.device)]  # (batch, C, H, W)
            with self._autocast():
                with torch.no_grad():
                    fake = self._fakes()  # (batch, C, H, W)
                scores = self.critic(torch.cat([fake, real])).float()  # (2·batch, 1)
                fake_scores, real_scores = scores.chunk(2)
                critic_loss = objectives.critic_loss(fake_scores, real_scores)
                penalty = objectives.gradient_penalty(self.critic, real, fake, self.rng)
            self.critic_optimizer.zero_grad()
            (critic_loss + settings.penalty * penalty).backward()
            self.critic_optimizer.step()
        # Eq. 4 needs the gradient to the images, not to the critic's weights
        self.critic.requires_grad_(False)
        with self._autocast():
            miner_loss = objectives.generator_loss(self.critic(self._fakes()).float())
        self.optimizer.zero_grad()
        miner_loss.backward()
        self.optimizer.step()
        self.averages["miner_average"].update_parameters(self.miner)
        if self.released:
            self.averages["generator_average"].update_parameters(self.gan.generator)
        return {"critic_loss": critic_loss.item(), "miner_loss": miner_loss.item(), "penalty": penalty.item()}

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16")

    def _fakes(self) -> Tensor:
        u = self.prior(self.settings.batch, self.rng).to(self.device)
        return self.gan.generator(self.miner(u)).float()

    def _check(self, losses: dict[str, float]) -> None:
        if not all(map(math.isfinite, losses.values())):
            raise Diverged(f"step {self.step + 1}: a loss is not finite ({losses}): lower the learning rates")
        if abs(losses["critic_loss"]) > self.largest_gap:
            raise Diverged(
                f"step {self.step + 1}: the critic exploded, its loss is {losses['critic_loss']:.3g} where "
                f"{self.largest_gap:.3g} is far beyond any Lipschitz one: lower critic_lr or raise penalty"
            )

    def _check_weights(self) -> None:
        for name, part in (("miner", self.miner), ("critic", self.critic), ("generator", self.gan.generator)):
            if not all(weight.isfinite().all() for weight in part.parameters()):
                raise Diverged(
                    f"step {self.step}: the {name} has weights that are not finite: lower the learning rates"
                )

    def _log(self, losses: dict[str, float], metric: Metric | None, record: dict[str, Any], bar: tqdm) -> None:
        value = None
        if metric is not None:
            value = float(metric(self.result(record).sample(METRIC_SAMPLES, seed=METRIC_SEED)))
        self.history.append({"step": self.step, **losses, "metric": value})
        shown = {"critic": f"{losses['critic_loss']:.2f}", "miner": f"{losses['miner_loss']:.2f}"}
        bar.set_postfix(shown if value is None else {**shown, "metric": f"{value:.3f}"}, refresh=False)

    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds of networks and optimizers, by name."""
        parts = {
            "miner": self.miner, "critic": self.critic, **self.averages,
            "optimizer": self.optimizer, "critic_optimizer": self.critic_optimizer,
        }  # fmt: skip
        return parts | ({"generator": self.gan.generator} if self.released else {})

    def state(self) -> dict[str, Any]:
        state = {name: part.state_dict() for name, part in self.parts().items()}
        return {**state, "step": self.step, "rng": self.rng.get_state(), "history": self.history}

    def restore(self, state: dict[str, Any]) -> None:
        for name, part in self.parts().items():
            part.load_state_dict(state[name])
        self.rng.set_state(state["rng"])
        self.step, self.history = state["step"], state["history"]

    def result(self, record: dict[str, Any]) -> MinedGAN:
        averages = {name: average.module for name, average in self.averages.items()}
        averages.setdefault("generator_average", self.gan.generator)
        return MinedGAN(self.gan, self.miner, self.critic, settings=record, history=self.history, **averages)
