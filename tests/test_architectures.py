"""Every architecture mined at tiny size: frozen is frozen, presets are the papers', conditional GANs have M^c."""

import math
from dataclasses import replace

import pytest
import torch
from tiny import everything, same
from torch import nn

from minegan_lite import GAN, StandardNormal, UserError, classes_of, finetune, losses, mine
from minegan_lite.config import Mining, Tuning, resolve
from minegan_lite.gan import ClassSpace, in_class_space, truncated
from minegan_lite.mined import Mined, Unmined, input_prior, load
from minegan_lite.miner import ConditionalMiner, Miner, miner_for
from minegan_lite.networks import biggan, biggan_deep, progan, sngan, stylegan, stylegan2
from minegan_lite.networks.biggan_deep import TruncationStatistics
from minegan_lite.networks.plain import PlainCritic
from minegan_lite.networks.style_layers import StyleGenerator, in_style_space
from minegan_lite.probe import sources_of
from minegan_lite.supersample import streams
from minegan_lite.training import scores
from tests.close import close, rounding, terms

FAST = {"steps": 2, "batch": 4, "critic_steps": 1, "device": "cpu", "progress": False}
CHANNELS = (6, 5, 4)  # 16 × 16


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def target(side: int, n: int = 8) -> torch.Tensor:
    return (0.5 * numbers(n, 3, side, side)).clamp(-1, 1)


def pair(kind: str) -> tuple[nn.Module, nn.Module]:
    match kind:
        case "progan":
            return progan.Generator(CHANNELS, 7), progan.Critic(CHANNELS)
        case "sngan":
            return sngan.Generator(32, 2, 6), sngan.Critic(32, 4)
        case "sngan by class":
            return sngan.Generator(32, 2, 6, 3), sngan.Critic(32, 4, 3)
        case "biggan":
            return biggan.Generator(32, 2, 3, 5, 3, attention=(16,)), biggan.Critic(32, 2, 3, attention=(16,))
        case "biggan-deep":
            deep = biggan_deep.Generator(32, 2, 6, 5, 3, attention=(16,)), biggan_deep.Critic(32, 4, 3, attention=(16,))
            for part in deep[0].modules():  # statistics that a truncation changes
                if isinstance(part, TruncationStatistics):
                    part.means.normal_(0, 0.1)
            return deep
        case "stylegan":
            return stylegan.Generator(CHANNELS, 7, 2), stylegan.Critic(CHANNELS)
        case "stylegan2":
            return stylegan2.Generator(CHANNELS, 7, 7, 2), stylegan2.Critic(CHANNELS)


KINDS = ("progan", "sngan", "sngan by class", "biggan", "biggan-deep", "stylegan", "stylegan2")


