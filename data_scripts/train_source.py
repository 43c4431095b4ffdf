"""Trains a source of natural images, a small Progressive GAN, as a YAML file describes it.

A source is a GAN that is to be mined. Its YAML names the pictures, the networks and the stages: training begins at
8×8 pixels and fades in one resolution after another, so that most of the learning happens where a step is cheap. A
source may start from another one's networks (`start:`), so that men-32 and women-32 share what faces have in common.

    export MINEGAN_DATA=…                                    # the folder with the zips that the YAML files name
    python data_scripts/train_source.py --list               # the sources that there are
    python data_scripts/train_source.py faces-32             # about forty minutes on one core that has bfloat16
    python data_scripts/train_source.py men-32               # goes on from faces-32
    python data_scripts/train_source.py my-own.yml --until 4000    # stop at step 4000; without it, go on from there

Interrupt it and run the same command again: it goes on at its last checkpoint, bit for bit. In the run folder,
samples/step-….png shows the same latents at every moment, and sheet.png their first row from the first step to the
last: look at it as it grows, and stop what does not learn.
"""

import argparse
import io
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from augment import KINDS, augmented
from source_pictures import load_pictures
from terminal import columns, status
from torch import Tensor, nn
from torch.nn import functional as F

from minegan_lite import ema, objectives
from minegan_lite.chapters.plots import save_grid
from minegan_lite.data import to_signed
from minegan_lite.errors import Diverged, UserError
from minegan_lite.locks import locked
from minegan_lite.networks import progan
from minegan_lite.progress import bar
from minegan_lite.runs import RunFolder, read_settings, read_state, weights_fingerprint, write_atomically

SOURCES = Path(__file__).parent / "sources"
BETAS = (0.0, 0.99)  # Karras et al. 2018, App. A
COLUMNS, SHOWN = 16, 64  # of a sample grid
NEEDED = {"what", "pictures", "channels", "stages"}
DEFAULTS = {
    "start": None, "latent_dim": 128, "loss": "logistic", "penalty": "r1", "gamma": 1.0, "penalty_every": 8,
    "augment": [], "flip": True, "batch": 32, "lr": 2e-3, "decay_from": 0.75, "seed": 0, "bf16": True,
}  # fmt: skip


def relativistic(scores: Tensor, others: Tensor) -> Tensor:
    """E[log(1 + exp(scores − others))] over pairs, (n, 1) each: Jolicoeur-Martineau 2019, as in R3GAN."""
    return F.softplus(scores - others).mean()


# critic(fake, real) and generator(fake, real), of scores (n, 1)
LOSSES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "logistic": (objectives.logistic_critic_loss, lambda fake, real: objectives.logistic_generator_loss(fake)),
    "relativistic": (relativistic, lambda fake, real: relativistic(real, fake)),
    "wgan": (objectives.critic_loss, lambda fake, real: objectives.generator_loss(fake)),
}
# penalty(critic, real, fake, rng): R1 on reals, R1 and R2 on both, or WGAN-GP's between them
PENALTIES: dict[str, Callable[..., Tensor]] = {
    "r1": lambda critic, real, fake, rng: objectives.r1_penalty(critic, real) / 2,
    "r1+r2": lambda critic, real, fake, rng: (
        (objectives.r1_penalty(critic, real) + objectives.r1_penalty(critic, fake)) / 2
    ),
    "gp": objectives.gradient_penalty,
}


