"""The latent shift under one's hands: u moves along the miner's main directions, and M(u), G(u), G(M(u)) follow."""

import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import traitlets
from ipywidgets import Button, FloatSlider
from torch import Tensor

from minegan_lite import zoo
from minegan_lite.chapters.latents import main_directions, mean_jacobian, principal_plane
from minegan_lite.chapters.widgets import live
from minegan_lite.errors import UserError
from minegan_lite.mined import Mined, input_prior
from minegan_lite.networks.mnist import DigitClassifier
from minegan_lite.nn import draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ReadOut = Callable[[Tensor], list[str]]
DRAWS = 2000  # draws of the prior, for the mean Jacobian, the plane and its extent
DIGITS = DigitClassifier.image_shape
ARROWS = 40  # draws that are shown as arrows
REACH = 3.0  # the sliders' ends, in standard deviations of N(0, I)


class Picture(live.Drawn):
    """What latent_shift.js draws.

    arrows: [x, y, x', y'] from u to M(u) in the plane, one for each fixed draw; they never change.
    shown: a dict of everything that the controls change: `images` (two data URLs, G(u) and G(M(u))), `captions` (two),
        `current` (one more arrow), `bounds` [x, y, x', y'] of the plane, `lines` of numbers.
    """

    _esm = live.front_end("latent_shift.js")
    _css = live.front_end("latent_shift.css")
    arrows: traitlets.List = traitlets.List().tag(sync=True)


