"""What the training scripts share: the way of weights into the package, measured and described."""

from pathlib import Path

from torch import Tensor, nn

from minegan_lite import classes_of, data, zoo
from minegan_lite.gan import GAN, StandardNormal
from minegan_lite.metrics import classifier_error, digit_shares, evaluate
from minegan_lite.mined import Unmined
from minegan_lite.networks.mnist import DigitClassifier

SAMPLES = 2000  # for the shares per digit
LICENCE = "MIT, as all of minegan-lite: the weights were trained from scratch by its authors with its own script."


def ship_gan(
    generator: nn.Module,
    critic: nn.Module,
    digits: list[int],
    settings: dict,
    held_out: Tensor,
    classifier: DigitClassifier,
    folder: Path = zoo.WEIGHTS,
    beside: Path | None = None,
) -> Path:
    """Rounds both networks to fp16, measures that against held_out (m, 1, 28, 28), writes weights, card and entry.

    settings: as train_zoo.py keeps them in its checkpoints; digits: what the model was trained on; folder, beside: as
    zoo.pack takes them.
    """
    pair = nn.ModuleDict({"generator": generator, "critic": critic}).half().float().eval()
    gan = GAN(generator, critic, StandardNormal(settings["latent_dim"]), settings["name"])
    source = Unmined(gan)
    seen = digit_shares(classifier, source.sample(SAMPLES, seed=0))
    target = data.FewShot(held_out[:0], held_out, settings["name"], None, "mnist", 0)
    numbers = evaluate(source, target, n=10 * (len(held_out) // 2), features=classifier)
    config, own = {"width": settings["width"], "latent_dim": settings["latent_dim"]}, None
    if generator.embedding_dim is not None:
        config["classes"] = generator.classes
        classes = (Unmined(one).sample(SAMPLES, seed=0) for one in classes_of(gan))
        own = dict(
            zip(digits, (digit_shares(classifier, x)[d] for x, d in zip(classes, digits, strict=True)), strict=True)
        )
    card = gan_card(settings, digits, seen, own, numbers, sizes(pair))
    return zoo.pack(
        settings["name"], pair, kind="gan", config=config, digits=digits, card=card, folder=folder, beside=beside
    )


def ship_classifier(net: DigitClassifier, command: str, settings: str, folder: Path = zoo.WEIGHTS) -> Path:
    """The same for the digit classifier, measured on MNIST's test digits and on scikit-learn's."""
    net = net.half().float().eval()
    card = classifier_card(net, command, settings, accuracies(net, "mnist"), accuracies(net, "uci-digits"))
    config = {"width": net.width, "feature_dim": net.feature_dim}
    return zoo.pack(
        zoo.CLASSIFIER, net, kind="classifier", config=config, digits=list(range(10)), card=card, folder=folder
    )


def accuracies(net: DigitClassifier, source: str) -> tuple[int, float, list[float]]:
    """How many held-out digits the source has, the share of right answers over all, and over those of each digit."""
    held_out = [data.few_shot(source, digit=digit).held_out for digit in range(10)]
    right = [1 - classifier_error(net, images, digit) for digit, images in enumerate(held_out)]
    count = sum(map(len, held_out))
    return count, sum(share * len(images) for share, images in zip(right, held_out, strict=True)) / count, right


def sizes(module: nn.Module) -> str:
    """The number of parameters of a module and its children, in words."""
    return f"{sum(p.numel() for p in module.parameters()) / 1e6:.2f} M"


def table(header: str, values: list[float], digits: int = 1) -> str:
    """A Markdown table with one column for each digit; the values are shares and stand there in percent."""
    cells = " | ".join(f"{value:.{digits}%}" for value in values)
    return f"| digit | {' | '.join(map(str, range(10)))} |\n|{'---|' * 11}\n| {header} | {cells} |"


def gan_card(
    settings: dict, digits: list[int], seen: list[float], own: dict[int, float] | None, numbers: dict, parameters: str
) -> str:
    """own: of a conditional GAN, by digit, the share of that class's samples that the classifier takes for it."""
    excluded = [d for d in range(10) if d not in digits]
    few = "digit " if len(excluded) == 1 else "digits "
    never = f"never the excluded {few}{', '.join(map(str, excluded))}, in no step of either network"
    never = never if excluded else "none excluded"
    what, pair = "An unconditional GAN", "a generator"
    if own is not None:
        what, pair = "A conditional GAN", "a generator that takes the digit as a one-hot row beside the latent"
    frechet, coverage = numbers["frechet"], numbers["coverage"]
    s = settings
    return f"""# {s["name"]}

**What it is.** {what} for handwritten digits, 28×28 grey: {pair} (exponential moving average of its
weights, decay {s["ema_decay"]}) and the critic it was trained against (raw weights). A source to be mined.

**Architecture.** The MNIST networks of the MineGAN supplement, which are those of the improved-WGAN paper
(`minegan_lite.networks.mnist`), width {s["width"]}, latent dimension {s["latent_dim"]}, {parameters} parameters in all;
stored as fp16, used as float32. Prior: standard normal.

**Training data.** MNIST's train split, digits {", ".join(map(str, digits))}; {never}.
Both networks started from random weights.

**Training.** WGAN-GP, {s["steps"]:,} generator steps with {s["critic_steps"]} critic steps each, batch {s["batch"]},
Adam (learning rate {s["lr"]:g}, β = {tuple(s["betas"])}; constant for the first half, then linear to zero), gradient
penalty {s["penalty"]:g}, seed {s["seed"]}, precision {s["precision"]}. Exported by the same command with `--export`:

    {gan_command(s)}

**Licence.** {LICENCE}

**Intended use.** Teaching and research on mining, in this book. **Limitations.** Digits as MNIST has them and nothing
else; a small network, some of whose samples are no legible digit; its critic is as good as the end of its training.

**Measured** on the fp16 weights. What our digit classifier takes {SAMPLES:,} samples for (seed 0):

{table("share", seen)}
{"" if own is None else own_classes(own)}
Against the held-out test digits that it should draw, mean ± standard deviation over {frechet["repeats"]} random
halves of them, n = {frechet["n"]:,} samples against m = {frechet["m"]:,} images; the floor is one half against the
other. Features: `{frechet["features"]}`.

| | value | floor |
|---|---|---|
| Fréchet distance | {spread(frechet, 2)} |
| coverage (k = {coverage["k"]}) | {spread(coverage, 3)} |
"""


def own_classes(own: dict[int, float]) -> str:
    """How well the classes of a conditional GAN are what they are called."""
    return f"""
Each class by itself: the share of {SAMPLES:,} samples of it (seed 0) that are taken for its digit.

| class | {" | ".join(map(str, own))} |
|{"---|" * (len(own) + 1)}
| right | {" | ".join(f"{share:.1%}" for share in own.values())} |
"""


def spread(row: dict, places: int) -> str:
    """Value and floor of one of evaluate's rows, each with its standard deviation, as two cells of a table."""
    return " | ".join(f"{row[a]:.{places}f} ± {row[b]:.{places}f}" for a, b in (("value", "sd"), ("floor", "floor_sd")))


def gan_command(settings: dict) -> str:
    flags = ("steps", "width", "latent_dim", "batch", "lr", "critic_steps", "seed", "precision")
    options = " ".join(f"--{flag.replace('_', '-')} {settings[flag]}" for flag in flags)
    return f"python data_scripts/train_zoo.py {settings['name']} {options}"


def classifier_card(net: DigitClassifier, command: str, settings: str, right: tuple, other_hand: tuple) -> str:
    return f"""# {zoo.CLASSIFIER}

**What it is.** The judge of this book: a digit classifier for 28×28 grey images in [−1, 1]. Its answers give the
classifier error, the {net.feature_dim} numbers before its logits are the features of our Fréchet distance and coverage.

**Architecture.** `minegan_lite.networks.mnist.DigitClassifier`, width {net.width}: four convolutions with BatchNorm and
one hidden layer, {sizes(net)} parameters; stored as fp16, used as float32.

**Training data.** MNIST's train split, all 60,000 digits of ten classes, shifted by up to two pixels.

**Training.** {settings}. The test digits were looked at once, after the last step.
Exported by the same command with `--export`:

    {command}

**Licence.** {LICENCE}

**Intended use.** Judging generated digits in this book. **Limitations.** It names a digit for whatever it sees, a blank
or a blot included, so that its error alone flatters bad samples; it knows MNIST's pens and framing and judges other
digits worse (below); judge and features are one network, so the two kinds of number are not independent.

**Measured** on the fp16 weights: accuracy {right[1]:.4f} on the {right[0]:,} test digits of MNIST; {other_hand[1]:.4f}
on {other_hand[0]:,} of scikit-learn's digits, enlarged to 28×28, which it never saw. By digit:

{table("MNIST", right[2], 2)}
{table("embedded", other_hand[2], 2).splitlines()[-1]}
"""
