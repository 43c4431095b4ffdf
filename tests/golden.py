"""What a dozen tiny trainings give, to the last bit: the net under every change of the library's structure.

    python tests/golden.py            compares with golden.json, and names the runs that changed
    python tests/golden.py --write    writes golden.json anew: only where the changelog says why numbers move

Each run's histories, weights and samples are kept as one sha256 for the machine that wrote it, and as a few numbers
for all others, since another processor rounds otherwise: the losses, and each sample's brightness and contrast.
"""

import argparse
import hashlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]  # also as a command

from test_architectures import source_of, target  # noqa: E402
from test_family import conditional_gan, dots  # noqa: E402
from tiny import PlainGenerator, tiny_gan, tiny_target  # noqa: E402

from minegan_lite import GAN, few_shot, finetune, mine, transfer, zoo  # noqa: E402

FILE = Path(__file__).with_name("golden.json")
FAST = {"steps": 6, "batch": 8, "log_every": 2, "save_every": 2, "progress": False, "device": "cpu", "precision": "32"}
SHORT = FAST | {"steps": 3, "batch": 4, "log_every": 1}


def machine() -> str:
    """Where equal bytes may be asked for: this processor with its instructions, and this PyTorch."""
    try:
        told = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
        kept = sorted(line for line in told.splitlines() if line.startswith(("model", "vendor", "flags", "stepping")))
    except OSError:
        kept = [platform.processor(), platform.platform()]
    parts = [*kept, torch.__version__, torch.backends.cpu.get_cpu_capability(), torch.__config__.show()]
    names = ("ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "OPENBLAS_CORETYPE", "ATEN_CPU_CAPABILITY")
    narrowed = [f"{name}={os.environ.get(name)}" for name in names]
    return hashlib.sha256("\n".join([*parts, *narrowed]).encode()).hexdigest()[:16]


def unmoved(seed: int) -> GAN:
    """A GAN with BatchNorm whose weights are equal on every processor: several sources are seeded by their weights.

    tiny_gan's own are not, since passes and power iterations have rounded its buffers.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return replace(tiny_gan(), generator=PlainGenerator())


def resumed() -> object:
    """A run that dies at its second logged step and goes on from its checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        calls = []

        def dies(images: Tensor) -> float:
            calls.append(0)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return 0.0

        options = {"out": Path(folder) / "run", **FAST, "save_every": 3}
        try:
            mine(tiny_gan(), tiny_target(), metric=dies, **options)
        except KeyboardInterrupt:
            return mine(tiny_gan(), tiny_target(), metric=lambda images: 0.0, **options)
    raise AssertionError("it should have died")


def runs() -> dict[str, Callable[[], object]]:
    """Name → what trains it; each is a few steps of tiny networks, or of digits."""
    nine = few_shot("uci-digits", digit=9, n=50)
    digits = zoo.load("mnist-no-9")

    def family(**options) -> object:
        return mine([zoo.load("mnist-only-06"), zoo.load("mnist-only-17")], nine, **FAST, **options)

    def architecture(kind: str, **options) -> object:
        gan, source = source_of(kind)
        return mine(source, target(gan.generator.image_shape[-1]), **SHORT, **options)

    found = {
        "one source": lambda: mine(digits, nine, **FAST),
        "one source, bf16, hinge, spectral norm": lambda: mine(
            digits, nine, **FAST | {"precision": "bf16"}, loss="hinge", penalty=0.0, spectral_norm=True
        ),
        "one source, official, fresh critic": lambda: mine(
            digits, nine, preset="official", hidden=(16, 8), activation="tanh", critic_from="fresh", **FAST
        ),
        "resumed": resumed,
        "fine-tuned": lambda: finetune(mine(digits, nine, **FAST), nine, **FAST),
        "fine-tuned with BatchNorm": lambda: finetune(mine(tiny_gan(), tiny_target(), **FAST), tiny_target(), **FAST),
        "family": family,
        "family, mean": lambda: family(objective="mean", critic_from=1),
        "family, fine-tuned": lambda: finetune(family(), nine, **FAST),
        "one-hot": lambda: mine(conditional_gan(), nine, **FAST),
        "one-hot, fine-tuned": lambda: finetune(mine(conditional_gan(), nine, **FAST), nine, **FAST),
        "family with BatchNorm, fine-tuned": lambda: finetune(
            mine([unmoved(0), unmoved(1)], tiny_target(), **FAST), tiny_target(), **FAST
        ),
        "dots": lambda: mine(dots(-0.5, 0.5), torch.full((8, 1, 1, 2), 0.5), **FAST),
        "biggan": lambda: architecture("biggan", preset="paper-biggan"),
        "biggan, official": lambda: architecture("biggan", preset="official-biggan"),
        "progan": lambda: architecture("progan", preset="paper-progan"),
        "stylegan2 in w+": lambda: architecture("stylegan2 in w+", preset="official-stylegan"),
    }
    for method in transfer.METHODS:
        found[f"adapt {method}"] = lambda method=method: transfer.adapt(method, digits, nine, **FAST)
    return found


def tensors(mined: object) -> Iterator[Tensor]:
    """Every weight of a result, what its selector counted, and samples by both weights."""
    parts = [mined.miners, mined.miners_average, mined.generators_average, *(one.generator for one in mined.sources)]
    for part in [*parts, mined.critic]:
        if part is not None:
            yield from part.state_dict().values()
    for ema in (True, False):
        yield mined.sample(9, seed=1, ema=ema)


def told(mined: object) -> dict:
    """The bytes as one sha256, and the numbers: the last losses, and some of a sample."""
    digest = hashlib.sha256()
    for tensor in tensors(mined):
        digest.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    losses = [
        {key: value for key, value in entry.items() if "loss" in key or key == "penalty"} for entry in mined.history
    ]
    digest.update(json.dumps(losses, sort_keys=True).encode())
    sample = mined.sample(9, seed=1)
    return {
        "sha256": digest.hexdigest(),
        "losses": losses,
        "brightness": [round(x, 6) for x in sample.flatten(1).mean(1).tolist()],
        "contrast": [round(x, 6) for x in sample.flatten(1).std(1).tolist()],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write golden.json anew")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these runs alone")
    args = parser.parse_args()
    torch.set_num_threads(1)
    kept = json.loads(FILE.read_text()) if FILE.exists() else {}
    found = {name: told(make()) for name, make in runs().items() if not args.only or name in args.only}
    for name, one in found.items():
        old = kept.get(name, {})
        print(f"{'equal' if old.get('sha256', {}).get(machine()) == one['sha256'] else 'OTHER'}  {name}")
    if args.write:
        new = {name: one | {"sha256": {machine(): one["sha256"]}} for name, one in found.items()}
        FILE.write_text(json.dumps(kept | new, indent=1) + "\n")


if __name__ == "__main__":
    main()
