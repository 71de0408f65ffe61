# SPDX-License-Identifier: Apache-2.0
"""Which teachers are at hand with trained weights on this machine, from where, and how to get others."""

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from anomalib_fsad.commands.common import OK

TRIED = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "wide_resnet50_2", "resnext50_32x4d"),
    *("mobilenetv3_large_100", "regnety_004", "convnext_tiny", "swin_tiny"),
)
"""Teachers that come from timm's hub."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """No options."""
    del command


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    del options
    from anomalib_fsad.models.components.weights import (
        OFFER_VARIABLE,
        PACKAGES,
        hub_file,
        package_file,
        packaged_weights,
    )

    table = Table("backbone", "at hand", "from", title="Trained teachers on this machine", title_justify="left")
    for backbone, package in PACKAGES.items():
        if package_file(backbone) is None:
            table.add_row(backbone, "no", package.install)
            continue
        try:
            packaged_weights(backbone)
        except (ValueError, RuntimeError) as error:
            table.add_row(backbone, "damaged", str(error))
        else:
            table.add_row(backbone, "yes", f"package {package.name} {package.version}, hash right")
    for backbone in TRIED:
        file = hub_file(backbone)
        where = f"cache of the hub, {Path(file).parent}" if file else "timm's hub, on first use"
        table.add_row(backbone, "yes" if file else "no", where)
    console = Console()
    console.print(table)
    console.print(
        "Any other timm network with maps at strides 4, 8, 16 and 32 teaches too. A file: "
        "--model.pre_trained path/to/weights. For anomalib's own models, let timm find the packages' weights: "
        f"{OFFER_VARIABLE}=packages anomalib train --model Patchcore --model.backbone tf_efficientnet_lite0 ...",
        soft_wrap=True,
        highlight=False,
    )
    return OK
