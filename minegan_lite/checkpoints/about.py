"""Where each layout comes from, under which licences, and what its tests check: facts, typed once.

`describe`, `minegan-lite inspect` and the book's page on checkpoints read the facts here. They were taken from the
repositories' own pages and code; no published file was opened, and no address was tried.
"""

from dataclasses import dataclass
from typing import Any

from minegan_lite.checkpoints.sampling import truncates
from minegan_lite.gan import GAN

UNSTATED = "not stated apart from the code's"


@dataclass(frozen=True)
class About:
    """Facts about a layout.

    family: the architecture's name. origin: owner/name, on GitHub, of the code that writes such files. published: which
    weights there are, and where. critic: which file the critic is in. code_licence, weights_licence: a note, not legal
    advice. traps: rules in which public codes differ; a test breaks each of them on purpose and sees other images.
    """

    family: str
    origin: str
    published: str
    critic: str
    code_licence: str
    weights_licence: str
    traps: str


ABOUT: dict[str, About] = {
    "biggan-deep-hf": About(
        family="BigGAN-deep",
        origin="huggingface/pytorch-pretrained-BigGAN",
        published="ImageNet at 128, 256 and 512 pixels: biggan-deep-…-pytorch_model.bin, named in its code",
        critic="never published",
        code_licence="MIT",
        weights_licence=f"{UNSTATED}; converted from DeepMind's TensorFlow Hub modules",
        traps="eps; order of latent and class; layout of the first map; which channels a shortcut and the colours "
        "keep; the row of statistics for a truncation",
    ),
    "biggan-pytorch": About(
        family="BigGAN",
        origin="ajbrock/BigGAN-PyTorch",
        published="ImageNet at 128 pixels: zip files on Google Drive, linked from its README, with G_ema.pth or G.pth",
        critic="a file of its own, D.pth in the same zip",
        code_licence="MIT",
        weights_licence=UNSTATED,
        traps="a power iteration in eval mode, too; eps; order of class and latent; which chunk goes where; gain; "
        "enlarging; the critic's shortcut and its sum over places",
    ),
    "biggan-studiogan": About(
        family="BigGAN",
        origin="POSTECH-CVLab/PyTorch-StudioGAN",
        published="many data sets: a file of G or G_ema and one of D each, on Hugging Face's hub "
        "(Mingguksky/PyTorch-StudioGAN)",
        critic="a file of its own, model=D-…",
        code_licence="MIT, parts NVIDIA's",
        weights_licence=UNSTATED,
        traps="no power iteration in eval mode; eps; gain; enlarging; the critic's shortcut starts behind its ReLU",
    ),
    "dcgan": About(
        family="DCGAN",
        origin="pytorch/examples",
        published="faces at 64 pixels, inside of Python packages that data_scripts/get_weights.py brings: "
        "celeba-dcgan-64 and digiface-dcgan-64; the code is that of the DCGAN example and of PyTorch's tutorial",
        critic="never published",
        code_licence="BSD-3-Clause",
        weights_licence="MIT, as the packages state; what they were trained on has terms of its own",
        traps="eps; padding and stride of the first layer; the order of the convolutions' axes; no bias",
    ),
    "mobilestylegan-openvino": About(
        family="MobileStyleGAN",
        origin="bes-dev/random_face",
        published="FFHQ at 1024 pixels, distilled from StyleGAN2: the package random-face 2021.7.21.1 carries the four "
        "files of its two networks; training code: bes-dev/MobileStyleGAN.pytorch",
        critic="never published",
        code_licence="Apache-2.0",
        weights_licence=f"{UNSTATED}; its teacher's weights are under NVIDIA's non-commercial licence, and FFHQ under "
        "CC BY-NC-SA 4.0: not for commercial use",
        traps="gain of the mapping, none elsewhere; slope; bands of the wavelets, and which are rows; scale of "
        "modulations, and none before a transform; noise; no demodulation at run time",
    ),
    "pgan-zoo": About(
        family="Progressive GAN",
        origin="facebookresearch/pytorch_GAN_zoo",
        published="CelebA-HQ at 256 and 512 pixels, CelebA and DTD at 128: dl.fbaipublicfiles.com/gan_zoo/PGAN; eight "
        "digits of the file's SHA-256 end its name",
        critic="in the same file",
        code_licence="BSD-3-Clause",
        weights_licence=UNSTATED,
        traps="biases are scaled, too; gain of the first layer; deviation of neighbours, unbiased; which resolution "
        "alpha weighs; a tanh for some losses",
    ),
    "progan-genforce": About(
        family="Progressive GAN",
        origin="genforce/genforce",
        published="30 LSUN categories at 256 pixels, CelebA-HQ at 1024: links in MODEL_ZOO.md; older files, of the "
        "generator alone, come with InterFaceGAN, mGANprior and HiGAN",
        critic="in the same file; none in the older files",
        code_licence="MIT",
        weights_licence="converted from the paper's authors', whose repository (tkarras/progressive_growing_of_gans) "
        "is under CC BY-NC 4.0: not for commercial use",
        traps="biases are not scaled; the first layer lies upside down; deviation in groups of 16, the population's; "
        "which resolution lod weighs",
    ),
    "sngan-chainer": About(
        family="SNGAN",
        origin="pfnet-research/sngan_projection",
        published="ImageNet at 128 pixels, dogs and cats at 64 to 256; also BSA's source model "
        "(nogu-atsu/small-dataset-image-generation): folders on Google Drive, linked from both READMEs",
        critic="a file of its own; whether the folders hold one is unknown",
        code_licence="MIT",
        weights_licence=UNSTATED,
        traps="eps; enlarging; gains as they are, without a 1; a power iteration in the critic's eval mode; its "
        "shortcut",
    ),
    "sngan-mimicry": About(
        family="SNGAN",
        origin="kwotsin/mimicry",
        published="ImageNet at 32 and 128 pixels, CelebA at 64 and 128, LSUN bedrooms at 128, STL-10 at 48, CIFAR at "
        "32: Google Drive, linked from its README",
        critic="a file of its own, netD_…_steps.pth, of whoever trained it; none is published",
        code_licence="MIT",
        weights_licence=UNSTATED,
        traps="eps; enlarging, bilinear here; the critic's shortcut starts behind its ReLU; no power iteration in eval "
        "mode; the last block at 48 pixels rests",
    ),
    "sngan-studiogan": About(
        family="SNGAN",
        origin="POSTECH-CVLab/PyTorch-StudioGAN",
        published="several data sets: a file of G and one of D each, on Hugging Face's hub "
        "(Mingguksky/PyTorch-StudioGAN)",
        critic="a file of its own, model=D-…",
        code_licence="MIT, parts NVIDIA's",
        weights_licence=UNSTATED,
        traps="eps; gain; enlarging; the critic's shortcut starts behind its ReLU",
    ),
    "stylegan2-ada": About(
        family="StyleGAN2",
        origin="NVlabs/stylegan2-ada-pytorch",
        published="FFHQ, MetFaces, AFHQ, CIFAR-10, BreCaHAD, 32 to 1024 pixels: nvlabs-fi-cdn.nvidia.com, pickles that "
        "bring code: convert once, as the error message says; unconditional ones only",
        critic="in the same file",
        code_licence="NVIDIA Source Code License, not for commercial use",
        weights_licence="as the code's",
        traps="the group of the deviation; the bound on activations",
    ),
    "stylegan2-rosinality": About(
        family="StyleGAN2",
        origin="rosinality/stylegan2-pytorch",
        published="FFHQ at 256 pixels (550000.pt, which the official MineGAN code mines): Google Drive, linked from "
        "its README",
        critic="in the same file",
        code_licence="MIT, kernels NVIDIA's",
        weights_licence=f"{UNSTATED}; files converted from NVIDIA's keep its non-commercial licence",
        traps="demodulation, and none for colours; learning rates of the mapping; noise; deviation in strided groups, "
        "the population's",
    ),
    "stylegan-rosinality": About(
        family="StyleGAN",
        origin="rosinality/style-based-gan-pytorch",
        published="FFHQ at 256, 512 and 1024 pixels: Google Drive, linked from its README",
        critic="in the same file",
        code_licence="MIT",
        weights_licence=UNSTATED,
        traps="equalised noise; biases are not scaled; which resolution alpha weighs; deviation over the whole batch, "
        "the population's",
    ),
}


