"""The command line's part for runs: reads targets and runs, and refuses outputs that would overwrite their inputs."""

import argparse
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minegan_lite.cli_options import add_generator, path
from minegan_lite.errors import UserError

SAVE = """
Writes the miner of a finished run alone, with its record, into one file to keep or to pass on: some hundred kilobytes,
since the source is named in it and not held (after finetune the generator is held, too, since it has changed).
sample and evaluate take the file in the run's place.

  minegan-lite save runs/nine --out nine.safetensors
  minegan-lite sample nine.safetensors --n 64
  minegan-lite evaluate nine.safetensors

The numbers are rounded to float16, which moves a latent by less than a thousandth; --float32 keeps every bit.
"""


def add_save(commands) -> None:
    """Adds the command `save` to a parser's commands."""
    save = commands.add_parser(
        "save",
        help="the miner of a run alone, in one small file",
        description=SAVE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    save.add_argument("run", type=path, metavar="RUN", help="a finished run folder of mine or finetune")
    save.add_argument("--out", required=True, type=path, metavar="FILE", help="the file, such as miner.safetensors")
    save.add_argument("--float32", action="store_true", help="keep every bit instead of rounding to float16")
    add_generator(save)
    save.set_defaults(call=do_save)


def do_save(args: argparse.Namespace) -> None:
    """Saves the miner of a run, and prints where."""
    import torch

    refuse_unfinished(args.run)
    mined = read_mined(args.run, args.generator)
    refuse_inputs(args.out, files_of(args.run, mined.record))
    print(mined.save(args.out, torch.float32 if args.float32 else torch.float16))


def read_sources(args: argparse.Namespace) -> list:
    """The GANs that --source, or --generator, asks for. Raises UserError."""
    from minegan_lite import sources

    if args.generator is None:
        return sources.named(args.source, args.critic, args.layout)
    if args.critic or args.layout:
        raise UserError(f"--critic and --layout are of a file: {args.generator} gives its critic itself")
    return [sources.from_python(args.generator)]


def named_out(args: argparse.Namespace) -> Path:
    """The run folder of mine where --out names none: runs/SOURCE-TARGET, after what both are called."""
    from minegan_lite.sources import is_file

    words = [args.generator] if args.source is None else args.source
    names = [Path(word).stem if is_file(word) else word for word in words]
    target = Path(args.target).resolve().name if Path(args.target).is_dir() else args.target
    return Path("runs") / re.sub(r"[^\w.=-]+", "-", "-".join([*names, target])).strip("-.")


def read_mined(run: Path, generator: str | None):
    """The Mined of a run folder or a saved miner, with the source that --generator names. Raises UserError."""
    from minegan_lite import sources
    from minegan_lite.mined import load

    return load(run, None if generator is None else sources.from_python(generator))


def averages(args: argparse.Namespace) -> bool | None:
    """What --raw says to Mined.sample's `ema`. Raises UserError for --raw of a saved miner, which has no other."""
    if args.raw and args.run.is_file():
        raise UserError(f"{args.run} is a saved miner, which has one set of weights: leave out --raw")
    return False if args.raw else None


def read_target(text: str, images: int | None, seed: int, shape: tuple, resize: bool):
    """The few-shot target that --target, --images and --seed ask for. Raises UserError."""
    from minegan_lite.data import few_shot
    from minegan_lite.data.drawn import KINDS, PREFIX, is_drawn
    from minegan_lite.data.packs import PACKS

    drawn = ", ".join(f"{PREFIX}:{kind}" for kind in KINDS)
    source, colon, digit = text.partition(":")
    if colon and source in ("mnist", "uci-digits"):
        common: dict[str, Any] = {"n": images, "seed": seed, "image_shape": shape}
        if "=" in digit:
            try:
                mix = [(int(one), float(share)) for one, share in (part.split("=") for part in digit.split(","))]
            except ValueError:
                raise UserError(f"--target {text}: write shares as in {source}:0=0.3,7=0.7") from None
            return few_shot(source, mix=mix, **common)
        if not (digit.isdecimal() and len(digit) < 9):
            raise UserError(f"--target {text}: write a digit after the colon, as in {source}:9")
        return few_shot(source, digit=int(digit), **common)
    if text in PACKS or is_drawn(text):
        return few_shot(text, n=images, seed=seed, image_shape=shape, resize=resize)
    if not text or not Path(text).is_dir():
        raise UserError(
            f"unknown target {text!r}: mnist:DIGIT, uci-digits:DIGIT, {', '.join(PACKS)}, {drawn} or a folder of images"
        )
    return few_shot(Path(text), n=images, seed=seed, image_shape=shape, resize=resize)


def refuse_unfinished(run: Path) -> None:
    """Raises UserError, with the step that was reached, for a run that has not finished."""
    from minegan_lite import files

    with files.reading(run):
        steps, step = int(files.read_settings(run)["steps"]), files.read_state(run)["step"]
    if step < steps:
        raise UserError(f"{run} is at step {step} of {steps}: finish it first, its command goes on from there")


def read_run(run: Path, generator: str | None):
    """A run's Mined, and its target, made again. Raises UserError if the target's images have changed."""
    from minegan_lite import files
    from minegan_lite.data import few_shot

    mined = read_mined(run, generator)
    request = mined.record["target_request"]
    if request is None:
        raise UserError(f"{run} was trained on images given in Python: evaluate it there")
    with files.reading(run):
        shape = {} if "image_shape" not in request else {"image_shape": tuple(request["image_shape"])}
        target = few_shot(**{**request, **shape})
    if files.fingerprint(target.train) != mined.record["target_sha256"]:
        raise UserError(
            f"{run} was trained on other images than {target.name} now gives ({target.origin}): restore its data"
        )
    return mined, target


def watch_of(args: argparse.Namespace, before, called: str):
    """What draws RUN/progress.png as Thumbnails takes before and called, or None for --no-thumbnails."""
    from minegan_lite.thumbnails import Thumbnails

    return None if args.no_thumbnails else Thumbnails(args.out, before, called)


def summarise(mined, out: Path) -> None:
    """Prints how far a run has come, its error and its selector, and what to do next."""
    last = mined.history[-1]
    error = "" if last["metric"] is None else f", classifier error {last['metric']:.1%} of 500 samples"
    print(f"{out}: {mined.record['stage']} {mined.record['target']}, {last['step']} steps{error}")
    if probabilities := last.get("probabilities"):
        named = zip(mined.probabilities, probabilities, strict=True)
        print("selector: " + ", ".join(f"{name} {p:.3f}" for name, p in named))
    print(f"next: minegan-lite evaluate {out} · minegan-lite sample {out} · minegan-lite save {out} --out FILE")


def files_of(run: Path, record: dict) -> list[Path]:
    """The files that a run folder, or a saved miner, is read from: its own, its sources' and its target's."""
    from minegan_lite import files

    with files.reading(run):
        requests = [request or {} for request in record.get("source_requests") or []]
        paths = [request.get(key) for request in requests for key in ("file", "critic")]
        target = (record["target_request"] or {}).get("source")
        own = [run] if run.is_file() else [run / files.SETTINGS, run / files.STATE]
        return [*own, *(Path(file) for file in (*paths, target) if file)]


def refuse_inputs(out: Path, inputs: Iterable[Path]) -> None:
    """Raises UserError if `out` is one of the inputs, also through a link, or lies in a folder that is an input."""
    for file in inputs:
        if (out.exists() and file.exists() and out.samefile(file)) or (
            file.is_dir() and out.resolve().is_relative_to(file.resolve())
        ):
            raise UserError(f"--out {out} would overwrite what it is made from, {file}: choose another path")
