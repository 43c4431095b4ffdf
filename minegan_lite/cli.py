"""The command line: mine, finetune, sample, evaluate, save, inspect, zoo, run, doctor."""

import argparse
import json
import os
import sys
from pathlib import Path

from minegan_lite import __version__, cli_checkpoints, cli_runs, terminal
from minegan_lite.cli_options import Parser, add_generator, path, place, sampling_options, training_options, whole
from minegan_lite.errors import UserError

EXAMPLES = """
examples:
  minegan-lite zoo                                   what can be mined
  minegan-lite mine --source mnist-no-9 --target mnist:9 --images 1000 --steps 600 --seed 0 --out runs/nine
  minegan-lite mine --source mnist-only-06 mnist-only-17 --target mnist:0=0.3,7=0.7 --out runs/two
  minegan-lite mine --source celeba-dcgan-64 --target photos/              faces like those in a folder of photographs
  minegan-lite mine --source G_ema.pth --critic D.pth --target photos --out runs/photos
  minegan-lite mine --generator nets:gan --target photos --batch 16 --miner-lr 0.0005 --out runs/own
  minegan-lite sample runs/nine --n 64               a picture of 64 samples
  minegan-lite evaluate runs/nine                    error, Fréchet distance, coverage, copying, with floors
  minegan-lite finetune runs/nine --steps 300        stage two: releases the generator
  minegan-lite save runs/nine --out nine.safetensors the miner alone, a small file that sample and evaluate take, too
  minegan-lite inspect G_ema.pth --critic D.pth      what a public checkpoint holds, and under which licence
  minegan-lite sample --checkpoint G_ema.pth --classes 3 7 --out grid.png
  minegan-lite run off_manifold_digits --tier smoke  a chapter of the book, executed

An interrupted mine or finetune goes on where it stopped when the same command is given again; with more --steps it
goes on from its end.

exit status: 0 done; 1 a chapter failed; 2 wrong use or input; 3 the training diverged; 4 the machine (disk, memory,
permission); 130 Ctrl-C; 143 SIGTERM. Whatever the status, a folder holds its last good state.
"""
MINE = """
Stage one of MineGAN: trains a small miner in front of a frozen generator until G(M(u)) resembles the target. Of
several sources, or a conditional one, each gets its miner, and a selector learns how often each is sampled.

  minegan-lite mine --source celeba-dcgan-64 --target photos/

mines faces like those in the folder photos, from a generator of faces, into the folder runs/celeba-dcgan-64-photos.
While it runs, the bar says where it runs and how long it will take, and progress.png in that folder grows by a row
every 50 steps: the same 8 samples, from the source's own to the mined ones. Open it in a viewer that follows changes.

sources:
  celeba-dcgan-64    a generator of faces, 64×64; digiface-dcgan-64 and ffhq-mobilestylegan (1024×1024; -64, -128) too
  mnist-no-9         a GAN of the zoo (minegan-lite zoo lists them)
  mnist-cond-no-9:4  one class of a conditional one
  path/to/G_ema.pth  a public checkpoint (see minegan-lite inspect --help), with --critic where that is another file

or your own GAN, with --generator in the place of --source:
  nets:gan           gan() in nets.py of the current folder, or in an installed module. It takes no arguments and gives
                     a GAN, such as minegan_lite.GAN.wrap(generator, critic, latent_dim=100). Its code is run, now and
                     whenever the run is read again (sample, evaluate, finetune).

targets:
  mnist:9            digit 9 of MNIST, which is part of the package
  mnist:0=0.3,7=0.7  several digits by their shares
  uci-digits:9       digit 9 of scikit-learn's digits, written by other hands
  fluent-heads       drawn heads, part of the package; noto-faces: smileys
  ffhq-drawn:women   faces that the FFHQ generator draws, of adults, not for commercial use; also :men and :seniors
  path/to/folder     a folder of pictures, subfolders included, 4 at least; a fifth of them is held out to measure with.
                     Each is resized to cover the size that the generator draws and cropped at its centre: let faces
                     fill your pictures as they fill the source's. Transparent pixels become white. --no-resize refuses
                     pictures of another size or mode

The loss, the learning rates and the batch are those of a preset. The source's family chooses it, one line says which,
and --preset names another; --batch, --miner-lr, --critic-lr and the rest replace single values of any preset.

examples:
  minegan-lite mine --source mnist-no-9 --target mnist:9 --preset paper --out runs/paper
  minegan-lite mine --source mnist-only-06 mnist-only-17 --target mnist:0=0.3,7=0.7 --objective mean --out runs/mean
  minegan-lite mine --source celeba-dcgan-64 --target photos/ --images 100 --steps 250 --batch 32 --out runs/faces
  minegan-lite mine --source G_ema.pth --target photos --batch 16 --critic-lr 0.0001 --out runs/photos
  minegan-lite mine --generator nets:gan --target photos --critic-from fresh --precision 32 --out runs/own

The run folder holds run.json (what was asked for), state.pt (the last checkpoint) and progress.png (the samples at up
to 16 of the logged steps; none with --no-thumbnails, which changes nothing else). The same command resumes it.
"""
FINETUNE = """
Stage two of MineGAN: releases the generator of a finished run and trains it with miner and critic, into a new folder.

  minegan-lite finetune runs/nine --steps 300
  minegan-lite finetune runs/nine --generator-lr 0.0001 --batch 32 --out runs/nine-slowly
  minegan-lite evaluate runs/nine-finetuned

A source that came from a function is made by it again. The same command resumes an interrupted run. progress.png in the
new folder grows as in mine; its first row is the finished run's.
"""
SAMPLE = """
A picture of samples: of a run of mine or finetune, of a miner that save wrote, or of a public checkpoint (see
minegan-lite inspect --help).

  minegan-lite sample runs/nine --n 100 --columns 10
  minegan-lite sample nine.safetensors --seed 1
  minegan-lite sample --checkpoint biggan-deep-256-pytorch_model.bin --classes 207 --truncation 0.4 --out dogs.png
"""
EVALUATE = """
Measures samples of a run, or of a miner that save wrote, against the held-out images of its target: each number with n,
m and the floor that real images reach among themselves. The target is read again from where it was.

  minegan-lite evaluate runs/nine
  minegan-lite evaluate runs/nine --raw --seed 1 --json > numbers.json
  minegan-lite evaluate nine.safetensors --n 2000
"""


