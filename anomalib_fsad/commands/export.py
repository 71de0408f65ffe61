# SPDX-License-Identifier: Apache-2.0
"""A checkpoint -> a bundle for boxes without torch."""

import argparse
from pathlib import Path

from anomalib_fsad.commands.common import OK, messages
from anomalib_fsad.registry import MODELS


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options."""
    command.add_argument("checkpoint", type=Path, help=f"of one of {', '.join(MODELS)}")
    command.add_argument("bundle", type=Path, help="folder to write")
    command.add_argument("--format", choices=("openvino", "onnx", "both"), default="both")


def run(options: argparse.Namespace) -> int:
    """Write a bundle."""
    from anomalib_fsad.deploy.bundle import SUFFIXES
    from anomalib_fsad.deploy.exporting import export

    formats = tuple(SUFFIXES) if options.format == "both" else (options.format,)
    with messages.status("Exporting"):
        bundle = export(options.checkpoint, options.bundle, formats)
    messages.print(f"Wrote {bundle.folder} (digest {bundle.digest}).", markup=False, soft_wrap=True)
    return OK
