# SPDX-License-Identifier: Apache-2.0
"""What every model here shares as an anomalib model: one mixin, put in front of ``AnomalibModule``."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from anomalib import LearningType
from anomalib.data import AnomalibDataModule, Batch, InferenceBatch
from anomalib.metrics import AUROC, Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch import LightningModule, seed_everything
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.utilities.types import STEP_OUTPUT, OptimizerLRScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import Compose, Normalize, Resize, Transform

from anomalib_fsad.images.decoding import needs_own_reader
from anomalib_fsad.models.components.checkpoint import MODEL_KEY, check_checkpoint
from anomalib_fsad.models.components.export import ONNX_OPSET, exact_export_transform
from anomalib_fsad.models.components.int8 import quantize_networks
from anomalib_fsad.models.components.options import check_cache
from anomalib_fsad.models.components.post_processor import SteadyPostProcessor
from anomalib_fsad.models.components.pyramid import layout
from anomalib_fsad.models.components.teacher_cache import CachePlace, remember, teacher_cache
from anomalib_fsad.short_errors import ShortErrors

logger = logging.getLogger(__name__)

LIGHTNING_EPOCHS = 1000
"""What a trainer trains that was told no length."""

CACHE_GIB = 4.0
"""Of teachers' features, where nobody says otherwise."""

OBLIGATORY = ("backbone", "image_size", "lr", "max_epochs", "seed")
"""Arguments that every model's constructor has."""

AT_ONCE = 32
"""Images in a batch where nothing is trained."""

BETAS = (0.5, 0.999)
"""Of Adam, in all three papers."""


class Recipe(NamedTuple):
    """How long a model trains where nobody says otherwise: epochs, or optimizer steps."""

    length: int
    unit: str = "epochs"

    def __str__(self) -> str:
        return f"{self.length:,} {self.unit}"


