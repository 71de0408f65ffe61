# SPDX-License-Identifier: Apache-2.0
"""How far a bundle's scores and maps are from its checkpoint's on this machine."""

import argparse
import math
import sys
from pathlib import Path

from anomalib_fsad.commands.common import ATTENTION, OK, add_runtime, inferencer_of, say


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options."""
    command.epilog = "The exit status is 1 where a deviation exceeds the bound."
    command.add_argument("bundle", type=Path)
    command.add_argument("checkpoint", type=Path, help="that the bundle was exported from")
    command.add_argument("images", type=Path, help="an image or a folder of images; some are the support of the others")
    command.add_argument(
        "--bound",
        type=float,
        default=1e-4,
        help="of scores and maps in [0, 1], or as a share of the largest raw one (default: %(default)s)",
    )
    add_runtime(command)


def run(options: argparse.Namespace) -> int:
    """Print the largest deviations; 1 if one is beyond the bound."""
    from anomalib_fsad.deploy.verifying import verify

    if not 0 < options.bound < math.inf:
        msg = f"--bound {options.bound} must be above 0, e.g. 1e-4."
        raise ValueError(msg)
    inferencer = inferencer_of(options)
    found = verify(inferencer, options.checkpoint, options.images)
    sys.stdout.write(f"Largest deviations of {inferencer.backend} on {options.device} from the checkpoint\n")
    width = max(len(deviation.what) for deviation in found)
    for what, largest, image in found:
        sys.stdout.write(f"  {what:{width}}  {largest:.1e}  {image}\n")
    beyond = [deviation.what for deviation in found if not deviation.largest <= options.bound]
    if beyond:
        say(f"anomalib-fsad verify: beyond the bound of {options.bound:g}: {', '.join(beyond)}", style="red")
        return ATTENTION
    say(f"All within the bound of {options.bound:g}.")
    return OK
