"""Random checkpoints and plain functions on raw state dicts, in double precision, to hold loaded networks against."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from minegan_lite import checkpoints
from minegan_lite.gan import GAN

# Between two ways to one result, relative to its largest number. Both calculate in double precision, but σ of a layer
# that iterates on loading is of single precision: wrong by a few eps, in each of about 20 layers. In a gradient a
# layer's σ counts twice or more, with all that follows it.
SINGLE = torch.finfo(torch.float32).eps
OUTPUTS, GRADIENTS = 20 * 4 * SINGLE, 10 * 20 * 4 * SINGLE  # 1e-5, 1e-4

State = dict[str, Tensor]


def drawn(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> State:
    """Weights of the usual size; variances from 0.05 on, so that an eps shows; u and v of spectral norm of length 1,
    v belonging to u, and both far from the singular vectors."""
    rng = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in shapes.items():
        x = torch.randn(shape, generator=rng)
        if "var" in key:
            x = 0.05 + 2 * x.abs()
        elif key.endswith(("u", "u0")):
            x = F.normalize(x, dim=-1)
        elif x.ndim > 1:
            x = x / x[0].numel() ** 0.5
        else:
            x = 0.3 * x + 0.2
        state[key] = x
    for key in [key for key in state if key.endswith("weight_v")]:
        layer = key.removesuffix("weight_v")
        state[key] = F.normalize(state[f"{layer}weight_u"] @ state[f"{layer}weight_orig"].flatten(1), dim=0)
    return state


def load(source, **options) -> GAN:
    """The checkpoint as a GAN, its weights in double precision from then on."""
    gan = checkpoints.load(source, **options)
    for network in (gan.generator, gan.critic):
        if network is not None:
            network.double()
    return gan


def double(state: State) -> State:
    return {key: x.double() for key, x in state.items()}


def same(ours: Callable, reference: Callable, x: Tensor) -> bool:
    """Whether two functions of x agree in double precision, in outputs and gradients to x."""
    results = []
    for function in (ours, reference):
        own = x.clone().requires_grad_()
        out = function(own)
        weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        results.append((out, torch.autograd.grad((out * weights).sum(), own)[0]))
    (out, gradient), (expected, expected_gradient) = results
    assert expected.std() > 1e-3, "a reference that hardly varies proves nothing"
    return close(out, expected, OUTPUTS) and close(gradient, expected_gradient, GRADIENTS)


def close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return a.shape == b.shape and bool((a - b).abs().max() <= tolerance * b.abs().max())


def conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def normed(x: Tensor, mean: Tensor, var: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Batch norm by stored statistics (c,); gain and bias (c,) or (n, c)."""
    x = (x - mean[:, None, None]) / (var[:, None, None] + eps) ** 0.5
    return x * gain[..., None, None] + bias[..., None, None]


def up(x: Tensor, mode: str) -> Tensor:
    if mode == "nearest":
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def down(x: Tensor) -> Tensor:
    return x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean((3, 5))


def attention(x: Tensor, theta: Tensor, phi: Tensor, g: Tensor, o: Tensor, gamma: Tensor) -> Tensor:
    """x + gamma · o(Σ_j softmax_j(θ_i·φ_j) g_j), φ and g being maxima of 2×2 places."""
    small = [conv(x, w).unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).amax((3, 5)).flatten(2) for w in (phi, g)]
    weights = torch.einsum("nci,ncj->nij", conv(x, theta).flatten(2), small[0]).softmax(2)
    return x + gamma * conv(torch.einsum("nij,ncj->nci", weights, small[1]).reshape(len(x), -1, *x.shape[2:]), o)


def stored_sigma(weight: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """W / uᵀWv."""
    return weight / torch.einsum("i,ij,j->", u.flatten(), weight.flatten(1), v.flatten())


def iterated_sigma(weight: Tensor, u: Tensor) -> Tensor:
    """W / σ after one power iteration from u."""
    matrix = weight.flatten(1)
    v = matrix.T @ u.flatten()
    v = v / v.norm()
    return weight / (matrix @ v).norm()


def spectral_torch(state: State, layer: str) -> Tensor:
    return stored_sigma(state[f"{layer}.weight_orig"], state[f"{layer}.weight_u"], state[f"{layer}.weight_v"])


def spectral_shapes(layer: str, *shape: int, bias: bool = True) -> dict[str, tuple[int, ...]]:
    """A spectrally normalised layer's tensors, as torch's hook spells them."""
    columns = torch.Size(shape[1:]).numel()
    shapes = {
        f"{layer}.weight_orig": shape,
        f"{layer}.weight_u": (shape[0],),
        f"{layer}.weight_v": (columns,),
    }
    return {f"{layer}.bias": (shape[0],), **shapes} if bias else shapes


def one_hot(labels: Tensor, classes: int) -> Tensor:
    return torch.eye(classes, dtype=torch.float64)[labels]
