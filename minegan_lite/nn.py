"""What is done to a network as a whole: frozen, copied, given new weights, averaged, placed, drawn from in parts."""

import copy
import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from minegan_lite.errors import UserError, whole

DECAY = 0.999  # of averaged weights
MOST, PIXELS = 500, 1 << 19  # images at a time, and pixels: 500 digits, 32 images of 128×128, 2 of 512×512


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Inside: eval mode and no gradients to the weights. Afterwards every mode and flag is what it was.

    Frozen means every byte: eval mode is what keeps BatchNorm statistics and spectral-norm vectors still.
    """
    modes = [(part, part.training) for module in modules for part in module.modules()]
    flags = [(weight, weight.requires_grad) for module in modules for weight in module.parameters()]
    for module in modules:
        module.eval().requires_grad_(False)
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
        for weight, flag in flags:
            weight.requires_grad_(flag)


@contextmanager
def still(*modules: nn.Module) -> Iterator[None]:
    """Inside: every mode as it is, training included. Afterwards the buffers are what they were.

    So a pass in training mode leaves no trace in BatchNorm's statistics and spectral norm's vectors.
    """
    before = [(buffer, buffer.clone()) for buffer in moving(*modules)]
    try:
        yield
    finally:
        for buffer, value in before:
            put_back(buffer, value)


def moving(*modules: nn.Module) -> list[Tensor]:
    """The buffers that a pass may move, each once: those of parts in training mode."""
    buffers = (b for module in modules for part in module.modules() if part.training for b in part.buffers(False))
    return list({id(buffer): buffer for buffer in buffers}.values())


def put_back(buffer: Tensor, value: Tensor) -> None:
    """Overwrites a buffer; a graph that is still to be sent back through goes on with what it has computed."""
    buffer.data.copy_(value)  # autograd would take a plain copy_ for a change of what it needs


def unwrapped(module: Any) -> Any:
    """The network that torch.compile, DataParallel or DistributedDataParallel hold, or the module itself."""
    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        elif hasattr(module, "_orig_mod"):  # of torch.compile, whose own class is slow to import
            module = module._orig_mod
        else:
            return module


def clone(module: nn.Module) -> Any:
    """A deep copy that shares nothing with `module`, and is not wrapped, so that weights are called what they are.

    Hook-based spectral norm leaves its last weight behind as a graph's output, which deepcopy refuses: detached
    first (the next forward makes it anew).
    """
    module = unwrapped(module)
    for part in module.modules():
        for name, value in vars(part).items():
            if isinstance(value, Tensor) and not value.is_leaf:
                setattr(part, name, value.detach())
    copied = copy.deepcopy(module)
    for part in list(copied.modules()):
        for name, child in part.named_children():
            if (inner := unwrapped(child)) is not child:
                setattr(part, name, inner)
    return copied


def fresh(module: nn.Module, purpose: str, seed: int) -> Any:
    """A copy of `module` with new random weights, its layers' own initialisations.

    Raises UserError where a layer's weights cannot be drawn anew: without reset_parameters, or wrapped by torch's
    spectral_norm or weight_norm, whose layers reset only what they compute from the weights.
    """
    copied = clone(module)
    for name, part in copied.named_modules():
        own = dict(part.named_parameters(recurse=False))
        if own and (not hasattr(part, "reset_parameters") or any(key.endswith(("_orig", "_g")) for key in own)):
            raise UserError(
                f"{name or type(part).__name__} of the {type(module).__name__} holds weights that cannot be drawn "
                "anew (they are wrapped, or there is no reset_parameters)"
            )
    with torch.random.fork_rng():
        torch.manual_seed(stream(purpose, seed).initial_seed())  # all that reset_parameters listens to
        for part in copied.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
    return copied


def decay_at(updates: int, decay: float = DECAY) -> float:
    """The decay of an average at an update, warmed up: the initial weights do not dominate early averages."""
    return min(decay, (1 + updates) / (10 + updates))


def averaged(module: nn.Module, decay: float = DECAY) -> Any:
    """A copy of `module`, as `.module`: the exponential moving average of its weights.

    `update_parameters(module)` moves it towards the original by 1 − decay.
    """

    @torch.no_grad()
    def step(averages: Any, currents: Any, updates: Any) -> None:
        torch._foreach_lerp_(averages, currents, 1 - decay_at(int(updates), decay))

    average = AveragedModel(module, multi_avg_fn=step, use_buffers=False)
    return average.requires_grad_(False).eval()


# --- devices and draws ------------------------------------------------------------------------------------------------


def pick_device(device: str) -> torch.device:
    """ "auto" → cuda, then mps, then cpu. Raises UserError for a device that is not there, or holds no numbers."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        where = torch.zeros(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:  # torch built without CUDA asserts
        raise UserError(f"device {device!r} cannot be used: {str(error).splitlines()[0][:200]}") from None
    if where.type == "meta":
        raise UserError("device 'meta' cannot be used: it holds no numbers")
    return where


def native_bf16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 itself: GPUs from Ampere on, CPUs with AVX-512's or AMX's instructions.

    Where it does, an error of mining was as small over five seeds, and a step took half the time (the ledger's
    benchmarks/mining_step); where it does not, bfloat16 is slower than float32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def device_of(module: nn.Module) -> torch.device:
    """Where a network's weights lie; the CPU for one that has none."""
    return next(module.parameters(), torch.empty(0)).device


def stream(purpose: str, seed: int) -> torch.Generator:
    """A generator of random numbers for one purpose: equal seeds for training and sampling share no draws.

    They would otherwise: the first latents sampled with seed 0 would be the numbers that the first layer of a miner
    trained with seed 0 was made of, and come out of it stretched.
    """
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def seeded(seed: int) -> torch.Generator:
    """A CPU generator. Raises UserError for a seed that is no whole number from 0 to 2⁶³ − 1."""
    return torch.Generator().manual_seed(whole(seed, 0, "the seed"))


def at_once(image_shape: Sequence[int]) -> int:
    """How many images (C, H, W) are drawn at a time: at most MOST, fewer where they are large, and never none.

    So the memory that sampling takes does not grow with the number of images, nor beyond one image's with their size.
    """
    return max(1, min(MOST, PIXELS // math.prod(image_shape[1:])))


def draw(network: Any, *rows: Tensor) -> Tensor:
    """What a network makes of rows (n, …), such as a generator's images (n, C, H, W), on the CPU, in parts.

    rows: one tensor for each of the network's inputs. The parts are at_once() rows, by the network's image_shape; MOST
    where it has none, as a miner.
    """
    batch = at_once(network.image_shape) if hasattr(network, "image_shape") else MOST
    device = device_of(network)
    with frozen(network), torch.no_grad():
        parts = zip(*(row.split(batch) for row in rows), strict=True)
        return torch.cat([network(*(row.to(device) for row in part)).cpu() for part in parts])
