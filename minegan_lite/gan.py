"""GAN: a generator, its critic and its prior as one record, and the ways to look at one: by class, truncated."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from minegan_lite.errors import UserError, whole
from minegan_lite.nn import device_of, draw, frozen, seeded
from minegan_lite.shown import shown

Prior = Callable[[int, torch.Generator], Tensor]


class Generator(Protocol):
    """What a GAN's generator offers, an nn.Module.

    generator(z), z (n, latent_dim), gives images (n, *image_shape), image_shape (C, H, W), nominally in [−1, 1]. A
    conditional one, whose embedding_dim is not None, is called generator(z, embedding) with embed(labels), labels (n,)
    and embedding (n, embedding_dim); `classes` are their names, and `one_hot` says whether embed gives rows of the
    identity. In eval mode equal latents give equal images.
    """

    latent_dim: int
    image_shape: tuple[int, int, int]
    embedding_dim: int | None

    def __call__(self, z: Tensor, *embedding: Tensor) -> Tensor: ...


class Critic(Protocol):
    """What a GAN's critic offers, an nn.Module: critic(x), x (n, C, H, W), gives scores (n, 1)."""

    def __call__(self, x: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class StandardNormal:
    """The prior N(0, I) on `dim` latent numbers; called with (n, rng) it draws (n, dim) on the CPU."""

    dim: int

    def __call__(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.randn(n, self.dim, generator=rng)


@dataclass(frozen=True)
class GAN:
    """A pretrained GAN (Sec. 3.1).

    generator, critic: as the Protocols of this module say; critic None where the source publishes none.
    prior: draws latents, `prior(n, rng)` → (n, latent_dim), rng a CPU torch.Generator.
    name: what results and messages call it.
    family: what it was trained with, a key of config.FAMILIES: mine() chooses its configuration by it.
    request: what gives it again, JSON-ready: the arguments of sources.from_file, or {"python": "module:function"} for
        sources.from_python; None for the zoo's, and for what was made in Python.
    """

    generator: Any
    critic: Any
    prior: Prior
    name: str
    family: str = "wgan-gp"
    request: dict[str, Any] | None = None

    @staticmethod
    def wrap(generator: nn.Module, critic: nn.Module | None = None, **options: Any) -> "GAN":
        """Any generator, and its critic, as a GAN; see networks.wrapped.wrap for what can be said of them."""
        from minegan_lite.networks.wrapped import wrap

        return wrap(generator, critic, **options)

    def sample(self, n: int, *, seed: int = 0, classes: Sequence[int] | None = None) -> Tensor:
        """n images (n, C, H, W) on the CPU, the network's own output, nominally in [−1, 1].

        seed: of the draw. classes: of a conditional generator, which draws them one after another, as many images of
        each (or one fewer); by default each image's class is drawn. Raises UserError for n below 1 and for classes that
        the generator does not have.
        """
        return self.images_of(self.prior(whole(n, 1, "the number of samples"), rng := seeded(seed)), classes, rng)

    def images_of(self, z: Tensor, classes: Sequence[int] | None, rng: torch.Generator) -> Tensor:
        """The images of latents z (n, latent_dim), of these classes or of drawn ones; as `sample` in all else."""
        if self.generator.embedding_dim is None:
            if classes is not None:
                raise UserError(f"{shown(self.name)} is unconditional: it has no classes")
            return draw(self.generator, z)
        labels = _labels(len(self.generator.classes), len(z), classes, rng)
        with frozen(self.generator), torch.no_grad():
            embedding = self.generator.embed(labels.to(device_of(self.generator)))
        return draw(self.generator, z, embedding)


def _labels(count: int, n: int, classes: Sequence[int] | None, rng: torch.Generator) -> Tensor:
    """Class numbers (n,): drawn, or those of `classes` in equal parts."""
    if classes is None:
        return torch.randint(count, (n,), generator=rng)
    if wrong := [one for one in classes if not 0 <= one < count]:
        raise UserError(f"there is no class {wrong[0]}: the classes are 0 to {count - 1}")
    if not 0 < len(classes) <= n:
        raise UserError(f"{n} images cannot show {len(classes)} classes: ask for more images, and for a class")
    return torch.tensor([classes[i * len(classes) // n] for i in range(n)])


# --- views ------------------------------------------------------------------------------------------------------------


class OneClass(nn.Module):
    """G(i, ·): a conditional generator held at class i, an unconditional generator over z (supplement A).

    The generator itself is shared, not copied. Raises UserError for a class that it does not have.
    """

    embedding_dim = None

    def __init__(self, generator: Any, label: int):
        super().__init__()
        if not 0 <= label < len(generator.classes):
            raise UserError(f"the generator has {len(generator.classes)} classes, there is no class {label}")
        self.generator: Any = generator
        self.label = label
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

    def __init__(self, generator: Any, z_prior: Prior):
        super().__init__()
        self.generator: Any = generator
        self.z_prior, self.image_shape = z_prior, generator.image_shape
        self.sizes = (generator.latent_dim, generator.embedding_dim)
        self.latent_dim = sum(self.sizes)

    def forward(self, latent: Tensor) -> Tensor:
        return self.generator(*latent.split(self.sizes, dim=1))  # (n, |z|) and (n, |c|)

    def prior(self, n: int, rng: torch.Generator) -> Tensor:
        """n draws of z and of a class's embedding, each class with equal chances: (n, latent_dim) on the CPU."""
        z = self.z_prior(n, rng)
        labels = torch.randint(len(self.generator.classes), (n,), generator=rng)
        with torch.no_grad():
            embedding = self.generator.embed(labels.to(device_of(self.generator))).cpu()
        return torch.cat([z, embedding], dim=1)


def in_class_space(gan: GAN) -> GAN:
    """A conditional GAN with z and class embedding as its latent space, and all of its classes as its prior.

    The critic's label term is left out (supplement A). Raises UserError for an unconditional GAN.
    """
    if gan.generator.embedding_dim is None:
        raise UserError(f"{gan.name} is unconditional: it has no class embedding")
    space = ClassSpace(gan.generator, gan.prior)
    return replace(gan, generator=space, prior=space.prior)


def classes_of(gan: GAN) -> list[GAN]:
    """The family {G(i, ·)} of a conditional GAN, one source for each class, named after it (supplement A).

    They share one generator and one critic, whose label term is left out. Raises UserError for an unconditional GAN.
    """
    if gan.generator.embedding_dim is None:
        raise UserError(f"{gan.name} is unconditional: it has no classes")
    return [
        GAN(OneClass(gan.generator, i), gan.critic, gan.prior, f"{gan.name}:{name}", gan.family, gan.request)
        for i, name in enumerate(gan.generator.classes)
    ]


class Truncated(nn.Module):
    """A generator whose images can be truncated (StyleGAN's, BigGAN-deep's), called with one truncation."""

    def __init__(self, generator: Any, truncation: float):
        super().__init__()
        self.generator: Any = generator
        self.truncation = truncation
        self.latent_dim, self.embedding_dim = generator.latent_dim, generator.embedding_dim
        self.image_shape, self.classes = generator.image_shape, getattr(generator, "classes", ())
        self.one_hot = getattr(generator, "one_hot", False)

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


class Cropped(nn.Module):
    """A generator seen through a window: its images (n, C, H, W) cut to box = (left, top, right, bottom), in pixels.

    The generator itself is shared, not copied: `generator` draws the whole images of the same latents.
    """

    def __init__(self, generator: Any, box: Sequence[int]):
        super().__init__()
        self.generator: Any = generator
        self.box = tuple(box)
        left, top, right, bottom = self.box
        self.latent_dim, self.embedding_dim = generator.latent_dim, generator.embedding_dim
        self.image_shape = (generator.image_shape[0], bottom - top, right - left)
        self.classes, self.one_hot = getattr(generator, "classes", ()), getattr(generator, "one_hot", False)

    def embed(self, labels: Tensor) -> Tensor:
        return self.generator.embed(labels)

    def forward(self, z: Tensor, *embedding: Tensor) -> Tensor:
        left, top, right, bottom = self.box
        return self.generator(z, *embedding)[:, :, top:bottom, left:right]


def cropped(gan: GAN, box: Sequence[int]) -> GAN:
    """The same GAN seen through a window, for targets that frame their subject more tightly; without its critic.

    box: (left, top, right, bottom) in pixels of the generator's images. The critic, which judges whole images, is left
    out: teach_critic() teaches another. Raises UserError for a box that does not lie within the images.
    """
    height, width = gan.generator.image_shape[1:]
    numbers = [whole(side, 0, "box: each side") for side in box]
    if len(numbers) != 4 or not (numbers[0] < numbers[2] <= width and numbers[1] < numbers[3] <= height):
        raise UserError(
            f"a box is left, top, right and bottom within the images of {gan.name} ({width}×{height}), got {box!r}"
        )
    name = f"{gan.name} cropped to {', '.join(map(str, numbers))}"
    return replace(gan, generator=Cropped(gan.generator, numbers), critic=None, name=name, request=None)
