"""The baselines of the paper (Sec. 4) and MineGAN itself behind one call, so that they can be compared."""

from typing import Any

from torch import Tensor

from minegan_lite.data import FewShot
from minegan_lite.errors import UserError
from minegan_lite.gan import GAN
from minegan_lite.mined import Mined
from minegan_lite.probe import declared
from minegan_lite.transfer import bsa, freezed, minegan, mining, scratch, transfergan, vae

METHODS = {
    "scratch": scratch,
    "transfergan": transfergan,
    "freezed": freezed,
    "bsa": bsa,
    "vae": vae,
    "minegan-nofinetune": mining,
    "minegan": minegan,
}


def adapt(
    method: str, gan: GAN, target: FewShot | Tensor, *, steps: int = 1000, seed: int = 0, **options: Any
) -> Mined:
    """The source after `steps` updates towards the target, by a method of METHODS; what it gives can be sampled.

    method: "scratch", "transfergan", "freezed", "bsa", "vae", "minegan-nofinetune" (stage one) or "minegan" (both
        stages). Where a method has no miner, the result's is the identity.
    gan: an unconditional source, which is copied, not changed. target: as mine() takes it.
    steps: updates of what draws the images; a method's critic makes critic_steps for each.
    options: out, device, progress, metric, watch as in mine(), and the method's own, by default its paper's; the
        record's "preset" says which were replaced. An option that a method has no use for is refused.
        The run of a folder `out` is resumed bit for bit, or given back when it is finished, by the same call.
    Raises UserError for an unknown method or option and wrong input, Diverged where training leaves finite numbers.
    """
    adapting = _known(method)
    gan = declared(gan)
    if gan.generator.embedding_dim is not None:
        raise UserError(f"{gan.name} is conditional: adapt one of its classes, classes_of(gan)[i], or mine it")
    return adapting.adapt(gan, target, steps=steps, seed=seed, **options)


def frozen(method: str, gan: GAN, **options: Any) -> set[str]:
    """Which of the source's parameters a method leaves as they are: "generator.up1.weight", "critic.down1.bias", …

    options: as for adapt(). A method that starts from new weights leaves none. Raises UserError as adapt() does.
    """
    return _known(method).frozen(gan, **options)


def _known(method: str) -> Any:
    if method not in METHODS:
        raise UserError(f"unknown method {method!r}: one of {', '.join(METHODS)}")
    return METHODS[method]
