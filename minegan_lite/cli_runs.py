"""The command line's part for runs: reads targets and runs, and refuses outputs that would overwrite their inputs."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minegan_lite.errors import UserError


def read_target(text: str, images: int | None, seed: int, shape: tuple, resize: bool):
    """The few-shot target that --target, --images and --seed ask for. Raises UserError."""
    from minegan_lite.data import few_shot

    source, colon, digit = text.partition(":")
    if colon and source in ("mnist", "uci-digits"):
        common: dict[str, Any] = {"n": images, "seed": seed, "image_shape": shape}
        if "=" in digit:
            try:
                mix = [(int(one), float(share)) for one, share in (part.split("=") for part in digit.split(","))]
            except ValueError:
                raise UserError(f"--target {text}: write shares as in {source}:0=0.3,7=0.7") from None
            return few_shot(source, mix=mix, **common)
        if not (digit.isdecimal() and len(digit) < 9):
            raise UserError(f"--target {text}: write a digit after the colon, as in {source}:9")
        return few_shot(source, digit=int(digit), **common)
    if not text or not Path(text).is_dir():
        raise UserError(f"unknown target {text!r}: mnist:DIGIT, uci-digits:DIGIT, or a folder of images")
    return few_shot(Path(text), n=images, seed=seed, image_shape=shape, resize=resize)


def refuse_unfinished(run: Path) -> None:
    """Raises UserError, with the step that was reached, for a run that has not finished."""
    from minegan_lite import files

    with files.reading(run):
        steps, step = int(files.read_settings(run)["steps"]), files.read_state(run)["step"]
    if step < steps:
        raise UserError(f"{run} is at step {step} of {steps}: finish it first, its command goes on from there")


def read_run(run: Path):
    """A run's Mined, and its target, made again. Raises UserError if the target's images have changed."""
    from minegan_lite import files
    from minegan_lite.data import few_shot
    from minegan_lite.mined import load

    mined = load(run)
    request = mined.record["target_request"]
    if request is None:
        raise UserError(f"{run} was trained on images given in Python: evaluate it there")
    with files.reading(run):
        shape = {} if "image_shape" not in request else {"image_shape": tuple(request["image_shape"])}
        target = few_shot(**{**request, **shape})
    if files.fingerprint(target.train) != mined.record["target_sha256"]:
        raise UserError(
            f"{run} was trained on other images than {target.name} now gives ({target.origin}): restore its data"
        )
    return mined, target


def summarise(mined, out: Path) -> None:
    """Prints how far a run has come, its error and its selector, and what to do next."""
    last = mined.history[-1]
    error = "" if last["metric"] is None else f", classifier error {last['metric']:.1%} of 500 samples"
    print(f"{out}: {mined.record['stage']} {mined.record['target']}, {last['step']} steps{error}")
    if probabilities := last.get("probabilities"):
        named = zip(mined.probabilities, probabilities, strict=True)
        print("selector: " + ", ".join(f"{name} {p:.3f}" for name, p in named))
    print(f"next: minegan-lite evaluate {out} · minegan-lite sample {out}")


def files_of(run: Path, record: dict) -> list[Path]:
    """The files that a run is read from: its own, its sources' and its target's."""
    from minegan_lite import files

    with files.reading(run):
        requests = [request or {} for request in record.get("source_requests") or []]
        paths = [request.get(key) for request in requests for key in ("file", "critic")]
        target = (record["target_request"] or {}).get("source")
        return [run / files.SETTINGS, run / files.STATE, *(Path(file) for file in (*paths, target) if file)]


def refuse_inputs(out: Path, inputs: Iterable[Path]) -> None:
    """Raises UserError if `out` is one of the inputs, also through a link, or lies in a folder that is an input."""
    for file in inputs:
        if (out.exists() and file.exists() and out.samefile(file)) or (
            file.is_dir() and out.resolve().is_relative_to(file.resolve())
        ):
            raise UserError(f"--out {out} would overwrite what it is made from, {file}: choose another path")
