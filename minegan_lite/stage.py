"""The loop that both stages share, from one source or several; training.py is its door."""

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from minegan_lite import ema, objectives
from minegan_lite.errors import Diverged, UserError
from minegan_lite.family import ClassSpace, Contest, Member, mixes_rows
from minegan_lite.gan import GAN
from minegan_lite.loop import Loop
from minegan_lite.mined import MinedFamily, MinedGAN, input_prior
from minegan_lite.miner import ConditionalMiner, Miner
from minegan_lite.networks.style_layers import MinibatchStddev
from minegan_lite.nn import clone, frozen
from minegan_lite.selector import Selector
from minegan_lite.settings import Settings


def stream(purpose: str, seed: int) -> torch.Generator:
    """A generator for one purpose of a seed, so that equal seeds for training and sampling share no draws.

    They would otherwise: the first latents sampled with seed 0 would be the numbers that the first layer of a miner
    trained with seed 0 was made of, and come out of it stretched.
    """
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def streams(purpose: str, sources: Sequence[GAN], seed: int) -> list[torch.Generator]:
    """The stream of a stage and one for each of its sources.

    Those go by the sources' names, not by their places: the order in which sources are given must not matter.
    """
    own = stream(purpose, seed)
    if len(sources) == 1:
        return [own, own]
    seen: Counter[str] = Counter()
    rngs = [own]
    for source in sources:
        rngs.append(stream(f"{purpose} {source.name} {seen[source.name]}", seed))
        seen[source.name] += 1
    return rngs


def new_miner(source: GAN, settings: Settings, rng: torch.Generator) -> Miner | ConditionalMiner:
    """The source's miner before its first step."""
    generator = source.generator
    outputs = generator.sizes if isinstance(generator, ClassSpace) else (generator.latent_dim,)
    hidden = outputs[:1] if settings.hidden is None else tuple(settings.hidden)
    sizes = [(settings.input_dim or outputs[0], *hidden, output) for output in outputs]
    kind = Miner if len(sizes) == 1 else ConditionalMiner
    return kind(*sizes, settings.activation, settings.init, rng, spectral_norm=settings.spectral_norm)


def starting_critic(sources: Sequence[GAN], settings: Settings) -> nn.Module:
    """The critic of the source that critic_from names, or one like the first's with fresh weights."""
    if settings.critic_from != "fresh":
        return sources[settings.critic_from].critic
    return fresh(sources[0].critic, "fresh critic", settings.seed)


def fresh(module: nn.Module, purpose: str, seed: int) -> nn.Module:
    """A copy of `module` with new random weights, its layers' own initialisations.

    Raises UserError where a layer's weights cannot be drawn anew: without reset_parameters, or wrapped by torch's
    spectral_norm or weight_norm, whose layers reset only what they compute from the weights.
    """
    copied = clone(module)
    for name, part in copied.named_modules():
        own = dict(part.named_parameters(recurse=False))
        if own and (not hasattr(part, "reset_parameters") or any(key.endswith(("_orig", "_g")) for key in own)):
            raise UserError(
                f"{name or type(part).__name__} of the {type(module).__name__} holds weights that cannot be drawn "
                "anew (they are wrapped, or there is no reset_parameters)"
            )
    with torch.random.fork_rng():
        torch.manual_seed(stream(purpose, seed).initial_seed())  # all that reset_parameters listens to
        for part in copied.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
    return copied


def placed(sources: Sequence[GAN], device: torch.device) -> list[GAN]:
    """The sources with their generators on a device: themselves where they are there, else copies of all of them."""
    generators = nn.ModuleList(source.generator for source in sources)
    if all(weight.device == device for weight in (*generators.parameters(), *generators.buffers())):
        return list(sources)
    copies = clone(generators).to(device)  # together: classes go on sharing
    return [replace(source, generator=own) for source, own in zip(sources, copies, strict=True)]


