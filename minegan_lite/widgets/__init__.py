"""Pictures that a reader can move, for Jupyter, VS Code and Colab. Imported only where one is wanted."""

from minegan_lite.widgets.latent_shift import LatentShift

__all__ = ["LatentShift"]
