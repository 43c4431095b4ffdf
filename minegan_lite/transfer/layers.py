"""A network's layers in the order in which an input passes them, whatever they are called."""

import torch
from torch import Tensor, nn

from minegan_lite.nn import frozen


def is_linear(part: nn.Module) -> bool:
    """Whether a layer is a convolution or another linear map: its weight is a matrix, or more."""
    weight = getattr(part, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim > 1


def in_order(network: nn.Module, x: Tensor) -> list[tuple[str, nn.Module]]:
    """The modules that hold parameters of their own, by name, as the input x passes them; each once."""
    passed: dict[str, nn.Module] = {}
    hooks = []
    for name, part in network.named_modules():
        if next(part.parameters(recurse=False), None) is not None:
            hooks.append(part.register_forward_pre_hook(lambda _, __, n=name, m=part: passed.setdefault(n, m) and None))
    try:
        with frozen(network), torch.no_grad():
            network(x)
    finally:
        for hook in hooks:
            hook.remove()
    return list(passed.items())