def read_spec(source: str) -> dict[str, Any]:
    """The settings of a source, by its name in sources/ or by the path of a YAML file, with the defaults filled in.

    Raises UserError for a name or file that is not there, and for settings that are missing, unknown or senseless.
    """
    path = Path(source) if source.endswith((".yml", ".yaml")) else SOURCES / f"{source}.yml"
    try:
        spec = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        known = ", ".join(sorted(file.stem for file in SOURCES.glob("*.yml")))
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}): give a YAML file, or one of {known}"
        ) from error
    spec = spec if isinstance(spec, dict) else {}
    if missing := NEEDED - spec.keys():
        raise UserError(f"{path} does not say {', '.join(sorted(missing))}: see the sources beside train_source.py")
    if unknown := spec.keys() - NEEDED - DEFAULTS.keys():
        raise UserError(f"{path} says {', '.join(sorted(map(str, unknown)))}, which no source has")
    spec = {"name": path.stem, **DEFAULTS, **spec}
    sides = [stage["side"] for stage in spec["stages"]]
    full = 4 << (len(spec["channels"]) - 1)
    if sides != [full >> i for i in reversed(range(len(sides)))] or sides[0] < 4:
        raise UserError(f"{path}: the stages must double the side up to {full}, as many channels need, got {sides}")
    if spec["loss"] not in LOSSES or spec["penalty"] not in PENALTIES or not set(spec["augment"]) <= set(KINDS):
        raise UserError(
            f"{path}: loss is one of {', '.join(LOSSES)}, penalty of {', '.join(PENALTIES)}, augment any of "
            f"{', '.join(KINDS)}"
        )
    return spec


def steps_of(spec: dict[str, Any]) -> int:
    """Steps of all stages."""
    return sum(stage["steps"] for stage in spec["stages"])


def lod_at(step: int, spec: dict[str, Any]) -> float:
    """progan's level of detail at a step: k while the side is a 2ᵏ-th of the full one, between two while one fades."""
    for i, stage in enumerate(spec["stages"]):
        below = len(spec["stages"]) - 1 - i
        if step < stage["steps"] or below == 0:
            fade = stage.get("fade", 0)
            return below + (1 - step / fade if step < fade else 0.0)
        step -= stage["steps"]
    raise AssertionError("a source has stages")


def networks(spec: dict[str, Any]) -> tuple[progan.Generator, progan.Critic]:
    """The untrained pair of a source."""
    return progan.Generator(spec["channels"], spec["latent_dim"]), progan.Critic(spec["channels"])


def fade_down(x: Tensor, lod: float) -> Tensor:
    """Reals (n, C, R, R) as sharp as the generator can draw at this level: faded towards half the resolution."""
    fade = lod % 1
    if not fade:
        return x
    side = 2 ** (int(lod) + 1)
    return (1 - fade) * x + fade * progan.upsample(F.avg_pool2d(x, side), side)


