"""Trains a source of natural images, a small Progressive GAN, as a YAML file describes it.

A source is a GAN that is to be mined. Its YAML names the pictures, the networks and the stages: training begins at
8×8 pixels and fades in one resolution after another, so that most of the learning happens where a step is cheap. A
source may start from another one's networks (`start:`), so that men-32 and women-32 share what faces have in common.

    export MINEGAN_DATA=…                                    # the folder with the zips that the YAML files name
    python data_scripts/train_source.py --list               # the sources that there are
    python data_scripts/train_source.py faces-32             # about forty minutes on one core that has bfloat16
    python data_scripts/train_source.py men-32               # goes on from faces-32
    python data_scripts/train_source.py my-own.yml --until 4000    # stop at step 4000; without it, go on from there
    python data_scripts/train_source.py men-32 --export      # the finished weights into the zoo, with card

Interrupt it and run the same command again: it goes on at its last checkpoint, bit for bit. In the run folder,
samples/step-….png shows the same latents at every moment, and sheet.png their first row from the first step to the
last: look at it as it grows, and stop what does not learn.
"""

import argparse
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from augment import KINDS
from ship_source import ship_source
from source_pictures import Pictures, load_pictures
from source_trainer import LOSSES, PENALTIES, Trainer, steps_of
from terminal import columns, status
from torch import Tensor

from minegan_lite import zoo
from minegan_lite.chapters.plots import save_grid
from minegan_lite.errors import UserError
from minegan_lite.files import read_settings, read_state, weights_fingerprint, write_atomically
from minegan_lite.locks import locked
from minegan_lite.progress import bar
from minegan_lite.runs import RunFolder

SOURCES = Path(__file__).parent / "sources"
COLUMNS, SHOWN = 16, 64  # of a sample grid
LOG_EVERY = 50  # steps between two entries of the history
NEEDED = {"what", "pictures", "channels", "stages"}
DEFAULTS = {
    "start": None, "latent_dim": 128, "loss": "logistic", "penalty": "r1", "gamma": 1.0, "penalty_every": 8,
    "augment": [], "flip": True, "batch": 32, "lr": 2e-3, "decay_from": 0.75, "seed": 0, "bf16": True,
}  # fmt: skip


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


def train(spec: dict[str, Any], args: argparse.Namespace) -> Path:
    """Trains one source into the run folder args.out/NAME, going on where that was stopped, and returns its path."""
    pictures = pictures_of(spec, args)
    first = None if spec["start"] is None else finished(args.out / spec["start"])
    folder_path = args.out / spec["name"]
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
                if trainer.done % LOG_EVERY == 0:
                    trainer.history.append({"step": trainer.done, "critic": of_critic, "generator": of_generator})
                    progress.set_postfix(critic=f"{of_critic:.2f}", generator=f"{of_generator:.2f}", refresh=False)
                if trainer.done % args.sheet_every == 0 or trainer.done == last:
                    sheet(folder_path, trainer.done, trainer.samples(SHOWN))
                if trainer.done % args.save_every == 0 or trainer.done == last:
                    folder.save(trainer.state())
                    clock.save(trainer.done)
    return folder_path


def export(name: str, args: argparse.Namespace) -> Path:
    """Measures a finished source and writes it, with its model card, into the folder args.export or into the zoo."""
    state, settings = finished(args.out / name), read_settings(args.out / name)
    time = json.loads((args.out / name / "time.json").read_text("utf-8"))
    beside = zoo.BESIDE if args.export == zoo.WEIGHTS else None
    return ship_source(settings, state, pictures_of(settings, args), time, args.export, beside)


def pictures_of(spec: dict[str, Any], args: argparse.Namespace) -> Pictures:
    """The pictures of a source, from the folder of MINEGAN_DATA. Raises UserError where they cannot be had."""
    root = os.environ.get("MINEGAN_DATA")
    if not root:
        raise UserError(f"MINEGAN_DATA names no folder: set it to the one that holds {spec['pictures']['zip']}")
    return load_pictures(spec["pictures"], spec["stages"][-1]["side"], Path(root), args.out / "pictures")


def finished(path: Path) -> dict[str, Any]:
    """The last checkpoint of a run that has done all its steps. Raises UserError for one that has not."""
    if not path.exists():
        raise UserError(f"{path} does not exist: train {path.name} first")
    settings, state = read_settings(path), read_state(path)
    if state["step"] < steps_of(settings):
        raise UserError(f"{path} is at step {state['step']} of {steps_of(settings)}: train it to the end first")
    return state


class Clock:
    """CPU seconds of a run over all its calls, in time.json: the checkpoint is to be the same each time."""

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
    count = min(rows, len(files))
    chosen = [files[i * (len(files) - 1) // max(1, count - 1)] for i in range(count)]
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
    parser.add_argument(
        "--export", nargs="?", type=Path, const=zoo.WEIGHTS, metavar="FOLDER",
        help="train nothing: measure the finished sources of --out and write them into the zoo (or FOLDER)",
    )  # fmt: skip
    args = parser.parse_args(arguments)
    if args.list or not args.sources:
        print(listing())
        return 0

    def work() -> None:
        specs = [read_spec(source) for source in args.sources]  # refuse a bad one before the first hour, not after it
        for spec in specs:
            print(export(spec["name"], args) if args.export else train(spec, args))

    return status("train_source.py", work)


if __name__ == "__main__":
    sys.exit(main())
