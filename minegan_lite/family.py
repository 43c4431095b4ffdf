"""Several sources at once, and conditional ones: what is a source, supersamples, and the winner of each (Sec. 3.3)."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from minegan_lite.errors import UserError
from minegan_lite.gan import GAN
from minegan_lite.nn import moving, put_back, still
from minegan_lite.probe import declared
from minegan_lite.selector import Selector

OBJECTIVES = ("max", "mean")
Score = Callable[[Tensor], Tensor]
Prior = Callable[[int, torch.Generator], Tensor]


class OneClass(nn.Module):
    """G(i, ·): a conditional generator held at class i, an unconditional generator over z (supplement A).

    The generator itself is shared, not copied. Raises UserError for a class that it does not have.
    """

    embedding_dim = None

    def __init__(self, generator: nn.Module, label: int):
        super().__init__()
        if not 0 <= label < len(generator.classes):
            raise UserError(f"the generator has {len(generator.classes)} classes, there is no class {label}")
        self.generator, self.label = generator, label
        self.latent_dim, self.image_shape = generator.latent_dim, generator.image_shape

    def forward(self, z: Tensor) -> Tensor:
        labels = torch.full((len(z),), self.label, device=z.device)
        return self.generator(z, self.generator.embed(labels).to(z.dtype))


class ClassSpace(nn.Module):
    """G(c, z) as a generator over z and the class embedding c side by side: what a ConditionalMiner mines (Sec. 3.3).

    The latent is (n, |z| + |c|); `sizes` are (|z|, |c|). The generator itself is shared, not copied.
    z_prior: draws z alone, as a GAN's prior.
    """

    embedding_dim = None

    def __init__(self, generator: nn.Module, z_prior: Prior):
        super().__init__()
        self.generator, self.z_prior, self.image_shape = generator, z_prior, generator.image_shape
        self.sizes = (generator.latent_dim, generator.embedding_dim)
        self.latent_dim = sum(self.sizes)

    def forward(self, latent: Tensor) -> Tensor:
        return self.generator(*latent.split(self.sizes, dim=1))  # (n, |z|) and (n, |c|)

    def prior(self, n: int, rng: torch.Generator) -> Tensor:
        """n draws of z and of a class's embedding, each class with equal chances: (n, latent_dim) on the CPU."""
        z = self.z_prior(n, rng)
        labels = torch.randint(len(self.generator.classes), (n,), generator=rng)
        with torch.no_grad():
            embedding = self.generator.embed(labels.to(next(self.generator.parameters()).device)).cpu()
        return torch.cat([z, embedding], dim=1)


def in_class_space(gan: GAN) -> GAN:
    """A conditional GAN with z and class embedding as its latent space, and all of its classes as its prior.

    The critic's label term is left out (supplement A). Raises UserError for an unconditional GAN.
    """
    if gan.generator.embedding_dim is None:
        raise UserError(f"{gan.name} is unconditional: it has no class embedding")
    space = ClassSpace(gan.generator, gan.prior)
    return GAN(space, gan.critic, space.prior, gan.name, gan.request)


def classes_of(gan: GAN) -> list[GAN]:
    """The family {G(i, ·)} of a conditional GAN, one source for each class, named after it (supplement A).

    They share one generator and one critic, whose label term is left out. Raises UserError for an unconditional GAN.
    """
    if gan.generator.embedding_dim is None:
        raise UserError(f"{gan.name} is unconditional: it has no classes")
    return [
        GAN(OneClass(gan.generator, i), gan.critic, gan.prior, f"{gan.name}:{name}", gan.request)
        for i, name in enumerate(gan.generator.classes)
    ]


