"""The benchmark's own parts at a tiny size: what it writes is the layout, and it measures what it loads."""

import pytest
import torch

from benchmarks import load_full_size
from minegan_lite.checkpoints import biggan_deep_hf, biggan_pytorch, load
from minegan_lite.checkpoints.loading import iterate
from minegan_lite.networks import biggan, biggan_deep


@pytest.mark.parametrize(
    ("network", "rules", "spectral", "prepared"),
    [
        (
            lambda: biggan.Generator(32, 4, 3, 5, 2, attention=(16,)),
            biggan_pytorch.GENERATOR,
            biggan_pytorch.SPECTRAL,
            iterate,  # as each forward of that layout's code
        ),
        (
            lambda: biggan_deep.Generator(32, 4, 5, 5, 2, attention=(16,)),
            biggan_deep_hf.rules([0, 1, 2, 3, 5, 6]),
            biggan_deep_hf.SPECTRAL,
            lambda network: network,
        ),
    ],
    ids=["biggan", "biggan-deep"],
)
def test_what_the_benchmark_writes_is_loaded(tmp_path, network, rules, spectral, prepared):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = network().eval()
    torch.save(load_full_size.written(network, rules, spectral), tmp_path / "tiny.pth")
    z, embedding = torch.ones(2, network.latent_dim), network.embed(torch.tensor([0, 1]))
    expected = prepared(network)(z, embedding)
    assert torch.equal(load(tmp_path / "tiny.pth").generator(z, embedding), expected)
    measured = load_full_size.measure(tmp_path / "tiny.pth")
    assert measured["resolution"] == 32
    assert measured["memory_gb"] > 0.1
