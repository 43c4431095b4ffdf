"""The tables of the page on public checkpoints: facts from the library, measurements from the ledger."""

from benchmarks.biggan_deep_speed import OURS, THEIRS
from book.tables import markdown
from minegan_lite.chapters import ledger
from minegan_lite.checkpoints import LAYOUTS
from minegan_lite.checkpoints.about import ABOUT


def named() -> list[tuple]:
    """(a link to the module that reads the layout, the facts about it) for each."""
    return [
        (f"{{py:mod}}`{layout.NAME} <{layout.__name__}>`", ABOUT[layout.NAME])
        for layout in LAYOUTS
    ]


def layouts() -> str:
    """Which layouts there are, and where their critics lie."""
    rows = [[name, about.family, about.critic] for name, about in named()]
    return markdown(["Layout", "Architecture", "Critic"], rows)


def files_and_licences() -> str:
    """Whose code writes a layout, where the files are, and under which licences."""
    return "\n".join(
        f"- **{name}**, of [{about.origin}](https://github.com/{about.origin}): {about.published}. "
        f"*Licence of the code:* {about.code_licence}. *Of the weights:* {about.weights_licence}."
        for name, about in named()
    )


def traps() -> str:
    """The rules that the tests of a layout break on purpose."""
    rows = [[name, about.traps] for name, about in named()]
    return markdown(["Layout", "Rules broken on purpose"], rows)


def full_size() -> str:
    """What loading a file of the published size costs."""
    rows = [
        [
            name,
            str(row["resolution"]),
            f"{row['file_mb']:.0f}",
            f"{row['load_seconds']:.1f}",
            f"{row['sample_seconds']:.1f}",
            f"{row['memory_gb']:.2f}",
        ]
        for name, row in ledger.read("benchmarks/load_full_size")[
            "numbers"
        ].items()
    ]
    header = [
        "File",
        "Pixels",
        "MB",
        "Seconds to load",
        "to sample one",
        "Memory, GB",
    ]
    return markdown(header, rows)


def speed() -> str:
    """Our BigGAN-deep beside the published code: agreement, a verdict, and the ratios."""
    result = ledger.read("benchmarks/biggan_deep_speed")
    numbers, settings = result["numbers"], result["settings"]
    timed = [
        (batch, pass_, rows)
        for batch, passes in numbers["time"].items()
        for pass_, rows in passes.items()
    ]
    worst = max(rows[OURS]["median"] for *_, rows in timed)
    slower = "not slower" if worst <= settings["aim"] else "**slower**"
    apart = numbers["apart"][OURS]
    said = (
        f"Ours is {slower}: at most {worst:.2f} of its time, over {settings['rounds']} rounds against version "
        f"{settings['package_version']}. Largest difference, over the largest number: "
        f"{apart['forward']:.1g} in the images, {apart['forward and backward']:.1g} in the gradients."
    )
    names = [name for name in numbers["apart"] if name != THEIRS]
    rows = [
        [f"{batch}, {pass_}", f"{rows[THEIRS]['seconds']:.2f} s"]
        + [
            f"{rows[name]['median']:.2f} ({rows[name]['low']:.2f}–{rows[name]['high']:.2f})"
            for name in names
        ]
        for batch, pass_, rows in timed
    ]
    rows.append(
        ["images differ by", "–"]
        + [f"{numbers['apart'][name]['forward']:.1g}" for name in names]
    )
    own = [name.removeprefix(f"{OURS}, ") for name in names]
    header = ["Batch, pass", "Published code", *own]
    return f"{said}\n\n{markdown(header, rows)}"


PARTS = (layouts, files_and_licences, traps, full_size, speed)
