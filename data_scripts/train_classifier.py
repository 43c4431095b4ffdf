"""Trains the digit classifier that judges samples and supplies Fréchet features; writes weights and model card.

About ten minutes on one CPU core. One-cycle schedule, small random shifts, no early stopping: the 10,000 test
digits are looked at once, after the last step.

    python data_scripts/train_classifier.py
    python data_scripts/train_classifier.py --export     # the finished weights into the package, with their card
"""

import argparse
from pathlib import Path

import torch
from shipping import ship_classifier
from torch.nn import functional as F
from tqdm.auto import trange

from minegan_lite import data, zoo
from minegan_lite.networks.mnist import DigitClassifier

BATCH, PEAK, DECAY = 128, 2e-3, 1e-2


def train(epochs: int, seed: int, device: str, batch: int = BATCH) -> tuple[DigitClassifier, float]:
    images, labels = data.load_mnist("train")
    test_images, test_labels = data.load_mnist("test")
    torch.manual_seed(seed)  # initialisation and dropout draw from the global generator
    rng = torch.Generator().manual_seed(seed)
    net = DigitClassifier().to(device, memory_format=torch.channels_last)
    steps = epochs * (len(images) // batch)
    optimizer = torch.optim.AdamW(net.parameters(), lr=PEAK, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=PEAK, total_steps=steps)
    order = torch.empty(0, dtype=torch.long)
    progress = trange(steps, desc="classifier", unit="step")
    for _ in progress:
        if len(order) < batch:
            order = torch.randperm(len(images), generator=rng)
        pick, order = order[:batch], order[batch:]
        x = F.pad(data.to_signed(images[pick]), (2, 2, 2, 2), value=-1.0)  # shifts of up to two pixels
        dy, dx = torch.randint(0, 5, (2,), generator=rng).tolist()
        x, y = x[:, :, dy : dy + 28, dx : dx + 28].to(device), labels[pick].to(device)
        loss = F.cross_entropy(net(x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        progress.set_postfix(loss=f"{loss.item():.4f}")
    net.eval()
    with torch.no_grad():
        guesses = torch.cat([net(data.to_signed(x).to(device)).argmax(1).cpu() for x in test_images.split(500)])
    return net, (guesses == test_labels).float().mean().item()


def export(args: argparse.Namespace) -> Path:
    """Measures the trained classifier and writes it, with its model card, into the folder args.export."""
    net = DigitClassifier()
    net.load_state_dict(torch.load(args.out, weights_only=True, map_location="cpu")["net"])
    return ship_classifier(
        net,
        f"python data_scripts/train_classifier.py --epochs {args.epochs} --seed {args.seed}",
        f"{args.epochs * (60_000 // BATCH):,} steps of {BATCH} images, AdamW (weight decay {DECAY:g}), one-cycle "
        f"learning rate with peak\n{PEAK:g}, dropout 0.5 before the last layer, seed {args.seed}, precision 32-true",
        args.export,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/classifier.pt"))
    parser.add_argument(
        "--export",
        nargs="?",
        type=Path,
        const=zoo.WEIGHTS,
        metavar="FOLDER",
        help="train nothing: write what --epochs and --seed made, as --out has it, into the package (or FOLDER)",
    )
    args = parser.parse_args()
    if args.export:
        print(export(args))
        return
    net, accuracy = train(args.epochs, args.seed, args.device)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"net": net.state_dict(), "accuracy": accuracy}, args.out)
    print(f"accuracy on the 10,000 test digits: {accuracy:.4f}")


if __name__ == "__main__":
    main()