def gan_of(kind: str) -> GAN:
    """Handed over in train mode, but for one part, with a weight that asks for no gradient."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator, critic = pair(kind)
        if isinstance(generator, StyleGenerator):
            generator.measure_w_mean(100)
        for part in generator.modules():  # statistics as of a generator that was trained
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.1)
    next(generator.children()).eval()
    next(generator.parameters()).requires_grad_(False)
    return GAN(generator, critic, StandardNormal(generator.latent_dim), kind)


def source_of(kind: str) -> tuple[GAN, GAN]:
    """The GAN, and what is mined of it: "stylegan in w+" is a StyleGAN in w+."""
    base, _, space = kind.partition(" in ")
    gan = gan_of(base)
    return gan, in_style_space(gan, per_layer=space == "w+") if space else gan


CASES = [
    ("progan", "paper-progan"),
    ("sngan", "paper-sngan"),
    ("sngan by class", "paper-sngan"),
    ("biggan", "paper-biggan"),
    ("biggan", "official-biggan"),
    ("biggan", "default"),
    ("biggan-deep", "paper-biggan"),
    *((f"{net}{space}", "official-stylegan") for net in ("stylegan", "stylegan2") for space in ("", " in w", " in w+")),
]


# --- stage one --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "preset"), CASES)
def test_stage_one_trains_the_miner_and_leaves_every_byte_flag_and_mode_of_the_generator(kind, preset):
    gan, source = source_of(kind)
    images = target(gan.generator.image_shape[-1])
    generator, critic = everything(gan.generator), everything(gan.critic)
    mined = mine(source, images, preset=preset, log_every=1, **FAST)
    assert len(mined.sources) == (len(gan.generator.classes) if kind == "sngan by class" else 1)
    assert same(generator, everything(gan.generator))
    assert same(critic, everything(gan.critic))
    losses = [entry[key] for entry in mined.history for key in ("critic_loss", "miner_loss", "penalty")]
    assert len(losses) == 6
    assert all(math.isfinite(loss) for loss in losses)

    sources, settings, trained = sources_of(source), resolve(Mining, preset, {}), 0
    if len(mined.sources) > 1:  # whose losers do not move: the one that won most of the miners' minibatches
        trained = int(mined.selector.wins()[1::2].sum(0).argmax())
    start = miner_for(sources[trained].generator, settings, streams("mine", sources, settings.seed)[1 + trained])
    miner = mined.miners[trained]
    assert isinstance(miner, ConditionalMiner if kind.startswith("biggan") else Miner)
    assert all(not torch.equal(a, b) for a, b in zip(miner.parameters(), start.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(mined.critic.parameters(), gan.critic.parameters(), strict=True))
    assert mined.sample(3).shape == (3, *gan.generator.image_shape)


@pytest.mark.parametrize("kind", ["stylegan", "stylegan2"])
def test_the_latent_of_a_style_space_is_w_or_a_w_for_each_layer(kind):
    for space, length in (("", 7), (" in w", 7), (" in w+", 7 * 6)):
        _, source = source_of(kind + space)
        mined = mine(source, target(16), preset="official-stylegan", **FAST)
        u, latents = mined.latents(3)
        assert (u.shape, latents.shape) == ((3, 512), (3, length))
        assert mined.miner.sizes == (512, 512, length)


@pytest.mark.parametrize("preset", ["paper-biggan", "official-biggan"])
def test_stage_two_and_load_of_a_conditional_gan(tmp_path, preset):
    gan = gan_of("biggan")
    mined = mine(gan, target(32), preset=preset, out=tmp_path / "mine", **FAST)
    before = everything(gan.generator), everything(mined.miner)
    tuned = finetune(mined, target(32), out=tmp_path / "finetune", steps=1, batch=4, device="cpu", progress=False)
    assert same(before[0], everything(gan.generator))
    assert same(before[1], everything(mined.miner))
    assert (tuned.record["loss"], tuned.record["miners"][0][0]["spectral_norm"]) == (
        resolve(Mining, preset, {}).loss,
        resolve(Mining, preset, {}).spectral_norm,
    )
    assert not torch.equal(tuned.gan.generator.generator.to_rgb.weight, gan.generator.to_rgb.weight)
    for run, result in (("mine", mined), ("finetune", tuned)):
        assert torch.equal(load(tmp_path / run, gan_of("biggan")).sample(4), result.sample(4))


@pytest.mark.parametrize("preset", ["paper-biggan", "official-biggan"])
@pytest.mark.parametrize("stage", ["mine", "finetune"])
def test_a_resumed_conditional_miner_is_an_uninterrupted_one_bit_for_bit(tmp_path, preset, stage):
    options = {**FAST, "steps": 3, "save_every": 1, "log_every": 1}
    base = None if stage == "mine" else mine(gan_of("biggan"), target(32), preset=preset, **options)

    def run(folder, watch):
        if stage == "mine":
            return mine(gan_of("biggan"), target(32), preset=preset, out=tmp_path / folder, watch=watch, **options)
        return finetune(base, target(32), out=tmp_path / folder, watch=watch, **options)

    def stop(mined):
        if len(mined.history) == 3:
            raise KeyboardInterrupt

    whole = run("whole", None)
    with pytest.raises(KeyboardInterrupt):
        run("killed", stop)
    resumed = run("killed", None)
    assert torch.equal(whole.sample(4), resumed.sample(4))
    assert whole.history == resumed.history
    assert (tmp_path / "whole/state.pt").read_bytes() == (tmp_path / "killed/state.pt").read_bytes()


# --- presets ----------------------------------------------------------------------------------------------------------


class Sized(nn.Module):
    """A generator of the published latent sizes that draws nothing."""

    image_shape, classes = (3, 128, 128), range(1000)

    def __init__(self, latent_dim: int, embedding_dim: int | None = None):
        super().__init__()
        self.latent_dim, self.embedding_dim = latent_dim, embedding_dim


def full_size_miner(preset: str, *sizes: int) -> nn.Module:
    (source,) = sources_of(GAN(Sized(*sizes), None, StandardNormal(sizes[0]), "sized"))
    return miner_for(source.generator, resolve(Mining, preset, {}), torch.Generator().manual_seed(0))


def test_the_miners_of_the_presets_have_the_published_sizes():
    assert full_size_miner("paper-progan", 512).sizes == (8, 64, 128, 256, 512)
    assert full_size_miner("paper-sngan", 128).sizes == (8, 32, 64, 128)
    paper, official = (full_size_miner(f"{whose}-biggan", 120, 128) for whose in ("paper", "official"))
    five = [(128, 128)] * 4
    assert [layer.weight.shape[::-1] for layer in paper.z.layers] == [*five, (128, 120)]
    assert [layer.weight.shape[::-1] for layer in paper.embedding.layers] == [*five, (128, 128)]
    assert [layer.weight.shape[::-1] for layer in official.z.layers] == [(120, 120)] * 4
    assert [layer.weight.shape[::-1] for layer in official.embedding.layers] == [(120, 120)] * 3 + [(120, 128)]
    assert full_size_miner("official-stylegan", 512).sizes == (512, 512, 512)


def test_what_the_supplement_states_of_each_architecture():
    """Supplement A: learning rates of miner, generator and critic, Adam's betas, batch."""
    for name, rates, betas, batch in [
        ("paper-progan", (0.0015, 0.0015, 0.0015), (0, 0.99), 4),
        ("paper-sngan", (0.0002, 0.0002, 0.0002), (0, 0.9), 8),
        ("paper-biggan", (0.0001, 0.0001, 0.0004), (0, 0.999), 256),
    ]:
        settings = resolve(Mining, name, {})
        assert (settings.miner_lr, resolve(Tuning, name, {}).generator_lr, settings.critic_lr) == rates
        assert (settings.betas, settings.batch, settings.init) == (betas, batch, "paper")
        assert not settings.sample_average


