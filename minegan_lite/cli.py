"""The command line: mine, finetune, sample, evaluate, inspect, zoo, run, doctor."""

import argparse
import json
import sys
from pathlib import Path

from minegan_lite import __version__, cli_checkpoints
from minegan_lite.errors import Diverged, UserError
from minegan_lite.settings import PRESETS

EXAMPLES = """
examples:
  minegan-lite zoo                                   what can be mined
  minegan-lite mine --source mnist-no-9 --target mnist:9 --images 1000 --steps 600 --seed 0 --out runs/nine
  minegan-lite mine --source mnist-only-06 mnist-only-17 --target mnist:0=0.3,7=0.7 --out runs/two
  minegan-lite sample runs/nine --n 64               a picture of 64 samples
  minegan-lite evaluate runs/nine                    error, Fréchet distance, coverage, copying, with floors
  minegan-lite finetune runs/nine --steps 300        stage two: releases the generator
  minegan-lite inspect G_ema.pth --critic D.pth      what a public checkpoint holds, and under which licence
  minegan-lite sample --checkpoint G_ema.pth --classes 3 7 --out grid.png
  minegan-lite run off_manifold_digits --tier smoke  a chapter of the book, executed

An interrupted mine or finetune goes on where it stopped when the same command is given again.
"""
MINE = """
Stage one of MineGAN: trains a small miner in front of a frozen generator until G(M(u)) resembles the target. Of
several sources, or a conditional one, each gets its miner, and a selector learns how often each is sampled.

targets:
  mnist:9            digit 9 of MNIST, which is part of the package
  mnist:0=0.3,7=0.7  several digits by their shares
  uci-digits:9       digit 9 of scikit-learn's digits, written by other hands
  path/to/folder     a folder of images of the shape the generator draws (--resize converts others)

The run folder holds run.json (what was asked for) and state.pt (the last checkpoint). The same command resumes it.
"""
SAMPLE = """
A picture of samples: of a run of mine or finetune, or of a public checkpoint (see minegan-lite inspect --help).

  minegan-lite sample runs/nine --n 100 --columns 10
  minegan-lite sample --checkpoint biggan-deep-256-pytorch_model.bin --classes 207 --truncation 0.4 --out dogs.png
"""


