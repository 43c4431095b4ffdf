"""The command line's part for public checkpoints: `inspect`, and what `sample --checkpoint` adds to `sample`."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from minegan_lite import terminal
from minegan_lite.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

INSPECT = """
Reads a public checkpoint of a GAN in full, as `sample --checkpoint` does, and says what it holds. Nothing that a file
asks to be run is run: a pickle that holds more than tensors is refused. The layout is told from the tensors' names.

layouts:
  {layouts}

Where their files are, and what was verified of each layout: the page *Public checkpoints* of the book.
"""


def description() -> str:
    """What `inspect --help` says; made when it is asked for, since the layouts' modules import torch."""
    from minegan_lite.checkpoints.about import ABOUT

    rows = (f"{name:<22}{about.family:<17}{about.origin}" for name, about in ABOUT.items())
    return INSPECT.format(layouts="\n  ".join(rows))


def add_inspect(commands) -> None:
    """Adds the command `inspect` to a parser's commands."""
    inspect = commands.add_parser(
        "inspect",
        help="what a public checkpoint holds",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    inspect.add_argument("file", type=Path, metavar="FILE", help=".pth, .pt, .bin, .npz or .safetensors")
    inspect.add_argument("--critic", type=Path, metavar="FILE", help="the critic's file, where it lies in another")
    inspect.add_argument("--layout", metavar="NAME", help="of the file, by default told from its keys")
    inspect.add_argument("--json", action="store_true", help="the same as JSON on stdout")
    inspect.set_defaults(call=do_inspect)


def add_checkpoint_options(sample: argparse.ArgumentParser) -> None:
    """Adds to `sample` what only checkpoints know."""
    options = sample.add_argument_group("of a checkpoint")
    options.add_argument("--layout", metavar="NAME", help="by default told from its keys")
    options.add_argument("--classes", nargs="+", type=int, metavar="I", help="as many images of each (default: drawn)")
    options.add_argument("--truncation", type=float, metavar="T", help="above 0, at most 1, which is none (default 1)")


def do_inspect(args: argparse.Namespace) -> None:
    """Prints what a checkpoint holds."""
    from minegan_lite import checkpoints

    told = checkpoints.describe(args.file, args.layout, critic=args.critic)
    print(json.dumps(told, indent=1) if args.json else checkpoints.format_description(told))


def images(args: argparse.Namespace) -> "Tensor":
    """What `sample --checkpoint` shows, (n, C, H, W)."""
    from minegan_lite import checkpoints

    gan = checkpoints.load(args.checkpoint, args.layout, averaged=not args.raw)
    n, truncation = 16 if args.n is None else args.n, 1.0 if args.truncation is None else args.truncation
    terminal.need_memory(n, "images", gan.generator.image_shape)
    return checkpoints.sample(gan, n, seed=args.seed, classes=args.classes, truncation=truncation)


def refuse_checkpoint_options(args: argparse.Namespace) -> None:
    """Raises UserError where `sample RUN` was given what only a checkpoint has."""
    for name in ("layout", "classes", "truncation"):
        if getattr(args, name) is not None:
            raise UserError(f"--{name} is of a checkpoint: give --checkpoint FILE in the place of {args.run}")
