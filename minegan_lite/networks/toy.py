"""A generator in two dimensions that is known exactly: N(0, I) → a mixture of Gaussians, and a critic for points.

Where G is known, so is what a perfect miner would do: the chapter on the idea in two dimensions plots it.
The map is the Knothe–Rosenblatt rearrangement (Rosenblatt 1952): one coordinate after the other, by quantiles.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.special import erfc, log_ndtr, ndtri

from minegan_lite.errors import UserError

HALVINGS = 24  # of a bracket a few units wide: the Newton step after them squares what is left


class MixtureGenerator(nn.Module):
    """Latent z (n, 2) → points (n, 2, 1, 1), distributed exactly as Σ_k w_k N(μ_k, σ_k² I) when z ~ N(0, I).

    x₁ = F₁⁻¹(Φ(z₁)), then x₂ = F₂⁻¹(Φ(z₂) | x₁), F being the mixture's distribution functions: smooth, one-to-one,
    and exact in value and gradient however far out z lies. Nothing is clipped: a point may lie outside [−1, 1].

    means: μ (K, 2), the only parameter, so that fine-tuning moves components. sds: σ > 0, one number or K.
    weights: w > 0, K numbers that sum to one; None for equal ones. Raises UserError for anything else.
    """

    latent_dim, embedding_dim, image_shape = 2, None, (2, 1, 1)
    sds: Tensor
    weights: Tensor

    def __init__(self, means: Tensor, sds: float | Tensor, weights: Tensor | None = None):
        super().__init__()
        means = torch.as_tensor(means, dtype=torch.get_default_dtype())
        if means.ndim != 2 or means.shape[1] != 2 or len(means) == 0 or not means.isfinite().all():
            raise UserError(f"a mixture in the plane needs finite means (K, 2), got {means.tolist()}")
        count = len(means)
        sds = torch.as_tensor(sds, dtype=means.dtype)
        weights = torch.full((count,), 1 / count) if weights is None else torch.as_tensor(weights, dtype=means.dtype)
        if sds.shape not in ((), (count,)) or not ((sds > 0) & sds.isfinite()).all():
            raise UserError(
                f"a mixture of {count} needs one positive standard deviation or {count}, got {sds.tolist()}"
            )
        if weights.shape != (count,) or not (weights > 0).all() or abs(weights.sum().item() - 1) > 1e-5:
            raise UserError(f"a mixture of {count} needs as many positive weights of sum 1, got {weights.tolist()}")
        self.means = nn.Parameter(means.clone())
        self.register_buffer("sds", sds.expand(count).clone())
        self.register_buffer("weights", weights.clone())

    def forward(self, z: Tensor) -> Tensor:
        z1, z2 = z.double().unbind(1)
        x1 = quantile(z1, self._log_weights(), *self._column(0))
        x2 = quantile(z2, self._log_weights(x1), *self._column(1))
        x = torch.stack([x1, x2], 1).to(z.dtype)  # (n, 2)
        return x[:, :, None, None]  # (n, 2, 1, 1)

    @torch.no_grad()
    def inverse(self, x: Tensor) -> Tensor:
        """The latents z (n, 2) of points (n, 2, 1, 1); ±inf for a point more than 37 σ away from every component."""
        x1, x2 = x.double()[:, :, 0, 0].unbind(1)
        z1 = score(x1, self._log_weights(), *self._column(0))
        z2 = score(x2, self._log_weights(x1), *self._column(1))
        return torch.stack([z1, z2], 1).to(x.dtype)

    def log_density(self, x: Tensor) -> Tensor:
        """log p_g (n,) of points (n, 2, 1, 1): the mixture's."""
        return self.log_joint(x).logsumexp(1)

    def log_joint(self, x: Tensor) -> Tensor:
        """log w_k + log N(x; μ_k, σ_k² I), (n, K), of points (n, 2, 1, 1); its argmax says which component x is of."""
        x1, x2 = x.double()[:, :, 0, 0].unbind(1)
        return self._log_weights() + log_normal(x1, *self._column(0)) + log_normal(x2, *self._column(1))

    def _log_weights(self, x1: Tensor | None = None) -> Tensor:
        """log w_k, (K,); given x₁ (n,), those of the mixture that x₂ then follows, (n, K)."""
        logs = self.weights.double().log()
        return (logs if x1 is None else logs + log_normal(x1, *self._column(0))).log_softmax(-1)

    def _column(self, i: int) -> tuple[Tensor, Tensor]:
        """Means and standard deviations of coordinate i, (K,) each, in the float64 that all of this is computed in."""
        return self.means[:, i].double(), self.sds.double()


