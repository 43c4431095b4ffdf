"""Mining pretrained GANs: a thin library under a book.

import minegan_lite as ml

gan = ml.load_gan("mnist-no-9")  # or a checkpoint's file, or ml.GAN.wrap(G, D, latent_dim=100)
target = ml.few_shot("mnist", digit=9, n=1000)  # or a folder of pictures
mined = ml.mine(gan, target, steps=600)
ml.evaluate(mined, target)
mined.save("miner.safetensors")  # ml.load gives it back
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minegan_lite import checkpoints, doctor, transfer, zoo
    from minegan_lite.critics import teach_critic
    from minegan_lite.data import FewShot, few_shot
    from minegan_lite.errors import Diverged, UserError
    from minegan_lite.gan import GAN, StandardNormal, classes_of, cropped, truncated
    from minegan_lite.metrics import evaluate
    from minegan_lite.mined import Mined, Unmined, load
    from minegan_lite.miner import ConditionalMiner, Miner
    from minegan_lite.networks.style_layers import in_style_space
    from minegan_lite.selector import Selector
    from minegan_lite.sources import load_gan
    from minegan_lite.training import finetune, mine

__version__ = "0.2.0"
# The branch or tag that the notebooks install from, and the zoo fetches from. A release names its own tag here, in the
# tagged commit, and afterwards the branch again: a chapter of main needs the library of main.
REFERENCE = "main"

__all__ = [
    "GAN",
    "ConditionalMiner",
    "Diverged",
    "FewShot",
    "Mined",
    "Miner",
    "Selector",
    "StandardNormal",
    "Unmined",
    "UserError",
    "checkpoints",
    "classes_of",
    "cropped",
    "doctor",
    "evaluate",
    "few_shot",
    "finetune",
    "in_style_space",
    "load",
    "load_gan",
    "mine",
    "teach_critic",
    "transfer",
    "truncated",
    "zoo",
]

# Where the names live that are no modules: imported when asked for, so that `minegan-lite --help` needs no torch.
_HOMES = {
    "GAN": "gan", "ConditionalMiner": "miner", "Diverged": "errors", "FewShot": "data", "Mined": "mined",
    "Miner": "miner", "Selector": "selector", "StandardNormal": "gan", "Unmined": "mined", "UserError": "errors",
    "classes_of": "gan", "cropped": "gan", "evaluate": "metrics", "few_shot": "data", "finetune": "training",
    "in_style_space": "networks.style_layers", "load": "mined", "load_gan": "sources", "mine": "training",
    "teach_critic": "critics", "truncated": "gan",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    module = f"{__name__}.{_HOMES.get(name, name)}"
    if name.startswith("_") or find_spec(module) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(module)
    return getattr(home, name) if name in _HOMES else home


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
