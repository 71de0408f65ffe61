# SPDX-License-Identifier: Apache-2.0
"""A D24FAD checkpoint -> a bundle for boxes without torch."""

import argparse
from pathlib import Path

from anomalib_fsad.commands.common import OK, messages


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options."""
    command.add_argument("checkpoint", type=Path)
    command.add_argument("bundle", type=Path, help="folder to write")
    command.add_argument("--format", choices=("openvino", "onnx", "both"), default="both")


def run(options: argparse.Namespace) -> int:
    """Write a bundle."""
    from anomalib_fsad.deploy.bundle import SUFFIXES
    from anomalib_fsad.deploy.exporting import export

    formats = tuple(SUFFIXES) if options.format == "both" else (options.format,)
    with messages.status("Exporting the encoder and the scorer"):
        bundle = export(options.checkpoint, options.bundle, formats)
    messages.print(f"Wrote {bundle.folder} (digest {bundle.digest}).", markup=False, soft_wrap=True)
    return OK
