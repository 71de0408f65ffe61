# SPDX-License-Identifier: Apache-2.0
"""Normal images of an organ -> an enrolment."""

import argparse
from pathlib import Path

from anomalib_fsad.commands.common import OK, add_runtime, inferencer_of, say


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options."""
    command.add_argument("bundle", type=Path)
    command.add_argument("images", type=Path, help="folder of normal images")
    command.add_argument("enrolment", type=Path, help=".npz to write")
    command.add_argument("--k-shot", type=int, help="take only this many of them, drawn by --seed")
    command.add_argument("--seed", type=int, default=111)
    command.add_argument(
        "--target-fpr",
        type=rate_or_none,
        default="0.05",
        help="set a threshold by these images alone, which this share of normal images would exceed (default: "
        "%(default)s); none keeps the checkpoint's",
    )
    add_runtime(command)


def run(options: argparse.Namespace) -> int:
    """Write an enrolment."""
    from anomalib_fsad.deploy.enrolment import check_suffix
    from anomalib_fsad.deploy.judgement import judgement

    check_suffix(options.enrolment)
    inferencer = inferencer_of(options)
    enrolment = inferencer.enroll(
        options.images, k_shot=options.k_shot, seed=options.seed, target_fpr=options.target_fpr
    )
    enrolment.save(options.enrolment)
    judged = judgement(inferencer.bundle.metadata, enrolment)
    threshold = "no threshold" if judged.threshold is None else f"threshold {judged.threshold:.4g}: {judged.source}"
    say(f"Enrolled {len(enrolment)} images in {options.enrolment}; {threshold}.")
    if judged.warning:
        say(f"warning: {judged.caution}.", style="yellow")
    else:
        say(f"Note: {judged.caution}.")
    return OK


def rate_or_none(text: str) -> float | None:
    """The value of ``--target-fpr``."""
    try:
        return None if text == "none" else float(text)
    except ValueError as error:
        msg = f"{text!r} is neither a rate, such as 0.05, nor none"
        raise argparse.ArgumentTypeError(msg) from error
