"""Mined: generators behind their miners, G∘M, ready to be sampled, saved and loaded."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minegan_lite.config import Mining, Tuning
from minegan_lite.errors import UserError, whole
from minegan_lite.files import read_saved, read_settings, read_state, reads_run, weights_fingerprint, write_atomically
from minegan_lite.gan import GAN, ClassSpace, Prior, StandardNormal
from minegan_lite.miner import ConditionalMiner, Miner, built
from minegan_lite.nn import averaged, clone, device_of, draw, frozen, seeded
from minegan_lite.probe import critic_like, sources_of, with_generators
from minegan_lite.selector import Selector

STAGES = ("mine", "finetune")
RECORDED = ("stage", "sources", "miners", "critic_like", "generators_sha256")  # what load() asks for


def input_prior(gan: GAN, miner: Any) -> Prior:
    """p(u): the source's own prior of z where u is as long as z (Sec. 3.2), else N(0, I) of the miner's input."""
    generator, length = gan.generator, miner.sizes[0]
    in_classes = isinstance(generator, ClassSpace)  # u is no class: of the latent only z matters
    prior, latent = (generator.z_prior, generator.sizes[0]) if in_classes else (gan.prior, generator.latent_dim)
    return prior if length == latent else StandardNormal(length)


@dataclass
class Mined:
    """One or several generators behind their miners, with everything that made them; `sample` is what one wants of it.

    sources: in the order they were given, conditional ones by class or in their ClassSpace; after stage two their
        generators are the fine-tuned ones, raw weights.
    miners: one for each source, raw weights; ConditionalMiners for sources in a ClassSpace. critic: the only one.
    miners_average, generators_average: exponential moving averages; after stage one the generators themselves.
    selector: how often each source is sampled (Sec. 3.3), and how that came about.
    record: what was asked for and of what, JSON-ready, as run.json holds it.
    history: one dict for each logged step: step, critic_loss, miner_loss, penalty, metric (None without one), and of
        several sources probabilities.
    """

    sources: list[GAN]
    miners: nn.ModuleList
    critic: Any
    miners_average: nn.ModuleList
    generators_average: nn.ModuleList
    selector: Selector
    record: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of what is drawn."""
        return tuple(self.sources[0].generator.image_shape)

    @property
    def gan(self) -> GAN:
        """The only source. Raises UserError where there are several."""
        return self.sources[self._only()]

    @property
    def miner(self) -> Miner | ConditionalMiner:
        """The only source's miner, raw weights. Raises UserError where there are several."""
        return self.miners[self._only()]  # type: ignore[return-value]

    @property
    def probabilities(self) -> dict[str, float]:
        """{source's name: p}, in the sources' order; a name that comes twice gets " (2)"."""
        return dict(zip(_told_apart(self.sources), self.selector.probabilities.tolist(), strict=True))

    def weights(self, ema: bool | None = None) -> str:
        """Which weights sample(ema=…) takes: "ema" or "raw"."""
        return "ema" if (self.record["sample_average"] if ema is None else ema) else "raw"

    def networks(self, ema: bool | None = None, source: int = 0) -> tuple[nn.Module, nn.Module]:
        """The miner and the generator of a source, by its place, that sample(ema=…) takes."""
        if self.weights(ema) == "ema":
            return self.miners_average[source], self.generators_average[source]
        return self.miners[source], self.sources[source].generator

    def chosen(self, n: int, *, seed: int = 0) -> Tensor:
        """The index of the source that draws each image of sample(n, seed=seed): int64 (n,)."""
        return self._choose(_positive(n), seeded(seed))

    def latents(
        self, n: int, *, seed: int = 0, ema: bool | None = None, source: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """u (n, |u|) from the prior and the mined latents z = M(u) (n, |z|), both on the CPU.

        In a ClassSpace the latents are z and class embedding side by side, (n, |z| + |c|). source: its place, where
        there are several.
        """
        return self._latents(self._only() if source is None else source, _positive(n), seeded(seed), ema)

    def sample(self, n: int, *, seed: int = 0, ema: bool | None = None) -> Tensor:
        """n images G(M(u)) (n, C, H, W) on the CPU, the network's own output, nominally in [−1, 1].

        Of several sources each image's is first chosen by p. seed: of these draws. ema: averaged weights (True), raw
        ones (False), or what the preset says (None): averages, but the raw weights under "paper" and "official", which
        know no averaging.
        """
        rng = seeded(seed)
        chosen = self._choose(_positive(n), rng)
        return _scatter(chosen, lambda i, count: self.draw(i, count, rng, ema), self.image_shape)

    def draw(self, source: int, n: int, rng: torch.Generator, ema: bool | None = None) -> Tensor:
        """n images of one source's G_i(M_i(u)), whatever the selector says, (n, C, H, W) on the CPU."""
        return draw(self.networks(ema, source)[1], self._latents(source, n, rng, ema)[1])

    def supersample(self, *, seed: int = 0, ema: bool | None = None) -> tuple[Tensor, Tensor, int]:
        """One image of each source (N, C, H, W), the critic's scores of them (N,), and the place of the winner."""
        if self.critic is None:
            raise UserError("a saved miner has no critic, which would judge a supersample: load the run folder")
        rng = seeded(seed)
        images = torch.cat([self.draw(i, 1, rng, ema) for i in range(len(self.sources))])
        with frozen(self.critic), torch.no_grad():
            scores = self.critic(images.to(device_of(self.critic))).squeeze(1).cpu()
        return images, scores, int(scores.argmax())

    def save(self, path: str | Path, dtype: torch.dtype = torch.float16) -> Path:
        """Writes what sample() needs beside the sources, as safetensors: the miners by default's weights, and p.

        After stage two the generators, too, which it has changed. The file also holds the record, with the sources'
        fingerprint. dtype: float16 moves a latent by less than a thousandth; float32 keeps every bit.
        Raises UserError for what adapt() gave, weights that the dtype cannot hold, and a path that cannot be written.
        """
        import safetensors.torch

        if self.record.get("stage") not in STAGES:
            raise UserError("save() is for what mine() or finetune() gives; adapt() keeps its result in a run folder")
        parts = [self.networks(source=i) for i in range(len(self.sources))]
        tuned = self.record["stage"] == "finetune"
        kept = nn.ModuleDict({"miners": nn.ModuleList(miner for miner, _ in parts)})
        if tuned:
            kept["generators"] = nn.ModuleList(generator for _, generator in parts)
        tensors = {key: x.to(dtype) if x.is_floating_point() else x for key, x in kept.state_dict().items()}
        if not all(x.isfinite().all() for x in tensors.values()):
            raise UserError(f"the weights are not finite in {dtype}: save them as float32")
        tensors["wins"] = self.selector.wins()[-self.selector.window :].sum(0, keepdim=True)
        tensors = {key: x.detach().cpu().contiguous().clone() for key, x in tensors.items()}
        header = {"minegan_lite": json.dumps(self.record)}
        try:
            write_atomically(Path(path), safetensors.torch.save(tensors, header))
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from None
        return Path(path)

    def _only(self) -> int:
        if len(self.sources) > 1:
            raise UserError(f"{len(self.sources)} sources were mined: say which, by its place in .sources")
        return 0

    def _choose(self, n: int, rng: torch.Generator) -> Tensor:
        """Places of sources (n,): drawn by p, where there is a choice."""
        several = len(self.sources) > 1
        return self.selector.choose(n, rng) if several else torch.zeros(n, dtype=torch.int64)

    def _latents(self, source: int, n: int, rng: torch.Generator, ema: bool | None) -> tuple[Tensor, Tensor]:
        u = input_prior(self.sources[source], self.miners[source])(n, rng)
        miner, _ = self.networks(ema, source)
        with frozen(miner), torch.no_grad():
            return u, miner(u.to(device_of(miner))).cpu()


@dataclass(frozen=True)
class Unmined:
    """The source itself behind Mined's `sample`, so that before and after are measured by the same code.

    gan: as mine() takes it; of several sources, or classes, each image's is drawn with equal chances.
    """

    gan: GAN | Sequence[GAN]

    def sample(self, n: int, *, seed: int = 0, ema: bool | None = None) -> Tensor:
        """n images G(z), z ~ p(z), (n, C, H, W) on the CPU. `ema` is accepted and means nothing here."""
        sources, rng = sources_of(self.gan), seeded(seed)
        several = len(sources) > 1
        chosen = torch.randint(len(sources), (_positive(n),), generator=rng) if several else torch.zeros(_positive(n))

        def images(i: int, count: int) -> Tensor:
            return draw(sources[i].generator, sources[i].prior(count, rng))

        return _scatter(chosen.long(), images, sources[0].generator.image_shape)

    def weights(self, ema: bool | None = None) -> str:
        """Always "source"."""
        return "source"


@reads_run
def load(path: str | Path, gan: GAN | Sequence[GAN] | None = None) -> Mined:
    """What mine() or finetune() wrote into a run folder, finished or not, at its last checkpoint; or a saved miner.

    gan: the source or sources it was mined from; None takes the zoo's GANs of the recorded names, and public
        checkpoints from where they were. What --generator gave a run folder is called again, which runs that code: load
        none of a stranger's. Everything comes to the CPU. A saved miner has one set of weights, which
        sample(ema=…) takes whatever it is told, and no critic.
    Raises UserError for a folder without a run or checkpoint, for what another version of this library wrote, and for
    sources other than the recorded ones.
    """
    saved = Path(path).is_file()
    record, state = read_saved(path) if saved else (read_settings(path), read_state(path))
    if record.get("stage", "mine") not in STAGES:
        raise UserError(f"{path} is a run of adapt(): the same call goes on with it, or gives it back")
    kind = Tuning if record.get("stage") == "finetune" else Mining
    if missing := [key for key in (*RECORDED, *(field.name for field in fields(kind))) if key not in record]:
        raise UserError(f"{path} is no run of this version of minegan-lite: its record has no {missing[0]}")
    if gan is None:
        from minegan_lite.sources import of_run

        gan = of_run(path, record)
    sources = sources_of(gan)
    tuned = record["stage"] == "finetune"
    generators = nn.ModuleList(source.generator for source in sources)
    if not tuned and weights_fingerprint(*generators) != record["generators_sha256"]:
        raise UserError(f"{path} was mined from other weights than these of {' + '.join(one.name for one in sources)}")
    try:
        return (_from_file if saved else _from_run)(sources, clone(generators) if tuned else generators, record, state)
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise UserError(f"the checkpoint in {path} does not fit its record and its source ({why})") from None


def _from_run(sources: list[GAN], generators: nn.ModuleList, record: dict[str, Any], state: dict[str, Any]) -> Mined:
    """The state of training.State.parts() as networks."""
    miners, selector = nn.ModuleList(map(built, record["miners"])), Selector(len(sources))
    critic = critic_like(sources, record["critic_like"])
    miners_average, generators_average = averaged(miners), generators
    for name, part in (("miners", miners), ("critic", critic), ("selector", selector)):
        part.load_state_dict(state[name])
    miners_average.load_state_dict(state["miners_average"])
    if "generators" in state:
        generators.load_state_dict(state["generators"])
        average = averaged(generators)
        average.load_state_dict(state["generators_average"])
        sources, generators_average = with_generators(sources, generators), average.module
    history = state["history"]
    return Mined(sources, miners, critic, miners_average.module, generators_average, selector, record, history)


def _from_file(sources: list[GAN], generators: nn.ModuleList, record: dict[str, Any], state: dict[str, Any]) -> Mined:
    """The tensors of Mined.save() as networks."""
    selector, wins = Selector(len(sources)), state.pop("wins")
    if wins.shape != (1, len(sources)) or wins.dtype != torch.int64 or (wins < 0).any():
        raise ValueError("its selector counts something else")
    selector.load_state_dict({"wins": wins if wins.sum() else wins[:0]})
    miners = nn.ModuleList(map(built, record["miners"]))
    kept = nn.ModuleDict({"miners": miners})
    if record["stage"] == "finetune":
        kept["generators"] = generators
    kept.load_state_dict({key: x.float() if x.is_floating_point() else x for key, x in state.items()})
    kept.eval().requires_grad_(False)
    return Mined(with_generators(sources, generators), miners, None, miners, generators, selector, record)


def _scatter(chosen: Tensor, images: Callable[[int, int], Tensor], shape: Sequence[int]) -> Tensor:
    """(n, C, H, W): at each place an image of the source chosen there, images(i, count) being count of source i."""
    out = torch.empty(len(chosen), *shape)
    for i in chosen.unique().tolist():
        rows = chosen == i
        out[rows] = images(i, int(rows.sum()))
    return out


def _told_apart(sources: Sequence[GAN]) -> list[str]:
    names: list[str] = []
    for source in sources:
        name, place = source.name, 1
        while name in names:
            place += 1
            name = f"{source.name} ({place})"
        names.append(name)
    return names


def _positive(n: int) -> int:
    return whole(n, 1, "the number of samples")
