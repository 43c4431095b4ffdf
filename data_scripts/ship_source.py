"""The way of a trained source into the zoo: rounded to fp16, measured for copies of its training images, described."""

import textwrap
from pathlib import Path
from typing import Any

import torch
from source_pictures import Pictures
from source_trainer import networks, steps_of
from torch import Tensor, nn

from minegan_lite import zoo
from minegan_lite.data import to_signed
from minegan_lite.metrics import copying, training_ratio
from minegan_lite.nn import DECAY, averaged

SAMPLES = 1000  # that are compared with the training images
TERMS = {
    "celeba_64.zip": (
        "CelebA (Liu et al. 2015): its pictures of real persons are for non-commercial research only and may not be "
        "passed on. None of them is in this file, and the faces it draws are invented. Where you use these weights "
        "for more than research, ask first whether CelebA's agreement binds you, too"
    ),
    "cifar10_auto_truck_32.zip": "CIFAR-10 (Krizhevsky 2009): no formal licence; free for research that cites it",
    "places_sources_64.zip": "Places365 (Zhou et al. 2017): for non-commercial research and education only",
    "vehicles_64.zip": "ImageNet (Deng et al. 2009): for non-commercial research and education only",
    "tinyimagenet8_64.zip": "ImageNet (Deng et al. 2009): for non-commercial research and education only",
}


def ship_source(
    settings: dict[str, Any],
    state: dict[str, Any],
    pictures: Pictures,
    time: dict[str, Any],
    folder: Path = zoo.WEIGHTS,
    beside: Path | None = None,
) -> Path:
    """Writes weights, card and manifest entry of a finished source, and returns the weights' path.

    settings, state, time: what its run folder holds; pictures: those that it was trained on; folder, beside: as
    zoo.pack takes them.
    """
    generator, critic = networks(settings)
    average = averaged(generator)
    average.load_state_dict(state["average"])
    critic.load_state_dict(state["critic"])
    pair = nn.ModuleDict({"generator": average.module, "critic": critic}).half().float().eval()
    drawn = samples(pair["generator"], SAMPLES)
    card = card_of(settings, time, copies(drawn, pictures), pictures.facts, pair)
    config = {"channels": settings["channels"], "latent_dim": settings["latent_dim"]}
    return zoo.pack(
        settings["name"], pair, kind="gan", architecture="progan", config=config, digits=[], card=card, folder=folder,
        beside=beside,
    )  # fmt: skip


@torch.no_grad()
def samples(generator: nn.Module, n: int, seed: int = 0) -> Tensor:
    """Images (n, 3, R, R) in [−1, 1], as they would be saved."""
    z = torch.randn(n, generator.latent_dim, generator=torch.Generator().manual_seed(seed))
    return torch.cat([generator(part) for part in z.split(100)]).clamp(-1, 1)


def copies(drawn: Tensor, pictures: Pictures) -> dict[str, float]:
    """Whether samples (n, 3, R, R) sit on training images, by their pixels; training showed them mirrored, too.

    copying: about 0.5 where they are no nearer to training images than to held-out ones; ratio, share: training_ratio.
    """

    def both(x: Tensor) -> Tensor:
        return torch.cat([to_signed(x), to_signed(x).flip(3)])

    train, held_out = pictures.train, pictures.held_out
    few = min(len(train), len(held_out))
    share = copying(drawn, both(train[:: len(train) // few][:few]), both(held_out[:few]))
    near = training_ratio(drawn, both(train), to_signed(held_out))
    return {"copying": share, "ratio": near.ratio, "share": near.share}


def card_of(
    settings: dict[str, Any],
    time: dict[str, Any],
    copied: dict[str, float],
    counts: dict[str, Any],
    pair: nn.ModuleDict,
) -> str:
    """The model card. counts: of the training and held-out pictures, as Pictures.facts has them."""
    s, pictures = settings, settings["pictures"]
    generator, critic = (f"{sum(p.numel() for p in pair[part].parameters()) / 1e6:.2f} M" for part in pair)
    side = s["stages"][-1]["side"]
    chosen = ", ".join(f"{column} {value}" for column, value in pictures.get("where", {}).items())
    paragraphs = f"""\
**What it is.** An unconditional GAN that draws {s["what"]}: a generator (exponential moving average of its weights,
decay {DECAY}) and the critic it was trained against (raw weights). A source to be mined.

**Architecture.** A small Progressive GAN (`minegan_lite.networks.progan`), {side}×{side} RGB, channels
{", ".join(map(str, s["channels"]))}, latent dimension {s["latent_dim"]}; generator {generator} and critic {critic}
parameters, stored as fp16, used as float32. Prior: standard normal.

**Training data.** {counts["train_count"]:,} pictures of `{pictures["zip"]}`{f" ({chosen})" if chosen else ""};
{counts["held_out_count"]:,} more of the same kind were held out. Their terms:
{TERMS.get(pictures["zip"], "see the origin of the pictures")}.

{training(s, time)} Exported by the same command with `--export`:

    python data_scripts/train_source.py {s["start"] + " " if s["start"] else ""}{s["name"]}

**Licence.** MIT for the weights, as all of minegan-lite: trained by its authors with its own script. For the pictures
see their terms above.

**Intended use.** Teaching and research on mining, in this book. **Limitations.** Small pictures by a small network that
was trained for minutes: some samples are not what the name says; its critic is as good as the end of its training. Its
samples show what the training pictures show, with their biases.

**Measured** on the fp16 weights: {SAMPLES:,} samples (seed 0), Euclidean distances of pixels, mirrored pictures
included."""
    text = "\n\n".join(
        part if part.startswith("    ") else textwrap.fill(part, 120, break_on_hyphens=False)
        for part in paragraphs.split("\n\n")
    )
    return f"""# {s["name"]}

{text}

| | value | without copying |
|---|---|---|
| share nearer to a training than to a held-out picture | {copied["copying"]:.3f} | 0.5 |
| median distance to the training pictures ÷ held-out pictures' | {copied["ratio"]:.3f} | 1; less where smooth |
| share nearer than 99 % of the held-out pictures are | {copied["share"]:.3f} | 0.01; more where smooth |
"""


def training(s: dict[str, Any], time: dict[str, Any]) -> str:
    """The card's paragraph on how a source was trained."""
    start = f"Both networks began as those of `{s['start']}`" if s["start"] else "Both networks began at random"
    stages = "; ".join(
        f"{stage['steps']:,} at {stage['side']}×{stage['side']}"
        + (f", the first {stage['fade']} of them fading in" if stage.get("fade") else "")
        for stage in s["stages"]
    )
    return f"""**Training.** {start}. {steps_of(s):,} steps: {stages}. Loss {s["loss"]}, penalty {s["penalty"]} with
γ = {s["gamma"]:g} at each step that {s["penalty_every"]} divides, differentiable augmentation:
{", ".join(s["augment"]) or "none"}, {"mirrored at random, " if s["flip"] else ""}batch {s["batch"]}, Adam (learning
rate {s["lr"]:g}, β = (0, 0.99); linear to zero in the last {1 - s["decay_from"]:.0%} of the steps), seed {s["seed"]},
{"bf16 autocast" if s["bf16"] else "float32"}. {time["cpu_seconds"] / 60:.0f} minutes of CPU time on {time["threads"]}
thread{"s" if time["threads"] > 1 else ""}{", those of its start not counted" if s["start"] else ""}."""
