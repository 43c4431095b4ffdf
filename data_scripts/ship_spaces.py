"""Puts what the recorded runs of reference_spaces.py kept onto their page: strips of pictures, and the miners.

    python data_scripts/ship_spaces.py            # of seed 0; book/figures/, weights/, and cards into the package

A strip is written where all three spaces have been mined towards its target, a miner shipped where its run is recorded.
"""

import argparse
import io
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from matplotlib.figure import Figure
from reference_spaces import FFHQ, SPACES, TARGETS, TRUNCATION, kept
from torch import Tensor
from train_attributes import wrapped

from minegan_lite import published, zoo
from minegan_lite.chapters import ledger
from minegan_lite.chapters.plots import tile
from minegan_lite.files import write_atomically

LABELS = {"z": "z", "w": "w", "wplus": "w+"}
WHAT = {"seniors": "drawn seniors", "heads": "emoji heads"}
GREY = "#767676"  # letters that are read on a light ground and on a dark one


def strips(out: Path, name: str, seed: int = 0) -> Tensor:
    """The strips of a target, (people, spaces, steps, 3, H, W)."""
    read = [safetensors.torch.load_file(kept(out, space, name, seed, "pictures"))["strip"] for space in SPACES]
    return torch.stack(read).permute(2, 0, 1, 3, 4, 5)


def drawn(pictures: Tensor, steps: list[int]) -> Figure:
    """A row for each person in each space, a column for each step."""
    people, spaces, columns, _, high, wide = pictures.shape
    grid = tile(pictures.flatten(0, 2), columns).permute(1, 2, 0).numpy()
    figure = Figure(figsize=(7, 0.3 + 6.6 * grid.shape[0] / grid.shape[1]), layout="constrained")
    axes = figure.subplots()
    axes.imshow(grid, interpolation="lanczos")
    axes.set_yticks([(high + 1) * (i + 0.5) for i in range(people * spaces)], [*LABELS.values()] * people, color=GREY)
    axes.set_xticks([(wide + 1) * (i + 0.5) for i in range(columns)], [f"step {step}" for step in steps], color=GREY)
    axes.tick_params(length=0, labelsize=11)
    for edge in axes.spines.values():
        edge.set_visible(False)
    return figure


def card(space: str, name: str, run: dict[str, Any]) -> str:
    """The model card of a recorded run's miner."""
    settings, found = run["settings"], run["numbers"]["evaluation"]["kid"]
    return wrapped(f"""# spaces-{space}-{name}

**What it is.** The miner that takes `{FFHQ}` in {LABELS[space]} to {WHAT[name]}. KID (Lite0) {found["value"]:.2f} to
held-out pictures, floor {found["floor"]:.2f} (n = {found["n"]}); the run is `spaces/{space}-{name}/seed0` of the
ledger. Its input is {"z" if space == "z" else "the w of z"}, truncated at {TRUNCATION}, as the chapter on StyleGAN's
spaces makes it.

**Architecture.** `minegan_lite.miner.Miner`, residual, hidden layer of {settings["hidden"][0]},
{settings["weights"]:,} weights, stored as fp16, used as float32.

**Training.** {settings["steps"]} steps with {settings["images"]} pictures, `{settings["target"]}`, in minibatches of
{settings["batch"]}; averaged weights (EMA). No photograph took part.

    {run["provenance"]["command"]}

**Licence.** MIT for the weights of the miner, as all of minegan-lite. It is of no use without its generator, whose
weights are not in this file. Its pictures: {published.NON_COMMERCIAL[0].lower()}{published.NON_COMMERCIAL[1:]}

**Limitations.** One short run of one seed; what its faces are called is what a small judge says, and nothing about a
person.
""")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/spaces"), help="what was kept (default %(default)s)")
    parser.add_argument("--figures", type=Path, default=Path("book/figures"), help="default %(default)s")
    parser.add_argument("--folder", type=Path, default=zoo.WEIGHTS, help="for cards and manifest (default: package)")
    parser.add_argument("--beside", type=Path, default=zoo.BESIDE, help="for the weights (default: weights/)")
    args = parser.parse_args(arguments)
    for name in TARGETS:
        runs = {space: run for space in SPACES if (run := f"spaces/{space}-{name}/seed0") and ledger.find(run)}
        for space, run in runs.items():
            saved, told = kept(args.out, space, name, 0, "miner"), card(space, name, ledger.read(run))
            print(zoo.pack_miner(f"spaces-{space}-{name}", saved, card=told, folder=args.folder, beside=args.beside))
        if len(runs) == len(SPACES):
            steps = [row["step"] for row in ledger.read(runs["z"])["numbers"]["followed"]]
            content = io.BytesIO()
            drawn(strips(args.out, name), steps).savefig(content, dpi=130, transparent=True)
            write_atomically(args.figures / f"spaces-{name}-strips.png", content.getvalue())
            print(args.figures / f"spaces-{name}-strips.png")


if __name__ == "__main__":
    main()
