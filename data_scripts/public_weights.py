"""The public weights that minegan_lite.checkpoints reads: where they are, under which licence, and how to load them.

Addresses, sizes and licences are as the projects document them; whether a link still works shows when it is used.
"""

from dataclasses import dataclass

DRIVE = "https://drive.usercontent.google.com/download?id={}&export=download&confirm=t"
SHAREPOINT = "https://mycuhk-my.sharepoint.com/:u:/g/personal/1155082926_link_cuhk_edu_hk/{}&download=1"
STUDIOGAN = (
    "https://huggingface.co/Mingguksky/PyTorch-StudioGAN/resolve/7297a41ca14de2b5016e79d6deacf9d10f5144d4/"
    "studiogan_official_ckpt/{}.pth"
)
UNSTATED = "code {}, weights without a licence of their own"


@dataclass(frozen=True)
class File:
    """One file to fetch. url: None where only a browser can; sha256: its first digits, where they are published."""

    name: str
    url: str | None
    sha256: str = ""


@dataclass(frozen=True)
class Weights:
    """One set of weights.

    layout: its NAME in minegan_lite.checkpoints; what: data, pixels and the like; size: in MB, as documented, or at
    least what the networks in it take as float32; files: to fetch; origin: the page that documents them; members: to
    unpack from the one file, a zip; critic: whether there is one, in the same file or in the second; hint: what is to
    be done before it can be loaded.
    """

    name: str
    layout: str
    what: str
    size: str
    files: tuple[File, ...]
    licence: str
    origin: str
    members: tuple[str, ...] = ()
    critic: bool = True
    hint: str = ""

    @property
    def most(self) -> int:
        """Bytes that the members may have: the networks', and a fifth for what else such files say."""
        return int(float(self.size.removeprefix("≥ ")) * 1.2e6)


def _biggan() -> list[Weights]:
    origin = "https://github.com/ajbrock/BigGAN-PyTorch"
    runs = {
        "": ("138k iterations, just before collapse", "1nAle7FCVFZdix2--ks0r5JBkFnKw8ctW"),
        "-100k": ("100k iterations, easier to fine-tune", "1dmZrcVJUAWkPBGza_XgswSuT-UODXZcO"),
    }
    return [
        Weights(
            f"biggan-128{suffix}", "biggan-pytorch", f"ImageNet, 128 px, {what}", "≥ 916",
            (File(f"biggan-128{suffix}.zip", DRIVE.format(key)),),
            UNSTATED.format("MIT"), origin, ("G_ema.pth", "D.pth"),
        )
        for suffix, (what, key) in runs.items()
    ]  # fmt: skip


def _biggan_deep() -> list[Weights]:
    address = "https://s3.amazonaws.com/models.huggingface.co/biggan/biggan-deep-{}-pytorch_model.bin"
    return [
        Weights(
            f"biggan-deep-{side}", "biggan-deep-hf", f"ImageNet, {side} px", size,
            (File(f"biggan-deep-{side}.bin", address.format(side)),),
            f"{UNSTATED.format('MIT')}, converted from DeepMind's",
            "https://github.com/huggingface/pytorch-pretrained-BigGAN", critic=False,
        )
        for side, size in ((128, "201"), (256, "224"), (512, "225"))
    ]  # fmt: skip


def _pgan_zoo() -> list[Weights]:
    stems = {
        "celeba": ("CelebA, cropped to the face, 128 px", "celebaCropped_s5_i83000-2b0acc76"),
        "celebahq-256": ("CelebA-HQ, 256 px", "celebaHQ_s6_i80000-6196db68"),
        "celebahq-512": ("CelebA-HQ, 512 px", "celebaHQ16_december_s7_i96000-9c72988c"),
        "dtd": ("describable textures, 128 px", "testDTD_s5_i96000-04efa39f"),
    }
    address = "https://dl.fbaipublicfiles.com/gan_zoo/PGAN/{}.pth"
    return [
        Weights(
            f"pgan-{name}", "pgan-zoo", what, "≥ 275",
            (File(f"{stem}.pth", address.format(stem), stem[-8:]),),  # as torch.hub has it
            UNSTATED.format("BSD-3-Clause"), "https://github.com/facebookresearch/pytorch_GAN_zoo",
        )
        for name, (what, stem) in stems.items()
    ]  # fmt: skip


