"""mine() and finetune(): the two stages of MineGAN (Sec. 3.2 and 3.4), resumable and bit-for-bit repeatable."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minegan_lite import runs
from minegan_lite.data import FewShot
from minegan_lite.errors import Diverged, UserError
from minegan_lite.family import is_family, sources_of
from minegan_lite.gan import GAN
from minegan_lite.loop import Metric, Watch
from minegan_lite.mined import MinedFamily, MinedGAN
from minegan_lite.settings import Settings, check_images, describe, pick_device, refuse, resolve
from minegan_lite.sources import of_run
from minegan_lite.stage import Stage, new_miner, stream

# What stage one has settled: the miners, and where the critic began. Stage two goes on with the ones it is given.
SETTLED = ("hidden", "input_dim", "activation", "init", "spectral_norm", "critic_from")
OF_STAGE_TWO = ("generator_lr",)  # what mine() has no use for
# What finetune() takes from stage one unless it is told otherwise: what the critic was taught.
INHERITED = ("objective", "loss")
STAGES = ("mine", "finetune")


def mine(
    gan: GAN | Sequence[GAN],
    target: FewShot | Tensor,
    *,
    preset: str = "default",
    out: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
    metric: Metric | None = None,
    watch: Watch | None = None,
    **options: Any,
) -> MinedGAN | MinedFamily:
    """Stage one, "MineGAN (w/o FT)": trains miners and one critic; the generators stay frozen.

    gan: the source (Eq. 3 and 4), giving a MinedGAN; or several, or a conditional one with one-hot classes, which are
        the sources, (Eq. 5 and 6), giving a MinedFamily with a miner for each and a selector. A conditional one whose
        classes are embedded, as BigGAN's, is one source, mined by a ConditionalMiner, alone or among others. A
        generator is not changed in any byte, flag or mode, nor moved: for another device than its own it is copied. A
        critic is copied, and called without labels. Sources share one image shape, and nothing else; their order does
        not matter, but for critic_from.
    target: a few_shot result (its .train is used) or images (n, C, H, W) in [−1, 1], n ≥ 2.
    preset: "default"; for MNIST "paper" (the supplement to the letter) or "official" (the released code's settings);
        for others "paper-progan", "paper-sngan", "paper-biggan", "official-biggan" or "official-stylegan". A StyleGAN
        is mined in z; in_style_space(gan) is the same one with w as its latent, in_style_space(gan, per_layer=True)
        with w+, whose length asks for a hidden layer that is short, as "official-stylegan" has it. Nothing is
        truncated, unless it is truncated(gan, ψ) that is given.
    out: a run folder; None keeps everything in memory. The same call resumes it bit for bit after an interruption.
    device: "auto" (cuda, then mps, then cpu) or a torch device. progress: whether to show the bar.
    metric: images (500, C, H, W) → a number, shown and recorded at every logged step; None takes the digit
        classifier's error where the target is a digit.
    watch: called at every logged step with what mine() would return if it stopped there, for plots that grow.
    options: fields of Settings (steps, seed, batch, miner_lr, objective, …) that replace the preset's. generator_lr is
        stage two's, and refused.
    Every source's weights stay on the device; the work of a step grows with their number by forward passes only.
    Raises UserError for wrong input (nothing is written) and for a device whose memory is too small, Diverged when
    training leaves the finite numbers.
    """
    refuse(options, OF_STAGE_TWO, "stage one trains no generator")
    settings = resolve(preset, options)
    sources, where = sources_of(gan), pick_device(device)
    with _fitting(sources, settings, where):
        images = check_images(target, sources, settings)
        record = describe("mine", sources, is_family(gan), target, images, preset, settings, where)
        stage = Stage.one(sources, settings, where)
        return stage.train(images, record, out, progress, metric or default_metric(target, sources[0]), watch)


def finetune(
    mined: MinedGAN | MinedFamily,
    target: FewShot | Tensor,
    *,
    out: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
    metric: Metric | None = None,
    watch: Watch | None = None,
    **options: Any,
) -> MinedGAN | MinedFamily:
    """Stage two, the full MineGAN (Sec. 3.4): releases the generators and trains them with miners and critic.

    mined: the result of mine(); it is left as it is, the new one holds copies, out of torch.compile and the like. The
        preset, the loss and the objective are those of stage one, a selector starts to count anew; target, out, device,
        progress, metric, watch, options and errors are as in mine(), but that the options of SETTLED are refused.
    """
    if not isinstance(mined, MinedGAN | MinedFamily) or mined.settings.get("stage") not in STAGES:
        raise UserError("finetune() takes the result of mine(), or of load()")
    refuse(options, SETTLED, "stage two goes on with the miners and the critic of stage one")
    done = mined.history[-1]["step"] if mined.history else 0
    if done < mined.settings["steps"]:
        raise UserError(f"stage one is at step {done} of {mined.settings['steps']}: finish it before stage two")
    inherited = {key: mined.settings[key] for key in (*SETTLED, *INHERITED)}
    settings = resolve(mined.settings["preset"], inherited | options)
    family, where = isinstance(mined, MinedFamily), pick_device(device)
    sources, miners = (mined.sources, mined.miners) if family else ([mined.gan], nn.ModuleList([mined.miner]))
    with _fitting(sources, settings, where):
        images = check_images(target, sources, settings, mined.critic, released=True)
        record = describe("finetune", sources, family, target, images, mined.settings["preset"], settings, where)
        record["mined_sha256"] = runs.weights_fingerprint(*miners, mined.critic)
        stage = Stage.two(sources, miners, mined.critic, settings, where)
        return stage.train(images, record, out, progress, metric or default_metric(target, sources[0]), watch)


@runs.reads_run
def load(run: str | Path, gan: GAN | Sequence[GAN] | None = None) -> MinedGAN | MinedFamily:
    """What mine() or finetune() wrote into a run folder, finished or not, at its last checkpoint, on the CPU.

    gan: the source or sources it was mined from; None takes the zoo's GANs of the recorded names, and public
        checkpoints from where they were.
    Raises UserError for a folder without a run or checkpoint, for a run of another version of this library, and for
    sources other than the recorded ones.
    """
    record = runs.read_settings(run)
    state = runs.read_state(run)
    if missing := [
        key for key in ("stage", "source", "source_sha256", *Settings.__dataclass_fields__) if key not in record
    ]:
        raise UserError(f"{run} is no run of this version of minegan-lite: its run.json has no {missing[0]}")
    if record["stage"] not in STAGES:
        raise UserError(f"{run} is a run of adapt(): the same call goes on with it, or gives it back")
    if gan is None:
        gan = of_run(run, record)
    sources = sources_of(gan)
    if record["stage"] == "mine" and runs.sources_fingerprint(sources) != record["source_sha256"]:
        raise UserError(f"{run} was mined from other weights than these of {' + '.join(one.name for one in sources)}")
    options = {key: record[key] for key in Settings.__dataclass_fields__}
    settings = Settings(**{key: tuple(value) if isinstance(value, list) else value for key, value in options.items()})
    cpu = torch.device("cpu")
    critic = next((one.critic for one in sources if one.critic is not None), None)  # its shape is all that matters
    if critic is None:
        raise UserError(f"none of {' + '.join(one.name for one in sources)} has a critic, {run} holds one's weights")
    if record["stage"] == "mine":
        stage = Stage.one(sources, settings, cpu)
    else:
        miners = nn.ModuleList(new_miner(source, settings, stream("load", 0)) for source in sources)
        stage = Stage.two(sources, miners, critic, settings, cpu)
    try:
        stage.restore(state)
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        said = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise UserError(f"the checkpoint in {run} does not fit its run.json and its source ({said})") from None
    try:
        stage.check_weights()
    except Diverged as error:
        raise UserError(f"the checkpoint in {run} is damaged: {error}") from None
    return stage.result(record)


@contextmanager
def _fitting(sources: Sequence[GAN], settings: Settings, device: torch.device) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise UserError(
            f"{device} has too little memory for {len(sources)} source(s) at batch {settings.batch}: lower the batch, "
            "mine fewer sources, or take device='cpu'"
        ) from None


def default_metric(target: FewShot | Tensor, gan: GAN) -> Metric | None:
    """The digit classifier's error where the target is a digit, else none."""
    if not isinstance(target, FewShot) or target.digit is None or tuple(gan.generator.image_shape) != (1, 28, 28):
        return None
    from minegan_lite import metrics, zoo

    classifier = zoo.load_classifier()
    return lambda images: metrics.classifier_error(classifier, images, target.digit)
