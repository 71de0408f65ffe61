# SPDX-License-Identifier: Apache-2.0
"""D24FAD as an anomalib model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from anomalib.data import Batch
from anomalib.metrics.evaluator import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer

from anomalib_fsad.models.components import CACHE_GIB, CachePlace, ImageScore, Recipe, checked_size, seeded
from anomalib_fsad.models.components.detector import pre_processor_for
from anomalib_fsad.models.components.pyramid import RESNETS, architecture
from anomalib_fsad.models.d24fad.few_shot import FewShotDetector
from anomalib_fsad.models.d24fad.loss import D24FADLoss
from anomalib_fsad.models.d24fad.nearest import Space
from anomalib_fsad.models.d24fad.nearest_model import NearestModel
from anomalib_fsad.models.d24fad.options import check_matching, check_options
from anomalib_fsad.models.d24fad.partners import categories_of, lone_image, partners_in_batch, tell_lonely
from anomalib_fsad.models.d24fad.torch_model import D24FADModel, EpisodeMaps
from anomalib_fsad.models.d24fad.visualizer import D24FADVisualizer


class D24FAD(FewShotDetector, AnomalibModule):
    """Few-shot anomaly detection in a task never trained on, by dual distillation and a learnt weighting.

    Train once on the normal images of other tasks; then ``k_shot`` normal images of the new task are enough. They come
    from ``few_shot_source``, else from the datamodule's support set (``MedicalFewShot``), else from the checkpoint,
    else from the training split.

    Args:
        k_shot: number of support images; ``None`` takes as many as the datamodule or the checkpoint has, else 4. The
            paper uses 2, 4 and 8.
        few_shot_source: a folder of normal images that serve as support, also at test and predict time, where it
            replaces a checkpoint's without any training.
        backbone: the teacher, any timm CNN with maps at strides 4 to 32; the paper's by default.
        pre_trained: ``True`` takes the teacher's weights from an installed package or timm's hub, a path loads a local
            file, ``False`` leaves it random.
        normalize: whether images are normalised by the teacher's mean and deviation; ``None`` does for all teachers but
            the ResNets, which the authors feed plain values in [0, 1].
        tsd_weight: what teacher-student distillation counts beside the student's own.
        support_mode: in training, ``episode`` gives every query supports of its own, as the paper does; ``in_batch``
            takes the other images of the batch, about K + 1 times less work. A datamodule that gives no supports is
            always trained ``in_batch``.
        matching: ``aligned`` compares place by place with a blend of the supports, as the paper does; ``nearest``
            compares each patch with the nearest of all supports. The four options below go with ``nearest``.
        spaces: where patches are taken from: any of ``student``, ``teacher`` and ``residual``, their difference.
        space_weights: ``equal``, or ``learnt`` by the validation images, which are of other tasks: those weights that
            tell their abnormal images best.
        augment_support: show each support six times: mirrored, turned by 10 degrees, a tenth smaller and larger.
        calibrate: bring the levels to one scale, by the distances of the supports among one another.
        image_score: the score of an image is the ``max`` or the ``mean`` of its map, or that of its highest hundredth
            or tenth (``top1p``, ``top10p``).
        threshold: ``support`` sets it by the K normal images, each scored by the others; ``validation`` by the
            validation images, which are of other tasks.
        target_fpr: the share of normal images of the new task that may exceed the threshold of ``support``.
        lr: learning rate of Adam.
        image_size: height and width, or one number for both; multiples of 32.
        cache_teachers: keep what the teachers say of an image: ``ram`` from epoch to epoch, ``disk`` from run to run
            and for all models that show the same pixels to the same teacher. Augmented images do not come again.
        cache_gib: the most to keep: in each process's memory, or in the folder.
        cache_half: keep it in half precision.
        max_epochs: epochs to train; ``None`` leaves it to the trainer, and to the paper's 70 if that was told nothing.
        seed: of weights, training and drawn supports.
        pre_processor: anomalib's; by default resizing, and what ``normalize`` says.
        post_processor: anomalib's.
        evaluator: anomalib's.
        visualizer: anomalib's; by default one that shows the support images and their weights.

    Example:
        >>> model = D24FAD(k_shot=2, backbone="resnet18", pre_trained=False, image_size=64)
        >>> model.learning_type.value
        'one_class'
    """

    architecture = ("backbone", "image_score", "matching", "spaces", "space_weights", "augment_support", "calibrate")
    recipe = Recipe(70)
    default_size = 128

    def __init__(
        self,
        k_shot: int | None = None,
        few_shot_source: str | Path | None = None,
        backbone: str = "wide_resnet50_2",
        pre_trained: bool | str | Path = True,
        normalize: bool | None = None,
        tsd_weight: float = 0.1,
        support_mode: Literal["episode", "in_batch"] = "episode",
        matching: Literal["aligned", "nearest"] = "aligned",
        spaces: Sequence[Space] = ("student",),
        space_weights: Literal["equal", "learnt"] = "equal",
        augment_support: bool = False,
        calibrate: bool = False,
        image_score: ImageScore = "max",
        threshold: Literal["support", "validation"] = "support",
        target_fpr: float = 0.05,
        lr: float = 1e-4,
        image_size: int | Sequence[int] = 128,
        cache_teachers: CachePlace = "none",
        cache_gib: float = CACHE_GIB,
        cache_half: bool = False,
        max_epochs: int | None = None,
        seed: int | None = 111,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        # Plain data before super().__init__, which stores these very names as the hyper-parameters.
        image_size = checked_size(image_size)
        normalize = architecture(backbone) not in RESNETS if normalize is None else normalize
        spaces = [cast("Space", space) for space in spaces]
        check_options(k_shot, support_mode, image_score, threshold, target_fpr)
        check_matching(matching, spaces, space_weights, augment_support=augment_support, calibrate=calibrate)
        super().__init__(pre_processor, post_processor, evaluator, visualizer)
        self.support_mode = support_mode
        with seeded(seed):
            self.model: D24FADModel = (
                D24FADModel(backbone, pre_trained, image_score)
                if matching == "aligned"
                else NearestModel(
                    backbone,
                    pre_trained,
                    image_score,
                    spaces=spaces,
                    augment_support=augment_support,
                    calibrate=calibrate,
                    learn_weights=space_weights == "learnt",
                )
            )
        self.loss = D24FADLoss(tsd_weight)

    def distil(self, batch: Batch) -> EpisodeMaps:
        """Maps of the batch, of its teacher and of its supports; see ``support_mode``."""
        support = getattr(batch, "support", None)
        if self.support_mode == "episode" and support is not None:
            return self.model.episode(batch.image, self._prepared(support))
        if len(batch.image) == 1 and self.trainer.fit_loop.epoch_loop.batch_idx == 0:
            raise ValueError(lone_image(self.trainer.num_training_batches))
        categories = categories_of(batch)
        if self.global_step == 0:
            tell_lonely(categories)
        counts = partners_in_batch(categories, self.shots, self.step_generator())
        return self.model.in_batch(batch.image, counts.to(batch.image.device))

    @classmethod
    def shown_only(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """Arguments that say how images are compared, and have no say in a training with these ``options``."""
        compared = ("matching", "spaces", "augment_support", "calibrate", "image_score")
        learnt = options.get("space_weights") == "learnt"
        return ("few_shot_source", "threshold", "target_fpr", *(() if learnt else compared))

    @classmethod
    def configure_pre_processor(cls, image_size: tuple[int, int] | None = None) -> PreProcessor:
        """Resize only: the paper feeds its ResNets pixel values in [0, 1]."""
        return pre_processor_for(cls.default_backbone, image_size or cls.default_size, normalize=False)

    @classmethod
    def configure_visualizer(cls) -> D24FADVisualizer:
        """Pictures with the support images and their weights."""
        return D24FADVisualizer()