def description(gan: GAN, layout: str) -> dict[str, Any]:
    """What a loaded checkpoint is, JSON-ready; see `checkpoints.describe`."""
    generator, about = gan.generator, ABOUT[layout]
    conditional = generator.embedding_dim is not None
    return {
        "name": gan.name,
        "layout": layout,
        "architecture": about.family,
        "image_shape": list(generator.image_shape),
        "latent_dim": generator.latent_dim,
        "classes": len(generator.classes) if conditional else None,
        "embedding_dim": generator.embedding_dim,
        "truncation": truncates(generator),
        "generator_parameters": sum(weight.numel() for weight in generator.parameters()),
        "critic_parameters": None if gan.critic is None else sum(weight.numel() for weight in gan.critic.parameters()),
        "origin": f"https://github.com/{about.origin}",
        "published_critic": about.critic,
        "code_licence": about.code_licence,
        "weights_licence": about.weights_licence,
    }


def format_description(told: dict[str, Any]) -> str:
    """A description as lines of text."""
    channels, height, width = told["image_shape"]
    classes = "none: unconditional"
    if told["classes"] is not None:
        classes = f"{told['classes']}, each as {told['embedding_dim']} numbers"
    critic = f"{told['critic_parameters'] or 0:,} parameters"
    if told["critic_parameters"] is None:
        critic = f"none here (of this layout: {told['published_critic']})"
    rows = {
        "layout": f"{told['layout']}, of {told['origin']}",
        "architecture": told["architecture"],
        "images": f"{width}×{height} pixels, {channels} channels",
        "latent": f"{told['latent_dim']} numbers",
        "classes": classes,
        "truncation": "yes" if told["truncation"] else "no",
        "generator": f"{told['generator_parameters']:,} parameters",
        "critic": critic,
        "code licence": told["code_licence"],
        "weights licence": told["weights_licence"],
    }
    return "\n".join(f"{name:<16} {value}" for name, value in rows.items())
