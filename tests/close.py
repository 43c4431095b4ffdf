"""How far rounding may set two computations of one thing apart: the bound by which the tests compare networks.

Bytes are equal where one computation is done twice. Where two ways lead to one result (a batch and its rows, our
network and a published one, a formula and the library's loop), each processor sums in an order of its own and rounds
in other places, and equal bytes are luck.
"""

from torch import Tensor, finfo, float32, nn


def terms(*networks: nn.Module) -> list[int]:
    """For each layer, how many products one of its outputs sums: what `rounding` asks for."""
    weights = [weight for network in networks for weight in network.parameters() if weight.dim() > 1]
    return [max(weight[0].numel(), weight[:, 0].numel()) for weight in weights]


def rounding(*sizes: int, dtype=float32) -> float:
    """The relative difference that rounding can make between two computations of sums of `sizes` terms, layer on layer.

    However n products are summed, the error is at most n·u times the sum of their magnitudes, u = eps/2 being the
    dtype's unit roundoff (Higham 2002, Sec. 3.1). Errors of layers add up, to first order, and those of two
    computations too: eps · (n₁ + n₂ + …). That is relative to the sum of magnitudes, which exceeds the largest sum by
    about √n where signs are mixed; but roundings, too, are of mixed signs and grow as √n instead of n (Higham & Mary
    2019). So the same number bounds the difference relative to the largest result.
    """
    return finfo(dtype).eps * sum(sizes)


def close(actual: Tensor, expected: Tensor, *sizes: int) -> None:
    """Asserts that two tensors of one shape differ by `rounding` of their largest entry at most."""
    assert actual.shape == expected.shape
    dtype = max(actual.dtype, expected.dtype, key=lambda dtype: finfo(dtype).eps)
    bound = rounding(*sizes, dtype=dtype) * expected.abs().max().item()
    apart = (actual - expected).abs().max().item()
    assert apart <= bound, f"{apart:.3g} apart, where rounding accounts for {bound:.3g}"
