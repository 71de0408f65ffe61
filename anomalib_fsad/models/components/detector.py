# SPDX-License-Identifier: Apache-2.0
"""What every model here does to be at home in anomalib: one mixin, put in front of ``AnomalibModule``."""

import inspect
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from anomalib import LearningType
from anomalib.data import Batch, InferenceBatch
from anomalib.metrics import AUROC, Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.pre_processing import PreProcessor
from lightning.pytorch import LightningModule, seed_everything
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn

from anomalib_fsad.models.components.export import ONNX_OPSET, exact_export_transform, quantize_networks

MODEL_KEY = "anomalib_fsad_model"
"""The checkpoint entry that names the class, so that a wrong checkpoint is told apart from a broken one."""


class HostMixin(LightningModule):
    """Trainer arguments, seeding, guarded checkpoints and exact export.

    A model is ``class X(HostMixin, AnomalibModule)``: anomalib finds only *direct* subclasses of ``AnomalibModule``.
    It sets ``max_epochs`` and ``seed`` in its ``__init__`` and names in ``architecture`` the arguments that fix the
    shapes of its weights.
    """

    architecture: ClassVar[tuple[str, ...]] = ("backbone",)
    not_restored: ClassVar[dict[str, Any]] = {"pre_trained": False}
    """Arguments that a checkpoint makes needless, and what they become in a model loaded from one."""

    model: nn.Module
    pre_processor: nn.Module | None
    post_processor: nn.Module | None
    max_epochs: int | None
    seed: int | None

    @property
    def learning_type(self) -> LearningType:
        """ONE_CLASS: trained on normal images (anomalib's engine never fits a FEW_SHOT model)."""
        return LearningType.ONE_CLASS

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """No gradient clipping, no sanity steps; ``max_epochs`` only when given, since this beats ``--trainer.*``."""
        arguments: dict[str, Any] = {"gradient_clip_val": 0, "num_sanity_val_steps": 0}
        if self.max_epochs is not None:
            arguments["max_epochs"] = self.max_epochs
        return arguments

    def setup(self, stage: str | None = None) -> None:
        """Seed everything before a fit, since anomalib's ``--seed_everything`` has no effect.

        And leave the eval mode that an earlier evaluation or export put the model in, since Lightning does not.
        """
        if stage == "fit":
            self.train()
            if self.seed is not None:
                seed_everything(self.seed, workers=True, verbose=False)

    def on_before_backward(self, loss: Tensor) -> None:
        """Stop at a loss that is no number, instead of training on."""
        if not torch.isfinite(loss).all():
            msg = (
                f"{type(self).__name__}: the loss became {loss.item()} at step {self.global_step}. "
                "Lower the learning rate (lr), or train in 32-bit (trainer.precision=32)."
            )
            raise ValueError(msg)

    def validation_step(self, batch: Batch, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
        """Score a batch; metrics and thresholds are the callbacks' work."""
        del args, kwargs
        return batch.update(**self.model(batch.image)._asdict())

    def forward(self, batch: Tensor, *args: Any, **kwargs: Any) -> InferenceBatch:
        """Pre-process, score, post-process: what is exported.

        Args:
            batch: images in [0, 1], B x 3 x H x W, of any size.
            args: ignored.
            kwargs: ignored.
        """
        del args, kwargs
        with torch.set_grad_enabled(self.training):
            if isinstance(self.pre_processor, PreProcessor):
                transform = exact_export_transform(self.pre_processor.transform)
                images = transform(batch) if transform is not None else batch
            else:
                images = self.pre_processor(batch) if self.pre_processor is not None else batch
            predictions = self.model(images)
            return self.post_processor(predictions) if self.post_processor is not None else predictions

    def to_onnx(  # type: ignore[override]  # anomalib's signature, not Lightning's
        self,
        export_root: Path | str,
        model_file_name: str = "model",
        input_size: tuple[int, int] | None = None,
        **kwargs: Any,
    ) -> Path:
        """Export as one file at an opset that torch writes without conversion; see anomalib for the arguments."""
        kwargs.setdefault("opset_version", ONNX_OPSET)
        kwargs.setdefault("external_data", False)
        kwargs.setdefault("custom_translation_table", self._onnx_translations())
        return super().to_onnx(export_root, model_file_name, input_size, **kwargs)  # type: ignore[call-arg]

    def _onnx_translations(self) -> dict[Any, Any]:
        """Operators that the networks bring along, with their ONNX form: what each module's own method tells."""
        tables: Iterator[dict[Any, Any]] = (getattr(module, "onnx_translations", dict)() for module in self.modules())
        return {operator: form for table in tables for operator, form in table.items()}

    @staticmethod
    def _post_training_quantization_ov(model: Any, datamodule: Any = None) -> Any:
        """Anomalib's INT8_PTQ, kept to the networks; see ``quantize.py``."""
        if datamodule is None:
            msg = "compression_type=int8_ptq needs images to calibrate on: pass a datamodule (--data)."
            raise ValueError(msg)
        datamodule.setup("fit")
        return quantize_networks(model, datamodule.val_dataloader())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Name the model in its checkpoint."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[MODEL_KEY] = type(self).__name__

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another model's checkpoint, or one of other shapes, in words."""
        name = type(self).__name__
        saved_name = checkpoint.get(MODEL_KEY)
        if saved_name != name:
            msg = f"This checkpoint holds {saved_name or 'a model of another library'}, not {name}: check ckpt_path."
            raise ValueError(msg)
        saved = checkpoint.get("hyper_parameters", {})
        for option in self.architecture:
            own = self.hparams.get(option)
            if option in saved and _plain(saved[option]) != _plain(own):
                msg = (
                    f"This {name} checkpoint was made with {option}={saved[option]!r}, but the model has "
                    f"{option}={own!r}. Pass --model.{option} {saved[option]}."
                )
                raise ValueError(msg)
        super().on_load_checkpoint(checkpoint)

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: str | Path, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Load a model; nothing is downloaded, since the checkpoint holds the teacher too."""
        exported = _given_to_export(cls)
        given = {} if exported is None else exported.export_arguments()
        return super().load_from_checkpoint(checkpoint_path, *args, **{**cls.not_restored, **given, **kwargs})

    @staticmethod
    def configure_evaluator() -> Evaluator:
        """Anomalib's test metrics, and a validation AUROC that checkpoints and early stopping can follow."""
        val = AUROC(fields=["pred_score", "gt_label"], prefix="image_", strict=False)
        return Evaluator(val_metrics=[val], test_metrics=list(AnomalibModule.configure_evaluator().test_metrics))

    def export_arguments(self) -> dict[str, Any]:
        """The init arguments that ``export --ckpt_path`` keeps from the command line; the rest is the checkpoint's."""
        return {}


def _given_to_export(cls: type) -> Any:
    """The instance that ``Engine.export`` was called with, if it is what loads this checkpoint.

    With a ``ckpt_path``, the engine builds the model anew from the checkpoint's own arguments and forgets the
    instance that the command line described. There is no seam to hand anything over, so look at its frame.
    """
    engine = sys.modules.get("anomalib.engine.engine")
    frame = inspect.currentframe()
    while engine is not None and frame is not None:
        if frame.f_code is inspect.unwrap(engine.Engine.export).__code__:
            model = frame.f_locals.get("model")
            return model if isinstance(model, cls) else None
        frame = frame.f_back
    return None


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Build weights from ``seed`` and leave the global generator as it was."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def default_pre_processor(image_size: int | Sequence[int], *, normalize: bool) -> PreProcessor:
    """Resize to a fixed size, antialiased, and apply ImageNet's mean and deviation if ``normalize``."""
    from torchvision.transforms.v2 import Compose, Normalize, Resize, Transform

    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    steps: list[Transform] = [Resize((height, width), antialias=True)]
    if normalize:
        steps.append(Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]))
    return PreProcessor(Compose(steps))
