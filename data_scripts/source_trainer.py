"""The training of a source: a Progressive GAN that grows, its losses, and one step of both networks."""

import math
from collections.abc import Callable
from typing import Any

import torch
from augment import augmented
from torch import Tensor, nn
from torch.nn import functional as F

from minegan_lite import losses
from minegan_lite.data import to_signed
from minegan_lite.errors import Diverged
from minegan_lite.networks import progan
from minegan_lite.nn import averaged

BETAS = (0.0, 0.99)  # Karras et al. 2018, App. A


def relativistic(scores: Tensor, others: Tensor) -> Tensor:
    """E[log(1 + exp(scores − others))] over pairs, (n, 1) each: Jolicoeur-Martineau 2019, as in R3GAN."""
    return F.softplus(scores - others).mean()


# critic(fake, real) and generator(fake, real), of scores (n, 1)
LOSSES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "logistic": (losses.logistic_critic_loss, lambda fake, real: losses.logistic_generator_loss(fake)),
    "relativistic": (relativistic, lambda fake, real: relativistic(real, fake)),
    "wgan": (losses.critic_loss, lambda fake, real: losses.generator_loss(fake)),
}
PENALTIES = ("r1", "r1+r2", "gp")


def penalty(kind: str, critic: progan.Critic, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
    """R1 on reals, R1 and R2 on reals and fakes (Mescheder et al. 2018), halved, or WGAN-GP's between them.

    R1's and R2's gradients are by the pixels of the resolution that the critic works at: where it takes the mean of 4ᵏ
    pixels of x (n, C, R, R), ‖∇‖² by x is 4ᵏ times smaller.
    """
    if kind == "gp":
        return losses.gradient_penalty(critic, real, fake, rng)
    total = losses.r1_penalty(critic, real)
    if kind == "r1+r2":
        total = total + losses.r1_penalty(critic, fake)
    return total * 4 ** int(critic.lod) / 2


def steps_of(spec: dict[str, Any]) -> int:
    """Steps of all stages."""
    return sum(stage["steps"] for stage in spec["stages"])


def lod_at(step: int, spec: dict[str, Any]) -> float:
    """progan's level of detail at a step: k while the side is a 2ᵏ-th of the full one, between two while one fades."""
    i, step = stage_at(step, spec)
    fade = spec["stages"][i].get("fade", 0)
    return len(spec["stages"]) - 1 - i + (1 - step / fade if step < fade else 0.0)


def stage_at(step: int, spec: dict[str, Any]) -> tuple[int, int]:
    """Which stage a step belongs to, and how many steps of that stage lie before it; the last one has no end."""
    for i, stage in enumerate(spec["stages"][:-1]):
        if step < stage["steps"]:
            return i, step
        step -= stage["steps"]
    return len(spec["stages"]) - 1, step


def networks(spec: dict[str, Any]) -> tuple[progan.Generator, progan.Critic]:
    """The untrained pair of a source."""
    return progan.Generator(spec["channels"], spec["latent_dim"]), progan.Critic(spec["channels"])


def fade_down(x: Tensor, lod: float) -> Tensor:
    """Reals (n, C, R, R) as sharp as the generator can draw at this level: faded towards half the resolution."""
    fade = lod % 1
    if not fade:
        return x
    side = 2 ** (int(lod) + 1)
    return (1 - fade) * x + fade * progan.upsample(F.avg_pool2d(x, side), side)


class Trainer:
    """A source's networks, optimisers and stream of random numbers; `step` does one step of both networks."""

    def __init__(self, spec: dict[str, Any], images: Tensor, device: str = "cpu"):
        """images: (n, 3, R, R) uint8."""
        self.spec, self.images, self.device = spec, images, torch.device(device)
        torch.manual_seed(spec["seed"])  # the initialisation; every later draw comes from `rng`
        self.rng = torch.Generator().manual_seed(spec["seed"])
        pair = networks(spec)
        self.generator, self.critic = (part.to(self.device, memory_format=torch.channels_last) for part in pair)
        self.optimizers = [
            torch.optim.Adam(part.parameters(), lr=spec["lr"], betas=BETAS, fused=True)
            for part in (self.generator, self.critic)
        ]
        self.average = averaged(self.generator)
        self.done, self.history = 0, []

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        names = ("generator", "critic", "average", "generator_optimizer", "critic_optimizer")
        return dict(zip(names, (self.generator, self.critic, self.average, *self.optimizers), strict=True))

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        states = {name: part.state_dict() for name, part in self.parts().items()}
        return {**states, "rngs": [self.rng.get_state()], "step": self.done, "history": self.history}

    def restore(self, state: dict[str, Any]) -> None:
        for name, part in self.parts().items():
            part.load_state_dict(state[name])
        self.rng.set_state(state["rngs"][0])
        self.done, self.history = state["step"], state["history"]

    def start_from(self, state: dict[str, Any]) -> None:
        """The networks of another source's checkpoint; optimisers, average's warm-up and counters are new."""
        self.generator.load_state_dict(state["generator"])
        self.critic.load_state_dict(state["critic"])
        self.average.module.load_state_dict(state["generator"])

    def set_lod(self, lod: float) -> None:
        for part in (self.generator, self.critic, self.average.module):
            part.lod = lod

    def reals(self) -> Tensor:
        """A batch of training images (n, 3, R, R) in [−1, 1], each mirrored with chance one half where `flip` says."""
        pick = torch.randint(0, len(self.images), (self.spec["batch"],), generator=self.rng)
        x = to_signed(self.images[pick])
        if self.spec["flip"]:
            mirrored = torch.rand(len(x), 1, 1, 1, generator=self.rng) < 0.5
            x = torch.where(mirrored, x.flip(3), x)
        return fade_down(x.to(self.device), self.generator.lod)

    def fakes(self) -> Tensor:
        z = torch.randn(self.spec["batch"], self.spec["latent_dim"], generator=self.rng)
        return self.generator(z.to(self.device)).float()

    def scores(self, *images: Tensor) -> list[Tensor]:
        return [scores.float() for scores in self.critic(torch.cat(images)).chunk(len(images))]

    def step(self) -> tuple[float, float]:
        """One step of the critic and one of the generator; their losses, the penalty not counted.

        Raises Diverged where the networks have left the finite numbers.
        """
        spec = self.spec
        critic_loss, generator_loss = LOSSES[spec["loss"]]
        self.set_lod(lod_at(self.done, spec))
        rate = spec["lr"] * min(1.0, (1 - self.done / steps_of(spec)) / (1 - spec["decay_from"]))
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = rate

        def seen(x: Tensor) -> Tensor:
            return augmented(x, spec["augment"], self.rng)

        with torch.autocast(self.device.type, torch.bfloat16, enabled=spec["bf16"]):
            with torch.no_grad():
                fake = seen(self.fakes())
            real = seen(self.reals())
            of_critic = critic_loss(*self.scores(fake, real))
            loss = of_critic
            if self.done % spec["penalty_every"] == 0:  # lazy: seldom, and as much heavier
                gradients = penalty(spec["penalty"], self.critic, real, fake, self.rng)
                loss = loss + spec["gamma"] * spec["penalty_every"] * gradients
            self._descend(1, loss)
            fake = seen(self.fakes())
            if spec["loss"] == "relativistic":
                of_generator = generator_loss(*self.scores(fake, seen(self.reals())))
            else:
                of_generator = generator_loss(*self.scores(fake), None)
            self._descend(0, of_generator)
        i, step = stage_at(self.done, spec)
        if step in (0, spec["stages"][i].get("fade", 0)):  # new layers would be averaged with what they were at random
            self.average.n_averaged.zero_()
        self.average.update_parameters(self.generator)
        losses = of_critic.item(), of_generator.item()
        if not all(map(math.isfinite, losses)):
            raise Diverged(f"the losses of {spec['name']} are no longer finite: lower lr, or raise gamma")
        self.done += 1
        return losses

    def _descend(self, which: int, loss: Tensor) -> None:
        self.optimizers[which].zero_grad()
        loss.backward()
        self.optimizers[which].step()

    @torch.no_grad()
    def samples(self, n: int) -> Tensor:
        """Images (n, 3, R, R) of the averaged generator, at the same latents whenever it is asked."""
        z = torch.randn(n, self.spec["latent_dim"], generator=torch.Generator().manual_seed(self.spec["seed"]))
        return self.average.module(z.to(self.device)).float().cpu()
