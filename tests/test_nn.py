"""The moving average against its recursion."""

import pytest
import torch
from torch import nn

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
