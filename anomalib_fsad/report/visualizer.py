# SPDX-License-Identifier: Apache-2.0
"""The visualizer that writes a report."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from anomalib.visualization import Visualizer
from lightning.pytorch import LightningModule, Trainer

from anomalib_fsad.deploy.report import ReportWriter, entry_of, new_report
from anomalib_fsad.report.basis import basis_of, data_name
from anomalib_fsad.report.findings import findings_of


class ReportVisualizer(Visualizer):
    """Writes one HTML page instead of a picture for each image: ``--model.visualizer anomalib_fsad.ReportVisualizer``.

    Args:
        file: the page; by default ``report.html`` beside the other results.

    Example:
        >>> from anomalib.models import Padim
        >>> from anomalib_fsad import ReportVisualizer
        >>> model = Padim(pre_trained=False, visualizer=ReportVisualizer())
    """

    def __init__(self, file: str | Path | None = None) -> None:
        self.file = None if file is None else Path(file)
        self._stack = ExitStack()
        self._page: ReportWriter | None = None
        self._normal_scores: list[float] = []

    # Stages ----------------------------------------------------------------------------------------------------------

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the page."""
        self._begin(trainer, pl_module, trainer.test_dataloaders)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the page."""
        self._begin(trainer, pl_module, trainer.predict_dataloaders)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Add the images of a batch."""
        del args, kwargs
        self._add(trainer, pl_module, outputs)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Add the images of a batch."""
        del args, kwargs
        self._add(trainer, pl_module, outputs)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish the page."""
        self._finish(trainer, pl_module)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish the page."""
        self._finish(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave an earlier page as it is."""
        del trainer, pl_module
        self._page = None
        self._stack.__exit__(type(exception), exception, None)

    # The page --------------------------------------------------------------------------------------------------------

    def _begin(self, trainer: Trainer, model: LightningModule, loaders: Any) -> None:
        name = "report.html" if trainer.world_size == 1 else f"report_{trainer.global_rank}.html"
        path = Path(trainer.default_root_dir) / name if self.file is None else self.file
        self._normal_scores = []
        title = f"{type(model).__name__}: {data_name(trainer)}".removesuffix(": ")
        self._page = self._stack.enter_context(new_report(path, _count(loaders), title))

    def _add(self, trainer: Trainer, model: LightningModule, batch: Any) -> None:
        if self._page is None:
            return
        for finding in findings_of(batch, trainer, getattr(model, "post_processor", None)):
            if finding.truth is False:
                self._normal_scores.append(finding.raw_score)
            self._page.add(entry_of(finding, self._page.side))

    def _finish(self, trainer: Trainer, model: LightningModule) -> None:
        if self._page is None:
            return
        self._page.finish(basis_of(trainer, model, self._normal_scores))
        self._page = None
        self._stack.close()


def _count(loaders: Any) -> int:
    every = loaders if isinstance(loaders, list | tuple) else [loaders]
    return sum(len(loader.dataset) for loader in every)
