"""What a slip of the pen in the training code would change: each test guards one line, through public doors alone.

An option is wrong as soon as a step does not follow it, so the steps are written down here once more, plainly, and
given the library's own draws. These are overheard: a source's prior and its critic are the caller's, and see all.
"""

import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny import TinyCritic, tiny_target
from torch import nn
from torch.nn import functional as F

import minegan_lite as ml
from minegan_lite import GAN, StandardNormal
from minegan_lite.files import read_state
from minegan_lite.networks.mnist import DigitClassifier

STEPS, BATCH, RATE = 3, 8, 1e-3
STILL = 1e-30  # a learning rate that changes no float32 weight
FAST = {"steps": STEPS, "batch": BATCH, "critic_steps": 1, "precision": "32", "progress": False, "device": "cpu"}


class Plain(nn.Module):
    """z (n, 4) → images (n, 1, 6, 6): nothing in it depends on a mode or on a batch. shade moves them all."""

    latent_dim, embedding_dim, image_shape = 4, None, (1, 6, 6)

    def __init__(self, shade: float = 0.0):
        super().__init__()
        self.map, self.shade = nn.Linear(4, 36), shade

    def forward(self, z):
        return torch.tanh(self.map(z) + self.shade).view(-1, 1, 6, 6)


class Indifferent(nn.Module):
    """A critic to which all images are worth the same."""

    def __init__(self):
        super().__init__()
        self.score = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.score + 0 * x.flatten(1).sum(1, keepdim=True)


def overheard(gan: GAN) -> tuple[GAN, SimpleNamespace]:
    """The same GAN, and all that its prior draws and its critic sees: us, images, and where its slope is asked for."""
    heard = SimpleNamespace(us=[], images=[], slopes=[])

    class Critic(type(gan.critic)):
        def forward(self, x):
            heard.images.append(x.detach().clone())
            return super().forward(x)

        def input_gradient(self, x):
            heard.slopes.append(x.detach().clone())
            x = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(super().forward(x).sum(), x, create_graph=True)
            return slope

    def prior(n, rng):
        heard.us.append(gan.prior(n, rng))
        return heard.us[-1].clone()

    critic = copy.deepcopy(gan.critic)
    critic.__class__ = Critic
    return replace(gan, critic=critic, prior=prior), heard


def plain_gan(name: str = "plain", shade: float = 0.0) -> GAN:
    torch.manual_seed(len(name))
    return GAN(Plain(shade), TinyCritic(), StandardNormal(4), name)


def flat(network: nn.Module) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


def reached(ours: torch.Tensor, theirs: torch.Tensor, start: torch.Tensor) -> None:
    """Two ways to one place: apart by what Adam makes of rounding, far less than the way itself."""
    assert (theirs - start).norm() > 0
    assert (ours - theirs).norm() < 1e-2 * (theirs - start).norm()