class Detector(ShortErrors, LightningModule):
    """Plumbing of a distillation model: options, optimizer, training step, seeds, guarded checkpoints, exact export.

    A model is ``class X(Detector, AnomalibModule)``: anomalib finds only *direct* subclasses of ``AnomalibModule``. It
    gives its signature, a torch model as ``self.model``, ``distil(batch)`` with the maps that ``self.loss`` compares,
    and the loss, which returns a dict with ``loss`` and its parts.

    anomalib stores a model's signature as its hyper-parameters; these are read from there, as the model's constructor
    left them: ``backbone``, ``image_size``, ``lr``, ``max_epochs`` and ``seed``, which every model has; and, where it
    has them, ``cache_teachers``, ``cache_gib``, ``cache_half`` and ``normalize``, whether images are.

    Args:
        pre_processor: anomalib's, or ``True`` for resizing and normalising.
        post_processor: anomalib's.
        evaluator: anomalib's.
        visualizer: anomalib's.
    """

    architecture: ClassVar[tuple[str, ...]] = ("backbone",)
    """Arguments that fix the shapes of the weights, or what they mean."""

    not_restored: ClassVar[dict[str, Any]] = {"pre_trained": False}
    """Arguments that a checkpoint makes needless, and what they become in a model loaded from one."""

    recipe: ClassVar[Recipe]
    default_backbone: ClassVar[str] = "wide_resnet50_2"
    default_size: ClassVar[int] = 256

    model: nn.Module
    loss: nn.Module
    pre_processor: nn.Module | None
    post_processor: nn.Module | None

    def __init__(
        self,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        own = pre_processor is True
        super().__init__(
            pre_processor=False if own else pre_processor,
            post_processor=post_processor,
            evaluator=evaluator,
            visualizer=visualizer,
        )
        told = self.hparams
        missing = [name for name in OBLIGATORY if name not in told]
        if missing:
            msg = f"{type(self).__name__}.__init__ must have the arguments {', '.join(OBLIGATORY)}: no {missing[0]}."
            raise TypeError(msg)
        self.lr: float = told["lr"]
        self.max_epochs: int | None = told["max_epochs"]
        self.seed: int | None = told["seed"]
        self.cache_teachers: CachePlace = told.get("cache_teachers", "none")
        self.cache_gib: float = told.get("cache_gib", CACHE_GIB)
        self.cache_half: bool = told.get("cache_half", False)
        check_cache(self.cache_teachers, self.cache_gib)
        # anomalib's tiled ensemble asks an instance for a pre-processor of another size.
        sized = partial(_sized, told["backbone"], told["image_size"], told.get("normalize", True))
        self.configure_pre_processor = sized  # type: ignore[method-assign]
        if own:
            self.pre_processor = sized()
        # The recipe decides then, and says so.
        warnings.filterwarnings("ignore", message="`max_epochs` was not set")

    # Training --------------------------------------------------------------------------------------------------------

    @property
    def learning_type(self) -> LearningType:
        """ONE_CLASS: trained on normal images (anomalib's engine never fits a FEW_SHOT model)."""
        return LearningType.ONE_CLASS

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """No sanity steps; ``max_epochs`` only when given, since this beats ``--trainer.*``."""
        arguments: dict[str, Any] = {"num_sanity_val_steps": 0}
        if self.max_epochs is not None:
            arguments["max_epochs"] = self.max_epochs
        return arguments

    def setup(self, stage: str | None = None) -> None:
        """Before a fit: seed everything, since anomalib's ``--seed_everything`` has no effect, and set the length.

        And leave the eval mode that an earlier evaluation or export put the model in, since Lightning does not.
        """
        remember(self.model, None)  # a fit that failed may have left its own
        if stage == "fit":
            self.train()
            if self.seed is not None:
                seed_everything(self.seed, workers=True, verbose=False)
            self._follow_recipe()

    def on_fit_start(self) -> None:
        """Let the teachers remember, if asked to: in training and in its validation, never where speed is measured."""
        super().on_fit_start()
        augmented = getattr(getattr(self.trainer, "datamodule", None), "train_augmentations", None)
        if self.cache_teachers != "none" and augmented is not None:
            logger.warning(
                "cache_teachers=%s keeps what comes again, but the datamodule augments the training images: little "
                "will. Pass cache_teachers=none, or leave out train_augmentations.",
                self.cache_teachers,
            )
        remember(self.model, teacher_cache(self.cache_teachers, self.cache_gib, half=self.cache_half))

    def on_train_start(self) -> None:
        """With ``image_features``: remember the images that are trained on."""
        super().on_train_start()
        known = getattr(self.model, "known", None)
        if known is not None:
            looks_of: Any = self.model.looks_of
            known.remember(looks_of(images) for images in self.training_images())

    def on_fit_end(self) -> None:
        """Let go of what was remembered."""
        super().on_fit_end()
        remember(self.model, None)

    def on_train_epoch_end(self) -> None:
        """Let what the next epoch shuffles hang on the seed and the step alone, as it does after a resume."""
        super().on_train_epoch_end()
        self._seed_again(self.global_step)

    def _seed_again(self, step: int) -> None:
        if self.seed is not None:
            seed = int(np.random.SeedSequence([abs(self.seed), step]).generate_state(1)[0])
            seed_everything(seed, workers=True, verbose=False)

    def _follow_recipe(self) -> None:
        """Train as long as the recipe says, if neither the model nor the trainer was told a length."""
        loop = self.trainer.fit_loop
        timed = any(isinstance(callback, Timer) for callback in self.trainer.callbacks)
        if timed or self.trainer.max_steps != -1 or loop.max_epochs != LIGHTNING_EPOCHS or self.max_epochs is not None:
            return
        if self.recipe.unit == "steps":
            loop.max_epochs, loop.epoch_loop.max_steps = -1, self.recipe.length
        else:
            loop.max_epochs = self.recipe.length
        logger.info(
            "%s trains for %s, its recipe. Other lengths: --model.max_epochs, --trainer.max_epochs or "
            "--trainer.max_steps.",
            *(type(self).__name__, self.recipe),
        )

    def distil(self, batch: Batch) -> tuple[Any, ...]:
        """What the loss compares; each model's own."""
        raise NotImplementedError

    def training_step(self, batch: Batch, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
        """Distil a batch, and log the loss and its parts."""
        del args, kwargs
        losses = self.loss(*self.distil(batch))
        for name, value in losses.items():
            shown = name == "loss"
            label = "train_loss" if shown else f"train_{name}"
            self.log(label, value.detach(), on_step=shown, on_epoch=True, prog_bar=shown, batch_size=len(batch.image))
        return {"loss": losses["loss"]}

    def on_before_backward(self, loss: Tensor) -> None:
        """Stop at a loss that is no number, instead of training on."""
        if not torch.isfinite(loss).all():
            msg = (
                f"{type(self).__name__}: the loss became {loss.item()} at step {self.global_step}. "
                "Lower the learning rate (lr), or train in 32-bit (trainer.precision=32)."
            )
            raise ValueError(msg)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam over all that is not frozen."""
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        # Lightning cannot clip the gradients of a fused optimizer under mixed precision.
        clipped = bool(self._trainer and self._trainer.gradient_clip_val)
        return torch.optim.Adam(trained, lr=self.lr, betas=BETAS, fused=not clipped)

    def training_images(self) -> Iterator[Tensor]:
        """All images trained on, once, as the model sees them; the order of training does not hang on it."""
        loader: Any = self.trainer.train_dataloader
        for batch in DataLoader(loader.dataset, batch_size=AT_ONCE, collate_fn=loader.collate_fn):
            yield self.prepared(batch.image.to(self.device))

    def prepared(self, images: Tensor) -> Tensor:
        """Images, B x 3 x H x W in [0, 1], as the model sees them; anomalib's pre-processor takes batches only."""
        transform = transform_of(self.pre_processor)
        return images if transform is None else transform(images)

    def step_generator(self) -> torch.Generator:
        """Other draws in each step and process, the same in each run and after a resume: from seed, rank and step."""
        seed = torch.initial_seed() if self.seed is None else self.seed
        state = np.random.SeedSequence([abs(seed), self.global_rank, self.global_step])
        return torch.Generator().manual_seed(int(state.generate_state(1)[0]))

    # Inference -------------------------------------------------------------------------------------------------------

    def validation_step(self, batch: Batch, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
        """Score a batch; metrics and thresholds are the callbacks' work."""
        del args, kwargs
        return batch.update(**self.model(batch.image)._asdict())

    def on_predict_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Refuse images that anomalib has cut off at 8 bits."""
        del batch_idx, dataloader_idx
        dataset = getattr(self.trainer.predict_dataloaders, "dataset", None)
        if type(dataset).__module__.startswith("anomalib."):
            refuse_deep_images(getattr(batch, "image_path", None) or [])

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

    # Export ----------------------------------------------------------------------------------------------------------

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

    @classmethod
    def _post_training_quantization_ov(cls, model: Any, datamodule: Any = None) -> Any:
        """Anomalib's INT8_PTQ, kept to the networks; see ``int8.py``."""
        if datamodule is None:
            msg = "compression_type=int8_ptq needs images to calibrate on: pass a datamodule (--data)."
            raise ValueError(msg)
        datamodule.setup("fit")
        return quantize_networks(model, datamodule.val_dataloader())

    # Checkpoints -----------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Name the model in its checkpoint."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[MODEL_KEY] = type(self).__name__

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another model's checkpoint, or one of other shapes, in words; and have one size, the checkpoint's."""
        check_checkpoint(checkpoint, self, self.architecture)
        super().on_load_checkpoint(checkpoint)
        if self._trainer and self._trainer.state.fn == "fit":
            self._seed_again(checkpoint["global_step"])
        # The datamodule resizes as the model told it before the checkpoint was read.
        datamodule = getattr(self._trainer, "datamodule", None)
        if isinstance(datamodule, AnomalibDataModule) and hasattr(datamodule, "test_data"):
            datamodule._update_augmentations()

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: str | Path, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Load a model; nothing is downloaded, since the checkpoint holds the teacher too."""
        return super().load_from_checkpoint(checkpoint_path, *args, **{**cls.not_restored, **kwargs})

    # Components ------------------------------------------------------------------------------------------------------

    @classmethod
    def configure_pre_processor(cls, image_size: tuple[int, int] | None = None) -> PreProcessor:
        """Resize and normalise, as for the default teacher; an instance's own is for its own."""
        return pre_processor_for(cls.default_backbone, image_size or cls.default_size)

    @classmethod
    def configure_post_processor(cls) -> PostProcessor:
        """anomalib's, on a scale that does not saturate."""
        return SteadyPostProcessor()

    @staticmethod
    def configure_evaluator() -> Evaluator:
        """Anomalib's test metrics, and a validation AUROC that checkpoints and early stopping can follow."""
        val = AUROC(fields=["pred_score", "gt_label"], prefix="image_", strict=False)
        return Evaluator(val_metrics=[val], test_metrics=list(AnomalibModule.configure_evaluator().test_metrics))


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Build weights from ``seed`` and leave the global generator as it was."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def pre_processor_for(backbone: str, image_size: int | Sequence[int], *, normalize: bool = True) -> PreProcessor:
    """Resize to a fixed size, antialiased, and normalise by the teacher's own mean and deviation."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    steps: list[Transform] = [Resize((int(height), int(width)), antialias=True)]
    if normalize:
        known = layout(backbone)
        steps.append(Normalize(mean=list(known.mean), std=list(known.std)))
    return PreProcessor(Compose(steps))


def transform_of(pre_processor: nn.Module | None) -> Transform | None:
    """The pre-processor's transform, where it is one of anomalib's and has one."""
    return pre_processor.transform if isinstance(pre_processor, PreProcessor) else None


def normalization_of(pre_processor: nn.Module | None) -> Normalize | None:
    """The step that normalises."""
    transform = transform_of(pre_processor)
    steps = getattr(transform, "transforms", [transform])
    return next((step for step in steps if isinstance(step, Normalize)), None)


def _sized(
    backbone: str, default: int | Sequence[int], normalize: bool, image_size: tuple[int, int] | None = None
) -> PreProcessor:
    return pre_processor_for(backbone, image_size or default, normalize=normalize)


def refuse_deep_images(paths: Sequence[str]) -> None:
    """Raise for files that anomalib cannot read in full: it would saturate them at 255 without a word."""
    for path in paths:
        reason = needs_own_reader(path)
        if reason is not None:
            msg = (
                f"{str(path)!r} was read by anomalib, but {reason}. Use the reader of this package: "
                "--data MedicalFolder --data.path FOLDER."
            )
            raise ValueError(msg)