class Truncated(nn.Module):
    """A generator whose images can be truncated (StyleGAN's, BigGAN-deep's), called with one truncation."""

    def __init__(self, generator: nn.Module, truncation: float):
        super().__init__()
        self.generator, self.truncation = generator, truncation
        self.latent_dim, self.embedding_dim = generator.latent_dim, generator.embedding_dim
        self.image_shape, self.classes = generator.image_shape, getattr(generator, "classes", ())

    def embed(self, labels: Tensor) -> Tensor:
        return self.generator.embed(labels)

    def forward(self, z: Tensor, *embedding: Tensor) -> Tensor:
        return self.generator(z, *embedding, truncation=self.truncation)


def truncated(gan: GAN, truncation: float) -> GAN:
    """The same GAN with images truncated; mining a GAN as it is means none, since truncation takes modes away.

    truncation: ψ of StyleGAN, the threshold of BigGAN-deep's statistics; 1 is none. Raises UserError for a generator
    that takes none.
    """
    if "truncation" not in inspect.signature(gan.generator.forward).parameters:
        raise UserError(f"{gan.name} takes no truncation: give it a prior that spreads less instead")
    name = f"{gan.name} truncated to {truncation}"
    return replace(gan, generator=Truncated(gan.generator, truncation), name=name, request=None)


def sources_of(gan: GAN | Sequence[GAN]) -> list[GAN]:
    """The unconditional sources of what mine() takes: one GAN, or several of any kind.

    A conditional one with one-hot classes is as many sources as it has classes (supplement A); one whose classes are
    embedded is a single source, in its class space (Sec. 3.3). Raises UserError for none, for anything but GANs, and
    for sources that draw images of different shapes.
    """
    given = list(gan) if isinstance(gan, list | tuple) else [gan]
    if not given:
        raise UserError("no source to mine: give a GAN, or a list of at least one")
    given = [declared(one) for one in given]
    sources = []
    for one in given:
        if one.generator.embedding_dim is None:
            sources.append(one)
        else:
            sources += classes_of(one) if _one_hot(one) else [in_class_space(one)]
    first, *others = [(one.name, tuple(one.generator.image_shape)) for one in sources]
    for name, shape in others:
        if shape != first[1]:
            raise UserError(
                f"the sources draw images of different shapes: {first[0]} {first[1]}, {name} {shape}; mine them one by "
                "one, or resize inside the generator"
            )
    return sources


def is_family(gan: GAN | Sequence[GAN]) -> bool:
    """Whether mining this gives a MinedFamily: a list, also of one, or a conditional GAN with one-hot classes."""
    return not isinstance(gan, GAN) or _one_hot(declared(gan))


def _one_hot(gan: GAN) -> bool:
    """Whether `embed` says so: it gives class i the i-th row of the identity. As many numbers as classes do not."""
    generator = gan.generator
    if generator.embedding_dim is None or generator.embedding_dim != len(generator.classes):
        return False
    device = next(generator.parameters(), torch.empty(0)).device
    with torch.no_grad():
        rows = generator.embed(torch.arange(len(generator.classes), device=device))
    return torch.equal(rows, torch.eye(len(rows)).to(rows))


@dataclass
class Member:
    """One source while it is mined: its generator behind its own miner, its prior p(u) and its own stream of draws.

    mixes: whether the generator mixes_rows(), as in stage two with BatchNorm.
    """

    generator: nn.Module
    miner: nn.Module
    prior: Prior
    rng: torch.Generator
    mixes: bool = False

    def draw(self, n: int, device: torch.device) -> Tensor:
        return self.prior(n, self.rng).to(device)

    def images(self, u: Tensor) -> Tensor:
        return self.generator(self.miner(u)).float()


@torch.no_grad()
def compete(members: Sequence[Member], us: Sequence[Tensor], score: Score) -> tuple[Tensor, Tensor]:
    """Who wins each of K supersamples, and the winning images: (K,) and (K, C, H, W), without a graph or a trace.

    us: of each member, u (K, |u|). score: images → (K, 1). One member after the other, so that no more than two
    members' images are held at a time. Of equal scores the earlier member's wins.
    """
    winner = best = images = None
    for i, (member, u) in enumerate(zip(members, us, strict=True)):
        with still(member.generator, member.miner):
            candidates = member.images(u)  # (K, C, H, W)
        scores = score(candidates).float().squeeze(1)  # (K,)
        if i == 0:
            winner, best, images = torch.zeros(len(u), dtype=torch.int64, device=u.device), scores, candidates
            continue
        better = scores > best
        winner, best = torch.where(better, i, winner), torch.where(better, scores, best)
        images = torch.where(better[:, None, None, None], candidates, images)
    return winner, images