def test_progans_preset_normalises_after_each_relu_but_not_at_the_end():
    miner = full_size_miner("paper-progan", 512)
    u = numbers(5, 8)
    h = u
    for layer in miner.layers[:-1]:
        h = (h @ layer.weight.T + layer.bias).clamp(min=0)
        h = h / (h.square().mean(1, keepdim=True) + 1e-8).sqrt()
    expected = h @ miner.layers[-1].weight.T + miner.layers[-1].bias
    close(miner(u), expected, *terms(miner))


# --- M^z and M^c ------------------------------------------------------------------------------------------------------


def test_the_two_miners_share_u_and_no_weight():
    miner = ConditionalMiner((4, 6, 3), (4, 6, 5))
    u = numbers(7, 4)
    z, embedding = miner(u).split((3, 5), dim=1)
    close(z, miner.z(u), *terms(miner.z))
    close(embedding, miner.embedding(u), *terms(miner.embedding))
    assert not torch.equal(miner.z.layers[0].weight, miner.embedding.layers[0].weight)
    embedding.sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in miner.embedding.parameters())
    assert not any(weight.grad is not None and weight.grad.any() for weight in miner.z.parameters())


def test_the_default_sizes_are_the_supplements():
    paper = full_size_miner("paper-biggan", 120, 128)
    assert [w.shape for w in ConditionalMiner().parameters()] == [w.shape for w in paper.parameters()]


@pytest.mark.parametrize(
    ("sizes", "message"), [(((4, 3), (5, 3)), "share u"), (((4,), (4, 3)), "two positive sizes"), (((), ()), "two")]
)
def test_bad_sizes_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        ConditionalMiner(*sizes)


@pytest.mark.parametrize("kind", ["biggan", "biggan-deep"])
def test_a_class_space_is_the_generator_itself(kind):
    gan = gan_of(kind)
    gan.generator.eval()
    (source,) = sources_of(gan)
    space, z = source.generator, gan.prior(6, torch.Generator().manual_seed(1))
    embedding = numbers(6, 5, seed=2)
    assert space.generator is gan.generator
    close(space(torch.cat([z, embedding], dim=1)), gan.generator(z, embedding), *terms(gan.generator))
    drawn = source.prior(60, torch.Generator().manual_seed(1))
    rows = gan.generator.embed(torch.arange(3)).detach()
    classes = (drawn[:, None, space.sizes[0] :] == rows).all(2)  # (60, 3)
    assert torch.equal(drawn[:, : space.sizes[0]], gan.prior(60, torch.Generator().manual_seed(1)))
    assert (classes.sum(1) == 1).all()
    assert (classes.sum(0) > 8).all()
    close(Unmined(gan).sample(60, seed=1), gan.generator(*drawn.split(space.sizes, 1)).detach(), *terms(gan.generator))
    with pytest.raises(UserError, match="unconditional"):
        in_class_space(gan_of("progan"))


