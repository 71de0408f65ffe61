# SPDX-License-Identifier: Apache-2.0
"""Normal images of an organ -> an enrolment of a bundle, or a checkpoint that holds them."""

import argparse
from pathlib import Path, PurePath
from typing import Any

from anomalib_fsad.commands.common import OK, add_runtime, inferencer_of, say

SHOWN = 12
"""How many leave-one-out scores are listed, the highest first."""

KEEP = "0.05"
"""The target where none is given, and no enrolment with one is added to."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options."""
    command.add_argument("bundle", type=Path, help="a bundle, or a checkpoint (.ckpt; needs torch and anomalib)")
    command.add_argument("images", type=Path, help="folder of normal images")
    command.add_argument("enrolment", type=Path, help=".npz to write for a bundle, .ckpt for a checkpoint")
    command.add_argument("--k-shot", type=int, help="take only this many of them, drawn by --seed")
    command.add_argument("--seed", type=int, default=111)
    command.add_argument(
        "--add",
        action="store_true",
        help="to the images that the enrolment (for a checkpoint: the checkpoint) has; the threshold is set anew",
    )
    command.add_argument(
        "--target-fpr",
        type=rate_or_none,
        default=argparse.SUPPRESS,
        help="set a threshold by these images alone, which this share of normal images would exceed (default: 0.05, "
        "with --add that of the enrolment); none keeps the checkpoint's",
    )
    command.add_argument("--no-pictures", action="store_true", help="keep no small pictures of them for reports")
    add_runtime(command)


def run(options: argparse.Namespace) -> int:
    """Write an enrolment, or a checkpoint with the support exchanged."""
    from anomalib_fsad.deploy.alone import alone
    from anomalib_fsad.deploy.enrolment import check_suffix

    if options.bundle.suffix == ".ckpt":
        from anomalib_fsad.models.components.checkpoint import check_output

        refuse_runtime(options)
        check_output(options.enrolment)
        with alone(options.enrolment):
            return into_checkpoint(options)
    check_suffix(options.enrolment)
    with alone(options.enrolment):
        return into_enrolment(options)


def refuse_runtime(options: argparse.Namespace) -> None:
    """A digest that nobody looked at would seem to be right."""
    given = {
        "--digest": options.digest,
        "--no-pictures": options.no_pictures,
        "--backend": options.backend != "auto",
        "--device": options.device != "CPU",
    }
    wrong = [name for name, value in given.items() if value]
    if wrong:
        msg = f"{wrong[0]} is for bundles; {str(options.bundle)!r} is a checkpoint: leave it out."
        raise ValueError(msg)


def into_enrolment(options: argparse.Namespace) -> int:
    """Write an enrolment of a bundle."""
    from anomalib_fsad.deploy.judgement import judgement

    inferencer = inferencer_of(options)
    enrolled = inferencer.load(options.enrolment) if options.add else None
    enrolment = inferencer.enroll(
        options.images,
        k_shot=options.k_shot,
        seed=options.seed,
        target_fpr=target_of(options, enrolled),
        pictures=not options.no_pictures,
        add_to=enrolled,
    )
    enrolment.save(options.enrolment)
    judged = judgement(inferencer.bundle.metadata, enrolment)
    threshold = "no threshold" if judged.threshold is None else f"threshold {judged.threshold:.4g}: {judged.source}"
    say(f"Enrolled {len(enrolment)} images in {options.enrolment}; {threshold}.")
    tell(inferencer.normals(enrolment, options.seed))
    if judged.warning:
        say(f"warning: {judged.caution}.", style="yellow")
    else:
        say(f"Note: {judged.caution}.")
    return OK


def target_of(options: argparse.Namespace, enrolled: Any) -> float | None:
    """What ``--target-fpr`` says, else the enrolment that is added to, else the default."""
    if hasattr(options, "target_fpr"):
        return None if options.target_fpr is None else float(options.target_fpr)
    if enrolled is None:
        return float(KEEP)
    return None if enrolled.threshold is None else float(enrolled.threshold.target_fpr)


def tell(normals: Any) -> None:
    """The leave-one-out scores, and what they say of the images."""
    if not len(normals.scores):
        return
    order = normals.scores.argsort()[::-1]
    say("Each of them by the others (leave-one-out), the highest score first:")
    for place in order[:SHOWN]:
        mark = "  <- unlike the others" if place in normals.outliers else ""
        say(f"  {normals.scores[place]:.4g}  {PurePath(normals.names[place]).name}{mark}")
    if len(order) > SHOWN:
        say(f"  ... and {len(order) - SHOWN} more, down to {normals.scores[order[-1]]:.4g}")
    for warning in normals.warnings:
        say(f"warning: {warning}.", style="yellow")


def into_checkpoint(options: argparse.Namespace) -> int:
    """Write a checkpoint whose support, and the threshold that comes from it, is of these images."""
    import numpy as np

    from anomalib_fsad import registry
    from anomalib_fsad.deploy.images import images_at, refuse_links
    from anomalib_fsad.deploy.normals import COMPARED, normals_of
    from anomalib_fsad.images.support import choose_support
    from anomalib_fsad.models.components.checkpoint import model_name_of, save_checkpoint

    name = model_name_of(options.bundle)
    model_class = registry.load(name)
    if not hasattr(model_class, "use_support"):
        msg = f"{str(options.bundle)!r} holds {name}, which compares with no support images: there is nothing to enrol."
        raise ValueError(msg)
    found = images_at(options.images)
    refuse_links(found, options.images)
    chosen = choose_support(found, options.k_shot or len(found), options.seed)
    model = model_class.load_from_checkpoint(options.bundle, map_location="cpu", **rule_of(options))
    before = len(model.model.support) if options.add else 0
    model.use_support(tensors_of(chosen, options.intensity), beside=options.add)
    # What is compared with from now on, so that nobody is asked for another number.
    model.k_shot = model.hparams["k_shot"] = len(model.model.support)
    save_checkpoint(model, options.enrolment)
    say(
        f"Wrote {options.enrolment}, {name} with {model.k_shot} support images, {len(chosen)} of them of "
        f"{options.images}; use it as --ckpt_path."
    )
    names = [*(f"image {place + 1} of the checkpoint" for place in range(before)), *map(str, chosen)]
    others = choose_support(range(len(names)), min(len(names), COMPARED), options.seed)
    verdicts = model.model.leave_one_out(model.model.support.images.shape[-2:])
    scores = np.array([verdict.pred_score.item() for verdict in verdicts])
    tell(normals_of(names, scores, model.model.one_by_one(others).numpy(), others))
    return OK


def rule_of(options: argparse.Namespace) -> dict[str, Any]:
    """The model's options for the threshold; with ``--add`` they stay what they are where none is given."""
    if options.add and not hasattr(options, "target_fpr"):
        return {}
    target = target_of(options, None)
    return {"threshold": "validation"} if target is None else {"threshold": "support", "target_fpr": target}


def tensors_of(paths: list[Path], intensity: str) -> list[Any]:
    """Normal images, no two alike, 3 x H x W each."""
    import torch

    from anomalib_fsad.deploy.images import named_images, refuse_copies

    return [torch.from_numpy(image.pixels).permute(2, 0, 1) for image in refuse_copies(named_images(paths, intensity))]


def rate_or_none(text: str) -> float | None:
    """The value of ``--target-fpr``."""
    try:
        return None if text == "none" else float(text)
    except ValueError as error:
        msg = f"{text!r} is neither a rate, such as 0.05, nor none"
        raise argparse.ArgumentTypeError(msg) from error
