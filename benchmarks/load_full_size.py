"""What a checkpoint of the published size costs: its file written with random weights, then loaded, then one sample.

Each step is timed on one CPU thread; the largest memory is of a fresh process that only loads and samples.

    python benchmarks/load_full_size.py biggan-128
    python benchmarks/load_full_size.py biggan-deep-512 --folder runs/full_size
    python benchmarks/load_full_size.py record      # all of them into the ledger, as benchmarks/load_full_size
"""

import argparse
import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from minegan_lite.chapters import ledger
from minegan_lite.checkpoints import (
    biggan_deep_hf,
    biggan_pytorch,
    load,
    pgan_zoo,
    progan_genforce,
    stylegan2_rosinality,
)
from minegan_lite.checkpoints.loading import renamed
from minegan_lite.networks import biggan, biggan_deep, progan, stylegan2
from minegan_lite.networks.style_layers import widths


def biggan_128() -> dict[str, torch.Tensor]:
    """BigGAN-PyTorch's G_ema.pth: 128 pixels, width 96."""
    return written(biggan.Generator(), biggan_pytorch.GENERATOR, biggan_pytorch.SPECTRAL)


def biggan_deep_512() -> dict[str, torch.Tensor]:
    """Hugging Face's biggan-deep-512, all 51 rows of statistics."""
    network = biggan_deep.Generator(512)
    return written(network, biggan_deep_hf.rules([i for i in range(15) if i != 8]), biggan_deep_hf.SPECTRAL)


def pgan_512() -> dict[str, Any]:
    """pytorch_GAN_zoo's Progressive GAN of CelebA-HQ at 512 pixels: both generators and the critic."""
    generator = written(progan.Generator(widths(512), zoo=True), pgan_zoo.generator_rules(".module"), {})
    critic = written(progan.Critic(widths(512), zoo=True), pgan_zoo.critic_rules(".module"), {})
    return {"netG": generator, "avgG": generator, "netD": critic}


def progan_1024() -> dict[str, Any]:
    """genforce's Progressive GAN of CelebA-HQ at 1024 pixels: the averaged generator and the critic."""
    generator = written(progan.Generator(), progan_genforce.generator_rules(), {})
    critic = written(progan.Critic(), progan_genforce.critic_rules(9), {})
    return {"generator_smooth": generator, "discriminator": critic}


def stylegan2_256() -> dict[str, Any]:
    """rosinality's StyleGAN2 of FFHQ at 256 pixels: the averaged generator and the critic."""
    generator = written(stylegan2.Generator(widths(256, 32768)), stylegan2_rosinality.GENERATOR, {})
    del generator["w_mean"]  # ours alone
    for key, value in generator.items():  # there with axes of length 1 that ours lack
        if key.endswith(".conv.weight"):
            generator[key] = value[None]
        elif re.match(r"to_rgbs?(1|\.\d+)\.bias$", key):
            generator[key] = value[None, :, None, None]
    critic = written(stylegan2.Critic(widths(256, 32768)), stylegan2_rosinality.critic_rules(7), {})
    return {"g_ema": generator, "d": critic}


def written(network: nn.Module, rules, spectral) -> dict[str, torch.Tensor]:
    """The network's state dict under the layout's names."""
    own = network.state_dict()
    return {theirs: own[key] for key, theirs in renamed(network, rules, spectral).items()}


NAMES: dict[str, Callable[[], dict[str, Any]]] = {
    "biggan-128": biggan_128,
    "biggan-deep-512": biggan_deep_512,
    "pgan-512": pgan_512,
    "progan-1024": progan_1024,
    "stylegan2-256": stylegan2_256,
}


def measure(path: Path) -> dict[str, float]:
    """Seconds of loading and of one sample, and the process's largest memory in GB."""
    torch.set_num_threads(1)
    start, cpu = time.perf_counter(), time.process_time()
    generator = load(path).generator
    loaded = time.perf_counter()
    z = torch.randn(1, generator.latent_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        image = generator(z, *([] if generator.embedding_dim is None else [generator.embed(torch.tensor([0]))]))
    done = time.perf_counter()
    if image.shape != (1, *generator.image_shape) or not image.isfinite().all():
        raise SystemExit(f"the sample is no image: {tuple(image.shape)}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # kB on Linux
    return {
        "load_seconds": round(loaded - start, 2), "sample_seconds": round(done - loaded, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2), "memory_gb": round(memory, 2),
        "file_mb": round(path.stat().st_size / 1e6, 1), "resolution": image.shape[-1],
    }  # fmt: skip


def written_and_measured(name: str, folder: Path) -> dict[str, Any]:
    """Writes the file of this name, and measures it in a fresh process, which has not held the weights before."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    torch.save(NAMES[name](), folder / f"{name}.pth")
    command = [sys.executable, __file__, name, "--folder", folder, "--only-measure"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[*NAMES, "record"])
    parser.add_argument("--folder", type=Path, default=Path("runs/full_size"), help="of the file (default %(default)s)")
    parser.add_argument("--only-measure", action="store_true", help="load a file that was written before")
    args = parser.parse_args()
    start = time.time()
    if args.name == "record":
        numbers = {name: written_and_measured(name, args.folder) for name in NAMES}
        path = ledger.record(
            "benchmarks/load_full_size", numbers, settings={"threads": 1, "samples": 1}, seeds=0, device="cpu",
            seconds=time.time() - start, n=1, command="python benchmarks/load_full_size.py record",
        )  # fmt: skip
        print(path.read_text())
    elif args.only_measure:
        print(json.dumps(measure(args.folder / f"{args.name}.pth")))
    else:
        print(json.dumps(written_and_measured(args.name, args.folder)))


if __name__ == "__main__":
    main()