def _progan() -> list[Weights]:
    keys = {
        "celebahq": "EW_3jQ6E7xlKvCSHYrbmkQQBAB8tgIv5W5evdT6-GuXiWw?e=gRifVa",
        "car": "EfGc2we47aFDtAY1548pRvsByIju-uXRbkZEFpJotuPKZw?e=DQqVj8",
        "bus": "Ed7-OYLnq0RCqRlM8qK8wZ8B87dz_NUxIKBrvyFUwRCEbg?e=VP5bmX",
        "livingroom": "Efzh6qQv6QtCm0YN1lulH-YByqdE3AqlI-E6US_hXMuiig?e=ppdyB2",
        "kitchen": "ESCyg6hpNn1LlHVX_un1wLsBZAORUNkW9MO2kU1X5kafAQ?e=09TbGC",
        "bridge": "EZ2QScfPy19PiDERLJQ3gPMBP4WmvZHwhNFLzfaP2YD8hQ?e=bef1U9",
        "churchoutdoor": "EQ8cKujs2TVGjCL_j6bsnk8BqD9REF2ME2lBnpbTPsqIvA?e=zH55fT",
        "tower": "EeyBJvgRVGJClKr1KKYDF_cBT1FDepRU1-GLqYNh8W9-fQ?e=nrpa5N",
        "bedroom": "EUZQWGz2GT5Bh_GJLalP63IBvCsXDTOxDFIC_ZBsmoEacA?e=VNXiDb",
    }
    return [
        Weights(
            f"progan-{name}", "progan-genforce",
            "CelebA-HQ, 1024 px" if name == "celebahq" else f"LSUN {name}, 256 px", "≥ 277",
            (File(f"pggan_{name}.pth", SHAREPOINT.format(key)),),
            "code MIT; converted from tkarras/progressive_growing_of_gans, CC BY-NC 4.0",
            "https://github.com/genforce/genforce/blob/master/MODEL_ZOO.md",
        )
        for name, key in keys.items()
    ]  # fmt: skip


def _sngan() -> list[Weights]:
    origin = "https://github.com/kwotsin/mimicry"
    keys = {
        "imagenet-128": ("1ZmjV9iMFgmthCgOKpMp8vKCIVQh_XPiR", "≥ 129"),
        "imagenet-32": ("1LF-tNfbVmHHw8onneOz3V5b-j2ff-Kh2", "≥ 17"),
        "celeba-128": ("1rYnv2tCADbzljYlnc8Ypy-JTTipJlRyN", "≥ 129"),
        "celeba-64": ("1d9pYKKW9Hgi-ylOKwU0UM1ZsmUyD8Bpj", "≥ 49"),
        "bedroom-128": ("1SrvdLM-5mUVYwEztY-6TVAdTKlNPUA7k", "≥ 129"),
        "stl10-48": ("1tVRXDHgUTpBwfGh0RJvdjw2EUOGu-m-A", "≥ 20"),
        "cifar10-32": ("16TxezS7VBTiuPdQdjDUM0-_rHXqyPrvr", "≥ 17"),
        "cifar100-32": ("16XtxZd6ARXjfTBuOZml_FpR0WVaWkToA", "≥ 17"),
    }
    rows = [
        Weights(
            f"sngan-{name}", "sngan-mimicry", "{}, {} px, unconditional".format(*name.split("-")), size,
            (File(f"sngan-{name}.pth", DRIVE.format(key)),), UNSTATED.format("MIT"), origin, critic=False,
        )
        for name, (key, size) in keys.items()
    ]  # fmt: skip
    rows.append(
        Weights(
            "sngan-projection", "sngan-chainer", "ImageNet, 128 px, conditional, as BSA and the paper have it",
            "≥ 168", (File("ResNetGenerator_850000.npz", None),), UNSTATED.format("MIT"),
            "https://drive.google.com/drive/folders/1m04Db3HbN10Tz5XHqiPpIg8kw23fkbSi", critic=False,
        )
    )  # fmt: skip
    return rows


