"""The selector at work: a bar of p for each source, live while mining, and later over the recorded history."""

import math
import textwrap
from numbers import Real
from typing import TYPE_CHECKING, Any

from ipywidgets import Button, IntSlider
from torch import Tensor

from minegan_lite.chapters.widgets import live
from minegan_lite.errors import UserError
from minegan_lite.mined import Mined

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 50  # sources for which there is room
COLUMNS = 8  # of images in the static picture
PAUSE = 10.0  # seconds, while mining, between two static pictures
COLOUR = "#e8710a"  # as in selector_bars.css
NOTHING = {"line": "", "rows": [], "ticks": [], "figures": []}


class Picture(live.Drawn):
    """What selector_bars.js draws: a line of text, then either bars or images.

    shown: a dict. `line`: the text. `rows`: for each bar [name, p, true share, place of the mark, length of the bar];
        the first three are text, the last two fractions of the axis (if the truth is unknown: "" and None). `ticks`:
        labels of the axis' start, middle and end. `figures`: for each image `image` (a data URL), `name`, `note` and
        `winner` (whether it is framed).
    """

    _esm = live.front_end("selector_bars.js")
    _css = live.front_end("selector_bars.css")


class SelectorBars(live.Live):
    """p_i of each source as bars, a supersample with its winner, and single samples drawn by p (Sec. 3.3).

    The bars move while mining: `bars = SelectorBars()`, then `display(bars)`, then `mine(…, watch=bars.update)`. A
    slider shows p as it was after each minibatch that the selector counted (a training step has critic_steps + 1 of
    them). Below the bars is a supersample, one image of each source; a frame marks the image that the critic scores
    highest, and a control sets the seed. The button draws a source with the final p, wherever the slider is, and an
    image of that source: mined.sample(1, seed=seed), with the next seed at each click.

    mined: a Mined; None waits for the first `update`. truth: the sources' true shares of the target by name,
        shown as marks, where they are known; a source that is not named has none. seed: of the first supersample and
        of the first sample, 0 to 9999. ema: as in Mined.sample.
    Raises UserError for a result of one source or of more than 50, a selector that has counted nothing, a truth of
    unknown or ambiguous names, of shares below 0, or that does not sum to 1, a seed out of range, images or scores that
    are not finite, and images of other than 1 or 3 channels.

    `position` (the slider), `supersample_seed` and `sample_one` are ordinary ipywidgets; `shares`, `supersample` and
    `sampled` are anywidgets. Where it runs, and what is left of it without a kernel, is as for LatentShift.
    """

    def __init__(
        self,
        mined: Mined | None = None,
        *,
        truth: dict[str, float] | None = None,
        seed: int = 0,
        ema: bool | None = None,
    ):
        self.supersample_seed = live.seed_control(seed, "supersample (seed)")
        self._truth, self._ema = _checked(truth), ema
        self._next_seed = seed
        self._sample_seed: int | None = None
        self.images: Tensor  # (N, C, H, W), the supersample shown
        self.image: Tensor  # (C, H, W), the sample shown, once there is one
        self.shares = Picture(shown=NOTHING | {"line": "nothing mined yet: give mine(…) watch=….update"})
        self.supersample, self.sampled = Picture(shown=NOTHING), Picture(shown=NOTHING)
        self.position = IntSlider(
            1, min=0, max=1, description="minibatch", disabled=True, style={"description_width": "6em"},
            layout={"width": "auto"},
        )  # fmt: skip
        self.sample_one = Button(description="Sample one", disabled=True)
        self.supersample_seed.disabled = True
        super().__init__(
            [self.shares, self.position, self.supersample_seed, self.supersample, self.sample_one, self.sampled],
            "selector-bars",
        )
        self.position.observe(self._moved, "value")
        self.supersample_seed.observe(self._reseeded, "value")
        self.sample_one.on_click(self._clicked)
        if mined is not None:
            self._take(mined, True)

    def __repr__(self) -> str:
        rows = ", ".join(f"{name} {p}" for name, p, *_ in self.shares.shown["rows"])
        lines = [self.shares.shown["line"] + (f": {rows}" if rows else "")]
        lines += [picture.shown["line"] for picture in (self.supersample, self.sampled) if picture.shown["line"]]
        return f"SelectorBars: {'; '.join(lines)}"

    def update(self, mined: Mined) -> None:
        """Shows the selector as it is now, at the end of its history: what mine(watch=…) is to call.

        A sample that was drawn is drawn anew, with the same seed. Until the last step the two controls that draw are
        off: a draw in between would find networks, and leave them, in the midst of training. Errors as above.
        """
        finished = self._take(mined, False)
        self.renew(0.0 if finished else PAUSE)

    def _take(self, mined: Mined, at_rest: bool) -> bool:
        """Shows what nothing trains any more, or what may be in training; gives whether it is finished."""
        self._check(mined)
        finished = bool(mined.history) and mined.history[-1]["step"] == mined.record["steps"]
        with self.lock:
            self.supersample_seed.disabled = self.sample_one.disabled = not (at_rest or finished)
            self._mined, self._trace = mined, mined.selector.trace()  # (minibatches + 1, N)
            self.position.disabled = False
            end = len(self._trace) - 1
            with self.position.hold_sync():
                self.position.max = end
                self.position.value = end
            self._show_shares()
            self._draw_supersample()
            self._draw_sample()
        return finished

    def _check(self, mined: Mined) -> None:
        if not isinstance(mined, Mined):
            raise UserError(f"SelectorBars shows a Mined, got a {type(mined).__name__}: mine a list of sources")
        names = [gan.name for gan in mined.sources]
        if len(names) == 1:
            raise UserError(f"{names[0]} alone was mined, a selector has nothing to choose: mine two or more sources")
        if not len(mined.selector):
            raise UserError(f"the selector of {' + '.join(names)} has counted nothing yet: mine a step first")
        if len(names) > MOST:
            raise UserError(f"{len(names)} sources are more than the {MOST} bars there is room for")
        if unknown := [name for name in self._truth if name not in names]:
            raise UserError(f"truth names {unknown[0]}, the sources are {', '.join(names)}")
        if twice := [name for name in self._truth if names.count(name) > 1]:
            raise UserError(f"truth cannot tell apart the sources that are called {twice[0]}: give them other names")

    # Each control does nothing while it is off: a message can have been on its way when that was decided.

    def _moved(self, _change: Any) -> None:
        with self.lock:
            if not self.position.disabled:
                self._show_shares()

    def _reseeded(self, _change: Any) -> None:
        with self.lock:
            if not self.supersample_seed.disabled:
                self._draw_supersample()

    def _clicked(self, _button: Button) -> None:
        with self.lock:
            if not self.sample_one.disabled:
                self._sample_seed, self._next_seed = self._next_seed, self._next_seed + 1
                self._draw_sample()

    def _show_shares(self) -> None:
        """p after as many minibatches as the slider says. The axis ends where it holds all of the history."""
        names, p = [gan.name for gan in self._mined.sources], self._trace[self.position.value].tolist()
        truth = [self._truth.get(name, 0.0) if self._truth else None for name in names]
        end = math.ceil(10 * max(self._trace.max().item(), *self._truth.values(), 0.0)) / 10
        rows = [
            [name, f"{share:.3f}", *(("", None) if true is None else (f"{true:.3f}", true / end)), share / end]
            for name, share, true in zip(names, p, truth, strict=True)
        ]
        self.shares.shown = NOTHING | {
            "line": f"p after {self.position.value} of {len(self._trace) - 1} minibatches",
            "ticks": ["0", f"{end / 2:g}", f"{end:g}"],
            "rows": rows,
        }

    def _draw_supersample(self) -> None:
        """The supersample of the seed that the control says."""
        images, scores, winner = self._mined.supersample(seed=self.supersample_seed.value, ema=self._ema)
        _check_finite(images, scores)
        names = [gan.name for gan in self._mined.sources]
        notes = [f"{score:.3f}" for score in scores.tolist()]
        notes[winner] += ", wins"
        figures = [
            {"image": live.data_url(image), "name": name, "note": note, "winner": i == winner}
            for i, (image, name, note) in enumerate(zip(images, names, notes, strict=True))
        ]
        self.images = images
        line = f"supersample {self.supersample_seed.value}: the critic scores {names[winner]} highest"
        self.supersample.shown = NOTHING | {"line": line, "figures": figures}

    def _draw_sample(self) -> None:
        """What the last click drew; nothing before the first."""
        if self._sample_seed is None:
            return
        i = int(self._mined.chosen(1, seed=self._sample_seed))
        (image,) = self._mined.sample(1, seed=self._sample_seed, ema=self._ema)
        _check_finite(image)
        name, p = self._mined.sources[i].name, self._mined.selector.probabilities[i]
        self.image = image
        self.sampled.shown = NOTHING | {
            "line": f"sample {self._sample_seed}: {name}, drawn with probability {p:.3f}",
            "figures": [{"image": live.data_url(image), "name": name, "note": "", "winner": False}],
        }

    def figure(self) -> "Figure":
        """The same picture drawn by Matplotlib: the bars, the sample and the supersample, as the controls stand now."""
        from matplotlib.figure import Figure

        shown = self.shares.shown
        if not shown["rows"]:
            figure = Figure(figsize=(9, 0.5))
            figure.text(0.5, 0.5, shown["line"], ha="center", va="center")
            return figure
        names, numbers, _, marks, lengths = zip(*shown["rows"], strict=True)
        heights = [0.8 + 0.28 * len(names), *[1.5] * -(-len(names) // COLUMNS)]
        figure = Figure(figsize=(9, sum(heights) + 0.5), layout="constrained")
        grid = figure.add_gridspec(len(heights), COLUMNS, height_ratios=heights)
        bars = figure.add_subplot(grid[0, :-2])
        places = range(len(names))
        bars.bar_label(bars.barh(places, lengths, color=COLOUR), numbers, padding=3)
        if marks[0] is not None:
            bars.plot(marks, places, "|", color="black", markersize=14, markeredgewidth=2, label="true share")
            bars.legend()
        bars.set(title=shown["line"], yticks=places, yticklabels=names, xlim=(0, 1.08), xticks=(0, 0.5, 1))
        bars.set_xticklabels(shown["ticks"])
        bars.invert_yaxis()
        if self.sampled.shown["figures"]:
            _draw(figure.add_subplot(grid[0, -2:]), self.image, self.sampled.shown["figures"][0])
        for i, (image, told) in enumerate(zip(self.images, self.supersample.shown["figures"], strict=True)):
            _draw(figure.add_subplot(grid[1 + i // COLUMNS, i % COLUMNS]), image, told)
        lines = [picture.shown["line"] for picture in (self.supersample, self.sampled)]
        figure.supxlabel("\n".join(filter(None, lines)), fontsize=10)
        return figure


def _draw(axes: "Axes", image: Tensor, told: dict[str, Any]) -> None:
    """An image (C, H, W) under its name and note, framed if it is the winner."""
    axes.imshow(live.pixels(image), cmap="gray", vmin=0, vmax=255)
    axes.set_title("\n".join(filter(None, (textwrap.fill(told["name"], 18), told["note"]))), fontsize=8)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color=COLOUR, linewidth=4, visible=told["winner"])


def _check_finite(*numbers: Tensor) -> None:
    if not all(part.isfinite().all() for part in numbers):
        raise UserError("the images or their scores are not finite: mine again with lower learning rates")


def _checked(truth: dict[str, float] | None) -> dict[str, float]:
    """The true shares by name, none for None."""
    if truth is None:
        return {}
    right = isinstance(truth, dict) and all(isinstance(share, Real) and share >= 0 for share in truth.values())
    if not right or not abs(sum(truth.values()) - 1) <= 1e-5:
        raise UserError(f"truth must give shares of sum 1 by the sources' names, got {truth}")
    return {name: float(share) for name, share in truth.items()}