class LatentShift(live.Live):
    """G(u) beside G(M(u)), and u → M(u) as arrows, while sliders push u along the miner's main directions.

    The sliders are the leading right-singular vectors of the miner's mean Jacobian (see latents.main_directions), each
    with its singular value: how much M stretches a step along it. Their values, from −3 to 3 standard deviations of
    N(0, I), are added to a draw u ~ p(u). The arrows show 40 fixed draws and, drawn stronger, the current u, in the
    plane in which M(u) varies most. The plane is fixed. It shows the first two sliders best: with a linear miner they
    would move M(u) within the plane, and the other sliders at right angles to it.

    mined: any Mined of one source, finished or not, of stage one or two. k: how many sliders. ema: as in Mined.sample.
    seed: of the fixed draws, and the first value of the control `draw_seed`; 0 to 9999.
    read_out: a function of images (2, C, H, W), G(u) and G(M(u)), that gives a word for each; None takes the digit
        classifier's verdicts for the zoo's GANs, and no words for others.
    Raises UserError for k below 1 or above |u|, a seed out of range, |u| ≠ |z| (there is no G(u) then), latents or
    images that are not finite, and a read_out that does not give two words.

    `sliders`, `draw_seed` and `reset` are ordinary ipywidgets and `picture` an anywidget, to be linked or rearranged;
    `images` holds G(u), G(M(u)) (2, C, H, W). JupyterLab and Notebook 7 need nothing more, VS Code its Jupyter
    extension; in Colab, anywidget itself turns the manager for such widgets on. It is Python that computes, so without
    a kernel the controls do nothing. Therefore the cell's next output is the last picture as a PNG, renewed whenever a
    drag comes to rest: what a page, GitHub, or a notebook reopened without its kernel shows. JupyterLab and Notebook 7
    hide it as long as the widget itself is there.
    """

    def __init__(
        self,
        mined: Mined,
        *,
        k: int = 4,
        seed: int = 0,
        ema: bool | None = None,
        read_out: ReadOut | None = None,
    ):
        if len(mined.sources) > 1:
            raise UserError(f"LatentShift moves the u of one miner, {len(mined.sources)} sources were mined: give one")
        self.draw_seed = live.seed_control(seed, "draw of u (seed)")
        self._miner, self._generator = mined.networks(ema)
        self._prior = input_prior(mined.gan, mined.miner)
        digits = mined.gan.name in zoo.names() and mined.image_shape == DIGITS  # men-32 draws none
        self._read_out = read_out or (digit_verdicts() if digits else None)
        u, z = mined.latents(DRAWS, seed=seed, ema=ema)
        lengths = u.shape[1], z.shape[1], self._generator.latent_dim
        if len(set(lengths)) > 1:
            raise UserError(
                "G(u) beside G(M(u)) needs |u| = |M(u)|, the length that the generator takes: these are "
                f"{lengths[0]}, {lengths[1]} and {lengths[2]}"
            )
        if not z.isfinite().all():
            raise UserError("the mined latents are not finite: mine again with lower learning rates")
        self.directions, self.amplifications = main_directions(mean_jacobian(self._miner, u), k)  # (k, |u|), (k,)
        self._plane = principal_plane(z)
        before, after = self._project(u), self._project(z)  # (DRAWS, 2) each
        self._cloud = torch.cat([before, after])

        wide = {"description_width": "10em"}
        self.picture = Picture(arrows=_rounded(torch.cat([before, after], dim=1)[:ARROWS]))
        self.sliders = [
            FloatSlider(
                min=-REACH, max=REACH, step=0.1, readout_format=".1f", style=wide, layout={"width": "auto"},
                description=f"direction {i} (×{value:.2f})",
            )
            for i, value in enumerate(self.amplifications.tolist(), start=1)
        ]  # fmt: skip
        self.reset = Button(description="Sliders to 0")
        self._update()
        for control in (*self.sliders, self.draw_seed):
            control.observe(self._update, "value")
        self.reset.on_click(self._to_zero)
        super().__init__([*self.sliders, self.draw_seed, self.reset, self.picture], "latent-shift")

    def __repr__(self) -> str:
        return f"LatentShift: {'; '.join(self.picture.shown['captions'] + self.picture.shown['lines'])}"

    def _update(self, _change: Any = None) -> None:
        """From the controls' values to `images` and to what the browser draws."""
        start = self._prior(1, torch.Generator().manual_seed(self.draw_seed.value))
        offsets = torch.tensor([[slider.value for slider in self.sliders]])
        u = torch.cat([start, start + offsets @ self.directions])  # (2, |u|): the draw, and where the sliders put it
        z = draw(self._miner, u)
        images = draw(self._generator, torch.stack([u[1], z[1]]))
        if not (z.isfinite().all() and images.isfinite().all()):
            raise UserError("the image is not finite here: mine again with lower learning rates")
        words = ["", ""] if self._read_out is None else self._read_out(images)
        if not (isinstance(words, list | tuple) and [type(word) for word in words] == [str, str]):
            raise UserError(f"read_out must give two strings, one for each image; it gave {words!r}")
        captions = [f"{name}: {word}" if word else name for name, word in zip(("G(u)", "G(M(u))"), words, strict=True)]
        moved, stretched = ((x[1] - x[0]).norm().item() for x in (u, z))
        lines = [
            f"‖u‖ = {u[1].norm():.2f}, ‖M(u)‖ = {z[1].norm():.2f}, ‖M(u) − u‖ = {(z[1] - u[1]).norm():.2f}",
            f"the sliders moved u by {moved:.2f} and M(u) by {stretched:.2f}"
            + (f": stretched {stretched / moved:.2f} times" if moved else ""),
        ]
        current = self._project(torch.stack([u[1], z[1]]))  # (2, 2)
        reached = torch.cat([self._cloud, current])
        self.images = images
        self.picture.shown = {
            "images": [live.data_url(image) for image in images],
            "captions": captions,
            "current": _rounded(current.flatten()),
            "bounds": _rounded(torch.cat([reached.min(0).values, reached.max(0).values])),
            "lines": lines,
        }

    def _to_zero(self, _button: Button) -> None:
        for slider in self.sliders:
            slider.value = 0.0

    def _project(self, points: Tensor) -> Tensor:
        """Latents (n, |z|) → their places (n, 2) in the plane."""
        centre, directions = self._plane
        return (points - centre) @ directions.T

    def figure(self) -> "Figure":
        """The same picture drawn by Matplotlib: both images, the arrows and the numbers, as the controls stand now."""
        from matplotlib.figure import Figure

        shown = self.picture.shown
        figure = Figure(figsize=(9, 4), layout="compressed")
        *places, plane = figure.subplots(1, 3, width_ratios=(1, 1, 1.4))
        for axes, image, caption in zip(places, self.images, shown["captions"], strict=True):
            axes.imshow(live.pixels(image), cmap="gray", vmin=0, vmax=255)
            axes.set_title(caption)
            axes.axis("off")
        fixed, strong = {"ec": "gray", "lw": 0.5}, {"ec": "black", "lw": 1.5, "mutation_scale": 20}
        for arrow, look in [*((arrow, fixed) for arrow in self.picture.arrows), (shown["current"], strong)]:
            look = {"arrowstyle": "-|>", "fc": "tab:orange", "shrinkA": 0, "shrinkB": 0} | look
            plane.annotate("", arrow[2:], arrow[:2], arrowprops=look).set_in_layout(False)
        plane.scatter(*torch.tensor([*self.picture.arrows, shown["current"]]).T[:2], s=8, color="gray", label="u")
        plane.plot([], [], ">", color="tab:orange", label="M(u)")
        left, bottom, right, top = shown["bounds"]
        plane.set(xlim=(left - 1, right + 1), ylim=(bottom - 1, top + 1), aspect="equal")
        plane.set(xlabel="first principal direction of M(u)", ylabel="second")
        plane.legend()
        values = [f"draw {self.draw_seed.value}", *(f"{s.description}: {s.value:.1f}" for s in self.sliders)]
        figure.supxlabel("\n".join([textwrap.fill(", ".join(values), 110), *shown["lines"]]), fontsize=10)
        return figure


def digit_verdicts() -> ReadOut:
    """A read_out for digits (n, 1, 28, 28): the likeliest class for the zoo's classifier, and its probability."""
    classifier = zoo.load_classifier()

    def verdicts(images: Tensor) -> list[str]:
        shares, digits = draw(classifier, images).softmax(1).max(1)  # (n,) each
        return [f"{digit} ({share:.0%})" for digit, share in zip(digits.tolist(), shares.tolist(), strict=True)]

    return verdicts


def _rounded(places: Tensor) -> list:
    return places.double().round(decimals=3).tolist()
