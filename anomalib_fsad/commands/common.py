# SPDX-License-Identifier: Apache-2.0
"""What several verbs share: exit statuses, the console, the options of a runtime."""

import argparse
from typing import Any

from rich.console import Console

OK, ATTENTION, FAILED, INTERRUPTED = 0, 1, 2, 130

messages = Console(stderr=True)


def say(text: str, style: str | None = None) -> None:
    """A line to the user, beside what a verb prints for other programs; long lines are left whole."""
    messages.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def add_runtime(command: argparse.ArgumentParser) -> None:
    """Options of all verbs that run a bundle."""
    command.add_argument("--backend", choices=("auto", "openvino", "onnx"), default="auto")
    command.add_argument("--device", default="CPU")
    command.add_argument(
        "--intensity", default="auto", help="auto, minmax, percentile or window(center,width), as in training"
    )
    command.add_argument("--digest", help="refuse a bundle of another digest (see inspect)")


def inferencer_of(options: argparse.Namespace) -> Any:
    """The inferencer that the options describe."""
    from anomalib_fsad.deploy.inferencer import FewShotInferencer

    return FewShotInferencer(
        options.bundle,
        backend=options.backend,
        device=options.device,
        intensity=options.intensity,
        expected_digest=options.digest,
    )