def rerun(members: Sequence[Member], us: Sequence[Tensor], winner: Tensor) -> Tensor:
    """The winners' images (K, C, H, W) once more, now with a graph: K images in all, whatever the number of members.

    −E[max_i D(G_i(M_i(u^i)))] of Eq. 6 has the gradient of its winners alone; this is what makes it cost no more.
    """
    rows = [(winner == i).nonzero().squeeze(1) for i in range(len(members))]
    return torch.cat(run_again(members, us, rows))[torch.cat(rows).argsort()]


def run_again(members: Sequence[Member], us: Sequence[Tensor], rows: Sequence[Tensor]) -> list[Tensor]:
    """Of each member with any, the images of these rows of its u, as they were judged, with a graph.

    A member that mixes rows runs its whole batch, as when it was judged: among themselves the winners would be
    normalised by other statistics, and be other images. That costs a graph of its losers, too. Buffers move once: every
    member starts from the same ones, and where members share them they go to the average, each counted by its rows.
    """
    before = {buffer: buffer.clone() for member in members for buffer in moving(member.generator, member.miner)}
    moved, counts, parts = dict.fromkeys(before, 0.0), dict.fromkeys(before, 0), []
    for member, u, own in zip(members, us, rows, strict=True):
        if not len(own):
            continue
        parts.append(member.images(u)[own] if member.mixes else member.images(u[own]))
        for buffer in moving(member.generator, member.miner):
            moved[buffer] = moved[buffer] + len(own) * (buffer.data - before[buffer])
            counts[buffer] += len(own)
            put_back(buffer, before[buffer])
    for buffer, count in counts.items():
        if count:
            put_back(buffer, before[buffer] + moved[buffer] / count)
    return parts


@torch.no_grad()
def mixes_rows(generator: nn.Module) -> bool:
    """Whether an image depends on the other latents of its batch, as it does behind a BatchNorm in training mode."""
    z = torch.randn(4, generator.latent_dim, generator=torch.Generator().manual_seed(0))
    z = z.to(next(generator.parameters(), z).device)
    with still(generator):
        together = generator(z)[:2]
    with still(generator):
        apart = generator(z[:2])
    return bool((together - apart).abs().max() > 1e-2 * together.abs().max())  # rounding is less, a norm does more


@dataclass
class Contest:
    """The fakes of a minibatch: K images of the only member, or of K supersamples what the objective looks at.

    objective: "max" (Eq. 5 and 6): the winner of each supersample. "mean" (supplement C's ablation): all of them, K·N
    images, member by member.
    """

    members: list[Member]
    selector: Selector
    objective: str = "max"

    def fakes(self, n: int, device: torch.device, score: Score) -> Tensor:
        """Fakes of n supersamples, with a graph where gradients are enabled; the winners are counted.

        The miners learn from the very images that the critic judged. Running statistics of generators that mix rows
        move once with each update of their own, and not with the critic's, however often their images are looked at.
        """
        us = [member.draw(n, device) for member in self.members]
        learning = torch.is_grad_enabled()
        if len(self.members) > 1:
            winner, images = compete(self.members, us, score)
            self.selector.count(winner)
            if self.objective == "max":
                return rerun(self.members, us, winner) if learning else images
        if learning and len(self.members) > 1:
            return torch.cat(run_again(self.members, us, [torch.arange(n, device=device)] * len(self.members)))
        mixing = [member.generator for member in self.members if member.mixes and not learning]
        with still(*mixing):
            return torch.cat([member.images(u) for member, u in zip(self.members, us, strict=True)])
