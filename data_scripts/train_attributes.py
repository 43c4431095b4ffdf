"""Trains the judge of faces, `woman`, `senior` and `smiling` on Lite0's maps; writes weights and model card.

    export MINEGAN_DATA=…                              # the folder with celeba_64.zip and UTKFace's two zips
    python data_scripts/get_weights.py lite0           # the feature network, if it is not here yet
    python data_scripts/train_attributes.py            # ten minutes on one core, most of them for Lite0's features
    python data_scripts/train_attributes.py --out runs/judge      # elsewhere, to look at first

Each attribute is one logistic regression on standardised features, its two classes weighted alike. CelebA is seen in
two framings, its own and the tighter one of UTKFace, so that one judge serves both; the tight square is the one whose
mean picture correlates most with UTKFace's, and the script finds it anew. UTKFace is seen at 64 pixels and at the 36
that this square has of a CelebA picture, so that what is drawn there is judged by what can be seen there. Pictures are
split by a hash of their file's name: 70 % train, 15 % choose the penalty, 15 % are looked at once, for the card.
`senior` has labels in UTKFace's framing alone. The features are kept in the cache, under attributes.
"""

import argparse
import hashlib
import os
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from image_cache import picture
from image_sources import open_source
from sklearn.metrics import roc_auc_score
from source_pictures import labels_of
from terminal import status
from torch import Tensor, nn
from torch.nn import functional as F

from minegan_lite.data import download, to_signed
from minegan_lite.errors import UserError
from minegan_lite.files import write_atomically
from minegan_lite.metrics import attributes, features_of, lite0, signature

SIDE = 64
SEED = 0
PENALTIES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01)  # λ of λ/2 · |w|², from the simplest on
ITERATIONS = 60  # of L-BFGS at each, going on from the one before
PARTS = {"train": range(14), "validation": range(14, 17), "test": range(17, 20)}  # of twenty


def small(images: Tensor) -> Tensor:
    """UTKFace's pictures (n, 3, 64, 64) at the side of the square that shows CelebA's faces so tightly."""
    side = attributes.TIGHT[2] - attributes.TIGHT[0]
    return F.interpolate(images, (side, side), mode="bilinear", antialias=True, align_corners=False)


# framing → the zip, and what is done to its pictures first
FRAMINGS: dict[str, tuple[str, Callable[[Tensor], Tensor] | None]] = {
    "celeba": ("celeba_64.zip", None),
    "celeba-tight": ("celeba_64.zip", attributes.tight),
    "utkface": ("utkface_adults_64.zip", None),
    "utkface-targets": ("utkface_targets_64.zip", None),
    "utkface-small": ("utkface_adults_64.zip", small),
    "utkface-small-targets": ("utkface_targets_64.zip", small),
}
SENIORS = lambda row: True if row["group"] == "seniors" else None  # noqa: E731 - 66 and more
# attribute → in which framings it has labels, and what says so of a line of labels.csv: yes, no, or None for neither
LABELS = {
    "woman": {
        "celeba": lambda row: row["Male"] == "0",
        "celeba-tight": lambda row: row["Male"] == "0",
        "utkface": lambda row: row["gender"] == "female",
        "utkface-small": lambda row: row["gender"] == "female",
    },
    "senior": {
        "utkface": lambda row: False,  # 18 to 60 years
        "utkface-targets": SENIORS,
        "utkface-small": lambda row: False,
        "utkface-small-targets": SENIORS,
    },
    "smiling": {"celeba": lambda row: row["Smiling"] == "1", "celeba-tight": lambda row: row["Smiling"] == "1"},
}
# Looked at once, too: the book's targets, of which the judge of `woman` saw none in training; and of CelebA, whose
# labels know no age, who has grey hair and is not called young, against whoever is called young.
GREY = lambda row: {("0", "1"): True, ("1", "0"): False}.get((row["Young"], row["Gray_Hair"]))  # noqa: E731
BESIDE = {
    "woman": {"utkface-targets": lambda row: row["gender"] == "female" if row["group"] != "seniors" else None},
    "senior": {"celeba": GREY, "celeba-tight": GREY},  # the first to show what it must not be asked
}