class Trainer:
    """A source's networks, optimisers and stream of random numbers; `step` does one step of both networks."""

    def __init__(self, spec: dict[str, Any], images: Tensor, device: str = "cpu"):
        """images: (n, 3, R, R) uint8."""
        self.spec, self.images, self.device = spec, images, torch.device(device)
        torch.manual_seed(spec["seed"])  # the initialisation; every later draw comes from `rng`
        self.rng = torch.Generator().manual_seed(spec["seed"])
        pair = networks(spec)
        self.generator, self.critic = (part.to(self.device, memory_format=torch.channels_last) for part in pair)
        self.optimizers = [
            torch.optim.Adam(part.parameters(), lr=spec["lr"], betas=BETAS, fused=True)
            for part in (self.generator, self.critic)
        ]
        self.average = ema.averaged(self.generator)
        self.done, self.history = 0, []

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        names = ("generator", "critic", "average", "generator_optimizer", "critic_optimizer")
        return dict(zip(names, (self.generator, self.critic, self.average, *self.optimizers), strict=True))

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        states = {name: part.state_dict() for name, part in self.parts().items()}
        return {**states, "rngs": [self.rng.get_state()], "step": self.done, "history": self.history}

    def restore(self, state: dict[str, Any]) -> None:
        for name, part in self.parts().items():
            part.load_state_dict(state[name])
        self.rng.set_state(state["rngs"][0])
        self.done, self.history = state["step"], state["history"]

    def start_from(self, state: dict[str, Any]) -> None:
        """The networks of another source's checkpoint; optimisers, average's warm-up and counters are new."""
        self.generator.load_state_dict(state["generator"])
        self.critic.load_state_dict(state["critic"])
        self.average.module.load_state_dict(state["generator"])

    def set_lod(self, lod: float) -> None:
        for part in (self.generator, self.critic, self.average.module):
            part.lod = lod

    def reals(self) -> Tensor:
        """A batch of training images (n, 3, R, R) in [−1, 1], each mirrored with chance one half where `flip` says."""
        pick = torch.randint(0, len(self.images), (self.spec["batch"],), generator=self.rng)
        x = to_signed(self.images[pick])
        if self.spec["flip"]:
            mirrored = torch.rand(len(x), 1, 1, 1, generator=self.rng) < 0.5
            x = torch.where(mirrored, x.flip(3), x)
        return fade_down(x.to(self.device), self.generator.lod)

    def fakes(self) -> Tensor:
        z = torch.randn(self.spec["batch"], self.spec["latent_dim"], generator=self.rng)
        return self.generator(z.to(self.device)).float()

    def scores(self, *images: Tensor) -> list[Tensor]:
        return [scores.float() for scores in self.critic(torch.cat(images)).chunk(len(images))]

    def step(self) -> tuple[float, float]:
        """One step of the critic and one of the generator; their losses, the penalty not counted.

        Raises Diverged where the networks have left the finite numbers.
        """
        spec = self.spec
        critic_loss, generator_loss = LOSSES[spec["loss"]]
        self.set_lod(lod_at(self.done, spec))
        rate = spec["lr"] * min(1.0, (1 - self.done / steps_of(spec)) / (1 - spec["decay_from"]))
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = rate

        def seen(x: Tensor) -> Tensor:
            return augmented(x, spec["augment"], self.rng)

        with torch.autocast(self.device.type, torch.bfloat16, enabled=spec["bf16"]):
            with torch.no_grad():
                fake = seen(self.fakes())
            real = seen(self.reals())
            of_critic = critic_loss(*self.scores(fake, real))
            loss = of_critic
            if self.done % spec["penalty_every"] == 0:  # lazy: seldom, and as much heavier
                penalty = PENALTIES[spec["penalty"]](self.critic, real, fake, self.rng)
                # ‖∇‖² in the resolution that the critic works at, whose pixels are means of 4ᵏ
                pixels = 1 if spec["penalty"] == "gp" else 4 ** int(self.critic.lod)
                loss = loss + spec["gamma"] * spec["penalty_every"] * pixels * penalty
            self._descend(1, loss)
            fake = seen(self.fakes())
            if spec["loss"] == "relativistic":
                of_generator = generator_loss(*self.scores(fake, seen(self.reals())))
            else:
                of_generator = generator_loss(*self.scores(fake), None)
            self._descend(0, of_generator)
        self.average.update_parameters(self.generator)
        losses = of_critic.item(), of_generator.item()
        if not all(map(math.isfinite, losses)):
            raise Diverged(f"the losses of {spec['name']} are no longer finite: lower lr, or raise gamma")
        self.done += 1
        return losses

    def _descend(self, which: int, loss: Tensor) -> None:
        self.optimizers[which].zero_grad()
        loss.backward()
        self.optimizers[which].step()

    @torch.no_grad()
    def samples(self, n: int = SHOWN) -> Tensor:
        """Images (n, 3, R, R) of the averaged generator, at the same latents whenever it is asked."""
        z = torch.randn(n, self.spec["latent_dim"], generator=torch.Generator().manual_seed(self.spec["seed"]))
        return self.average.module(z.to(self.device)).float().cpu()


def train(spec: dict[str, Any], args: argparse.Namespace) -> Path:
    """Trains one source into the run folder args.out/NAME, going on where that was stopped, and returns its path."""
    out: Path = args.out
    root = os.environ.get("MINEGAN_DATA")
    if not root:
        raise UserError(f"MINEGAN_DATA names no folder: set it to the one that holds {spec['pictures']['zip']}")
    side = spec["stages"][-1]["side"]
    pictures = load_pictures(spec["pictures"], side, Path(root), out / "pictures")
    first = None
    if spec["start"] is not None:
        first = finished(out / spec["start"])
    folder_path = out / spec["name"]
    with locked(folder_path):
        trainer = Trainer(spec, pictures.train, args.device)
        if first is not None:
            trainer.start_from(first)
        begun = weights_fingerprint(trainer.generator, trainer.critic)
        folder = RunFolder(folder_path, {**spec, **pictures.facts, "begun_with": begun})
        folder.resume(trainer.restore)
        clock = Clock(folder_path)
        (folder_path / "samples").mkdir(exist_ok=True)
        steps = steps_of(spec)
        last = min(steps, args.until or steps)
        progress = bar(initial=trainer.done, total=steps, desc=spec["name"], unit="step", mininterval=5)
        with progress:
            while trainer.done < last:
                of_critic, of_generator = trainer.step()
                progress.update()
                if trainer.done % 50 == 0:
                    trainer.history.append({"step": trainer.done, "critic": of_critic, "generator": of_generator})
                    progress.set_postfix(critic=f"{of_critic:.2f}", generator=f"{of_generator:.2f}", refresh=False)
                if trainer.done % args.sheet_every == 0 or trainer.done == last:
                    sheet(folder_path, trainer.done, trainer.samples())
                if trainer.done % args.save_every == 0 or trainer.done == last:
                    folder.save(trainer.state())
                    clock.save(trainer.done)
    return folder_path


