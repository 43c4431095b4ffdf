"""THE loop: critic and miner steps (Eq. 3 to 6), and its doors mine(), finetune() and teach_critic()."""

import contextlib
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minegan_lite.config import FAMILIES, Adversarial, Mining, Tuning, refuse_useless, resolve, said
from minegan_lite.data import FewShot, few_shot
from minegan_lite.errors import Diverged, UserError
from minegan_lite.files import fingerprint, sources_fingerprint, weights_fingerprint
from minegan_lite.gan import GAN
from minegan_lite.losses import LOSSES
from minegan_lite.mined import STAGES, Mined, input_prior
from minegan_lite.miner import miner_for, told
from minegan_lite.networks.style_layers import MinibatchStddev
from minegan_lite.nn import averaged, clone, fresh, frozen, pick_device
from minegan_lite.probe import (
    check_critic,
    check_miners,
    check_sources,
    critic_like,
    sources_of,
    target_images,
    with_generators,
)
from minegan_lite.runs import Course, Metric, Watch
from minegan_lite.selector import Selector
from minegan_lite.supersample import Player, fakes, mixes_rows, streams


class State:
    """All that a training reads and changes: networks and averages, optimizers, draws, the step and its history.

    config: a Mining, Tuning or Adapting, or an Adversarial where only a critic is taught. sources, critic: where it
        starts; the critic is copied, and so are generators that lie on another device.
    miners: one for each source, trained themselves; None makes new ones.
    purpose: names the streams of random numbers. released: whether the generators are trained; they are copied then.
    kept: names of the critic's parameters that are not trained (transfer/freezed.py).
    """

    def __init__(
        self,
        config: Any,
        sources: Sequence[GAN],
        critic: nn.Module,
        device: torch.device,
        *,
        purpose: str,
        miners: Sequence[nn.Module] | None = None,
        released: bool = False,
        kept: Collection[str] = (),
    ):
        self.config, self.device, self.step = config, device, 0
        self.history: list[dict[str, Any]] = []
        self.rng, *of_sources = self.rngs = streams(purpose, sources, config.seed)
        generators = nn.ModuleList(source.generator for source in sources)
        elsewhere = any(weight.device != device for weight in (*generators.parameters(), *generators.buffers()))
        if released or elsewhere:  # copied together: classes go on sharing a generator
            generators = clone(generators).to(device)
            sources = with_generators(sources, generators)
        if miners is None:
            miners = [miner_for(source.generator, config, rng) for source, rng in zip(sources, of_sources, strict=True)]
        self.sources, self.generators, self.released = list(sources), generators, released
        self.miners = nn.ModuleList(miners).to(device)
        self.critic = clone(critic).train().requires_grad_(False)
        self.critic.to(device, memory_format=torch.channels_last)  # a tenth faster on a CPU
        self.critic_weights = [weight for name, weight in self.critic.named_parameters() if name not in kept]
        self.miners_average = averaged(self.miners, config.ema_decay)
        self.generators_average: Any = None  # while they are frozen
        groups = []
        if mining := list(self.miners.parameters()):  # none where a baseline has no miner
            groups.append({"params": mining, "lr": config.miner_lr})
        if released:
            generators.train().requires_grad_(True)
            self.generators_average = averaged(generators, config.ema_decay)
            groups.append({"params": list(generators.parameters()), "lr": config.generator_lr})
        adam: dict[str, Any] = {"betas": config.betas, "fused": True}
        self.optimizer: Any = torch.optim.Adam(groups, **adam) if groups else None  # None: only a critic is taught
        self.critic_optimizer = torch.optim.Adam(self.critic_weights, lr=config.critic_lr, **adam)
        self.players = [
            Player(one.generator, miner, input_prior(one, miner), rng, device, released and mixes_rows(one.generator))
            for one, miner, rng in zip(self.sources, self.miners, of_sources, strict=True)
        ]
        self.selector = Selector(len(sources))

    def fakes(self) -> Tensor:
        """The fakes of a minibatch (n, C, H, W)."""
        objective = getattr(self.config, "objective", "max")
        return fakes(self.players, self.config.batch, self.critic, self.selector, objective)

    def autocast(self) -> torch.autocast:
        """What networks run under: bfloat16 where the configuration says so."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16")

    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        names = ["miners", "critic", "miners_average", "selector", "optimizer", "critic_optimizer"]
        names += ["generators", "generators_average"] if self.released else []
        return {name: getattr(self, name) for name in names}

    def noted(self) -> dict[str, Any]:
        """What an entry of the history also says: of several sources their shares."""
        return {"probabilities": self.selector.probabilities.tolist()} if len(self.sources) > 1 else {}

    def result(self, record: dict[str, Any]) -> Mined:
        """What the training gives as it is at this step."""
        generators = self.generators_average.module if self.released else self.generators
        return Mined(
            self.sources, self.miners, self.critic, self.miners_average.module, generators, self.selector, record,
            self.history,
        )  # fmt: skip


def critic_step(s: State, images: Tensor) -> dict[str, float]:
    """One update of the critic on a minibatch of images (m, C, H, W): Eq. 3 (of several sources 5), and the penalty."""
    batch, loss = s.config.batch, LOSSES[s.config.loss]
    for weight in s.critic_weights:
        weight.requires_grad_(True)
    pick = torch.randint(len(images), (batch,), generator=s.rng)
    real = images[pick.to(s.device)]  # (batch, C, H, W)
    with s.autocast():
        with torch.no_grad():
            fake = s.fakes()  # (batch, C, H, W)
        fake_scores, real_scores = scores(s.critic, fake, real)  # (n, 1) each
        critic_loss = loss.critic(fake_scores, real_scores)
        some = fake[:: len(fake) // batch]  # one for each real image
        penalty = loss.penalty(s.critic, real, some, s.rng)
    s.critic_optimizer.zero_grad()
    (critic_loss + s.config.penalty * penalty).backward()
    s.critic_optimizer.step()
    refuse_explosion(s, critic_loss.item())
    return {"critic_loss": critic_loss.item(), "penalty": penalty.item()}


def refuse_explosion(s: State, critic_loss: float) -> None:
    """Raises Diverged for a loss ten times as large as the furthest that a 1-Lipschitz critic can tell images apart."""
    largest = 10 * 2 * math.sqrt(math.prod(s.sources[0].generator.image_shape))
    if math.isfinite(critic_loss) and abs(critic_loss) > largest:
        raise Diverged(
            f"step {s.step + 1}: the critic exploded, its loss is {critic_loss:.3g} where {largest:.3g} is far beyond "
            "any Lipschitz one: lower critic_lr or raise penalty"
        )


def scores(critic: nn.Module, fake: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """In one batch, which is faster, unless the critic looks at how much the images of a batch differ."""
    if any(isinstance(part, MinibatchStddev) for part in critic.modules()):
        return critic(fake).float(), critic(real).float()
    return critic(torch.cat([fake, real])).float().split([len(fake), len(real)])


def miner_step(s: State) -> dict[str, float]:
    """One update of the miners (Eq. 4, of several sources Eq. 6), of released generators, and of the averages."""
    for weight in s.critic_weights:  # Eq. 4 needs the gradient to the images, not to the critic's weights
        weight.requires_grad_(False)
    with s.autocast():
        miner_loss = LOSSES[s.config.loss].generator(s.critic(s.fakes()).float())
    if weight := getattr(s.config, "shift_penalty", 0.0):
        miner_loss = miner_loss + weight * sum(player.shift(s.config.batch) for player in s.players) / len(s.players)
    s.optimizer.zero_grad()
    miner_loss.backward()
    s.optimizer.step()
    if next(s.miners.parameters(), None) is not None:
        s.miners_average.update_parameters(s.miners)
    if s.generators_average is not None:
        s.generators_average.update_parameters(s.generators)
    return {"miner_loss": miner_loss.item()}


def train(s: State, images: Tensor, record: dict[str, Any], **course: Any) -> Mined:
    """Makes the steps that are still to be made, logging and saving on the way; `course` as in runs.Course."""
    images = images.to(s.device)
    with Course(s, record, **course) as run, frozen(*(() if s.released else s.generators)):
        while run.goes_on():
            for _ in range(s.config.critic_steps):
                losses = critic_step(s, images)
            run.after(losses | miner_step(s))
    return s.result(record)


# --- doors ------------------------------------------------------------------------------------------------------------


def mine(
    gan: GAN | Sequence[GAN],
    target: FewShot | Tensor | str | Path,
    *,
    preset: str | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
    metric: Metric | None = None,
    watch: Watch | None = None,
    **options: Any,
) -> Mined:
    """Stage one, "MineGAN (w/o FT)": trains miners and one critic; the generators stay frozen.

    gan: one source gives a miner (Eq. 3 and 4); a list of sources, or a conditional GAN with one-hot classes, a miner
        for each source or class and a selector (Eq. 5 and 6). A GAN with embedded classes is mined by a
        ConditionalMiner. A generator is not changed in any byte, flag or mode, nor moved: for another device than its
        own it is copied. A critic is copied, and called without labels; where there is none a fresh one starts. Sources
        share one image shape, and nothing else; their order does not matter, but for critic_from.
    target: a few_shot result (its .train is used), images (n, C, H, W) in [−1, 1], n ≥ 2, or a folder of pictures.
    preset: None chooses by the GAN's family (config.FAMILIES), and says so; or a name of config.PRESETS: "default"; for
        MNIST "paper" (the supplement to the letter) or "official" (the released code's settings); "paper-progan",
        "paper-sngan", "paper-biggan", "official-biggan", "official-stylegan". A StyleGAN is mined in z;
        in_style_space(gan) is the same one with w as its latent, in_style_space(gan, per_layer=True) with w+. Nothing
        is truncated, unless it is truncated(gan, ψ) that is given.
    out: a run folder; None keeps everything in memory. The same call resumes it bit for bit after an interruption.
    device: "auto" (cuda, then mps, then cpu) or a torch device. progress: whether to show the bar.
    metric: images (500, C, H, W) → a number, shown and recorded at every logged step; None takes the digit
        classifier's error where the target is a digit.
    watch: called at every logged step with what mine() would return if it stopped there, for plots that grow.
    options: fields of config.Mining (steps, seed, batch, miner_lr, objective, …) that replace the preset's.
    Every source's weights stay on the device; the work of a step grows with their number by forward passes only.
    Raises UserError for wrong input (nothing is written) and for a device whose memory is too small, Diverged when
    losses or weights become infinite or NaN.
    """
    resolve(Mining, preset, options)  # refuses before anything is loaded
    sources, where = sources_of(gan), pick_device(device)
    config, chosen = resolve(Mining, preset, options, family := sources[0].family, where), preset or FAMILIES[family][0]
    refuse_useless(options, len(sources))
    if isinstance(target, str | Path):
        target = few_shot(target, image_shape=tuple(sources[0].generator.image_shape), resize=True)
    images = target_images(target, sources[0])
    with fitting(sources, config, where):
        check_sources(sources)
        check_miners(config, sources)
        place, critic = starting_critic(sources, config)
        record = describe("mine", sources, target, images, chosen, config, where) | {"critic_like": place}
        state = State(config, sources, critic, where, purpose="mine")
        record["miners"] = list(map(told, state.miners))
        metric = metric or default_metric(target, sources[0])
        by_family = f"{sources[0].name}: {said(config, chosen, family)}" if preset is None else ""
        return train(state, images, record, out=out, progress=progress, metric=metric, watch=watch, told=by_family)


def finetune(
    mined: Mined,
    target: FewShot | Tensor,
    *,
    out: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
    metric: Metric | None = None,
    watch: Watch | None = None,
    **options: Any,
) -> Mined:
    """Stage two, the full MineGAN (Sec. 3.4): releases the generators and trains them with miners and critic.

    mined: the result of mine(); it is left as it is, the new one holds copies, out of torch.compile and the like. The
        preset, loss, objective and shift_penalty are those of stage one, a selector starts to count anew; target,
        out, device, progress, metric, watch and errors are as in mine(). options: fields of config.Tuning.
    """
    if not isinstance(mined, Mined) or mined.record.get("stage") not in STAGES or mined.critic is None:
        raise UserError("finetune() takes the result of mine(), or of load() from a run folder")
    done = mined.history[-1]["step"] if mined.history else 0
    if done < mined.record["steps"]:
        raise UserError(f"stage one is at step {done} of {mined.record['steps']}: finish it before stage two")
    inherited = {key: mined.record[key] for key in ("objective", "loss", "shift_penalty") if key in mined.record}
    refuse_useless(options, len(mined.sources))
    where, preset = pick_device(device), mined.record["preset"]
    config = resolve(Tuning, preset, inherited | options, device=where)
    images = target_images(target, mined.sources[0])
    with fitting(mined.sources, config, where):
        check_sources(mined.sources, released=True)
        check_critic(mined.critic, mined.image_shape, mined.sources[0].name)
        record = describe("finetune", mined.sources, target, images, preset, config, where)
        record |= {key: mined.record[key] for key in ("critic_like", "miners")}
        record["mined_sha256"] = weights_fingerprint(*mined.miners, mined.critic)
        miners = clone(mined.miners)
        state = State(config, mined.sources, mined.critic, where, purpose="finetune", miners=miners, released=True)
        metric = metric or default_metric(target, mined.sources[0])
        return train(state, images, record, out=out, progress=progress, metric=metric, watch=watch)


def describe(
    stage: str,
    sources: Sequence[GAN],
    target: FewShot | Tensor,
    images: Tensor,
    preset: str,
    config: Any,
    device: torch.device,
) -> dict[str, Any]:
    """Everything that the result depends on, JSON-ready: what run.json holds and a resumed run must repeat."""
    name, request = (target.name, target.request) if isinstance(target, FewShot) else ("tensor", None)
    requests = [one.request for one in sources]
    return {
        "stage": stage, "sources": [one.name for one in sources],
        "source_requests": requests if any(requests) else None, "source_sha256": sources_fingerprint(sources),
        "generators_sha256": weights_fingerprint(*(one.generator for one in sources)),
        "target": name, "target_request": request,
        "target_sha256": fingerprint(images), "images": len(images), "device": device.type, "preset": preset,
        **asdict(config),
    }  # fmt: skip


def starting_critic(sources: Sequence[GAN], config: Mining) -> tuple[int | None, nn.Module]:
    """The critic that stage one starts from, checked, and the place of the source whose it is like (None: of none)."""
    place = 0 if config.critic_from == "fresh" else int(config.critic_from)
    if place >= len(sources):
        raise UserError(f"critic_from is {place}, there are {len(sources)} source(s): the first is 0")
    like = None if sources[place].critic is None else place
    if like is not None:
        check_critic(sources[place].critic, sources[place].generator.image_shape, sources[place].name)
        if config.critic_from != "fresh":
            return like, sources[place].critic
    return like, fresh(critic_like(sources, like), "fresh critic", config.seed)


@contextlib.contextmanager
def fitting(sources: Sequence[GAN], config: Adversarial, device: torch.device) -> Iterator[None]:
    """Inside, want of the device's memory is one line that says what to do."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise UserError(
            f"{device} has too little memory for {len(sources)} source(s) at batch {config.batch}: lower the batch, "
            "mine fewer sources, or take device='cpu'"
        ) from None


def default_metric(target: FewShot | Tensor, gan: GAN) -> Metric | None:
    """The digit classifier's error where the target is a digit, else none."""
    digit = target.digit if isinstance(target, FewShot) else None
    if digit is None or tuple(gan.generator.image_shape) != (1, 28, 28):
        return None
    from minegan_lite import metrics, zoo

    classifier = zoo.load_classifier()
    return lambda images: metrics.classifier_error(classifier, images, digit)