def _studiogan() -> list[Weights]:
    def row(name: str, layout: str, what: str, size: str, run: str, step: int, average: str = "") -> Weights:
        files = tuple(
            File(f"{name}-{part}.pth", STUDIOGAN.format(f"{run}/model={part}-best-weights-step={step}"))
            for part in ("G" + average, "D")
        )
        licence = UNSTATED.format("MIT, with parts of NVIDIA's")
        return Weights(name, layout, what, size, files, licence, "https://huggingface.co/Mingguksky/PyTorch-StudioGAN")

    papa, imagenet = "Papa_ImageNet_tailored/Papa_ImageNet-{}", "ImageNet_tailored/ImageNet-{}"
    biggan, sngan = papa.format("BigGAN-train-2022_02_23_16_26_07"), papa.format("SNGAN-train-2022_03_08_03_19_50")
    large, hundred = imagenet.format("SNGAN-256-train-2022_03_06_03_53_44"), "100 ImageNet classes, 64 px"
    return [
        row("studiogan-biggan-papa", "biggan-studiogan", hundred, "438", biggan, 48000, "_ema"),
        row("studiogan-sngan-papa", "sngan-studiogan", hundred, "390", sngan, 100000),
        row("studiogan-sngan-imagenet", "sngan-studiogan", "ImageNet, 128 px", "978", large, 472000),
    ]


def _stylegan() -> list[Weights]:
    ffhq = {256: "1QlXFPIOFzsJyjZ1AtfpnVhqW4Z0r8GLZ", 512: "13f0tXPX0EfHdac0zcudfC8osD4OdsxZQ"}
    ffhq[1024] = "1NJMqp2AN1de8cPXTBzYC7mX2wXF9ox-i"
    rows = [
        Weights(
            f"stylegan-ffhq-{side}", "stylegan-rosinality", f"FFHQ, {side} px", "≥ 312",
            (File(f"stylegan-{side}px-new.model", DRIVE.format(key)),), UNSTATED.format("MIT"),
            "https://github.com/rosinality/style-based-gan-pytorch",
        )
        for side, key in ffhq.items()
    ]  # fmt: skip
    rows.append(
        Weights(
            "stylegan2-ffhq-256", "stylegan2-rosinality", "FFHQ, 256 px", "≥ 357",
            (File("550000.pt", DRIVE.format("1PQutd-JboOCOZqmd95XWxWrO8gGEvRcO")),),
            UNSTATED.format("MIT, with NVIDIA's kernels"), "https://github.com/rosinality/stylegan2-pytorch",
        )
    )  # fmt: skip
    address = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/{}.pkl"
    small = "transfer-learning-source-nets/{}"  # at 256 px
    pickles = {
        "ffhq-256": small.format("ffhq-res256-mirror-paper256-noaug"),
        "celebahq-256": small.format("celebahq-res256-mirror-paper256-kimg100000-ada-target0.5"),
        "lsundog-256": small.format("lsundog-res256-paper256-kimg100000-noaug"),
        "ffhq-1024": "ffhq",
        "afhqcat-512": "afhqcat",
        "afhqdog-512": "afhqdog",
        "afhqwild-512": "afhqwild",
        "metfaces-1024": "metfaces",
    }
    rows += [
        Weights(
            f"stylegan2-ada-{name}", "stylegan2-ada", "{}, {} px".format(*name.split("-")), "≥ 199",
            (File(f"stylegan2-ada-{name}.pkl", address.format(file)),), "NVIDIA Source Code License, non-commercial",
            "https://github.com/NVlabs/stylegan2-ada-pytorch",
            hint="a pickle that runs code when opened: loading refuses it, and says how to convert it once",
        )
        for name, file in pickles.items()
    ]  # fmt: skip
    return rows


TABLE = {
    row.name: row
    for family in (_biggan, _biggan_deep, _pgan_zoo, _progan, _sngan, _studiogan, _stylegan)
    for row in family()
}
