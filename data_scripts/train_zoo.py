"""Trains the MNIST GANs of the zoo, generator and critic.

    mnist-all, mnist-no-0 … mnist-no-9               unconditional, of all digits or of all but one
    mnist-only-06, mnist-only-17, …                  unconditional, of the digits named
    mnist-cond-all, mnist-cond-no-0 … -no-9          conditional on the digit, a one-hot row

Every model starts from random weights and sees only its own digits; nothing is shared between models, so that
no `no-D` ever touched weights that saw D. WGAN-GP with 2 critic steps per generator step, EMA of the generator.
Interrupt it and run the same command again: it goes on where it was, bit for bit. The settings of each model that
ships, not all trained by today's defaults, stand in its card.

    python data_scripts/train_zoo.py mnist-no-9             # ten minutes on a CPU core that has bfloat16
    python data_scripts/train_zoo.py mnist-no-9 --export    # the finished weights into the zoo, with card
"""

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from shipping import ship_gan
from terminal import status
from tqdm.auto import tqdm

from minegan_lite import data, losses, nn, zoo
from minegan_lite.errors import UserError
from minegan_lite.files import read_settings, read_state
from minegan_lite.networks.mnist import ConditionalCritic, ConditionalGenerator, Critic, Generator
from minegan_lite.runs import RunFolder

PENALTY, BETAS = 10.0, (0.5, 0.9)
MODEL = "zoo model"  # under it run.json holds the settings, steps among them: the learning rate falls by their number
NAME = re.compile(r"mnist-(?P<conditional>cond-)?(all|no-(?P<without>\d)|only-(?P<only>\d+))")


def digits_of(name: str) -> list[int]:
    """The digits that the model of this name is trained on."""
    match = NAME.fullmatch(name)
    only = (match and match["only"]) or ""
    if not match or only != "".join(sorted(set(only))):
        raise UserError(f"unknown model {name!r}: expected mnist-all, mnist-no-9, mnist-only-06, mnist-cond-no-9, …")
    return [d for d in range(10) if (str(d) in only if only else str(d) != match["without"])]


def networks(settings: dict) -> tuple[Generator, Critic]:
    """The untrained pair of these settings, conditional where the name says so."""
    name = settings["name"]
    width, latent_dim = settings["width"], settings["latent_dim"]
    if NAME.fullmatch(name)["conditional"] is None:
        return Generator(width, latent_dim), Critic(width)
    classes = [str(d) for d in digits_of(name)]
    return ConditionalGenerator(width, latent_dim, classes), ConditionalCritic(width, len(classes))