@dataclass(frozen=True)
class Framed:
    """Pictures in one framing: their names, lines of labels.csv, and features (n, 7168) in float16."""

    names: list[str]
    rows: list[dict[str, str]]
    features: Tensor

    def labels(self, label: Callable[[dict[str, str]], bool | None], wanted: str | None) -> Tensor:
        """1, 0, or NaN where there is no label, or the picture is in another part than `wanted` (None: any)."""
        pairs = zip(self.names, self.rows, strict=True)
        found = [label(row) if wanted in (None, part(name)) else None for name, row in pairs]
        return torch.tensor([float("nan") if known is None else float(known) for known in found])


def part(name: str) -> str:
    """Of which split a picture is, by its file's name."""
    number = int(hashlib.sha256(f"{SEED}:{name}".encode()).hexdigest(), 16) % 20
    return next(part for part, numbers in PARTS.items() if number in numbers)


def pictures(path: Path) -> tuple[list[str], Tensor]:
    """The names of a zip's pictures, sorted, and the pictures, uint8 (n, 3, 64, 64); UserError as open_source."""
    names, read = open_source(path)
    images = [picture(read(name), SIDE, None) for name in names]
    if spoilt := [name for name, image in zip(names, images, strict=True) if isinstance(image, str)]:
        raise UserError(f"{spoilt[0]} in {path} cannot be read: get the zip from its origin")
    return names, torch.from_numpy(np.stack(images))


def framed(root: Path, framing: str) -> Framed:
    """A framing's pictures as Lite0 sees them. Their features are computed once, and kept in the cache."""
    file, change = FRAMINGS[framing]
    network = attributes.FaceMaps(lite0().network)
    key = f"{signature(network)} {download.sha256(root / file)} {attributes.TIGHT if change else None}"
    key = hashlib.sha256(key.encode()).hexdigest()[:12]
    kept = download.cache_folder() / "attributes" / f"{framing}-{key}.safetensors"
    names, images = pictures(root / file)
    if not kept.exists():
        x = to_signed(images)
        found = features_of(change(x) if change else x, network).half()
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, safetensors.torch.save({"features": found}))
    features = safetensors.torch.load_file(kept)["features"]
    rows = labels_of(root / file)
    return Framed(names, [rows[name] for name in names], features)


def best_square(wide: Tensor, close: Tensor, sides: range = range(28, 65)) -> tuple[tuple[int, int, int, int], float]:
    """The square in the middle of a width, as (left, top, right, bottom), that shows one kind of faces as another is.

    wide, close: mean pictures (3, 64, 64) of the two. Of all such squares of `wide`, enlarged to 64×64, the grey one
    that correlates most with `close`, and its correlation.
    """
    found = {}
    target = close.mean(0)
    for side in sides:
        for top in range(SIDE - side + 1):
            left = (SIDE - side) // 2
            cut = wide[None, :, top : top + side, left : left + side]
            grey = F.interpolate(cut, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)[0].mean(0)
            found[left, top, left + side, top + side] = torch.corrcoef(torch.stack([grey.flatten(), target.flatten()]))[
                0, 1
            ].item()
    best = max(found, key=found.get)
    return best, found[best]


def labels_in(part: str, known: dict[str, Framed]) -> Tensor:
    """Labels of all pictures, framing after framing, (n, 3), NaN where there is none in this part."""
    nobody = {framing: lambda row: None for framing in known}
    return torch.stack(
        [
            torch.cat([known[framing].labels((nobody | LABELS[name])[framing], part) for framing in known])
            for name in attributes.NAMES
        ],
        dim=1,
    )


def losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of each attribute (3,), over the pictures that have a label, its two classes weighted alike."""
    there = ~labels.isnan()
    each = F.binary_cross_entropy_with_logits(logits, labels.nan_to_num(0), reduction="none")
    of_class = [(each * (labels == value)).sum(0) / (labels == value).sum(0) for value in (0, 1)]
    assert there.any(0).all()
    return (of_class[0] + of_class[1]) / 2


def fit(features: Tensor, labels: Tensor, validation: Tensor) -> tuple[nn.Linear, list[float]]:
    """The head whose penalty is the best one for each attribute on the validation pictures, and those penalties.

    features: (n, d); labels, validation: (n, 3), NaN where a picture has none or belongs elsewhere.
    """
    train = ~labels.isnan().all(1)
    judged = ~validation.isnan().all(1)
    mean, scale = features[train].mean(0), features[train].std(0) + 1e-3
    x, y = (features[train] - mean) / scale, labels[train]
    x_judged = (features[judged] - mean) / scale
    head = nn.Linear(x.shape[1], y.shape[1])
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    best, chosen = torch.full((y.shape[1],), float("inf")), [0.0] * y.shape[1]
    weight, bias = torch.zeros_like(head.weight), torch.zeros_like(head.bias)
    for penalty in PENALTIES:
        optimizer = torch.optim.LBFGS(head.parameters(), max_iter=ITERATIONS, line_search_fn="strong_wolfe")

        def objective(penalty: float = penalty, optimizer: torch.optim.Optimizer = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = losses(head(x), y).sum() + penalty / 2 * head.weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(objective)
        with torch.no_grad():
            found = losses(head(x_judged), validation[judged])
            for i in (found < best).nonzero().flatten().tolist():
                best[i], chosen[i] = found[i], penalty
                weight[i], bias[i] = head.weight[i], head.bias[i]
        print(f"penalty {penalty:g}: validation {', '.join(f'{one:.4f}' for one in found.tolist())}", flush=True)
    head = nn.Linear(x.shape[1], y.shape[1])
    with torch.no_grad():  # on features as they are, not as standardised
        head.weight.copy_(weight / scale)
        head.bias.copy_(bias - (weight / scale) @ mean)
    return head, chosen


def verdicts(features: Tensor, labels: Tensor, head: nn.Linear, name: str) -> list[str]:
    """Cells of the card: n, share with the attribute, accuracy, how many of those with and without it are told, AUC."""
    there = ~labels.isnan()
    y = labels[there] == 1
    with torch.no_grad():
        p = torch.sigmoid(head(features[there].float()))[:, attributes.NAMES.index(name)]
    right = (p > attributes.THRESHOLD) == y
    shares = [y.float().mean(), right.float().mean(), right[y].float().mean(), right[~y].float().mean()]
    return [f"{len(y):,}", *(f"{share:.1%}" for share in shares), f"{roc_auc_score(y, p):.4f}"]


def table(known: dict[str, Framed], head: nn.Linear, rows: dict, part: str | None) -> str:
    """Lines of the card's table, one for each attribute and framing."""
    lines = []
    for name, of_framing in rows.items():
        # UTKFace's two zips are one framing
        for group in {framing.removesuffix("-targets"): None for framing in of_framing}:
            members = [one for one in of_framing if one.removesuffix("-targets") == group]
            labels = torch.cat([known[one].labels(of_framing[one], part) for one in members])
            features = torch.cat([known[one].features for one in members])
            lines.append(f"| {name} | {group} | " + " | ".join(verdicts(features, labels, head, name)) + " |")
    return "\n".join(lines)


