# SPDX-License-Identifier: Apache-2.0
"""The support set in the life of a model: found before anything is scored, kept up with the weights, saved."""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from anomalib.data import Batch
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor

from anomalib_fsad.models.components import Detector, SteadyPostProcessor
from anomalib_fsad.models.d24fad.nearest_model import NearestModel
from anomalib_fsad.models.d24fad.partners import categories_of
from anomalib_fsad.models.d24fad.patch_bank import Bank
from anomalib_fsad.models.d24fad.space_weights import best_weights, scores_by_weights
from anomalib_fsad.models.d24fad.support import SupportMaps
from anomalib_fsad.models.d24fad.support_source import datamodule_support, folder_support, training_support
from anomalib_fsad.models.d24fad.torch_model import D24FADModel
from anomalib_fsad.threshold import threshold_from_normals

logger = logging.getLogger(__name__)

SHOTS = 4
"""K, where neither the model, the datamodule nor the checkpoint says."""

REMEMBERED = 64
"""Supports whose maps validation remembers."""


class FewShotDetector(Detector):
    """A detector that compares with a support set.

    It is that of ``few_shot_source``, the datamodule's, the checkpoint's, or some images of the training split, in this
    order. With ``threshold="support"``, the threshold too comes from the K normal images: each is scored by the others.
    """

    not_restored: ClassVar[dict[str, Any]] = {"pre_trained": False, "few_shot_source": None}

    model: D24FADModel

    def __init__(self, *components: Any) -> None:
        super().__init__(*components)
        self.k_shot: int | None = self.hparams["k_shot"]
        self.few_shot_source: str | Path | None = self.hparams["few_shot_source"]
        self.threshold: str = self.hparams["threshold"]
        self.target_fpr: float = self.hparams["target_fpr"]
        self._weighed = -1  # the step of this fit after which the spaces were last weighed
        self._remembered: dict[str, SupportMaps | Bank] = {}  # of supports that come again in one validation

    # Finding it ------------------------------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Find the support before any training, so that what is missing is said first."""
        super().on_fit_start()
        self._weighed = -1
        self._find_support()

    def on_validation_start(self) -> None:
        """Describe the support by the present weights."""
        self._remembered = {}
        if not self.trainer.sanity_checking and self.trainer.state.fn != "fit":
            self._find_support()
        else:
            self._weigh_spaces()
            if len(self.model.support):
                self.model.encode_support()

    def on_test_start(self) -> None:
        """Find the support of what is tested."""
        self._find_support()

    def on_predict_start(self) -> None:
        """Find the support of what is predicted."""
        self._find_support()

    def on_validation_epoch_end(self) -> None:
        """The threshold of the target's normal images replaces that of the validation images."""
        self._set_threshold()

    def on_fit_end(self) -> None:
        """Leave a support behind that fits the trained weights."""
        self._weigh_spaces()
        self.model.encode_support()
        self._set_threshold()
        super().on_fit_end()

    @property
    def shots(self) -> int:
        """K: what the model was told, else the datamodule, else the checkpoint."""
        told = getattr(getattr(self._trainer, "datamodule", None), "k_shot", None)
        return self.k_shot or told or len(self.model.support) or SHOTS

    def _find_support(self) -> None:
        datamodule = getattr(self.trainer, "datamodule", None)
        if self.few_shot_source is not None:
            self.use_support(folder_support(self.few_shot_source, self.shots, self.seed))
            return
        images = datamodule_support(datamodule)
        if images is not None:
            self._check_count(len(images), "datamodule", f" or --data.k_shot {self.k_shot}")
            self.use_support(images)
        elif len(self.model.support):
            self._check_count(len(self.model.support), "checkpoint", "")
            self.model.encode_support()
            self._set_threshold()
        else:
            self.use_support(training_support(self._training_dataset(datamodule), self.shots, self.seed))

    def _check_count(self, count: int, whose: str, other: str) -> None:
        """Refuse a ``k_shot`` that is not what is compared with, and say how it could be."""
        if self.k_shot not in {None, count}:
            msg = (
                f"k_shot={self.k_shot} of the model, but the {whose} holds {count} support images. Pass "
                f"--model.k_shot {count} (or leave it out) to compare with these, or --model.few_shot_source "
                f"FOLDER{other} for others."
            )
            raise ValueError(msg)

    def _training_dataset(self, datamodule: Any) -> Any:
        dataset = getattr(datamodule, "train_data", None)
        if dataset is None:
            dataset = getattr(self.trainer.train_dataloader, "dataset", None)
        if dataset is None:
            msg = (
                f"{type(self).__name__} has no support images: pass few_shot_source=path/to/folder with "
                f"k_shot={self.shots} normal images, or a checkpoint that holds some."
            )
            raise ValueError(msg)
        return dataset

    # Scoring ---------------------------------------------------------------------------------------------------------

    def validation_step(self, batch: Batch, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
        """Score a batch against its own supports if it brings some, else against the support set."""
        del args, kwargs
        support = getattr(batch, "support", None)
        return self._explained(batch, None if support is None else self._described(support))

    def test_step(self, batch: Batch, batch_idx: int, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
        """Score a batch against the support set."""
        del batch_idx, args, kwargs
        return self._explained(batch)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> STEP_OUTPUT:
        """Score a batch against the support set."""
        del batch_idx, dataloader_idx
        return self._explained(batch)

    def _explained(self, batch: Batch, support: SupportMaps | list[Bank] | None = None) -> Batch:
        predictions, weights, patch = self.model.predict_with_weights(batch.image, support)
        batch.update(**predictions._asdict())
        # Beside anomalib's own fields: what each of the K supports counted, by scale and on average.
        batch.support_weights_by_scale = weights  # B x S x K
        batch.support_weights = weights.mean(dim=1)  # B x K
        if patch is not None:
            batch.nearest_support, batch.nearest_box = patch  # B, B x 4
        return batch

    # Using it --------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def use_support(self, images: Sequence[Tensor], *, beside: bool = False) -> None:
        """Make normal images (3 x H x W in [0, 1], of any sizes) the support of all that is scored from now on.

        Args:
            images: the new ones.
            beside: whether those that are there stay.

        Example:
            >>> import torch
            >>> from anomalib_fsad import D24FAD
            >>> model = D24FAD(k_shot=2, backbone="resnet18", pre_trained=False, image_size=64)
            >>> model.use_support([torch.rand(3, 80, 90), torch.rand(3, 64, 64)])
            >>> len(model.model.support)
            2
        """
        prepared = [self._prepared(image.to(self.device)[None, None])[0, 0] for image in images]
        kept = list(self.model.support.images) if beside else []
        if any(torch.allclose(image, new, atol=1e-5) for image in kept for new in prepared):
            msg = "One of the images is in the support already: its copy would make the threshold too low. Add others."
            raise ValueError(msg)
        self.model.set_support(torch.stack([*kept, *prepared]))
        self._set_threshold()

    def _prepared(self, support: Tensor) -> Tensor:
        """Supports as the pre-processor leaves queries: B x K x 3 x H x W."""
        return self.prepared(support.flatten(0, 1)).unflatten(0, support.shape[:2])

    def _described(self, support: Tensor) -> SupportMaps | list[Bank]:
        """What each query's own supports, B x K x 3 x H x W, are compared by; those that come again are remembered."""
        keys = [hashlib.blake2b(images.cpu().numpy().tobytes(), digest_size=16).hexdigest() for images in support]
        fresh = {key: place for place, key in enumerate(keys) if key not in self._remembered}
        if fresh:
            if len(self._remembered) > REMEMBERED:
                self._remembered = {}
                fresh = {key: place for place, key in enumerate(keys)}
            described = self._describe(self._prepared(support[list(fresh.values())]))
            self._remembered.update(zip(fresh, described, strict=True))
        each = [self._remembered[key] for key in keys]
        if isinstance(self.model, NearestModel):
            return cast("list[Bank]", each)
        return SupportMaps(
            *([torch.stack(scale) for scale in zip(*kind, strict=True)] for kind in zip(*each, strict=True))
        )

    def _describe(self, support: Tensor) -> list[SupportMaps] | list[Bank]:
        """Several supports, B x K x 3 x H x W."""
        if isinstance(self.model, NearestModel):
            return [self.model.bank(images) for images in support]
        maps = self.model.describe(support)
        rows = range(len(support))
        return [SupportMaps([m[row] for m in maps.keys], [m[row] for m in maps.values]) for row in rows]

    @torch.no_grad()
    def _weigh_spaces(self) -> None:
        """With ``space_weights="learnt"``: let other tasks' validation images say what each space counts."""
        model = self.model
        if not isinstance(model, NearestModel) or not model.learn_weights or self._weighed == self.global_step:
            return
        self._weighed, training = self.global_step, model.training
        model.eval()
        model.space_weights.fill_(1.0)
        self._remembered = {}
        scores, labels, categories = [], [], list[str]()
        for batch in self._whole_validation():
            if getattr(batch, "support", None) is None:
                continue  # nothing of its own category to be compared with: the target is to have no say
            banks = cast("list[Bank]", self._described(batch.support.to(self.device)))
            images = self.prepared(batch.image.to(self.device))
            scores.append(scores_by_weights(model.space_maps(images, banks), model.image_score).cpu())
            labels.append(batch.gt_label.cpu())
            categories += categories_of(batch)
        found = best_weights(torch.cat(scores, 1), torch.cat(labels), categories, len(model.spaces)) if scores else None
        if found is None:
            logger.warning(
                "space_weights=learnt needs validation images of other categories, some of them abnormal: all spaces "
                "count alike. Pass --data MedicalFewShot --data.protocol episodic."
            )
        else:
            model.space_weights.copy_(torch.tensor(found))
            shown = ", ".join(f"{space} {weight:.2f}" for space, weight in zip(model.spaces, found, strict=True))
            logger.info("Weights of the spaces, learnt from %d validation images: %s.", len(categories), shown)
        self._remembered = {}
        model.train(training)

    def _whole_validation(self) -> Iterable[Any]:
        """Anew, and without the shares that a trainer gives to its processes: all of these are to learn the same."""
        datamodule = getattr(self.trainer, "datamodule", None)
        return () if datamodule is None else datamodule.val_dataloader()

    def _set_threshold(self) -> None:
        """A threshold for the target from its own normal images: each is scored by the other K - 1."""
        if self.threshold != "support" or not isinstance(self.post_processor, SteadyPostProcessor):
            return
        if not len(self.model.support):
            return
        verdicts = self.model.leave_one_out(self.model.support.images.shape[-2:])
        scores = [verdict.pred_score.item() for verdict in verdicts]
        peaks = [verdict.anomaly_map.max().item() for verdict in verdicts]
        try:
            image, pixel = (threshold_from_normals(values, self.target_fpr).value for values in (scores, peaks))
        except ValueError as error:
            logger.warning("threshold=support: %s Until then it is that of the validation images.", error)
            return
        self.post_processor.hold("image", image)
        self.post_processor.hold("pixel", pixel)

    # Keeping it ------------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save a support that fits the weights saved with it."""
        if len(self.model.support):
            self.model.encode_support()
            self._set_threshold()
            for prefix, part in (("model.support.", self.model.support), ("post_processor.", self.post_processor)):
                state = {} if part is None else part.state_dict()
                checkpoint["state_dict"].update({prefix + name: value for name, value in state.items()})
        super().on_save_checkpoint(checkpoint)

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: str | Path, *args: Any, **kwargs: Any) -> Any:
        """Load a model with the support it was saved with, or with that of a ``few_shot_source`` given here."""
        model = super().load_from_checkpoint(checkpoint_path, *args, **kwargs)
        model._use_few_shot_source()
        return model

    def _use_few_shot_source(self) -> None:
        if self.few_shot_source is not None:
            self.use_support(folder_support(self.few_shot_source, self.shots, self.seed))

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
                f"{type(self).__name__} cannot be exported without a support set: fit it first, pass ckpt_path, or "
                f"pass few_shot_source=path/to/folder with k_shot={self.shots} normal images."
            )
            raise ValueError(msg)
        logger.info(
            "Exporting %d support images with the model. Others are put into a checkpoint by: anomalib-fsad enroll "
            "CKPT FOLDER OUT.ckpt.",
            len(self.model.support),
        )
