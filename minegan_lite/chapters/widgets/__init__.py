"""Pictures that a reader can move, for Jupyter, VS Code and Colab. Imported only where one is wanted."""

from minegan_lite.chapters.widgets.latent_shift import LatentShift
from minegan_lite.chapters.widgets.selector_bars import SelectorBars

__all__ = ["LatentShift", "SelectorBars"]
