"""EfficientNet-Lite0 against a reference written another way: from the shapes of its weights, without its padding."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from minegan_lite.networks.efficientnet import EfficientNetLite0, SameConv, from_published, scaled

STRIDES = {1: 2, 3: 2, 5: 2, 11: 2}  # block → stride of its depthwise convolution, where that is not 1


def published(network: EfficientNetLite0) -> dict[str, Tensor]:
    """A state dict in the published names."""
    names = {}
    for name in network.state_dict():
        parts = name.split(".")
        if parts[0] == "blocks":
            parts[2] = f"_{parts[2]}"
        names[name] = ".".join([f"_{parts[0]}", *parts[1:]])
    return {names[name]: tensor for name, tensor in network.state_dict().items()}


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Random weights, statistics and biases that no layer leaves without effect."""
    rng = torch.Generator().manual_seed(0)
    state = published(EfficientNetLite0())
    for name, tensor in state.items():
        if name.endswith("running_var"):
            tensor.copy_(torch.rand(tensor.shape, generator=rng) * 0.5 + 1e-3)  # so small that eps shows
        elif name.endswith("running_mean") or (name.endswith(".bias") and "bn" in name):
            tensor.copy_(torch.randn(tensor.shape, generator=rng) * 0.3 + 0.2)
        elif "bn" in name and name.endswith(".weight"):
            tensor.copy_(torch.rand(tensor.shape, generator=rng) + 0.5)
    return state


def reference(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Logits. A SAME convolution of stride 2 is every second place of one of stride 1, which has equal pads."""

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        groups = x.shape[1] if weight.shape[1] == 1 else 1
        whole = F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=groups)
        rows, columns = ((size + 1) % 2 if stride == 2 else 0 for size in x.shape[2:])
        return whole[:, :, rows::stride, columns::stride]

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, gain, bias = (
            state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-3).sqrt() * gain + bias

    def relu6(x: Tensor) -> Tensor:
        return x.clamp(0, 6)

    h = relu6(norm(conv(x, "_conv_stem", 2), "_bn0"))
    for i in range(16):
        inside, block = h, f"_blocks.{i}."
        if f"{block}_expand_conv.weight" in state:
            inside = relu6(norm(conv(h, f"{block}_expand_conv"), f"{block}_bn0"))
        inside = relu6(norm(conv(inside, f"{block}_depthwise_conv", STRIDES.get(i, 1)), f"{block}_bn1"))
        out = norm(conv(inside, f"{block}_project_conv"), f"{block}_bn2")
        h = h + out if out.shape == h.shape else out
    h = relu6(norm(conv(h, "_conv_head"), "_bn1"))
    return h.flatten(2).mean(2) @ state["_fc.weight"].T + state["_fc.bias"]


@pytest.mark.parametrize("size", [(64, 64), (37, 50)])
def test_logits_are_those_of_the_reference(state, size):
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1)).double()
    state = {name: tensor.double() for name, tensor in state.items()}
    network = from_published(state)
    assert not network.training
    expected = reference(state, x)
    with torch.no_grad():
        logits, features = network(x), network.features(x)
    assert logits.shape == (2, 1000)
    assert features.shape == (2, 1280)
    assert expected.std() > 1e-3  # the input reaches the logits
    assert (expected[0] - expected[1]).abs().max() > 1e-3
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(features @ state["_fc.weight"].T + state["_fc.bias"], logits, rtol=1e-9, atol=1e-9)


def test_published_weights_have_these_sizes_and_no_others(state):
    assert sum(tensor.numel() for name, tensor in state.items() if "running" not in name) - 49 == 4_652_008
    assert len(state) == 296
    with pytest.raises(RuntimeError, match=r"fc\.bias"):
        from_published({name: tensor for name, tensor in state.items() if name != "_fc.bias"})


def test_the_odd_zero_of_same_padding_goes_behind():
    conv = SameConv(1, 1, 3, 2)
    torch.nn.init.ones_(conv.weight)
    x = torch.arange(4.0).expand(1, 1, 4, 4)
    with torch.no_grad():
        assert conv(x)[0, 0].tolist() == [[9, 15], [6, 10]]  # columns 0+1+2, 2+3+(0); rows 3, then 2 and a zero


def test_pixels_are_scaled_as_the_network_was_trained():
    pixels = torch.tensor([0.0, 127.0, 255.0])
    assert scaled(pixels / 127.5 - 1).tolist() == pytest.approx([-127 / 128, 0, 1], abs=1e-6)