def log_normal(x: Tensor, means: Tensor, sds: Tensor) -> Tensor:
    """log N(x_i; μ_k, σ_k²), (n, K), for x (n,) and μ, σ (K,)."""
    return -((x[:, None] - means) / sds).square() / 2 - (sds * math.sqrt(2 * math.pi)).log()


def quantile(z: Tensor, log_weights: Tensor, means: Tensor, sds: Tensor) -> Tensor:
    """x (n,) with F(x) = Φ(z), z (n,), F the distribution function of a mixture; gradients to all four arguments.

    log_weights: (K,) or (n, K). Bisection finds x without a gradient; one Newton step on log F polishes it and
    carries the gradient that the implicit function theorem gives, since the slope in it is held constant.
    """
    # from the nearer tail, where F or 1 − F keeps its digits: mirrored, as if every z were positive
    side = torch.where(z >= 0, 1.0, -1.0).to(z)
    reach, centres = side * z, side[:, None] * means  # (n,), (n, K)
    with torch.no_grad():
        # F is at most Φ(z) at the lowest of the components' own quantiles, and at least at the highest
        ends = centres + reach[:, None] * sds
        x, step = ends.amin(1), ends.amax(1) - ends.amin(1)
        weights, scale = log_weights.exp(), 1 / (sds * math.sqrt(2))
        tail = erfc(reach / math.sqrt(2))
        for _ in range(HALVINGS):
            step = step / 2
            arms = ((x + step)[:, None] - centres) * scale  # (n, K)
            beyond = (weights * erfc(arms)).sum(1)
            x = torch.where(beyond >= tail, x + step, x)
        log_slope = (log_weights + log_normal(x, centres, sds)).logsumexp(1)
    arms = (centres - x[:, None]) / sds
    log_tail = (log_weights + log_ndtr(arms)).logsumexp(1)
    inverse_slope = (log_tail.detach() - log_slope).exp()
    return side * (x + (log_tail - log_ndtr(-reach)) * inverse_slope)


def score(x: Tensor, log_weights: Tensor, means: Tensor, sds: Tensor) -> Tensor:
    """z (n,) with Φ(z) = F(x): the way back from `quantile`."""
    scaled = (x[:, None] - means) / (sds * math.sqrt(2))
    below, above = ((log_weights.exp() * erfc(side * scaled)).sum(1) / 2 for side in (-1, 1))
    return torch.where(below < above, ndtri(below), -ndtri(above))


class PointCritic(nn.Module):
    """Points (n, 2, 1, 1) → scores (n, 1), two hidden layers; no normalisation, as the gradient penalty asks.

    rng: CPU generator of the initial weights; None takes one seeded with 0.
    """

    image_shape = (2, 1, 1)

    def __init__(self, width: int = 128, rng: torch.Generator | None = None):
        super().__init__()
        self.width = width
        layers = [nn.Linear(2, width), nn.Linear(width, width), nn.Linear(width, 1)]
        self.layers = nn.ModuleList(layers)
        rng = rng or torch.Generator().manual_seed(0)
        for layer in layers:
            reach = 1 / math.sqrt(layer.in_features)  # torch's own default, from a generator of ours
            nn.init.uniform_(layer.weight, -reach, reach, generator=rng)
            nn.init.uniform_(layer.bias, -reach, reach, generator=rng)

    def forward(self, x: Tensor) -> Tensor:
        h = x.flatten(1)  # (n, 2)
        for layer in self.layers[:-1]:
            h = F.leaky_relu(layer(h), 0.2)  # (n, width)
        return self.layers[-1](h)  # (n, 1)
