# SPDX-License-Identifier: Apache-2.0
"""Trains in two processes, one of which is killed after its first step. Started by ``test_ddp.py``."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from anomalib.engine import Engine
from lightning.pytorch import Callback, Trainer

from tests.integration.ddp_job import make_data, make_model


class Dies(Callback):
    """Kills the process of one rank."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """After the first batch."""
        if trainer.global_rank == self.rank:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    place, dying = Path(sys.argv[1]), int(sys.argv[2])
    quiet = {"logger": False, "enable_progress_bar": False, "default_root_dir": place / "results"}
    engine = Engine(strategy="ddp", devices=2, accelerator="cpu", callbacks=[Dies(dying)], **quiet)
    engine.fit(model=make_model(), datamodule=make_data(place))
