"""What can be killed: every door of the library and of its scripts that writes files, each at its smallest.

A door is a function of a folder: it writes its whole result there, and called again it goes on. The fork server imports
this module, so that its children have torch and the library at hand.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from minegan_lite import GAN, StandardNormal, Unmined, cli, data, finetune, mine
from minegan_lite.networks import biggan
from minegan_lite.networks.mnist import ConditionalCritic, ConditionalGenerator
from minegan_lite.thumbnails import Thumbnails
from minegan_lite.transfer import METHODS, adapt
from tests.tiny import PlainGenerator, tiny_gan, tiny_target

Door = Callable[[Path], int | None]
FAST = {"steps": 12, "batch": 4, "log_every": 3, "progress": False, "device": "cpu"}
SAFE_POINT = 8  # pictures between two checkpoints of prepare_images


def mean(images: torch.Tensor) -> float:
    """A metric, so that the history holds one."""
    return images.mean().item()


def images(gan: GAN) -> torch.Tensor:
    return torch.rand(8, *gan.generator.image_shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def several() -> list[GAN]:
    return [replace(tiny_gan(seed), name=f"tiny{seed}") for seed in range(3)]


def by_class(kind: str) -> GAN:
    """A conditional GAN: its classes one-hot rows, which are sources of their own, or embedded, as BigGAN's."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "one-hot":
            pair = ConditionalGenerator(4, 8, ["0", "1"]), ConditionalCritic(4, 2)
        else:
            pair = biggan.Generator(32, 2, 3, 5, 3), biggan.Critic(32, 2, 3)
    return GAN(*pair, StandardNormal(pair[0].latent_dim), kind)


def mining(source: Callable[[], GAN | list[GAN]], save_every: int, **options) -> Door:
    def door(out: Path) -> None:
        gan = source()
        target = images(gan[0] if isinstance(gan, list) else gan)
        mine(gan, target, out=out, metric=mean, save_every=save_every, **FAST | options)

    return door


def watched(out: Path) -> None:
    """With its picture, which is drawn again and again between two checkpoints, and read back."""
    gan = tiny_gan()
    mine(gan, tiny_target(), out=out, watch=Thumbnails(out, Unmined(gan), "source"), save_every=4, **FAST)


def finetuning(out: Path) -> None:
    mined = mine(tiny_gan(), tiny_target(), **FAST | {"steps": 2})
    finetune(mined, tiny_target(), out=out, metric=mean, save_every=2, **FAST)


def adapting(method: str, save_every: int) -> Door:
    def door(out: Path) -> None:
        gan = tiny_gan()
        if method in ("scratch", "vae"):  # which draw weights anew, and so take none that are wrapped
            torch.manual_seed(0)
            gan = GAN(PlainGenerator(), gan.critic, gan.prior, gan.name)
        adapt(method, gan, tiny_target(), out=out, metric=mean, save_every=save_every, **FAST)

    return door


def preparing(out: Path) -> int:
    """The pictures of the folder $KILLS_PICTURES."""
    import image_cache
    import prepare_images

    image_cache.BATCH = SAFE_POINT
    source = os.environ["KILLS_PICTURES"]
    return prepare_images.main(["celeba", "--source", source, "--size", "8", "--out", str(out)])


def fetching(out: Path) -> int:
    """The zip with two members at $KILLS_ADDRESS."""
    import get_weights
    import public_weights

    files, members = (public_weights.File("small.zip", os.environ["KILLS_ADDRESS"]),), ("G_ema.pth", "D.pth")
    page = "https://example.org/page"
    row = public_weights.Weights("small", "biggan-pytorch", "noise", "1", files, "research only", page, members)
    public_weights.TABLE["small"] = row
    return get_weights.main(["small", "--accept-licence", "--out", str(out)])


def training_the_zoo(out: Path) -> int:
    """On noise in MNIST's place: what is learned is of no importance."""
    import train_zoo

    rng = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (200, 1, 28, 28), generator=rng, dtype=torch.uint8), torch.arange(200) % 10
    data.load_mnist = lambda split: noise
    sizes = {"steps": 6, "width": 2, "latent-dim": 4, "batch": 4, "save-every": 1, "precision": "32-true", "out": out}
    sys.argv = ["train_zoo.py", "mnist-cond-no-9", *(f"--{name}={value}" for name, value in sizes.items())]
    return train_zoo.main()


def commanding(out: Path) -> int:
    """The command line; with a preset named, all it says on stderr is where its picture is and what stops it."""
    words = "mine --source mnist-no-9 --target mnist:9 --preset default --images 20 --steps 4 --save-every 1"
    return cli.main([*words.split(), "--device", "cpu", "--out", str(out)])


DOORS: dict[str, Door] = {
    "mine": mining(tiny_gan, 1),
    "mine several": mining(several, 2),
    "mine classes": mining(lambda: by_class("one-hot"), 3),
    "mine embedded": mining(lambda: by_class("embedded"), 1, steps=3, batch=2),
    "mine watched": watched,
    "finetune": finetuning,
    **{f"adapt {method}": adapting(method, 1 + i % 3) for i, method in enumerate(METHODS)},
    "prepare_images": preparing,
    "get_weights": fetching,
    "train_zoo": training_the_zoo,
}
SCRIPTS = ("prepare_images", "get_weights", "train_zoo")
COMMANDS = {"minegan-lite mine": commanding} | {name: DOORS[name] for name in SCRIPTS}