def build_parser() -> Parser:
    keep = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="minegan-lite", description="Mine pretrained GANs.", epilog=EXAMPLES, formatter_class=keep)
    parser.add_argument("--version", action="version", version=f"minegan-lite {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    mine = commands.add_parser("mine", help="stage one: train a miner", description=MINE, formatter_class=keep)
    which = mine.add_mutually_exclusive_group(required=True)
    which.add_argument("--source", nargs="+", metavar="SOURCE", help="names as above, or public checkpoints")
    which.add_argument("--generator", metavar="MODULE:FUNCTION", help="a function of yours that returns a GAN")
    mine.add_argument("--critic", type=path, metavar="FILE", help="the first checkpoint's critic, if in another file")
    mine.add_argument("--layout", metavar="NAME", help="the first checkpoint's layout (default: found from its keys)")
    mine.add_argument("--target", required=True, help="mnist:DIGIT, uci-digits:DIGIT, or a folder of images")
    mine.add_argument(
        "--images", type=whole(2), metavar="N", help="target images (default 1000 digits, 4/5 of a folder)"
    )
    mine.add_argument(
        "--resize",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="convert a folder's images to the generator's size and mode, as is the default, or refuse others",
    )
    mine.add_argument(
        "--preset",
        default=None,
        help="one from the book's page on the paper's settings, such as paper (default: chosen by the source's family)",
    )
    training_options(mine, steps=600)
    mine.add_argument("--objective", choices=["max", "mean"], help="of several sources (default max, Eq. 5 and 6)")
    mine.add_argument(
        "--critic-from",
        type=place,
        metavar="I",
        help="the source whose critic is the start, counted from 0, or fresh (default 0)",
    )
    mine.add_argument(
        "--out", type=path, metavar="RUN", help="run folder, new or to be resumed (default runs/SOURCE-TARGET)"
    )
    mine.set_defaults(call=do_mine)

    finetune = commands.add_parser(
        "finetune", help="stage two: release the generator", description=FINETUNE, formatter_class=keep
    )
    finetune.add_argument("run", type=path, metavar="RUN", help="a finished run folder of mine")
    training_options(finetune, steps=300)
    finetune.add_argument("--generator-lr", type=float, metavar="RATE", help="learning rate (default the preset's)")
    finetune.add_argument("--out", type=path, metavar="RUN", help="run folder (default RUN-finetuned)")
    add_generator(finetune)
    finetune.set_defaults(call=do_finetune)

    sample = commands.add_parser("sample", help="a picture of samples", description=SAMPLE, formatter_class=keep)
    which = sample.add_mutually_exclusive_group(required=True)
    which.add_argument("run", nargs="?", type=path, metavar="RUN", help="a run folder, or a file of save")
    which.add_argument("--checkpoint", type=path, metavar="FILE", help="a public checkpoint instead")
    sampling_options(sample, None, "64; 16 of a checkpoint")
    sample.add_argument("--columns", type=whole(1), default=8, help="images in a row (default %(default)s)")
    sample.add_argument("--out", type=path, metavar="PNG", help="the picture (default RUN/samples.png, FILE.png)")
    add_generator(sample)
    cli_checkpoints.add_checkpoint_options(sample)
    sample.set_defaults(call=do_sample)

    evaluate = commands.add_parser(
        "evaluate", help="how good the samples are, beside real ones", description=EVALUATE, formatter_class=keep
    )
    evaluate.add_argument("run", type=path, metavar="RUN", help="a run folder, or a file of save")
    sampling_options(evaluate, 10_000, "%(default)s")
    evaluate.add_argument("--json", action="store_true", help="the numbers as JSON on stdout")
    add_generator(evaluate)
    evaluate.set_defaults(call=do_evaluate)

    cli_runs.add_save(commands)
    cli_checkpoints.add_inspect(commands)

    zoo = commands.add_parser("zoo", help="the shipped GANs: list or verify them")
    zoo.add_argument("action", nargs="?", default="list", choices=["list", "verify"])
    zoo.set_defaults(call=do_zoo)

    run = commands.add_parser("run", help="execute a chapter of the book at a tier")
    which = run.add_mutually_exclusive_group(required=True)
    which.add_argument("chapter", nargs="?", metavar="CHAPTER", help="for example off_manifold_digits")
    which.add_argument("--all", action="store_true", help="every chapter, also after one that fails")
    run.add_argument("--tier", default="reader", help="smoke (seconds), reader (minutes) or full (GPU); default reader")
    run.add_argument("--out", type=path, metavar="FOLDER", help="where the executed notebook and its records go")
    run.set_defaults(call=do_run)

    doctor = commands.add_parser("doctor", help="versions, device, data and weights found")
    doctor.set_defaults(call=do_doctor)
    return parser


def do_mine(args: argparse.Namespace) -> None:
    from minegan_lite import training
    from minegan_lite.config import Mining, resolve
    from minegan_lite.mined import Unmined
    from minegan_lite.nn import pick_device
    from minegan_lite.probe import sources_of

    args.out = args.out or cli_runs.named_out(args)
    options = training_settings(args)
    resolve(Mining, args.preset, options)  # refuse before any data is loaded
    pick_device(args.device)
    gan = cli_runs.read_sources(args)
    first = sources_of(gan)[0]
    shape = tuple(first.generator.image_shape)
    batch = resolve(Mining, args.preset, options, first.family).batch
    terminal.need_memory(batch, "images of a minibatch", shape)
    target = cli_runs.read_target(args.target, args.images, args.seed, shape, args.resize)
    watch = cli_runs.watch_of(args, Unmined(gan), "source")
    mined = training.mine(gan, target, preset=args.preset, device=args.device, out=args.out, watch=watch, **options)
    cli_runs.summarise(mined, args.out)


def do_finetune(args: argparse.Namespace) -> None:
    from minegan_lite import training

    cli_runs.refuse_unfinished(args.run)
    run = args.run if args.run.name not in ("", "..") else Path(os.path.abspath(args.run))  # "." has a name as well
    args.out = args.out or run.with_name(f"{run.name}-finetuned")
    mined, target = cli_runs.read_run(args.run, args.generator)
    terminal.need_memory(args.batch or 1, "images of a minibatch", mined.image_shape)
    watch = cli_runs.watch_of(args, mined, "mined")
    options = training_settings(args)
    tuned = training.finetune(mined, target, device=args.device, out=args.out, watch=watch, **options)
    cli_runs.summarise(tuned, args.out)


def training_settings(args: argparse.Namespace) -> dict:
    """The training settings: those that were given, and those with a default of the command line's own."""
    names = ("batch", "miner_lr", "critic_lr", "generator_lr", "precision", "objective", "critic_from")
    rest = {key: getattr(args, key, None) for key in names}
    given = {key: value for key, value in rest.items() if value is not None}
    return {"steps": args.steps, "seed": args.seed, "save_every": args.save_every, **given}


def do_sample(args: argparse.Namespace) -> None:
    from minegan_lite.chapters import plots

    if args.checkpoint is not None:
        if args.generator is not None:
            raise UserError("--generator is the source of a run: leave it out beside --checkpoint")
        out = args.out or Path(f"{args.checkpoint}.png")
        cli_runs.refuse_inputs(out, [args.checkpoint])
        images = cli_checkpoints.images(args)
    else:
        cli_checkpoints.refuse_checkpoint_options(args)
        ema = cli_runs.averages(args)
        out = args.out or (Path(f"{args.run}.png") if args.run.is_file() else args.run / "samples.png")
        mined, n = cli_runs.read_mined(args.run, args.generator), 64 if args.n is None else args.n
        cli_runs.refuse_inputs(out, cli_runs.files_of(args.run, mined.record))
        terminal.need_memory(n, "images", mined.image_shape)
        images = mined.sample(n, seed=args.seed, ema=ema)
    scale = 2 if images.shape[-1] < 64 else 1
    print(plots.save_grid(images, out, args.columns, scale))


def do_evaluate(args: argparse.Namespace) -> None:
    from minegan_lite import metrics

    ema = cli_runs.averages(args)
    mined, target = cli_runs.read_run(args.run, args.generator)
    terminal.need_memory(args.n, "images", mined.image_shape)
    numbers = metrics.evaluate(mined, target, n=args.n, seed=args.seed, ema=ema)
    print(json.dumps(numbers, indent=1, ensure_ascii=False) if args.json else metrics.format_report(numbers))


def do_zoo(args: argparse.Namespace) -> None:
    from minegan_lite import zoo

    if args.action == "list":
        for name, entry in zoo.entries().items():
            drawn = f"digits {''.join(map(str, entry['digits']))}" if entry["digits"] else "natural images"
            print(f"{name:<18} {entry['kind']:<11} {drawn:<18} {entry['bytes'] / 1e6:5.2f} MB  {entry['licence']}")
        return
    report = zoo.verify()
    for name, ok, message in report:
        print(f"{'ok ' if ok else 'BAD'} {name}: {message}")
    if not all(ok for _, ok, _ in report):
        raise UserError("some weights are damaged: reinstall minegan-lite")


def do_run(args: argparse.Namespace) -> None:
    from minegan_lite.chapters import runner

    failed = []
    for name in runner.chapters() if args.all else [args.chapter]:
        try:
            print(runner.run(name, args.tier, args.out, progress=True), flush=True)
        except RuntimeError as error:  # a cell failed: the message names it and the notebook that shows the traceback
            failed.append(str(error))
    if failed:
        sys.exit(f"minegan-lite: {'; '.join(failed)}")


def do_doctor(args: argparse.Namespace) -> None:
    from minegan_lite import doctor

    for key, value in doctor.report().items():
        print(f"{key:<14} {value}")


def main(argv: list[str] | None = None) -> int:
    """Does what the arguments say; the exit status, as `terminal` and --help list them."""
    args = argparse.Namespace()

    def work() -> None:
        build_parser().parse_args(argv, args)
        args.call(args)

    def goes_on() -> bool:  # only what has a checkpoint does
        out = getattr(args, "out", None)
        return (
            getattr(args, "command", None) in ("mine", "finetune") and out is not None and (out / "state.pt").exists()
        )

    return terminal.status("minegan-lite", work, goes_on)


if __name__ == "__main__":
    sys.exit(main())