@dataclass
class Given:
    """A critic at fixed labels, none for an unconditional one, as losses.gradient_penalty takes it."""

    critic: Critic
    labels: tuple[torch.Tensor, ...]

    def input_gradient(self, x: torch.Tensor) -> torch.Tensor:
        return self.critic.input_gradient(x, *self.labels)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Constant for the first half, then linear to zero: the average settles instead of wandering."""
    return peak * min(1.0, 2 * (1 - step / steps))


def train(args: argparse.Namespace, name: str) -> Path:
    """Trains one model into the run folder args.out/NAME, going on where that was stopped, and returns its path."""
    conditional = NAME.fullmatch(name)["conditional"] is not None
    fabric = Fabric(accelerator=args.device, devices=1, precision=args.precision)
    images, labels = data.load_mnist("train")
    digits = torch.tensor(digits_of(name))
    chosen = torch.isin(labels, digits)
    images, classes = images[chosen], torch.searchsorted(digits, labels[chosen])

    settings = {
        "name": name, "width": args.width, "latent_dim": args.latent_dim, "steps": args.steps, "seed": args.seed,
        "batch": args.batch, "lr": args.lr, "critic_steps": args.critic_steps, "penalty": PENALTY,
        "betas": list(BETAS), "precision": args.precision, "ema_decay": nn.DECAY,
    }  # fmt: skip
    torch.manual_seed(args.seed)  # initialisation only; every later draw comes from `rng`
    rng = torch.Generator().manual_seed(args.seed)
    generator, critic = (network.to(memory_format=torch.channels_last) for network in networks(settings))
    generator_optimizer = torch.optim.Adam(generator.parameters(), lr=args.lr, betas=BETAS, fused=True)
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=args.lr, betas=BETAS, fused=True)
    generator, generator_optimizer = fabric.setup(generator, generator_optimizer)
    critic, critic_optimizer = fabric.setup(critic, critic_optimizer)
    average = nn.averaged(generator.module)
    parts = {
        "generator": generator, "critic": critic, "average": average,
        "generator_optimizer": generator_optimizer, "critic_optimizer": critic_optimizer,
    }  # fmt: skip

    folder = RunFolder(args.out / name, {MODEL: settings})
    start = 0
    if (saved := folder.load()) is not None:
        for key, part in parts.items():
            part.load_state_dict(saved[key])
        rng.set_state(saved["rngs"][0])
        start = saved["step"]

    def save(step: int) -> None:
        state = {key: part.state_dict() for key, part in parts.items()}
        folder.save({**state, "rngs": [rng.get_state()], "step": step, "history": []})

    def fakes(labels: torch.Tensor) -> torch.Tensor:
        z = torch.randn(args.batch, args.latent_dim, generator=rng).to(fabric.device)
        return generator(z, generator.module.embed(labels)) if conditional else generator(z)

    progress = tqdm(range(start, args.steps), initial=start, total=args.steps, desc=name, unit="step", mininterval=5)
    for step in progress:
        for optimizer in (generator_optimizer, critic_optimizer):
            optimizer.param_groups[0]["lr"] = learning_rate(step, args.steps, args.lr)
        for _ in range(args.critic_steps):
            pick = torch.randint(0, len(images), (args.batch,), generator=rng)
            real, labels = data.to_signed(images[pick]).to(fabric.device), classes[pick].to(fabric.device)
            given = (labels,) if conditional else ()
            with torch.no_grad():
                fake = fakes(labels)
            fake_scores, real_scores = critic(torch.cat([fake, real]), *(torch.cat([y, y]) for y in given)).chunk(2)
            loss = losses.critic_loss(fake_scores, real_scores)
            with fabric.autocast():  # on the bare critic: Fabric's wrapper refuses torch.autograd.grad
                penalty = losses.gradient_penalty(Given(critic.module, given), real, fake, rng)
            loss = loss + PENALTY * penalty
            critic_optimizer.zero_grad()
            fabric.backward(loss)
            critic_optimizer.step()
        generator_optimizer.zero_grad()
        fabric.backward(losses.generator_loss(critic(fakes(labels), *given)))
        generator_optimizer.step()
        average.update_parameters(generator.module)
        progress.set_postfix(distance=f"{-losses.critic_loss(fake_scores, real_scores).item():.2f}", refresh=False)
        if (step + 1) % args.save_every == 0 or step + 1 == args.steps:
            save(step + 1)
    return folder.path


def export(args: argparse.Namespace, name: str) -> Path:
    """Measures a finished model and writes it, with its model card: where its weights lie now, package or repository.

    The weights of a new model go into the repository's own folder. A folder in args.export takes everything.
    """
    path = args.out / name
    if not path.exists():
        raise UserError(f"{path} does not exist: train {name} first")
    settings, saved = read_settings(path)[MODEL], read_state(path)
    if saved["step"] < settings["steps"]:
        raise UserError(f"{path} is at step {saved['step']} of {settings['steps']}: train it to the end first")
    images, labels = data.load_mnist("test")
    generator, critic = networks(settings)
    average = nn.averaged(generator)
    average.load_state_dict(saved["average"])
    critic.load_state_dict(saved["critic"])
    digits = digits_of(name)
    held_out = data.to_signed(images[torch.isin(labels, torch.tensor(digits))])
    packaged = zoo.entries().get(name, {}).get("packaged", False)
    beside = zoo.BESIDE if args.export == zoo.WEIGHTS and not packaged else None
    return ship_gan(average.module, critic, digits, settings, held_out, zoo.load_classifier(), args.export, beside)


def main() -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help="mnist-all, mnist-no-9, mnist-only-06, mnist-cond-no-9, …"
    )
    parser.add_argument("--steps", type=int, default=5_000, help="generator steps (default %(default)s)")
    parser.add_argument("--width", type=int, default=32, help="the supplement's DIM is 64 (default %(default)s)")
    parser.add_argument("--latent-dim", type=int, default=128, help="|z| (default %(default)s)")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--critic-steps", type=int, default=2, help="before each generator step (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda", "mps"])
    parser.add_argument("--precision", default="bf16-mixed", choices=["bf16-mixed", "32-true"])
    parser.add_argument("--save-every", type=int, default=500, help="steps between checkpoints (default %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/zoo"), help="folder of the checkpoints (default %(default)s)"
    )
    parser.add_argument(
        "--export",
        nargs="?",
        type=Path,
        const=zoo.WEIGHTS,
        metavar="FOLDER",
        help="train nothing: measure the finished models of --out and write them into the zoo (or FOLDER)",
    )
    args = parser.parse_args()

    def work() -> None:
        for name in args.names:
            digits_of(name)  # refuse a bad name before the first hour of training, not after it
        for name in args.names:
            print(export(args, name) if args.export else train(args, name))

    return status("train_zoo.py", work)


if __name__ == "__main__":
    sys.exit(main())
