"""The moving average against its recursion."""

import pytest
import torch
from tiny import tiny_gan, tiny_target
from torch import nn

from minegan_lite import config, mine
from minegan_lite import nn as networks


def test_average_follows_the_recursion_with_warm_up():
    net = nn.Linear(1, 1, bias=False)
    average = networks.averaged(net, decay=0.9)
    expected = None
    for update, value in enumerate([1.0, 5.0, -2.0, 4.0, 4.0]):
        nn.init.constant_(net.weight, value)
        average.update_parameters(net)
        decay = min(0.9, (1 + update) / (10 + update))
        expected = value if update == 0 else decay * expected + (1 - decay) * value
        assert average.module.weight.item() == pytest.approx(expected)


def test_decay_warms_up_to_its_value():
    assert networks.decay_at(0) == 0.1
    assert networks.decay_at(100_000) == networks.DECAY == 0.999


def test_average_shares_no_memory_and_follows_buffers():
    net = nn.BatchNorm1d(3)
    average = networks.averaged(net)
    before = net.weight.clone()
    with torch.no_grad():
        net.weight.add_(1)
    assert torch.equal(average.module.weight, before)
    net(torch.randn(8, 3))
    average.update_parameters(net)
    assert torch.equal(average.module.running_mean, net.running_mean)


def test_precision_auto_is_bfloat16_where_the_device_has_it(monkeypatch):
    cpu = torch.device("cpu")
    for native, precision in ((True, "bf16"), (False, "32")):
        monkeypatch.setattr(config, "native_bf16", lambda device, native=native: native)
        mined = mine(tiny_gan(), tiny_target(), steps=1, batch=4, device="cpu", progress=False)
        assert mined.record["precision"] == config.resolve(config.Mining, None, {}, device=cpu).precision == precision
        asked = mine(tiny_gan(), tiny_target(), steps=1, batch=4, device="cpu", progress=False, precision="32")
        assert asked.record["precision"] == "32"


def test_a_processor_without_the_instructions_computes_in_float32(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert not networks.native_bf16(torch.device("cpu"))
    assert not networks.native_bf16(torch.device("meta"))
