"""What is done to a network as a whole: frozen, held still, copied, taken out of its wrappers."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


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


def unwrapped(module: nn.Module) -> nn.Module:
    """The network that torch.compile, DataParallel or DistributedDataParallel hold, or the module itself."""
    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        elif hasattr(module, "_orig_mod"):  # of torch.compile, whose own class is slow to import
            module = module._orig_mod
        else:
            return module


def clone(module: nn.Module) -> nn.Module:
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
