"""The mean Jacobian and what is read off it, against oracles."""

import pytest
import torch
from tiny import everything, same
from torch import nn

from minegan_lite.chapters.latents import main_directions, mean_jacobian, principal_plane
from minegan_lite.errors import UserError
from minegan_lite.miner import Miner
from tests.close import close, terms


def draws(n, dim, seed=0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


def test_a_linear_miners_mean_jacobian_is_its_weight():
    miner = Miner((5, 3))
    close(mean_jacobian(miner, draws(7, 5)), miner.layers[0].weight.detach(), 7)  # a mean over seven draws


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh"])
def test_it_is_the_mean_of_the_jacobians(activation):
    miner, u = Miner((4, 9, 6, 5), activation, "glorot").double(), draws(50, 4)
    each = torch.stack([torch.autograd.functional.jacobian(miner, one) for one in u.double()])  # (50, 5, 4)
    close(mean_jacobian(miner, u), each.mean(0), *terms(miner), 50)


def test_it_agrees_with_finite_differences_of_a_relu_miner():
    miner, u = Miner((4, 16, 4)).double(), draws(400, 4).double()
    step = 1e-6
    with torch.no_grad():
        columns = [(miner(u + step * e) - miner(u - step * e)).mean(0) / (2 * step) for e in torch.eye(4).double()]
    torch.testing.assert_close(mean_jacobian(miner, u), torch.stack(columns, 1), atol=1e-5, rtol=1e-5)


def test_any_module_will_do_and_is_left_as_it_was():
    miner = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Dropout(), nn.utils.spectral_norm(nn.Linear(6, 3)))
    miner(draws(8, 3))
    before = everything(miner)
    first = mean_jacobian(miner, draws(20, 3))
    assert same(before, everything(miner))
    assert torch.equal(first, mean_jacobian(miner, draws(20, 3)))


def test_a_jacobian_that_is_not_finite_is_refused():
    miner = Miner((2, 2))
    miner.layers[0].weight.data[0, 0] = torch.nan
    with pytest.raises(UserError, match="not finite"):
        mean_jacobian(miner, draws(5, 2))


@pytest.mark.parametrize("shape", [(6, 6), (3, 6), (9, 6)])
def test_main_directions_are_orthonormal_and_stretched_by_their_values(shape):
    jacobian = draws(*shape)
    directions, values = main_directions(jacobian, 6)
    close(directions @ directions.T, torch.eye(6), 6)
    stretched = jacobian @ directions.T  # (|z|, 6): orthogonal columns, as long as the values say
    close(stretched.T @ stretched, values.square().diag(), 6, shape[0])
    assert (values.diff() <= 0).all()
    assert (directions.gather(1, directions.abs().argmax(1, keepdim=True)) > 0).all()
    fewer = main_directions(jacobian, 2)
    assert torch.equal(fewer[0], directions[:2])
    assert torch.equal(fewer[1], values[:2])


def test_the_first_direction_is_stretched_most():
    jacobian = draws(5, 4)
    others = nn.functional.normalize(draws(2000, 4, seed=1))
    _, values = main_directions(jacobian, 1)
    lengths = (others @ jacobian.T).norm(dim=1)
    assert 0.9 * values[0] < lengths.max() <= values[0]


def test_the_sign_does_not_depend_on_that_of_the_jacobian():
    jacobian = draws(5, 4)
    for one, other in zip(main_directions(jacobian, 4), main_directions(-jacobian, 4), strict=True):
        close(one, other, 5, 4)


@pytest.mark.parametrize("k", [-1, 0, 5])
def test_a_wrong_number_of_directions_is_refused(k):
    with pytest.raises(UserError, match=rf"between 1 and \|u\| = 4, got {k}"):
        main_directions(torch.eye(4), k)


def test_the_principal_plane_is_where_the_points_lie():
    basis = torch.linalg.qr(draws(6, 3)).Q.T  # (3, 6), orthonormal
    points = draws(400, 3) * torch.tensor([5.0, 2.0, 0.01]) @ basis + 7
    centre, plane = principal_plane(points)
    close(centre, points.mean(0), 400)
    torch.testing.assert_close((plane @ basis.T).abs(), torch.eye(2, 3), atol=0.1, rtol=0)


@pytest.mark.parametrize("shape", [(1, 4), (4, 1)])
def test_too_little_for_a_plane_is_refused(shape):
    with pytest.raises(UserError, match="a plane needs"):
        principal_plane(torch.zeros(shape))
