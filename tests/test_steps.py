"""Both stages against the same loop written down: plain autograd, plain Adam, the draws of the seed."""

import copy

import pytest
import torch
from tiny import TinyCritic, tiny_target
from torch import nn
from torch.nn import functional as F

from minegan_lite.gan import GAN, StandardNormal
from minegan_lite.miner import Miner
from minegan_lite.nn import stream
from minegan_lite.training import finetune, mine

BATCH, STEPS, CRITIC_STEPS = 4, 3, 2


class Linear(nn.Module):
    latent_dim, embedding_dim, image_shape = 4, None, (1, 6, 6)

    def __init__(self):
        super().__init__()
        self.map = nn.Linear(4, 36)

    def forward(self, z):
        return torch.tanh(self.map(z)).view(-1, 1, 6, 6)


def losses(name, fake, real):
    if name == "wgan-gp":
        return fake.mean() - real.mean(), -fake.mean()
    return F.softplus(fake).mean() + F.softplus(-real).mean(), F.softplus(-fake).mean()


def latents(miner, u):
    """A miner of three sizes written down, and what it adds where it is residual."""
    first, second = miner.layers
    f = second(first(u).relu())
    z = u + f if miner.residual else f
    return z * (2 / z.norm(dim=1, keepdim=True)) if miner.shell else z, f


def by_hand(generator, miner, critic, images, rng, name, penalty, betas, tuned, shift_penalty=0.0):
    """Copies of the three after STEPS, and the averages of miner and generator."""
    generator, miner, critic = (copy.deepcopy(network).requires_grad_() for network in (generator, miner, critic))
    averages = [None, None]
    groups = [{"params": miner.parameters()}] + ([{"params": generator.parameters(), "lr": 1e-4}] if tuned else [])
    of_miner = torch.optim.Adam(groups, lr=1e-3, betas=betas)
    of_critic = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=betas)
    for step in range(STEPS):
        for _ in range(CRITIC_STEPS):
            real = images[torch.randint(len(images), (BATCH,), generator=rng)]
            fake = generator(latents(miner, torch.randn(BATCH, 4, generator=rng))[0]).detach()
            loss, _ = losses(name, critic(fake), critic(real))
            if name == "wgan-gp":
                alpha = torch.rand(BATCH, 1, 1, 1, generator=rng)
                x = (alpha * real + (1 - alpha) * fake).requires_grad_()
                (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
                loss = loss + penalty * (slope.flatten(1).norm(dim=1) - 1).square().mean()
            of_critic.zero_grad()
            loss.backward()
            of_critic.step()
        fake = generator(latents(miner, torch.randn(BATCH, 4, generator=rng))[0])
        loss = losses(name, critic(fake), critic(fake))[1]
        if shift_penalty:
            loss = loss + shift_penalty * latents(miner, torch.randn(BATCH, 4, generator=rng))[1].square().mean()
        of_miner.zero_grad()
        loss.backward()
        of_miner.step()
        decay = min(0.999, (1 + step) / (10 + step)) if step else 0.0  # the first average is the weights themselves
        for i, network in enumerate((miner, generator)):
            now = flat(network)
            averages[i] = now if averages[i] is None else decay * averages[i] + (1 - decay) * now
    return miner, generator, critic, averages


def flat(network):
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


def flat_critic(critic, name):
    """Under WGAN's loss without biases: where a unit is on for all images their gradient is zero but for rounding, of
    which Adam makes a whole step."""
    return torch.cat([w.detach().flatten() for w in critic.parameters() if name != "wgan-gp" or w.ndim > 1])


def close(ours, theirs, start):
    assert (ours - theirs).norm() <= 1e-3 * (theirs - start).norm()  # rounding that Adam has amplified


@pytest.mark.parametrize(("name", "penalty"), [("wgan-gp", 10.0), ("wgan-gp", 1.0), ("logistic", 0.0)])
@pytest.mark.parametrize(
    ("betas", "form"),
    [
        ((0.5, 0.9), {}),
        ((0.0, 0.5), {}),
        ((0.5, 0.9), {"shell": True}),
        ((0.5, 0.9), {"residual": True, "shift_penalty": 3.0}),
        ((0.0, 0.5), {"residual": True, "shell": True}),
    ],
)
def test_both_stages_are_the_loop_written_down(name, penalty, betas, form):
    torch.manual_seed(0)
    gan, images = GAN(Linear(), TinyCritic(), StandardNormal(4), "linear"), tiny_target()
    options = {
        "steps": STEPS, "batch": BATCH, "critic_steps": CRITIC_STEPS, "loss": name, "penalty": penalty, "betas": betas,
        "progress": False, "device": "cpu",
    }  # fmt: skip
    mined = mine(gan, images, **options, **form)
    rng = stream("mine", 0)
    weight = form.get("shift_penalty", 0.0)
    start = Miner((4, 4, 4), rng=rng, **{key: True for key in form if key != "shift_penalty"})
    given = (name, penalty, betas)
    miner, _, critic, averages = by_hand(gan.generator, start, gan.critic, images, rng, *given, False, weight)
    close(flat(mined.miner), flat(miner), flat(start))
    close(flat_critic(mined.critic, name), flat_critic(critic, name), flat_critic(gan.critic, name))
    close(flat(mined.miners_average[0]), averages[0], flat(start))

    tuned = finetune(mined, images, **options)
    miner, generator, critic, averages = by_hand(
        gan.generator, mined.miner, mined.critic, images, stream("finetune", 0), *given, True, weight
    )
    close(flat(tuned.miner), flat(miner), flat(mined.miner))
    close(flat(tuned.gan.generator), flat(generator), flat(gan.generator))
    close(flat_critic(tuned.critic, name), flat_critic(critic, name), flat_critic(mined.critic, name))
    close(flat(tuned.miners_average[0]), averages[0], flat(mined.miner))
    close(flat(tuned.generators_average[0]), averages[1], flat(gan.generator))