def losses(name: str, fake: torch.Tensor, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The critic's loss and the miner's, from the papers."""
    if name == "wgan-gp":
        return fake.mean() - real.mean(), -fake.mean()
    if name == "hinge":
        return (1 + fake).clamp(min=0).mean() + (1 - real).clamp(min=0).mean(), -fake.mean()
    return F.softplus(fake).mean() + F.softplus(-real).mean(), F.softplus(-fake).mean()


def by_hand(heard, images, miner, generator, critic, *, tuned, loss="wgan-gp", penalty=10.0, betas=(0.5, 0.9)):
    """The three networks after the overheard steps, and the averages of miner and generator."""
    networks = miner, generator, critic = [copy.deepcopy(one).requires_grad_() for one in (miner, generator, critic)]
    averages = [copy.deepcopy(miner), copy.deepcopy(generator)]
    groups = [{"params": list(one.parameters())} for one in networks[: 1 + tuned]]
    optimizer = torch.optim.Adam(groups, lr=RATE, betas=betas)
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=RATE, betas=betas)
    us = heard.us[-2 * STEPS :]  # one for the critic and one for the miner; what comes before is a look at the source
    real = [x for x in torch.cat(heard.images) if (x == images).flatten(1).all(1).any()]
    assert len(real) == STEPS * BATCH
    for step in range(STEPS):
        batch = torch.stack(real[step * BATCH : (step + 1) * BATCH])
        fake = generator(miner(us[2 * step])).detach()
        total, _ = losses(loss, critic(fake), critic(batch))
        if loss in ("wgan-gp", "logistic-r1"):
            x = heard.slopes[step].requires_grad_()
            (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
            length = slope.flatten(1).norm(dim=1)
            total = total + penalty * ((length - 1) if loss == "wgan-gp" else length).square().mean()
            between, way = x.detach() - fake, batch - fake
            share = (between * way).flatten(1).sum(1) / way.square().flatten(1).sum(1)
            assert ((share >= 0) & (share <= 1 + 1e-5)).all()
            assert torch.allclose(between, share.view(-1, 1, 1, 1) * way, atol=1e-4)  # x̂ lies on the way to a real one
            assert loss == "wgan-gp" or torch.allclose(share, torch.ones(()), atol=1e-4)  # R1 looks at real ones alone
        critic_optimizer.zero_grad()
        total.backward()
        critic_optimizer.step()
        fake = critic(generator(miner(us[2 * step + 1])))
        optimizer.zero_grad()
        losses(loss, fake, fake)[1].backward()
        optimizer.step()
        share = 1 - min(0.999, (1 + step) / (10 + step)) if step else 1.0  # the first average is the weights themselves
        for average, network in zip(averages, (miner, generator), strict=True):
            for old, new in zip(average.parameters(), network.parameters(), strict=True):
                old.data.lerp_(new.data, share)
    return miner, generator, critic, averages


CASES = {
    "the defaults": {},
    "the penalty's weight": {"penalty": 3.0},
    "no penalty": {"penalty": 0.0},
    "the first beta": {"betas": (0.0, 0.9)},
    "the second beta": {"betas": (0.5, 0.6)},
    "the hinge loss": {"loss": "hinge"},
    "the logistic loss": {"loss": "logistic"},
    "the logistic loss with R1": {"loss": "logistic-r1", "penalty": 2.0},
}


@pytest.mark.parametrize("stage", ["mine", "finetune"])
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_the_step_follows_what_was_asked_for(stage, options):
    """The penalty's weight, both optimizers' betas, each loss's two halves, and what is averaged."""
    tuned = stage == "finetune"
    images, (gan, heard) = tiny_target(seed=3), overheard(plain_gan())
    settings = {**FAST, "miner_lr": RATE, "critic_lr": RATE, **options}
    start = ml.mine(gan, images, **settings | ({} if tuned else {"steps": 1, "miner_lr": STILL}))
    generator, critic = gan.generator, start.critic if tuned else gan.critic
    heard.images.clear()
    heard.slopes.clear()
    mined = ml.finetune(start, images, **settings, generator_lr=RATE) if tuned else ml.mine(gan, images, **settings)
    miner, generator, critic, averages = by_hand(heard, images, start.miner, generator, critic, tuned=tuned, **options)
    begun = start.critic if tuned else gan.critic
    reached(flat(mined.critic), flat(critic), flat(begun))
    for ema, (m, g) in ((False, (miner, generator)), (True, averages)):
        drawn = mined.sample(40, seed=1, ema=ema)
        with torch.no_grad():
            theirs, before = g(m(heard.us[-1])), gan.generator(start.miner(heard.us[-1]))
        reached(drawn, theirs, before)


def test_stage_two_averages_the_generator():
    """The miner stands still, so that only the generator can tell the average from the weights as they are."""
    mined = ml.mine(plain_gan(), tiny_target(), **FAST)
    options = {**FAST, "steps": 6, "miner_lr": STILL, "generator_lr": 1e-2}
    source = mined.sample(40, ema=False)
    raw, average = (ml.finetune(mined, tiny_target(), **options).sample(40, ema=ema) for ema in (False, True))
    at_once = ml.finetune(mined, tiny_target(), ema_decay=0.0, **options).sample(40, ema=True)
    moved = (raw - source).norm()
    assert 0.02 * moved < (raw - average).norm() < 0.98 * moved
    assert (at_once - raw).norm() < 0.02 * moved


@pytest.mark.parametrize("count", [1, 2])
def test_stage_two_goes_on_from_the_miner_as_it_is_and_not_from_its_average(count):
    gans = [plain_gan("a"), plain_gan("bb")][:count]
    mined = ml.mine(gans if count > 1 else gans[0], tiny_target(), **{**FAST, "miner_lr": 1e-2})
    still = {"miner_lr": STILL, "generator_lr": STILL}
    tuned = ml.finetune(mined, tiny_target(), **{**FAST, "steps": 1, **still})

    def images(result, ema):
        if count == 1:
            return result.sample(40, ema=ema)
        return torch.cat([result.supersample(seed=seed, ema=ema)[0] for seed in range(20)])

    assert torch.allclose(images(tuned, False), images(mined, False), atol=1e-6)
    assert not torch.allclose(images(mined, True), images(mined, False), atol=1e-4)


def test_stage_two_goes_on_from_the_critic_of_stage_one_and_not_from_the_sources():
    gan = plain_gan()
    mined = ml.mine(gan, tiny_target(), **FAST)
    tuned = ml.finetune(mined, tiny_target(), **{**FAST, "steps": 1, "critic_lr": STILL})
    assert torch.allclose(flat(tuned.critic), flat(mined.critic), atol=1e-7)
    assert not torch.allclose(flat(mined.critic), flat(gan.critic), atol=1e-4)


def test_no_checkpoint_holds_weights_that_are_not_finite(tmp_path):
    """In one step the gradient to the miner is NaN while every loss is a number: what is saved is the step before."""
    made = []

    class Poisoned(Plain):
        def forward(self, z):
            images = super().forward(z)
            if z.requires_grad and not z.is_leaf:  # the miner's step
                made.append(len(z))
                if len(made) == 3:
                    images.register_hook(lambda gradient: gradient * torch.nan)
            return images

    gan = replace(plain_gan(), generator=Poisoned())
    with pytest.raises(ml.Diverged):
        ml.mine(gan, tiny_target(), out=tmp_path / "run", **{**FAST, "steps": 9, "save_every": 1, "log_every": 1})
    assert len(made) == 3
    kept = ml.load(tmp_path / "run", gan)
    assert kept.history[-1]["step"] == 2
    assert kept.sample(4).isfinite().all()


def test_of_equal_scores_the_earlier_sources_wins():
    gans = [replace(plain_gan(name), critic=Indifferent()) for name in ("a", "bb", "ccc")]
    mined = ml.mine(gans, tiny_target(), loss="hinge", **FAST)
    p = list(mined.probabilities.values())
    wins = 2 * STEPS * BATCH  # of the critic's and the miner's minibatches, and one more for each source
    assert p == pytest.approx([(wins + 1) / (wins + 3), 1 / (wins + 3), 1 / (wins + 3)])


@pytest.mark.filterwarnings("ignore:.*below 0")
@pytest.mark.parametrize("objective", ["mean", "max"])
def test_the_penalty_looks_at_as_many_fakes_as_real_images_and_under_mean_at_each_source_alike(objective):
    """The target is grey, one source darker and one lighter, so that x̂ tells whose fake it was mixed with."""
    first, heard = overheard(plain_gan("dark", shade=-9.0))
    light = plain_gan("light", shade=9.0)
    ml.mine([first, light], torch.zeros(4, 1, 6, 6), objective=objective, **FAST)
    assert len(heard.slopes) == STEPS
    for x in heard.slopes:
        assert len(x) == BATCH
        dark = (x.flatten(1).mean(1) < 0).sum().item()
        assert objective == "max" or dark == BATCH // 2


@pytest.fixture
def train_zoo(monkeypatch):
    """The script that trains the zoo, on a little noise in MNIST's place: what is learned is of no importance."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "data_scripts"))
    import train_zoo

    rng = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (200, 1, 28, 28), generator=rng, dtype=torch.uint8), torch.arange(200) % 10
    monkeypatch.setattr(train_zoo.data, "load_mnist", lambda split: noise)
    monkeypatch.setattr(train_zoo.zoo, "load_classifier", lambda: DigitClassifier(2, 4).eval())  # for the card alone
    return train_zoo


def test_the_zoo_ships_the_averaged_generator(train_zoo, monkeypatch, tmp_path):
    sizes = {"steps": 3, "width": 2, "latent-dim": 4, "batch": 4, "precision": "32-true", "out": tmp_path}
    command = ["train_zoo.py", "mnist-no-9", *(f"--{name}={value}" for name, value in sizes.items())]
    for more in ([], [f"--export={tmp_path / 'zoo'}"]):
        monkeypatch.setattr("sys.argv", command + more)
        assert train_zoo.main() == 0
    saved = read_state(tmp_path / "mnist-no-9")
    shipped = ml.zoo.load("mnist-no-9", tmp_path / "zoo").generator.state_dict()
    for name, weight in shipped.items():
        assert torch.equal(weight, saved["average"][f"module.{name}"].half().float())
    assert not all(torch.equal(weight, saved["generator"][name].half().float()) for name, weight in shipped.items())
