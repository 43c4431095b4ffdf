"""A critic for a GAN that has none: taught against the frozen generator, on pictures of the source's own kind."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from minegan_lite.config import Adversarial, resolve
from minegan_lite.data import FewShot, few_shot
from minegan_lite.gan import GAN, in_class_space
from minegan_lite.miner import NoMiner
from minegan_lite.nn import fresh, frozen, pick_device
from minegan_lite.probe import check_critic, check_sources, critic_like, declared, target_images
from minegan_lite.progress import bar
from minegan_lite.training import State, critic_step, fitting


def teach_critic(
    gan: GAN,
    images: FewShot | Tensor | str | Path,
    *,
    steps: int = 200,
    device: str = "auto",
    progress: bool = True,
    **options: Any,
) -> GAN:
    """The same GAN with a critic that tells its samples from pictures of its own kind; mine() then starts from it.

    Public generators often come without one, and a fresh critic has everything to learn from a few target images.
    gan: its generator stays frozen, over its whole prior, all classes included. A critic that it has is taught on, as a
        copy; else a new one for the images' shape begins.
    images: what the generator imitates: a few_shot result (its .train), a tensor (n, C, H, W) in [−1, 1], or a folder.
    steps: updates of the critic. device, progress: as in mine(). options: fields of config.Adversarial (batch,
        critic_lr, loss, penalty, seed, …); the loss is by default that of the GAN's family.
    Raises UserError for wrong input, Diverged when the critic explodes.
    """
    gan = declared(gan)
    source = gan if gan.generator.embedding_dim is None else in_class_space(gan)
    where = pick_device(device)
    config = resolve(Adversarial, None, {"steps": steps} | options, gan.family, where)
    if isinstance(images, str | Path):
        images = few_shot(images, image_shape=tuple(source.generator.image_shape), resize=True)
    pictures = target_images(images, source)
    with fitting([source], config, where):
        check_sources([source])
        if gan.critic is not None:
            check_critic(gan.critic, source.generator.image_shape, gan.name)
        critic = gan.critic or fresh(critic_like([source], None), "taught critic", config.seed)
        miners = [NoMiner(source.generator.latent_dim)]
        state = State(config, [source], critic, where, purpose="teach", miners=miners)
        pictures = pictures.to(where)
        shown = bar(total=config.steps, desc=f"critic of {gan.name}", unit="step", disable=not progress)
        with shown, frozen(*state.generators):
            for state.step in range(config.steps):
                losses = critic_step(state, pictures)
                shown.set_postfix({name: f"{value:.2f}" for name, value in losses.items()}, refresh=False)
                shown.update()
    return replace(gan, critic=state.critic.cpu().eval(), request=None)
