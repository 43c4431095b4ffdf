"""The command line's parser, the types of its arguments, and the options that several commands share."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from minegan_lite import terminal

SEEDS = 1 << 64  # as many as torch knows


class Parser(argparse.ArgumentParser):
    """argparse, with errors in one line instead of a usage block, and descriptions that may be functions."""

    def format_help(self) -> str:
        if callable(self.description):
            self.description = self.description()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        self.exit(terminal.WRONG, terminal.one_line(f"{self.prog}: error: {message} (see {self.prog} --help)") + "\n")


def training_options(parser: Parser, steps: int) -> None:
    parser.add_argument("--steps", type=whole(1), default=steps, help="training steps (default %(default)s)")
    parser.add_argument(
        "--seed", type=whole(0, SEEDS), default=0, help="draws the images and starts training (default %(default)s)"
    )
    parser.add_argument("--batch", type=whole(1), metavar="N", help="images in a minibatch (default the preset's)")
    for who in ("miner", "critic"):
        parser.add_argument(f"--{who}-lr", type=float, metavar="RATE", help="learning rate (default the preset's)")
    parser.add_argument(
        "--precision",
        default="auto",
        choices=["auto", "32", "bf16"],
        help="of the networks' numbers; auto: bf16 where the device has it natively, else 32 (default auto)",
    )
    parser.add_argument(
        "--save-every", type=whole(1), default=100, help="steps between checkpoints (default %(default)s)"
    )
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"], help="default auto")
    parser.add_argument("--no-thumbnails", action="store_true", help="draw no RUN/progress.png while the run goes on")


def sampling_options(parser: Parser, n: int | None, told: str) -> None:
    parser.add_argument("--n", type=whole(1), default=n, help=f"how many samples (default {told})")
    parser.add_argument("--seed", type=whole(0, SEEDS), default=0, help="of the samples (default %(default)s)")
    parser.add_argument("--raw", action="store_true", help="use the raw weights instead of their moving average")


def whole(least: int, below: int = 10**15) -> Callable[[str], int]:
    """A type for argparse: whole numbers from `least` to below `below`."""

    def number(text: str) -> int:
        if not (text.isdecimal() and len(text) < 30 and least <= int(text) < below):
            raise argparse.ArgumentTypeError(f"a whole number of at least {least} and below {below:.3g}, not {text!r}")
        return int(text)

    return number


def place(text: str) -> int | str:
    """A type for argparse: the place of a source, or "fresh"."""
    return text if text == "fresh" else whole(0)(text)


def path(text: str) -> Path:
    """A type for argparse: a path. An empty one, which would mean the current folder, is refused."""
    if not text:
        raise argparse.ArgumentTypeError("a path must not be empty: write . for the current folder")
    return Path(text)


def add_generator(command: argparse.ArgumentParser) -> None:
    """Adds --generator to a command that reads a run."""
    command.add_argument(
        "--generator",
        metavar="MODULE:FUNCTION",
        help="the run's source, where the run cannot name it: see mine --help; its code is run",
    )