class Parser(argparse.ArgumentParser):
    """argparse, with errors in one line instead of a usage block."""

    def error(self, message: str) -> None:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def build_parser() -> Parser:
    keep = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="minegan-lite", description="Mine pretrained GANs.", epilog=EXAMPLES, formatter_class=keep)
    parser.add_argument("--version", action="version", version=f"minegan-lite {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    mine = commands.add_parser("mine", help="stage one: train a miner", description=MINE, formatter_class=keep)
    mine.add_argument(
        "--source", required=True, nargs="+", metavar="NAME", help="GANs of the zoo (minegan-lite zoo lists them)"
    )
    mine.add_argument("--target", required=True, help="mnist:DIGIT, uci-digits:DIGIT, or a folder of images")
    mine.add_argument("--images", type=int, metavar="N", help="target images (default 1000 digits, 4/5 of a folder)")
    mine.add_argument(
        "--resize", action="store_true", help="convert a folder's images to the generator's size and mode"
    )
    mine.add_argument("--preset", default="default", help=f"one of {', '.join(PRESETS)}")
    training_options(mine, steps=600)
    mine.add_argument("--out", required=True, type=Path, metavar="RUN", help="run folder, new or to be resumed")
    mine.set_defaults(call=do_mine)

    finetune = commands.add_parser("finetune", help="stage two: release the generator of a mined run")
    finetune.add_argument("run", type=Path, metavar="RUN", help="a finished run folder of mine")
    training_options(finetune, steps=300)
    finetune.add_argument("--out", type=Path, metavar="RUN", help="run folder (default RUN-finetuned)")
    finetune.set_defaults(call=do_finetune)

    sample = commands.add_parser("sample", help="a picture of samples", description=SAMPLE, formatter_class=keep)
    which = sample.add_mutually_exclusive_group(required=True)
    which.add_argument("run", nargs="?", type=Path, metavar="RUN", help="a run folder of mine or finetune")
    which.add_argument("--checkpoint", type=Path, metavar="FILE", help="a public checkpoint instead")
    sampling_options(sample, None, "64, of a checkpoint 16")
    sample.add_argument("--columns", type=positive, default=8, help="images in a row (default %(default)s)")
    sample.add_argument("--out", type=Path, metavar="PNG", help="the picture (default RUN/samples.png, FILE.png)")
    cli_checkpoints.add_checkpoint_options(sample)
    sample.set_defaults(call=do_sample)

    evaluate = commands.add_parser("evaluate", help="how good the samples of a run are, beside the real-vs-real floor")
    evaluate.add_argument("run", type=Path, metavar="RUN", help="a run folder of mine or finetune")
    sampling_options(evaluate, 10_000, "%(default)s")
    evaluate.add_argument("--json", action="store_true", help="the numbers as JSON on stdout")
    evaluate.set_defaults(call=do_evaluate)

    cli_checkpoints.add_inspect(commands)

    zoo = commands.add_parser("zoo", help="the shipped GANs: list or verify them")
    zoo.add_argument("action", nargs="?", default="list", choices=["list", "verify"])
    zoo.set_defaults(call=do_zoo)

    run = commands.add_parser("run", help="execute a chapter of the book at a tier")
    which = run.add_mutually_exclusive_group(required=True)
    which.add_argument("chapter", nargs="?", metavar="CHAPTER", help="for example off_manifold_digits")
    which.add_argument("--all", action="store_true", help="every chapter, also after one that fails")
    run.add_argument("--tier", default="reader", help="smoke (seconds), reader (minutes) or full (GPU); default reader")
    run.add_argument("--out", type=Path, metavar="FOLDER", help="where the executed notebook and its records go")
    run.set_defaults(call=do_run)

    doctor = commands.add_parser("doctor", help="versions, device, data and weights found")
    doctor.set_defaults(call=do_doctor)
    return parser


def training_options(parser: Parser, steps: int) -> None:
    parser.add_argument("--steps", type=int, default=steps, help="training steps (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the images and of the training (default %(default)s)")
    parser.add_argument("--save-every", type=int, default=100, help="steps between checkpoints (default %(default)s)")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"], help="default auto")


def sampling_options(parser: Parser, n: int | None, told: str) -> None:
    parser.add_argument("--n", type=int, default=n, help=f"how many samples (default {told})")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default %(default)s)")
    parser.add_argument("--raw", action="store_true", help="raw weights instead of their moving average")


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def do_mine(args: argparse.Namespace) -> None:
    from minegan_lite import training, zoo

    options = {"steps": args.steps, "seed": args.seed, "save_every": args.save_every}
    training.resolve(args.preset, options)  # refuse before any data is loaded
    gan = zoo.load(args.source[0]) if len(args.source) == 1 else zoo.load_all(args.source)
    shape = tuple((gan if len(args.source) == 1 else gan[0]).generator.image_shape)
    target = read_target(args.target, args.images, args.seed, shape, args.resize)
    mined = training.mine(gan, target, preset=args.preset, device=args.device, out=args.out, **options)
    summarise(mined, args.out)


def do_finetune(args: argparse.Namespace) -> None:
    from minegan_lite import training

    mined, target = read_run(args.run)
    out = args.out or args.run.with_name(args.run.name + "-finetuned")
    options = {"steps": args.steps, "seed": args.seed, "save_every": args.save_every}
    tuned = training.finetune(mined, target, device=args.device, out=out, **options)
    summarise(tuned, out)


def do_sample(args: argparse.Namespace) -> None:
    from minegan_lite import plots, training

    if args.checkpoint is not None:
        images, path = cli_checkpoints.images(args), Path(f"{args.checkpoint}.png")
    else:
        cli_checkpoints.refuse_checkpoint_options(args)
        n, path = 64 if args.n is None else args.n, args.run / "samples.png"
        images = training.load(args.run).sample(n, seed=args.seed, ema=False if args.raw else None)
    scale = 2 if images.shape[-1] < 64 else 1
    print(plots.save_grid(images, args.out or path, args.columns, scale))


