# SPDX-License-Identifier: Apache-2.0
"""Normal images of an organ -> an enrolment of a bundle, or a checkpoint that holds them."""

import argparse
from pathlib import Path

from anomalib_fsad.commands.common import OK, add_runtime, inferencer_of, say


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options."""
    command.add_argument("bundle", type=Path, help="a bundle, or a checkpoint (.ckpt; needs torch and anomalib)")
    command.add_argument("images", type=Path, help="folder of normal images")
    command.add_argument("enrolment", type=Path, help=".npz to write for a bundle, .ckpt for a checkpoint")
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
    """Write an enrolment, or a checkpoint with the support exchanged."""
    if options.bundle.suffix == ".ckpt":
        return into_checkpoint(options)
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


def into_checkpoint(options: argparse.Namespace) -> int:
    """Write a checkpoint whose support, and the threshold that comes from it, is of these images."""
    from anomalib_fsad import registry
    from anomalib_fsad.images.listing import images_in
    from anomalib_fsad.models.components.checkpoint import check_output, model_name_of, save_checkpoint

    check_output(options.enrolment)
    name = model_name_of(options.bundle)
    model_class = registry.load(name)
    if not hasattr(model_class, "use_support"):
        msg = f"{str(options.bundle)!r} holds {name}, which compares with no support images: there is nothing to enrol."
        raise ValueError(msg)
    k_shot = options.k_shot or max(len(images_in(options.images, below=True)), 1)
    more = {"threshold": "validation"} if options.target_fpr is None else {"target_fpr": options.target_fpr}
    model = model_class.load_from_checkpoint(
        options.bundle, map_location="cpu", few_shot_source=options.images, k_shot=k_shot, seed=options.seed, **more
    )
    save_checkpoint(model, options.enrolment)
    say(f"Wrote {options.enrolment}, {name} with {k_shot} support images of {options.images}; use it as --ckpt_path.")
    return OK


def rate_or_none(text: str) -> float | None:
    """The value of ``--target-fpr``."""
    try:
        return None if text == "none" else float(text)
    except ValueError as error:
        msg = f"{text!r} is neither a rate, such as 0.05, nor none"
        raise argparse.ArgumentTypeError(msg) from error