def card(known: dict[str, Framed], head: nn.Linear, chosen: list[float], square: tuple, correlation: float) -> str:
    """The model card."""
    counts = ", ".join(f"{name} {penalty:g}" for name, penalty in zip(attributes.NAMES, chosen, strict=True))
    heading = "| attribute | framing | n | have it | accuracy | of those told | of the others told | AUC |\n"
    heading += "|---" * 8 + "|"
    text = f"""# {attributes.FILE.stem}

**What it is.** A judge of generated faces, for shares such as "91 % women": three probabilities, `woman`, `senior` and
`smiling`, each against a threshold of {attributes.THRESHOLD:g}. `minegan_lite.metrics.attributes.face_attributes()`.

**Architecture.** One linear layer ({sum(x.numel() for x in head.parameters()):,} numbers, fp16) on {attributes.MAPS}
maps of {attributes.PLACES}×{attributes.PLACES} inside EfficientNet-Lite0 (ImageNet, Apache-2.0; fetched, not in this
file), at 128×128 pixels.

**Training data and their terms.** CelebA (Liu et al. 2015), pictures 000001 to 010000: `Male` and `Smiling`.
UTKFace (Zhang et al. 2017), 8,000 adults of 18 to 60 years and 1,000 seniors of 66 and more: gender and age. Both are
for non-commercial research only, and their pictures may not be passed on: none is in this file.
Where you use these weights for more than research, ask first whether those agreements bind you, too.

**Framing.** CelebA was shown twice, as it is framed (64×64) and as UTKFace is: the square (left, top, right, bottom) =
{square} of the 64×64, enlarged. Of all centred squares its mean picture correlates most with UTKFace's mean picture
(r = {correlation:.3f}). `attributes.tight` cuts it. UTKFace was shown twice, too, at 64×64 and at the 36×36 of that
square ("small" in the table).

**Training.** Logistic regression by L-BFGS, both classes of an attribute weighted alike, λ/2 · |w|² with λ chosen on
the validation pictures: {counts}. Split by a hash of the file's name, 70 % train, 15 % validation, 15 % test; the two
framings of a picture are on one side. Data sets show some persons more than once, whom the split cannot tell. Which of
Lite0's stages to look at was found on 2,500 pictures of CelebA, some of them test pictures. Made by

    python data_scripts/train_attributes.py

**Measured** on the fp16 weights. The test pictures, looked at once; "told": right verdicts among those with the
attribute, and among those without.

{heading}
{table(known, head, LABELS, "test")}

Beside them: the book's targets in UTKFace, of whom nobody was in training; and CelebA, whose labels know no age: who
has grey hair and is not called young, against whoever is called young.

{heading}
{table(known, head, BESIDE, None)}

**Licence.** MIT, as all of minegan-lite: trained by its authors with its own script. For the pictures see their terms.

**Intended use.** Counting what generated faces look like, in this book. **Limitations.** It repeats how annotators
labelled pictures, with two values for sex, an age that was guessed or looked up, and the faces that these data sets
have most of. It says nothing of who a person is, must not be used on people, and errs more on faces unlike those of
its data. `senior` was learnt on tight faces alone, of people of 18 and more: what it says of faces framed as CelebA's
(AUC below 0.5 in the table), and of children (whom it never saw, and often takes for seniors), means nothing; between
61 and 65 nobody was labelled. A share is bent by its errors: of real women it counts the share of the table, not all,
and of men not none. It was made to judge: nothing in mining is trained, tuned or chosen by it, but for the drawn
targets, of which the book says so. The judge of `senior` has seen seniors of UTKFace's targets in training: what is
mined towards them is judged by who knows them.
"""
    return wrapped(text)


def wrapped(text: str) -> str:
    """The paragraphs of a card at one width; its heading, its tables and its command as they are."""
    paragraphs = text.rstrip().split("\n\n")
    whole = [
        one if one.startswith(("#", "|", " ")) else textwrap.fill(one, 120, break_on_hyphens=False)
        for one in paragraphs
    ]
    return "\n\n".join(whole) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0, or 2 behind one line for what a user can mend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=attributes.FILE.parent, metavar="FOLDER", help="not the package")
    args = parser.parse_args(arguments)

    def work() -> None:
        root = os.environ.get("MINEGAN_DATA")
        if not root:
            raise UserError("MINEGAN_DATA names no folder: set it to the one that holds celeba_64.zip and UTKFace's")
        (_, celeba), (_, utkface) = (pictures(Path(root) / FRAMINGS[name][0]) for name in ("celeba", "utkface"))
        square, correlation = best_square(celeba.float().mean(0), utkface.float().mean(0))
        if square != attributes.TIGHT:
            raise UserError(f"the square that fits these pictures is {square}: set attributes.TIGHT, and run again")
        known = {framing: framed(Path(root), framing) for framing in FRAMINGS}
        features = torch.cat([one.features for one in known.values()]).float()
        head, chosen = fit(features, labels_in("train", known), labels_in("validation", known))
        tensors = {key: x.half().contiguous() for key, x in head.state_dict().items()}
        head.load_state_dict({key: x.float() for key, x in tensors.items()})
        content = safetensors.torch.save(tensors)
        args.out.mkdir(parents=True, exist_ok=True)
        write_atomically(args.out / attributes.FILE.name, content)
        text = card(known, head, chosen, square, correlation)
        write_atomically(args.out / f"{attributes.FILE.stem}.md", text.encode())
        print(f"{text}\n{len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()}")

    return status("train_attributes.py", work)


if __name__ == "__main__":
    sys.exit(main())