def do_evaluate(args: argparse.Namespace) -> None:
    from minegan_lite import metrics

    mined, target = read_run(args.run)
    numbers = metrics.evaluate(mined, target, n=args.n, seed=args.seed, ema=False if args.raw else None)
    print(json.dumps(numbers, indent=1, ensure_ascii=False) if args.json else metrics.format_report(numbers))


def do_zoo(args: argparse.Namespace) -> None:
    from minegan_lite import zoo

    if args.action == "list":
        for name, entry in zoo.entries().items():
            drawn = "".join(map(str, entry["digits"]))
            print(
                f"{name:<18} {entry['kind']:<11} digits {drawn:<11} {entry['bytes'] / 1e6:5.2f} MB  {entry['licence']}"
            )
        return
    report = zoo.verify()
    for name, ok, message in report:
        print(f"{'ok ' if ok else 'BAD'} {name}: {message}")
    if not all(ok for _, ok, _ in report):
        raise UserError("some weights are damaged: reinstall minegan-lite")


def do_run(args: argparse.Namespace) -> None:
    from minegan_lite import chapters

    failed = []
    for name in chapters.chapters() if args.all else [args.chapter]:
        try:
            print(chapters.run(name, args.tier, args.out, progress=True), flush=True)
        except RuntimeError as error:  # a cell failed: the message names it and the notebook that shows the traceback
            failed.append(str(error))
    if failed:
        sys.exit(f"minegan-lite: {'; '.join(failed)}")


def do_doctor(args: argparse.Namespace) -> None:
    from minegan_lite import doctor

    for key, value in doctor.report().items():
        print(f"{key:<14} {value}")


def read_target(text: str, images: int | None, seed: int, shape: tuple, resize: bool):
    """The few-shot target that --target, --images and --seed ask for. Raises UserError."""
    from minegan_lite.data import few_shot

    source, colon, digit = text.partition(":")
    if colon and source in ("mnist", "uci-digits"):
        common = {"n": images, "seed": seed, "image_shape": shape}
        if "=" in digit:
            try:
                mix = [(int(one), float(share)) for one, share in (part.split("=") for part in digit.split(","))]
            except ValueError:
                raise UserError(f"--target {text}: write shares as in {source}:0=0.3,7=0.7") from None
            return few_shot(source, mix=mix, **common)
        if not digit.isdecimal():
            raise UserError(f"--target {text}: write a digit after the colon, as in {source}:9")
        return few_shot(source, digit=int(digit), **common)
    if not Path(text).is_dir():
        raise UserError(f"unknown target {text!r}: mnist:DIGIT, uci-digits:DIGIT, or a folder of images")
    return few_shot(Path(text), n=images, seed=seed, image_shape=shape, resize=resize)


def read_run(run: Path):
    """A run's MinedGAN and the target it was trained on, found again. Raises UserError when that has changed."""
    from minegan_lite import runs, training
    from minegan_lite.data import few_shot

    mined = training.load(run)
    request = mined.settings["target_request"]
    if request is None:
        raise UserError(f"{run} was trained on images given in Python: evaluate it there")
    shape = {} if "image_shape" not in request else {"image_shape": tuple(request["image_shape"])}
    target = few_shot(**{**request, **shape})
    if runs.fingerprint(target.train) != mined.settings["target_sha256"]:
        raise UserError(
            f"{run} was trained on other images than {target.name} now gives ({target.origin}): restore its data"
        )
    return mined, target


def summarise(mined, out: Path) -> None:
    last = mined.history[-1]
    error = "" if last["metric"] is None else f", classifier error {last['metric']:.1%} of 500 samples"
    print(f"{out}: {mined.settings['stage']} {mined.settings['target']}, {last['step']} steps{error}")
    if probabilities := last.get("probabilities"):
        named = zip(mined.probabilities, probabilities, strict=True)
        print("selector: " + ", ".join(f"{name} {p:.3f}" for name, p in named))
    print(f"next: minegan-lite evaluate {out} · minegan-lite sample {out}")


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 2 for wrong use or input; 1 when training diverged; 130 after Ctrl-C."""
    args = build_parser().parse_args(argv)
    try:
        args.call(args)
    except UserError as error:
        print(f"minegan-lite: error: {error}", file=sys.stderr)
        return 2
    except Diverged as error:
        print(f"minegan-lite: diverged: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nminegan-lite: interrupted: the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