def test_u_is_drawn_from_the_prior_of_z_or_a_normal_but_holds_no_class():
    gan = replace(gan_of("biggan"), prior=lambda n, rng: torch.full((n, 12), 3.0))
    (source,) = sources_of(gan)
    rng = torch.Generator().manual_seed(0)
    for length in (12, 17, 128):  # |z|, |z| + |c|, the supplement's
        drawn = input_prior(source, ConditionalMiner((length, 12), (length, 5)))(200, rng)
        assert drawn.shape == (200, length)
        assert torch.all(drawn == 3) if length == 12 else 0.9 < drawn.std() < 1.1


def test_mining_leaves_the_label_term_of_the_critic_out():
    gan = gan_of("biggan")
    mined = mine(gan, target(32), preset="paper-biggan", **FAST)
    assert torch.equal(mined.critic.head.rows.weight, gan.critic.head.rows.weight)
    assert not torch.equal(mined.critic.head.linear.weight, gan.critic.head.linear.weight)


class Colours(nn.Module):
    """A known conditional generator: z (n, 1) is brightness, the class embedding (n, 2) the colour of one pixel."""

    latent_dim, embedding_dim, image_shape, classes = 1, 2, (3, 1, 1), range(4)

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.1))

    def embed(self, labels):
        return torch.stack([labels // 2, labels % 2], dim=1).float()

    def forward(self, z, embedding):
        return torch.cat([self.scale * torch.tanh(z), torch.tanh(embedding)], dim=1)[:, :, None, None]


def test_the_miner_of_the_class_finds_a_class_between_those_that_exist():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        critic = nn.Sequential(nn.Flatten(), nn.Linear(3, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    gan = GAN(Colours(), critic, StandardNormal(1), "colours")
    wanted = torch.tensor([0.0, 0.5, -0.6])
    images = (wanted + 0.05 * numbers(64, 3)).clamp(-1, 1)[:, :, None, None]
    options = {"steps": 250, "batch": 32, "critic_steps": 2, "miner_lr": 5e-3, "critic_lr": 5e-3, "hidden": (16,)}
    mined = mine(gan, images, device="cpu", progress=False, **options)
    gap = (mined.sample(500).mean(0).flatten() - images.mean(0).flatten()).abs().max().item()
    before = (Unmined(gan).sample(500).mean(0).flatten() - images.mean(0).flatten()).abs().max().item()
    assert gap < 0.15 < before


def test_sources_of_every_kind_compete_in_one_list():
    """An unconditional one, one with one-hot classes, one with embedded classes: five sources, each with its miner."""
    given = [gan_of("sngan"), gan_of("sngan by class"), gan_of("biggan")]
    before = [everything(gan.generator) for gan in given]
    mined = mine(given, target(32), **FAST)
    assert list(mined.probabilities) == ["sngan", *(f"sngan by class:{i}" for i in range(3)), "biggan"]
    assert [type(miner) for miner in mined.miners] == [Miner] * 4 + [ConditionalMiner]
    assert all(same(state, everything(gan.generator)) for state, gan in zip(before, given, strict=True))
    assert mined.supersample()[0].shape == (5, 3, 32, 32)
    assert isinstance(mine([gan_of("biggan")], target(32), **FAST), Mined)


def test_a_class_of_a_biggan_can_still_be_a_source():
    mined = mine(classes_of(gan_of("biggan"))[:2], target(32), **FAST)
    assert list(mined.probabilities) == ["biggan:0", "biggan:1"]


@pytest.mark.parametrize("kind", ["biggan", "biggan-deep"])
def test_a_conditional_gan_without_a_critic_is_mined_with_a_fresh_one(kind):
    mined = mine(replace(gan_of(kind), critic=None), target(32), **FAST)
    assert isinstance(mined.critic, PlainCritic)
    assert math.isfinite(mined.history[-1]["critic_loss"])


# --- losses and critics -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", losses.LOSSES)
def test_the_first_step_is_the_loss_written_down(loss):
    """The draws of step one once more, the critic's loss and penalty by their formulas and autograd."""
    gan = gan_of("sngan")
    images, batch = target(32), 4
    options = {**FAST, "steps": 1, "critic_lr": 1e-12, "loss": loss}
    entry = mine(gan, images, **options).history[0]

    (rng, _), settings = streams("mine", [gan], 0), resolve(Mining, "default", {"loss": loss})
    miner = miner_for(gan.generator, settings, rng)
    gan.generator.eval()
    critic = gan.critic.train()
    real = images[torch.randint(len(images), (batch,), generator=rng)]
    with torch.no_grad():
        fake = gan.generator(miner(gan.prior(batch, rng)))
    fake_scores, real_scores = critic(torch.cat([fake, real])).detach().chunk(2)
    expected = {
        "wgan-gp": fake_scores - real_scores,
        "hinge": (1 + fake_scores).clamp(min=0) + (1 - real_scores).clamp(min=0),
        "logistic": -(1 - torch.sigmoid(fake_scores)).log() - torch.sigmoid(real_scores).log(),
    }[loss.removesuffix("-r1")].mean()
    sizes = *terms(miner), *terms(gan.generator), *terms(critic), batch
    largest = max(fake_scores.abs().max().item(), real_scores.abs().max().item(), 1)
    assert entry["critic_loss"] == pytest.approx(expected.item(), abs=rounding(*sizes) * largest)
    if loss == "logistic-r1":
        x = real.requires_grad_()
        (gradient,) = torch.autograd.grad(critic(x).sum(), x)
        sizes = *2 * terms(critic), gradient.numel()
        assert entry["penalty"] == pytest.approx(gradient.square().sum().item() / batch, rel=2 * rounding(*sizes))
    else:
        assert (entry["penalty"] == 0) == (loss != "wgan-gp")


@pytest.mark.parametrize("kind", KINDS)
def test_both_penalties_differentiate_every_critic_twice(kind):
    critic = gan_of(kind).critic
    side = 16 if kind in ("progan", "stylegan", "stylegan2") else 32
    real, fake = target(side, 4), target(side, 8)[4:]
    for penalty in (
        losses.gradient_penalty(critic, real, fake, torch.Generator().manual_seed(0)),
        losses.r1_penalty(critic, real),
    ):
        critic.zero_grad()
        penalty.backward()
        gradients = [weight.grad for weight in critic.parameters() if weight.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert sum(bool(gradient.any()) for gradient in gradients) >= 4


@pytest.mark.parametrize("kind", KINDS)
def test_a_critic_that_compares_the_images_of_a_batch_sees_fakes_and_reals_apart(kind):
    gan = gan_of(kind)
    side = gan.generator.image_shape[-1]
    fake, real = target(side, 4), 0.1 * target(side, 8)[4:]
    critic = gan.critic.eval()
    with torch.no_grad():
        ours = scores(critic, fake, real)
        apart = critic(fake), critic(real)
        together = critic(torch.cat([fake, real])).split(4)
    sizes = terms(critic)
    for one, other in zip(ours, apart, strict=True):
        close(one, other, *sizes)
    if kind in ("progan", "stylegan", "stylegan2"):
        assert (together[0] - apart[0]).abs().max() > 10 * rounding(*sizes) * apart[0].abs().max()
    else:
        close(together[0], apart[0], *sizes)


# --- truncation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["stylegan", "stylegan2", "biggan-deep"])
def test_nothing_is_truncated_unless_asked(monkeypatch, kind):
    seen = set()
    owner, name = (TruncationStatistics, "row") if kind == "biggan-deep" else (StyleGenerator, "truncate")
    original = getattr(owner, name)

    def spy(self, *arguments):
        seen.add(arguments[-1])
        return original(self, *arguments)

    monkeypatch.setattr(owner, name, spy)
    gan = gan_of(kind)
    mined = mine(gan, target(gan.generator.image_shape[-1]), **FAST)
    mined.sample(3)
    assert seen == {1.0}
    seen.clear()
    half = truncated(gan, 0.5)
    before = everything(gan.generator)
    mined = mine(half, target(gan.generator.image_shape[-1]), **FAST)
    mined.sample(3)
    assert seen == {0.5}
    assert same(before, everything(gan.generator))
    assert (mined.gan.name, half.name) == (f"{kind} truncated to 0.5",) * 2
    assert not torch.allclose(Unmined(half).sample(3), Unmined(gan).sample(3))


def test_a_generator_without_truncation_says_so():
    with pytest.raises(UserError, match="biggan takes no truncation"):
        truncated(gan_of("biggan"), 0.5)


def test_the_class_space_of_a_conditional_gan_is_what_the_mined_one_holds():
    gan = gan_of("biggan")
    mined = mine(gan, target(32), **FAST)
    assert isinstance(mined.gan.generator, ClassSpace)
    assert mined.gan.generator.generator is gan.generator
    u, latents = mined.latents(5)
    assert (u.shape, latents.shape) == ((5, 12), (5, 12 + 5))
    assert mined.gan.name == "biggan"
