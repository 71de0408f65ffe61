# SPDX-License-Identifier: Apache-2.0
"""The ``anomalib-fsad`` command: what anomalib's own command line has no verb for.

anomalib-fsad export model.ckpt bundle
anomalib-fsad enroll bundle normals/ liver.npz --target-fpr 0.05
anomalib-fsad predict bundle liver.npz images/ results/
anomalib-fsad convert D24FAD authors.pth model.ckpt k_shot=4
anomalib-fsad inspect bundle
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from anomalib_fsad import __version__
from anomalib_fsad.deploy.bundle import BundleError

OK, UNREADABLE_IMAGES, FAILED = 0, 1, 2

messages = Console(stderr=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0, 1 where some images could not be read, or 2 for an error."""
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    # What a user can mend comes as one line; anything else is a fault of ours and keeps its traceback.
    except (ValueError, OSError, ImportError) as error:
        kind = "broken file" if isinstance(error, BundleError) else "error"
        messages.print(f"anomalib-fsad {options.command}: {kind}: {error}", style="red", markup=False, highlight=False)
        return FAILED


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="anomalib-fsad",
        description="Deploy D24FAD without torch, import the authors' checkpoints, look into files. "
        "Training and testing are anomalib's: see anomalib --help.",
    )
    top.add_argument("--version", action="version", version=f"anomalib-fsad {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_export(commands)
    _add_enroll(commands)
    _add_predict(commands)
    _add_convert(commands)
    _add_inspect(commands)
    return top


def _add_export(commands: Any) -> None:
    command = commands.add_parser("export", help="D24FAD checkpoint -> bundle (needs torch and anomalib)")
    command.add_argument("checkpoint", type=Path)
    command.add_argument("bundle", type=Path, help="folder to write")
    command.add_argument("--format", choices=("openvino", "onnx", "both"), default="both")
    command.set_defaults(run=run_export)


def _add_enroll(commands: Any) -> None:
    command = commands.add_parser("enroll", help="bundle + normal images -> enrolment of an organ (.npz)")
    command.add_argument("bundle", type=Path)
    command.add_argument("images", type=Path, help="folder of normal images")
    command.add_argument("enrolment", type=Path, help=".npz to write")
    command.add_argument("--k-shot", type=int, help="take only this many of them, drawn by --seed")
    command.add_argument("--seed", type=int, default=111)
    command.add_argument(
        "--target-fpr",
        type=float,
        help="set a threshold by these images alone, which this share of normal images would exceed, e.g. 0.05; "
        "else the checkpoint's own is used",
    )
    _add_runtime(command)
    command.set_defaults(run=run_enroll)


def _add_predict(commands: Any) -> None:
    command = commands.add_parser("predict", help="bundle + enrolment + folder of images -> csv and heat maps")
    command.add_argument("bundle", type=Path)
    command.add_argument("enrolment", type=Path, help=".npz that enroll wrote")
    command.add_argument("images", type=Path, help="folder of images")
    command.add_argument("output", type=Path, help="folder for predictions.csv and heat_maps/")
    command.add_argument("--no-heat-maps", action="store_true")
    command.add_argument("--workers", type=int, default=2, help="threads")
    _add_runtime(command)
    command.set_defaults(run=run_predict)


def _add_convert(commands: Any) -> None:
    command = commands.add_parser("convert", help="authors' checkpoint -> anomalib checkpoint (needs anomalib)")
    command.add_argument("model", help="D24FAD, SCRD4AD or PDD")
    command.add_argument("source", type=Path, help="the authors' file")
    command.add_argument("checkpoint", type=Path, help=".ckpt to write")
    command.add_argument("arguments", nargs="*", metavar="NAME=VALUE", help="of the model, e.g. backbone=resnet18")
    command.set_defaults(run=run_convert)


def _add_inspect(commands: Any) -> None:
    command = commands.add_parser("inspect", help="what is in this checkpoint, bundle or enrolment")
    command.add_argument("path", type=Path)
    command.add_argument("--json", action="store_true", help="for other programs")
    command.set_defaults(run=run_inspect)


def _add_runtime(command: argparse.ArgumentParser) -> None:
    command.add_argument("--backend", choices=("auto", "openvino", "onnx"), default="auto")
    command.add_argument("--device", default="CPU")
    command.add_argument(
        "--intensity", default="auto", help="auto, minmax, percentile or window(center,width), as in training"
    )
    command.add_argument("--digest", help="refuse a bundle of another digest (see inspect)")


def run_export(options: argparse.Namespace) -> int:
    """Write a bundle."""
    from anomalib_fsad.deploy.bundle import SUFFIXES
    from anomalib_fsad.deploy.exporting import export

    formats = tuple(SUFFIXES) if options.format == "both" else (options.format,)
    with messages.status("Exporting the encoder and the scorer"):
        bundle = export(options.checkpoint, options.bundle, formats)
    messages.print(f"Wrote {bundle.folder} (digest {bundle.digest}).", markup=False, soft_wrap=True)
    return OK


def run_enroll(options: argparse.Namespace) -> int:
    """Write an enrolment."""
    inferencer = _inferencer(options)
    with messages.status("Describing the normal images"):
        enrolment = inferencer.enroll(
            options.images, k_shot=options.k_shot, seed=options.seed, target_fpr=options.target_fpr
        )
    enrolment.save(options.enrolment)
    if enrolment.threshold is not None:
        how = f"threshold {enrolment.threshold.value:.4g} by leave-one-out, {options.target_fpr:g} false positives"
    elif inferencer.bundle.metadata.labelled:
        how = "the checkpoint's threshold, found on the data it was validated with (--target-fpr sets one of its own)"
    else:
        how = "no threshold: scores without labels (--target-fpr sets one)"
    messages.print(f"Enrolled {len(enrolment)} images in {options.enrolment}; {how}.", markup=False, soft_wrap=True)
    return OK


def run_predict(options: argparse.Namespace) -> int:
    """Write a table and heat maps."""
    from anomalib_fsad.deploy.folder import TABLE, Row, predict_folder

    if options.workers < 1:
        msg = f"--workers {options.workers} must be at least 1."
        raise ValueError(msg)
    inferencer = _inferencer(options)
    inferencer.load(options.enrolment)

    def progress(rows: Iterator[Row], count: int) -> Iterable[Row]:
        return track(rows, description="Predicting", total=count, console=messages)

    summary = predict_folder(
        inferencer,
        options.images,
        options.output,
        heat_maps=not options.no_heat_maps,
        workers=options.workers,
        track=progress,
    )
    messages.print(
        f"{summary.images} images, {summary.anomalous} anomalous, {summary.unreadable} unreadable: "
        f"{options.output / TABLE}",
        markup=False,
        soft_wrap=True,
    )
    return UNREADABLE_IMAGES if summary.unreadable else OK


def run_convert(options: argparse.Namespace) -> int:
    """Write a checkpoint with the authors' weights."""
    from anomalib_fsad.models.components import WeightsUnavailableError
    from anomalib_fsad.reference import convert

    try:
        path = convert(options.model, options.source, options.checkpoint, **_init_args(options.arguments))
    except WeightsUnavailableError as error:
        raise ValueError(str(error)) from error
    messages.print(f"Wrote {path}; use it as --ckpt_path of anomalib.", markup=False, soft_wrap=True)
    return OK


def run_inspect(options: argparse.Namespace) -> int:
    """Print what is in a file or folder."""
    from anomalib_fsad.deploy.inspection import inspect_path

    content = inspect_path(options.path)
    if options.json:
        sys.stdout.write(json.dumps(content, indent=2, default=str) + "\n")
        return OK
    table = Table(show_header=False, title=Text(str(options.path)))
    for name, value in content.items():
        table.add_row(name, Text(_text(value)))
    Console().print(table)
    return OK


def _inferencer(options: argparse.Namespace) -> Any:
    from anomalib_fsad.deploy.inferencer import FewShotInferencer

    return FewShotInferencer(
        options.bundle,
        backend=options.backend,
        device=options.device,
        intensity=options.intensity,
        expected_digest=options.digest,
    )


def _init_args(pairs: Sequence[str]) -> dict[str, Any]:
    """``backbone=resnet18 k_shot=2`` as keyword arguments; values are json where they can be."""
    arguments: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            msg = f"{pair!r} is no argument of a model: write NAME=VALUE, e.g. backbone=resnet18."
            raise ValueError(msg)
        try:
            arguments[name] = json.loads(text)
        except ValueError:
            arguments[name] = text
    return arguments


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{name}: {_text(entry)}" for name, entry in value.items())
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return "\n".join(value)
    return "none" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