def finished(path: Path) -> dict[str, Any]:
    """The last checkpoint of a run that has done all its steps. Raises UserError for one that has not."""
    if not path.exists():
        raise UserError(f"{path} does not exist: train {path.name} first")
    settings, state = read_settings(path), read_state(path)
    if state["step"] < steps_of(settings):
        raise UserError(f"{path} is at step {state['step']} of {steps_of(settings)}: train it to the end first")
    return state


class Clock:
    """CPU seconds of a run over all its calls, in time.json beside the checkpoint, which has to be the same each time."""

    def __init__(self, path: Path):
        self.file, self.last = path / "time.json", time.process_time()
        self.before = json.loads(self.file.read_text("utf-8"))["cpu_seconds"] if self.file.exists() else 0.0

    def save(self, step: int) -> None:
        seconds = self.before + time.process_time() - self.last
        facts = {"step": step, "cpu_seconds": round(seconds, 1), "threads": torch.get_num_threads()}
        write_atomically(self.file, (json.dumps(facts) + "\n").encode())


def sheet(path: Path, step: int, images: Tensor, scale: int = 2, rows: int = 16) -> None:
    """Writes samples/step-….png, and sheet.png anew: the first rows of up to `rows` of them, evenly chosen."""
    from PIL import Image

    save_grid(images, path / "samples" / f"step-{step:06d}.png", COLUMNS, scale)
    files = sorted((path / "samples").glob("step-*.png"))
    chosen = [files[round(i * (len(files) - 1) / max(1, min(rows, len(files)) - 1))] for i in range(min(rows, len(files)))]
    height = (images.shape[2] + 1) * scale
    strips = []
    for file in chosen:
        with Image.open(file) as opened:
            strips.append(opened.crop((0, 0, opened.width, height)))
    joined = Image.new("RGB", (strips[0].width, height * len(strips)))
    for i, strip in enumerate(strips):
        joined.paste(strip, (0, i * height))
    content = io.BytesIO()
    joined.save(content, format="PNG")
    write_atomically(path / "sheet.png", content.getvalue())


def listing() -> str:
    """The sources in sources/, one line each."""
    lines = [("name", "steps", "what")]
    for file in sorted(SOURCES.glob("*.yml")):
        spec = read_spec(file.stem)
        lines.append((spec["name"], str(steps_of(spec)), spec["what"]))
    return columns(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="names of --list, or paths of YAML files")
    parser.add_argument("--list", action="store_true", help="the sources beside this script")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/sources"), help="folder of the run folders (default %(default)s)"
    )
    parser.add_argument("--until", type=int, metavar="STEP", help="stop there; the same command without it goes on")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda", "mps"])
    parser.add_argument("--save-every", type=int, default=250, help="steps between checkpoints (default %(default)s)")
    parser.add_argument("--sheet-every", type=int, default=250, help="steps between grids (default %(default)s)")
    args = parser.parse_args(arguments)
    if args.list or not args.sources:
        print(listing())
        return 0

    def work() -> None:
        specs = [read_spec(source) for source in args.sources]  # refuse a bad one before the first hour, not after it
        for spec in specs:
            print(train(spec, args))

    return status("train_source.py", work)


if __name__ == "__main__":
    sys.exit(main())
