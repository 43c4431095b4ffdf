"""Our BigGAN-deep at 128 pixels against the published code, pytorch-pretrained-biggan: forward, and with backward.

Both have the same random weights, ours read by the library from the other's state dict; images and gradients must agree
before anything is timed. The backward pass is mining's: to the latent and the embedding, the weights being frozen. All
variants take turns, many rounds in one process on one CPU thread, in CPU seconds, so that a busy machine does not
favour any; a ratio is to the published code in the same round.

    pip install pytorch-pretrained-biggan              # not among our dependencies
    python benchmarks/biggan_deep_speed.py             # measure and show, some minutes
    python benchmarks/biggan_deep_speed.py record      # into the ledger, as benchmarks/biggan_deep_speed
"""

import argparse
import copy
import importlib.metadata
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.mining_step import ratios
from minegan_lite.chapters import ledger
from minegan_lite.checkpoints import load

PACKAGE, BATCHES, AIM, AGREE = "pytorch-pretrained-biggan", (1, 2, 4), 1.0, 1e-5
THEIRS, OURS = "published code", "ours"
Images = Callable[[Tensor, Tensor], Tensor]  # latent (n, 128), embedding (n, 128) → images (n, 3, 128, 128)


def published() -> nn.Module:
    """The published model of 128 pixels, frozen, with random weights whose spectral norms have settled."""
    try:
        from pytorch_pretrained_biggan import BigGAN, BigGANConfig
    except ImportError as error:
        raise SystemExit(f"{error}: pip install {PACKAGE}") from None
    torch.manual_seed(0)
    model = BigGAN(BigGANConfig())
    for part in model.modules():
        if hasattr(part, "running_means"):
            part.running_means.normal_(std=0.1)
            part.running_vars.uniform_(0.5, 1.5)
        if hasattr(part, "gamma"):
            nn.init.constant_(part.gamma, 0.5)  # it starts at 0, which would hide the attention
    nn.init.ones_(model.generator.bn.weight)
    nn.init.zeros_(model.generator.bn.bias)
    with torch.no_grad():
        for _ in range(4):  # in training, each forward does one power iteration
            model.train()(torch.randn(1, 128), torch.eye(1000)[:1], 1.0)
    return model.eval().requires_grad_(False)


def variants(theirs: Images, generator: nn.Module) -> dict[str, Images]:
    """What is timed; `generator` is ours, frozen."""
    last = copy.deepcopy(generator).to(memory_format=torch.channels_last)

    def autocast(network: nn.Module) -> Images:
        def images(z: Tensor, embedding: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return network(z, embedding).float()

        return images

    return {
        THEIRS: theirs, OURS: generator, "ours, channels_last": last, "ours, bfloat16": autocast(generator),
        "ours, channels_last and bfloat16": autocast(last),
    }  # fmt: skip


def forward(images: Images, z: Tensor, embedding: Tensor) -> Tensor:
    with torch.no_grad():
        return images(z, embedding)


def backward(images: Images, z: Tensor, embedding: Tensor) -> Tensor:
    """Forward, and the gradients to z and to the embedding, side by side (n, 256)."""
    inputs = z.clone().requires_grad_(), embedding.clone().requires_grad_()
    return torch.cat(torch.autograd.grad(images(*inputs).sum(), inputs), dim=1)


PASSES = {"forward": forward, "forward and backward": backward}


def apart(functions: dict[str, Images], z: Tensor, embedding: Tensor) -> dict[str, dict[str, float]]:
    """How far images and gradients are from the published code's, in units of its largest; SystemExit if ours are."""
    rows = {}
    for name, images in functions.items():
        row = {}
        for pass_, compute in PASSES.items():
            expected = compute(functions[THEIRS], z, embedding)
            row[pass_] = float((compute(images, z, embedding) - expected).abs().max() / expected.abs().max())
        rows[name] = row
    if not max(rows[OURS].values()) <= AGREE:
        raise SystemExit(f"ours is not the published network: apart by {rows[OURS]}")
    return rows


def measure(
    theirs: Images, generator: nn.Module, rounds: int, batches: tuple[int, ...] = BATCHES, clock=time.process_time
) -> dict:
    """{"apart": …, "time": {batch: {pass: {variant: its ratio and seconds}}}}."""
    torch.set_num_threads(1)
    rng, n = torch.Generator().manual_seed(0), max(batches)
    z = torch.randn(n, generator.latent_dim, generator=rng)
    embedding = generator.embed(torch.randint(len(generator.classes), (n,), generator=rng)).detach()
    functions = variants(theirs, generator)

    def timed(compute: Callable, n: int) -> dict:
        calls = {
            name: lambda images=images: compute(images, z[:n], embedding[:n]) for name, images in functions.items()
        }
        return ratios(calls, THEIRS, rounds, clock)

    distances = apart(functions, z, embedding)
    times = {str(n): {pass_: timed(compute, n) for pass_, compute in PASSES.items()} for n in batches}
    return {"apart": distances, "time": times}


def table(numbers: dict) -> str:
    """The ratios as a Markdown table."""
    names = list(numbers["apart"])
    lines = ["| batch | pass | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for batch, passes in numbers["time"].items():
        for pass_, rows in passes.items():
            cells = [f"{rows[THEIRS]['seconds']:.2f} s"]
            cells += [f"{rows[n]['median']:.2f} ({rows[n]['low']:.2f}–{rows[n]['high']:.2f})" for n in names[1:]]
            lines.append(f"| {batch} | {pass_} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["show", "record"], default="show")
    parser.add_argument("--rounds", type=int, default=15, help="timed rounds (default %(default)s)")
    args = parser.parse_args()
    start = time.time()
    model = published()
    generator = load(model.state_dict()).generator.requires_grad_(False)
    numbers = measure(lambda z, e: model.generator(torch.cat([z, e], dim=1), 1.0), generator, args.rounds)
    print(table(numbers))
    print(numbers["apart"])
    if args.what == "record":
        settings = {
            "aim": AIM, "agree": AGREE, "rounds": args.rounds, "threads": 1, "package": PACKAGE,
            "package_version": importlib.metadata.version(PACKAGE),
        }  # fmt: skip
        ledger.record(
            "benchmarks/biggan_deep_speed", numbers, settings=settings, seeds=0, device="cpu",
            seconds=time.time() - start, n=args.rounds, command="python benchmarks/biggan_deep_speed.py record",
        )  # fmt: skip


if __name__ == "__main__":
    main()
