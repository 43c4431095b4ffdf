"""Few-shot targets: MNIST, which is part of the package, folders of images, and what is fetched."""

from minegan_lite.data.images import to_signed
from minegan_lite.data.mnist import load_mnist, load_uci
from minegan_lite.data.targets import FewShot, few_shot

__all__ = ["FewShot", "few_shot", "load_mnist", "load_uci", "to_signed"]
