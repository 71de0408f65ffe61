# SPDX-License-Identifier: Apache-2.0
"""Command-line options that choose cells, the same for every command that runs some."""

import argparse
from pathlib import Path

import yaml

from anomalib_fsad.compare.cells import BEST, EVALUATIONS, LAST, VALIDATION, Cell, Overrides, cells_of

TEACHER, SIZE = "tf_efficientnet_lite0", 128
"""Small enough for a CPU, and an installed package has its weights."""


def add_comparison_options(parser: argparse.ArgumentParser) -> None:
    """Those of ``anomalib-fsad compare``: one trained teacher and one size for all, unless others are named."""
    add_cell_options(parser)
    parser.set_defaults(backbone=TEACHER, pre_trained=True, image_size=SIZE, seeds=[0])


def add_cell_options(parser: argparse.ArgumentParser) -> None:
    """Models, and what all of them share."""
    add = parser.add_argument
    add("models", nargs="+", metavar="MODEL", help="a name, such as D24FAD or Padim, or a recipe file")
    add("--root", help="folder of the data sets")
    add("--targets", "--target", nargs="+", help="categories to test on")
    add("--k_shot", nargs="+", type=int, help="numbers of support images")
    add("--seeds", nargs="+", type=int, help="of weights, training and the choice of the support images")
    add("--backbone", help="the teacher, the same for every model that has one")
    add(
        "--pre_trained",
        "--pre-trained",
        type=pre_trained,
        default=False,
        metavar="false|true|PATH",
        help="the teacher's weights, the same for every model: untrained, those of an installed package or of the hub, "
        "or a weight file, or a folder with one for each backbone (default: %(default)s)",
    )
    add("--image_size", type=int, help="pixels along a side, the same for every model")
    add(
        "--evaluation",
        nargs="+",
        choices=list(EVALUATIONS),
        default=["held_out"],
        help="how threshold and checkpoint are chosen: without any test label, or with them, as many papers do",
    )
    add(
        "--checkpoint",
        choices=[BEST, LAST],
        default=BEST,
        help="test the weights of the best validation AUROC, or those that training ends with (default: %(default)s)",
    )
    add(
        "--train_k_shot",
        type=int,
        metavar="K",
        help="train a model that takes supports with this K, and show it those of --k_shot: with --checkpoint last, "
        "one training serves them all",
    )
    add(
        "--train_seed",
        type=int,
        metavar="SEED",
        help="train a model that takes supports with this seed, and draw its supports by --seeds: with --checkpoint "
        "last, one training serves them all",
    )
    add("--max_epochs", type=int, help="for every model that trains; by default a model's own, or anomalib's")
    add("--set", nargs="*", default=[], metavar="data.OPTION=VALUE", help="any other argument of the data or the model")


def pre_trained(given: str) -> bool | Path:
    """``true``, ``false``, or a path that exists.

    Example:
        >>> pre_trained("true")
        True
    """
    words = {"true": True, "false": False}
    if given.lower() in words:
        return words[given.lower()]
    if not Path(given).exists():
        msg = f"{given!r} is neither true nor false, and no such file or folder exists"
        raise argparse.ArgumentTypeError(msg)
    return Path(given)


def chosen_cells(options: argparse.Namespace, threshold: str = VALIDATION) -> list[Cell]:
    """The cells that a command line asks for.

    Args:
        options: of the command line.
        threshold: what it is from.

    Raises:
        ValueError: for a model that anomalib does not know, or a ``--set`` that nothing takes.
    """
    from anomalib_fsad.compare.comparison import benchmarks_of

    if options.root is None or options.targets is None:
        msg = "Say what to test on: --root, a folder of data sets, and --targets, names of some of them."
        raise ValueError(msg)
    contents = benchmarks_of(options.models, few_shot=options.k_shot is not None)
    return cells_of(contents, _overrides(options, threshold))


def _overrides(options: argparse.Namespace, threshold: str) -> Overrides:
    from anomalib_fsad.compare.building import Teachers

    given = dict(option.partition("=")[::2] for option in options.set)
    wrong = [name for name in given if name.partition(".")[0] not in {"data", "model"}]
    if wrong:
        msg = f"--set {wrong[0]}: write data.<argument>=<value> or model.<argument>=<value>."
        raise ValueError(msg)
    return Overrides(
        root=options.root,
        targets=options.targets,
        k_shots=options.k_shot,
        seeds=options.seeds,
        evaluations=options.evaluation,
        weights=Teachers(options.pre_trained, Path()).name,
        backbone=options.backbone,
        image_size=options.image_size,
        max_epochs=options.max_epochs,
        threshold=threshold,
        checkpoint=options.checkpoint,
        train_k_shot=options.train_k_shot,
        train_seed=options.train_seed,
        options={name: yaml.safe_load(value) for name, value in given.items()},
    )
