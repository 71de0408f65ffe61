# SPDX-License-Identifier: Apache-2.0
"""The authors' checkpoint -> a checkpoint of anomalib."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anomalib_fsad.commands.common import OK, messages
from anomalib_fsad.registry import MODELS


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options."""
    command.add_argument("model", help=f"one of {', '.join(MODELS)}")
    command.add_argument("source", type=Path, help="the authors' file")
    command.add_argument("checkpoint", type=Path, help=".ckpt to write")
    command.add_argument("arguments", nargs="*", metavar="NAME=VALUE", help="of the model, e.g. backbone=resnet18")


def run(options: argparse.Namespace) -> int:
    """Write a checkpoint with the authors' weights."""
    from anomalib_fsad.models.components import WeightsUnavailableError
    from anomalib_fsad.models.components.checkpoint import convert

    try:
        path = convert(options.model, options.source, options.checkpoint, **_init_args(options.arguments))
    except WeightsUnavailableError as error:
        raise ValueError(str(error)) from error
    messages.print(f"Wrote {path}; use it as --ckpt_path of anomalib.", markup=False, soft_wrap=True)
    return OK


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
