"""Figures: image grids, latents before and after the miner, training histories. Matplotlib is imported when used."""

import io
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from minegan_lite.chapters.latents import principal_plane
from minegan_lite.errors import UserError
from minegan_lite.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's: told apart by whoever does not see red or green, too
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
MARKERS = "osD^v"


def tile(images: Tensor, columns: int = 8, gap: int = 1) -> Tensor:
    """Images (n, C, H, W) in [−1, 1] → one uint8 picture (C, rows·(H+gap)+gap, columns·(W+gap)+gap), white gaps.

    Values outside [−1, 1] are clipped. Raises UserError for anything but a non-empty (n, C, H, W).
    """
    if images.ndim != 4 or len(images) == 0:
        raise UserError(f"a grid needs images (n, C, H, W), got {tuple(images.shape)}")
    n, channels, height, width = images.shape
    rows, columns = -(-n // columns), min(columns, n)
    canvas = torch.full((channels, rows * (height + gap) + gap, columns * (width + gap) + gap), 255, dtype=torch.uint8)
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    for i, image in enumerate(pixels):
        top, left = gap + (i // columns) * (height + gap), gap + (i % columns) * (width + gap)
        canvas[:, top : top + height, left : left + width] = image
    return canvas


def save_grid(images: Tensor, path: str | Path, columns: int = 8, scale: int = 2) -> Path:
    """Writes the grid of images as a PNG, each pixel `scale` wide. If writing fails, the file stays as it was.

    Raises UserError for images that are not finite, and if the file cannot be written.
    """
    from PIL import Image

    if not images.isfinite().all():
        raise UserError("the images hold numbers that are not finite: there is no picture of them")
    picture = tile(images, columns).permute(1, 2, 0).squeeze(2).numpy()  # (H, W) or (H, W, 3)
    path, content = Path(path), io.BytesIO()
    image = Image.fromarray(picture)
    image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST).save(content, format="PNG")
    try:
        write_atomically(path, content.getvalue())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None
    return path


def grids(columns: int = 8, size: tuple[float, float] | None = None, **named: Tensor) -> "Figure":
    """Grids of images side by side, each under its name (underscores become spaces).

    size: of the figure in inches; None takes 4.2 of width for each grid.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size or (4.2 * len(named), 4.4), layout="constrained")
    for axes, (name, images) in zip(figure.subplots(1, len(named), squeeze=False)[0], named.items(), strict=True):
        axes.imshow(tile(images, columns).permute(1, 2, 0).squeeze(2).numpy(), cmap="gray", vmin=0, vmax=255)
        axes.set_title(name.replace("_", " "))
        axes.axis("off")
    return figure


def latents(u: Tensor, z: Tensor, arrows: int = 60) -> "Figure":
    """What the miner does to the prior: u (n, d) and z = M(u) (n, d).

    Left: histograms of the lengths ‖u‖ and ‖z‖. Right: u and z in the plane in which z varies most, with arrows from u
    to M(u) for the first few.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    lengths, plane = figure.subplots(1, 2)
    bins = torch.linspace(0, max(u.norm(dim=1).max(), z.norm(dim=1).max()).item() * 1.05, 60).tolist()
    for values, label, colour in ((u, "u ~ p(u)", "tab:gray"), (z, "z = M(u)", "tab:orange")):
        lengths.hist(values.norm(dim=1).tolist(), bins=bins, alpha=0.7, label=label, color=colour)
    lengths.set(xlabel="length of the latent", ylabel="samples")
    lengths.legend()

    centre, directions = principal_plane(z)
    before, after = ((points - centre) @ directions.T for points in (u, z))  # (n, 2) each
    plane.scatter(*before.T.tolist(), s=4, color="tab:gray", label="u ~ p(u)")
    plane.scatter(*after.T.tolist(), s=4, color="tab:orange", label="z = M(u)")
    for start, end in zip(before[:arrows].tolist(), after[:arrows].tolist(), strict=True):
        plane.annotate("", end, start, arrowprops={"arrowstyle": "->", "lw": 0.5, "alpha": 0.5})
    plane.set(xlabel="first principal direction of z", ylabel="second")
    plane.legend()
    return figure


def history(entries: list[dict[str, Any]], metric: str = "metric") -> "Figure":
    """Critic and miner loss (left) and the metric (right, called `metric`) over the steps of a run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    losses, values = figure.subplots(1, 2)
    steps = [entry["step"] for entry in entries]
    for key in ("critic_loss", "miner_loss"):
        losses.plot(steps, [entry[key] for entry in entries], label=key.replace("_", " "), marker=".")
    losses.set(xlabel="step")
    losses.legend()
    values.plot(steps, [entry["metric"] for entry in entries], color="tab:green", marker=".")
    values.set(xlabel="step", ylabel=metric, ylim=(0, None))
    return figure


def dots(
    axes: "Axes",
    rows: Mapping[str, Mapping[str, Sequence[float]]],
    marks: Mapping[str, float | None] | None = None,
    mark: str = "floor",
) -> None:
    """A line for each row, the first at the top: of each series a small dot for each value and a large one at the mean.

    rows: {row: {series: values, one a seed}}, no values where nothing is recorded yet, which is said. marks: {row: a
    number that all of them are compared with}, called `mark`, None where there is none yet.
    """
    for place, (row, of_series) in enumerate(rows.items()):
        if not any(of_series.values()):
            axes.annotate("pending", (0.5, place), xycoords=("axes fraction", "data"), ha="center", va="center")
        for i, (series, values) in enumerate(of_series.items()):
            at = place + 0.24 * (i - (len(of_series) - 1) / 2)
            axes.plot(values, [at] * len(values), MARKERS[i], ms=4, color=COLOURS[i], alpha=0.5)
            mean = [statistics.fmean(values)] if values else []
            axes.plot(mean, [at] * len(mean), MARKERS[i], ms=8, color=COLOURS[i], label=None if place else series)
        if (number := (marks or {}).get(row)) is not None:
            axes.plot([number] * 2, [place - 0.4, place + 0.4], color="k", label=None if place else mark)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)


def curves(
    axes: "Axes",
    lines: Mapping[str, Mapping[float, Sequence[float]]],
    number: float | None = None,
    mark: str = "floor",
) -> None:
    """A line for each name through its means, with a dot for each value, over a logarithmic x.

    lines: {name: {x: values, one a seed}}; an x without values is left out. number: what all of them are compared
        with, called `mark`, as a dashed line; None where there is none.
    """
    for i, (name, points) in enumerate(lines.items()):
        there = {x: values for x, values in points.items() if values}
        axes.plot(list(there), list(map(statistics.fmean, there.values())), color=COLOURS[i], label=name)
        for x, values in there.items():
            axes.plot([x] * len(values), values, MARKERS[i], ms=4, color=COLOURS[i])
    if number is not None:
        axes.axhline(number, color="k", ls="--", label=mark)
    if not any(values for points in lines.values() for values in points.values()):
        axes.annotate("pending", (0.5, 0.5), xycoords="axes fraction", ha="center", va="center")
    axes.set_xscale("log")
    ticks = sorted({x for points in lines.values() for x in points})
    axes.set_xticks(ticks, [f"{x:g}" for x in ticks], minor=False)
    axes.minorticks_off()