class Stage(Loop):
    """The steps that both stages share: critic_steps × Eq. 3, then Eq. 4, then the averages."""

    def __init__(
        self,
        sources: Sequence[GAN],
        miners: nn.ModuleList,
        critic: nn.Module,
        released: bool,
        settings: Settings,
        rngs: Sequence[torch.Generator],
        device: torch.device,
        kept: Collection[str] = (),
    ):
        """rngs: the stage's own stream and one for each source; where there is one source they are the same.

        kept: the critic's parameters, by name, that are not trained (transfer/freezed.py).
        """
        super().__init__(settings, rngs, device)
        self.sources = sources = placed(sources, device)
        self.rng, *member_rngs = rngs
        self.generators, self.released = nn.ModuleList(source.generator for source in sources), released
        self.miners = miners.to(device)
        self.critic = clone(critic).train().requires_grad_(False)
        self.critic.to(device, memory_format=torch.channels_last)  # a tenth faster on a CPU
        self.critic_weights = [weight for name, weight in self.critic.named_parameters() if name not in kept]
        self.averages = {"miners_average": ema.averaged(self.miners, settings.ema_decay)}
        self.mining = list(self.miners.parameters())  # none where a baseline has no miner
        groups = [{"params": self.mining, "lr": settings.miner_lr}] if self.mining else []
        if released:
            self.generators.train().requires_grad_(True)
            self.averages["generators_average"] = ema.averaged(self.generators, settings.ema_decay)
            groups.append({"params": list(self.generators.parameters()), "lr": settings.generator_lr})
        self.optimizer = torch.optim.Adam(groups, betas=settings.betas, fused=True)
        self.critic_optimizer = torch.optim.Adam(
            self.critic_weights, lr=settings.critic_lr, betas=settings.betas, fused=True
        )
        members = [
            Member(source.generator, miner, input_prior(source, miner), rng, released and mixes_rows(source.generator))
            for source, miner, rng in zip(sources, miners, member_rngs, strict=True)
        ]
        self.contest = Contest(members, Selector(len(sources)), settings.objective)
        # A 1-Lipschitz critic cannot tell two images further apart than they lie; ten times that is an explosion.
        self.largest_gap = 10 * 2 * math.sqrt(math.prod(sources[0].generator.image_shape))

    @classmethod
    def one(cls, sources: Sequence[GAN], settings: Settings, device: torch.device) -> "Stage":
        """Stage one: new miners, the generators as they are, a source's critic to start from."""
        rngs = streams("mine", sources, settings.seed)
        miners = nn.ModuleList(new_miner(source, settings, rng) for source, rng in zip(sources, rngs[1:], strict=True))
        return cls(sources, miners, starting_critic(sources, settings), False, settings, rngs, device)

    @classmethod
    def two(
        cls, sources: Sequence[GAN], miners: nn.ModuleList, critic: nn.Module, settings: Settings, device: torch.device
    ) -> "Stage":
        """Stage two: copies of miners and generators, all trained."""
        generators = clone(nn.ModuleList(source.generator for source in sources)).to(device)  # classes go on sharing
        copies = [replace(source, generator=own) for source, own in zip(sources, generators, strict=True)]
        return cls(copies, clone(miners), critic, True, settings, streams("finetune", sources, settings.seed), device)

    def scope(self) -> AbstractContextManager:
        return frozen() if self.released else frozen(*self.generators)

    def one_step(self, images: Tensor) -> dict[str, float]:
        """critic_steps updates of the critic (Eq. 3 and the penalty), one of the miner (Eq. 4), one of the averages."""
        batch, settings = self.settings.batch, self.settings
        loss = objectives.adversarial(settings.loss)
        self._critic_learns(True)
        for _ in range(settings.critic_steps):
            pick = torch.randint(len(images), (batch,), generator=self.rng)
            real = images[pick.to(self.device)]  # (batch, C, H, W)
            with self.autocast():
                with torch.no_grad():
                    fake = self._fakes()  # (batch, C, H, W)
                fake_scores, real_scores = self._scores(fake, real)  # (n, 1) each
                critic_loss = loss.critic(fake_scores, real_scores)
                some = fake[:: len(fake) // batch]  # one for each real image
                penalty = loss.penalty(self.critic, real, some, self.rng)
            self.critic_optimizer.zero_grad()
            (critic_loss + settings.penalty * penalty).backward()
            self.critic_optimizer.step()
        # Eq. 4 needs the gradient to the images, not to the critic's weights
        self._critic_learns(False)
        with self.autocast():
            miner_loss = loss.generator(self.critic(self._fakes()).float())
        self.optimizer.zero_grad()
        miner_loss.backward()
        self.optimizer.step()
        if self.mining:
            self.averages["miners_average"].update_parameters(self.miners)
        if self.released:
            self.averages["generators_average"].update_parameters(self.generators)
        return {"critic_loss": critic_loss.item(), "miner_loss": miner_loss.item(), "penalty": penalty.item()}

    def _critic_learns(self, whether: bool) -> None:
        for weight in self.critic_weights:
            weight.requires_grad_(whether)

    def _scores(self, fake: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """In one batch, which is faster, unless the critic looks at how much the images of a batch differ."""
        if any(isinstance(part, MinibatchStddev) for part in self.critic.modules()):
            return self.critic(fake).float(), self.critic(real).float()
        return self.critic(torch.cat([fake, real])).float().split([len(fake), len(real)])

    def _fakes(self) -> Tensor:
        return self.contest.fakes(self.settings.batch, self.device, self.critic)

    def check(self, losses: dict[str, float]) -> None:
        super().check(losses)
        if abs(losses["critic_loss"]) > self.largest_gap:
            raise Diverged(
                f"step {self.step + 1}: the critic exploded, its loss is {losses['critic_loss']:.3g} where "
                f"{self.largest_gap:.3g} is far beyond any Lipschitz one: lower critic_lr or raise penalty"
            )

    def noted(self, result: MinedGAN | MinedFamily) -> tuple[dict[str, Any], dict[str, str]]:
        if not isinstance(result, MinedFamily):
            return {}, {}
        p = self.contest.selector.probabilities.tolist()
        best = max(range(len(p)), key=p.__getitem__)
        return {"probabilities": p}, {"most": f"{self.sources[best].name} {p[best]:.2f}"}

    def parts(self) -> dict[str, Any]:
        parts = {
            "miners": self.miners, "critic": self.critic, **self.averages, "selector": self.contest.selector,
            "optimizer": self.optimizer, "critic_optimizer": self.critic_optimizer,
        }  # fmt: skip
        return parts | ({"generators": self.generators} if self.released else {})

    def result(self, record: dict[str, Any]) -> MinedGAN | MinedFamily:
        miners = self.averages["miners_average"].module
        generators = self.averages["generators_average"].module if self.released else self.generators
        if isinstance(record["source"], str):
            return MinedGAN(
                self.sources[0], self.miners[0], self.critic, miners[0], generators[0], record, self.history
            )
        return MinedFamily(
            list(self.sources), self.miners, self.critic, miners, generators, self.contest.selector, record,
            self.history,
        )  # fmt: skip
