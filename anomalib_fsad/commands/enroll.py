# SPDX-License-Identifier: Apache-2.0
"""Normal images of an organ -> an enrolment."""

import argparse
from pathlib import Path

from anomalib_fsad.commands.common import OK, add_runtime, inferencer_of, messages


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options."""
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
    add_runtime(command)


def run(options: argparse.Namespace) -> int:
    """Write an enrolment."""
    inferencer = inferencer_of(options)
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
