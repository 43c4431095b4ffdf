"""What a miner does to latents: its mean Jacobian, the directions that it amplifies most, a plane to see it in."""

import torch
from torch import Tensor, nn

from minegan_lite.errors import UserError
from minegan_lite.nn import frozen


def mean_jacobian(miner: nn.Module, u: Tensor) -> Tensor:
    """E_u[∂M/∂u] over draws u (n, |u|) of the prior, (|z|, |u|) on the CPU; any miner that maps each row by itself.

    One shift δ common to all draws moves their mean output by it: J̄ is the derivative of mean M(u + δ) at δ = 0. So no
    (n, |z|, |u|) is ever held, only |z| backward passes through the n draws. Raises UserError where it is not finite.
    """
    weight = next(miner.parameters())
    u = u.to(weight)
    with frozen(miner):
        jacobian = torch.autograd.functional.jacobian(lambda shift: miner(u + shift).mean(0), torch.zeros_like(u[0]))
    if not jacobian.isfinite().all():
        raise UserError("the miner's Jacobian is not finite: mine again with lower learning rates")
    return jacobian.cpu()


def main_directions(jacobian: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Right-singular vectors (k, |u|) of a Jacobian (|z|, |u|), and singular values (k,), the largest first.

    N(0, I) itself has no main directions; these are the miner's. On average, a step of length 1 along the i-th moves z
    by the i-th singular value, and the moves for different i are orthogonal. The sign of a direction is chosen so that
    its largest entry is positive. Raises UserError for k below 1 or above |u|.
    """
    if not 1 <= k <= jacobian.shape[1]:
        raise UserError(f"the number of directions must lie between 1 and |u| = {jacobian.shape[1]}, got {k}")
    _, values, vectors = torch.linalg.svd(jacobian.double())
    vectors = vectors[:k]
    signs = vectors.gather(1, vectors.abs().argmax(1, keepdim=True)).sign()
    # directions beyond |z| are not amplified at all
    values = torch.cat([values, values.new_zeros(jacobian.shape[1])])[:k]
    return (vectors * signs).float(), values.float()


def principal_plane(z: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (d,) of latents z (n, d) and the two orthonormal directions (2, d) in which they vary most.

    Raises UserError for n or d below 2.
    """
    if min(z.shape) < 2:
        raise UserError(f"a plane needs at least two latents of at least two numbers, got {tuple(z.shape)}")
    centre = z.mean(0)
    _, _, directions = torch.linalg.svd(z - centre, full_matrices=False)
    return centre, directions[:2]
