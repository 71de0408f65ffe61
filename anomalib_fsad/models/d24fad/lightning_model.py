# SPDX-License-Identifier: Apache-2.0
"""D24FAD as an anomalib model."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from anomalib.data import Batch
from anomalib.metrics.evaluator import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, optim

from anomalib_fsad.models.components import HostMixin, check_choice, checked_size, default_pre_processor, seeded
from anomalib_fsad.models.d24fad.loss import D24FADLoss
from anomalib_fsad.models.d24fad.support_source import (
    datamodule_support,
    folder_references,
    partners_in_batch,
    training_references,
)
from anomalib_fsad.models.d24fad.torch_model import D24FADModel, ImageScore
from anomalib_fsad.models.d24fad.visualizer import D24FADVisualizer

logger = logging.getLogger(__name__)


class D24FAD(HostMixin, AnomalibModule):
    """Few-shot anomaly detection in a task never trained on, by dual distillation and a learnt weighting.

    Train once on the normal images of other tasks; then ``k_shot`` normal images of the new task are enough. They come
    from ``few_shot_source``, else from the datamodule's support set (``MedicalFewShot``), else from the checkpoint,
    else from the training split.

    Args:
        k_shot: number of reference images. Defaults to ``4``; the paper uses 2, 4 and 8.
        few_shot_source: a folder of normal images that serve as references, also at test, predict and export time,
            where it replaces a checkpoint's without any training. Defaults to ``None``.
        backbone: the teacher: ``resnet18``, ``resnet34``, ``resnet50`` or ``wide_resnet50_2`` (default).
        pre_trained: ``True`` downloads the teacher's ImageNet weights, a path loads them from a local file, ``False``
            leaves them random. Defaults to ``True``.
        tsd_weight: what teacher-student distillation counts beside the student's own. Defaults to ``0.1``.
        support_mode: in training, ``episode`` gives every query supports of its own, as the paper does; ``in_batch``
            takes the other images of the batch, about K + 1 times less work. A datamodule that gives no supports is
            always trained ``in_batch``. Defaults to ``episode``.
        image_score: the score of an image is the ``max`` (default) or the ``mean`` of its map.
        lr: learning rate of Adam. Defaults to ``1e-4``.
        image_size: height and width, or one number for both; multiples of 32. Defaults to ``128``.
        max_epochs: epochs to train, before any ``--trainer.max_epochs``; the paper's recipe is 70. Defaults to
            ``None``: what the trainer says.
        seed: of weights, training and drawn references. Defaults to ``111``.
        pre_processor: a pre-processor, or ``True`` for resizing only: D24FAD is not given normalised images.
        post_processor: as in anomalib.
        evaluator: as in anomalib.
        visualizer: a visualizer, or ``True`` for one that shows the references and their weights.

    Example:
        >>> model = D24FAD(k_shot=2, backbone="resnet18", pre_trained=False, image_size=64)
        >>> model.learning_type.value
        'one_class'
    """

    architecture = ("backbone", "image_score")
    not_restored: ClassVar[dict[str, Any]] = {"pre_trained": False, "few_shot_source": None}

    def __init__(
        self,
        k_shot: int = 4,
        few_shot_source: str | Path | None = None,
        backbone: str = "wide_resnet50_2",
        pre_trained: bool | str | Path = True,
        tsd_weight: float = 0.1,
        support_mode: Literal["episode", "in_batch"] = "episode",
        image_score: ImageScore = "max",
        lr: float = 1e-4,
        image_size: int | Sequence[int] = 128,
        max_epochs: int | None = None,
        seed: int | None = 111,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        # Plain data before super().__init__, which stores these very names as the hyper-parameters.
        image_size = checked_size(image_size)
        check_choice("support_mode", support_mode, ("episode", "in_batch"))
        check_choice("image_score", image_score, ("max", "mean"))
        if k_shot < 1:
            msg = f"k_shot={k_shot} must be at least 1."
            raise ValueError(msg)
        if pre_processor is True:
            pre_processor = default_pre_processor(image_size, normalize=False)
        super().__init__(
            pre_processor=pre_processor,
            post_processor=post_processor,
            evaluator=evaluator,
            visualizer=visualizer,
        )
        self.k_shot = k_shot
        self.few_shot_source = few_shot_source
        self.support_mode = support_mode
        self.lr = lr
        self.max_epochs = max_epochs
        self.seed = seed
        with seeded(seed):
            self.model: D24FADModel = D24FADModel(backbone, pre_trained, image_score)
        self.loss = D24FADLoss(tsd_weight)

    def training_step(self, batch: Batch, batch_idx: int, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
        """Distil a batch; see ``support_mode``."""
        del args, kwargs
        support = getattr(batch, "support", None)
        if self.support_mode == "episode" and support is not None:
            maps = self.model.episode(batch.image, self._prepared(support))
        else:
            if len(batch.image) == 1 and batch_idx == 0:
                msg = (
                    "D24FAD compares the images of a batch with one another, and this batch has one. Raise "
                    "train_batch_size, or give it supports (MedicalFewShot with protocol=episodic)."
                )
                raise ValueError(msg)
            categories = getattr(batch, "category", None) or [""] * len(batch.image)
            if batch_idx == 0 and self.current_epoch == 0:
                self._tell_lonely(categories)
            partners = partners_in_batch(categories, self.k_shot).to(batch.image.device)
            maps = self.model.in_batch(batch.image, partners)
        losses = self.loss(*maps)
        for name, value in losses.items():
            label = "train_loss" if name == "loss" else f"train_{name}"
            self.log(label, value.detach(), on_epoch=True, prog_bar=name == "loss", batch_size=len(batch.image))
        return {"loss": losses["loss"]}

    def _tell_lonely(self, categories: Sequence[str]) -> None:
        lonely = sum(categories.count(category) == 1 for category in categories)
        if lonely:
            logger.warning(
                "support_mode=in_batch: %d of %d images of the first batch have no other of their category to be "
                "compared with. Pass --data.same_category_batches true, or raise train_batch_size.",
                *(lonely, len(categories)),
            )

    def configure_optimizers(self) -> optim.Optimizer:
        """Adam over the student and L2W, with the authors' betas."""
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        return optim.Adam(trained, lr=self.lr, betas=(0.5, 0.999))

    def validation_step(self, batch: Batch, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
        """Score a batch against its own supports if it brings some, else against the support set."""
        del args, kwargs
        return self._explained(batch, getattr(batch, "support", None))

    def test_step(self, batch: Batch, batch_idx: int, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
        """Score a batch against the support set."""
        del batch_idx, args, kwargs
        return self._explained(batch)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> STEP_OUTPUT:
        """Score a batch against the support set."""
        del batch_idx, dataloader_idx
        return self._explained(batch)

    def _explained(self, batch: Batch, support: Tensor | None = None) -> Batch:
        predictions, weights = self.model.explain(batch.image, None if support is None else self._prepared(support))
        batch.update(**predictions._asdict())
        # Beside anomalib's own fields: what each of the K references counted, by scale and on average.
        batch.reference_weights_by_scale = weights  # B x S x K
        batch.reference_weights = weights.mean(dim=1)  # B x K
        return batch

    def _prepared(self, support: Tensor) -> Tensor:
        """Supports as the pre-processor leaves queries: B x K x 3 x H x W; it only touches ``batch.image`` itself."""
        transform = self.pre_processor.transform if isinstance(self.pre_processor, PreProcessor) else None
        if transform is None:
            return support
        return transform(support.flatten(0, 1)).unflatten(0, support.shape[:2])

    # The support set -------------------------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Find the references before any training, so that what is missing is said first."""
        self._find_support()

    def on_validation_start(self) -> None:
        """Describe the references by the present weights."""
        if not self.trainer.sanity_checking and self.trainer.state.fn != "fit":
            self._find_support()
        elif len(self.model.support):
            self.model.encode_support()

    def on_test_start(self) -> None:
        """Find the references of what is tested."""
        self._find_support()

    def on_predict_start(self) -> None:
        """Find the references of what is predicted."""
        self._find_support()

    def on_fit_end(self) -> None:
        """Leave references behind that fit the trained weights."""
        self.model.encode_support()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save references that fit the weights saved with them."""
        if len(self.model.support):
            self.model.encode_support()
            prefix = "model.support."
            fresh = {prefix + name: value for name, value in self.model.support.state_dict().items()}
            checkpoint["state_dict"].update(fresh)
        super().on_save_checkpoint(checkpoint)

    def _find_support(self) -> None:
        """Set the references: few_shot_source, the datamodule's, those at hand, or some of the training split."""
        datamodule = getattr(self.trainer, "datamodule", None)
        images = None
        if self.few_shot_source is not None:
            images = folder_references(self.few_shot_source, self.k_shot, self.seed)
        else:
            images = datamodule_support(datamodule)
        if images is not None:
            self.use_support(images)
        elif len(self.model.support):
            self.model.encode_support()
        else:
            self.use_support(training_references(self._training_dataset(datamodule), self.k_shot, self.seed))
        self._tell_other_count("checkpoint" if images is None else "datamodule")

    def _tell_other_count(self, whose: str) -> None:
        """Say that ``k_shot`` is not what is compared with, and how it could be."""
        count = len(self.model.support)
        if count == self.k_shot:
            return
        remedy = f" or --data.k_shot {self.k_shot}" if whose == "datamodule" else ""
        logger.warning(
            "k_shot=%d of the model is not used: the %s holds %d references, and images are compared with these. "
            "Pass --model.k_shot %d to agree, or --model.few_shot_source FOLDER%s for others.",
            *(self.k_shot, whose, count, count, remedy),
        )

    def _training_dataset(self, datamodule: Any) -> Any:
        dataset = getattr(datamodule, "train_data", None)
        if dataset is None:
            dataset = getattr(self.trainer.train_dataloader, "dataset", None)
        if dataset is None:
            msg = (
                "D24FAD has no reference images: pass few_shot_source=path/to/folder with "
                f"k_shot={self.k_shot} normal images, or a checkpoint that holds some."
            )
            raise ValueError(msg)
        return dataset

    @torch.no_grad()
    def use_support(self, images: Sequence[Tensor]) -> None:
        """Make normal images (3 x H x W in [0, 1], of any sizes) the references of all that is scored from now on.

        Example:
            >>> import torch
            >>> model = D24FAD(k_shot=2, backbone="resnet18", pre_trained=False, image_size=64)
            >>> model.use_support([torch.rand(3, 80, 90), torch.rand(3, 64, 64)])
            >>> len(model.model.support)
            2
        """
        prepared = [self._prepared(image.to(self.device)[None, None])[0, 0] for image in images]
        self.model.set_support(torch.stack(prepared))

    # Export and checkpoints ------------------------------------------------------------------------------------------

    def export_arguments(self) -> dict[str, Any]:
        """``export --ckpt_path`` keeps the command line's references."""
        if self.few_shot_source is None:
            return {}
        return {"few_shot_source": self.few_shot_source, "k_shot": self.k_shot}

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: str | Path, *args: Any, **kwargs: Any) -> "D24FAD":
        """Load a model with the references it was saved with, or with those of a ``few_shot_source`` given here."""
        model = super().load_from_checkpoint(checkpoint_path, *args, **kwargs)
        model._use_few_shot_source()
        return model

    def _use_few_shot_source(self) -> None:
        if self.few_shot_source is not None:
            self.use_support(folder_references(self.few_shot_source, self.k_shot, self.seed))

    def to_torch(self, export_root: Path | str, model_file_name: str = "model") -> Path:
        """Export with anomalib; the support set is in the file."""
        self._check_exportable()
        return super().to_torch(export_root, model_file_name)

    def to_onnx(
        self,
        export_root: Path | str,
        model_file_name: str = "model",
        input_size: tuple[int, int] | None = None,
        **kwargs: Any,
    ) -> Path:
        """Export with anomalib; the support set is in the file."""
        self._check_exportable()
        return super().to_onnx(export_root, model_file_name, input_size, **kwargs)

    def _check_exportable(self) -> None:
        if not len(self.model.support):
            self._use_few_shot_source()
        if not len(self.model.support):
            msg = (
                "D24FAD cannot be exported without a support set: fit it first, pass ckpt_path, or pass "
                f"few_shot_source=path/to/folder with k_shot={self.k_shot} normal images."
            )
            raise ValueError(msg)

    # Components ------------------------------------------------------------------------------------------------------

    @staticmethod
    def configure_pre_processor(image_size: tuple[int, int] | None = None) -> PreProcessor:
        """Resize only: the paper feeds pixel values in [0, 1]."""
        return default_pre_processor(image_size or 128, normalize=False)

    @classmethod
    def configure_visualizer(cls) -> D24FADVisualizer:
        """Pictures with the references and their weights."""
        return D24FADVisualizer()
