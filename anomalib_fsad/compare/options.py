# SPDX-License-Identifier: Apache-2.0
"""Command-line options that choose cells, the same for every script here."""

import argparse
import sys
from pathlib import Path

import yaml

from anomalib_fsad.compare.cells import EVALUATIONS, Overrides


def add_cell_options(parser: argparse.ArgumentParser) -> None:
    """Which cells: benchmark files, and what is put in place of their values."""
    add = parser.add_argument
    add("configs", nargs="+", type=Path, help="benchmark files of anomalib's form, one model each")
    add("--root", help="folder of the data sets, in place of the files' root")
    add(
        "--weights",
        type=Path,
        help="folder with an ImageNet weight file for each backbone; else teachers are untrained",
    )
    add("--targets", nargs="+", help="categories to test on, in place of the files'")
    add("--k_shot", nargs="+", type=int, help="numbers of support images, in place of the files'")
    add("--seeds", nargs="+", type=int, help="in place of the files'")
    add(
        "--evaluation",
        nargs="+",
        choices=list(EVALUATIONS),
        default=["held_out"],
        help="how threshold and checkpoint are chosen",
    )
    add("--backbone", help="the same for every model")
    add("--image_size", type=int, help="pixels along a side, the same for every model")
    add("--max_epochs", type=int, help="for every model that trains")
    add("--set", nargs="*", default=[], metavar="data.OPTION=VALUE", help="any other argument of the data or the model")


def overrides(options: argparse.Namespace) -> Overrides:
    """What the command line puts in place of the files' values."""
    given = dict(option.partition("=")[::2] for option in options.set)
    wrong = [name for name in given if name.partition(".")[0] not in {"data", "model"}]
    if wrong:
        sys.exit(f"--set {wrong[0]}: write data.<argument>=<value> or model.<argument>=<value>.")
    return Overrides(
        root=options.root,
        targets=options.targets,
        k_shots=options.k_shot,
        seeds=options.seeds,
        evaluations=options.evaluation,
        weights="untrained" if options.weights is None else options.weights.name,
        backbone=options.backbone,
        image_size=options.image_size,
        max_epochs=options.max_epochs,
        options={name: yaml.safe_load(value) for name, value in given.items()},
    )
