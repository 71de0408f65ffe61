# SPDX-License-Identifier: Apache-2.0
"""Detection from a bundle, with no torch and no anomalib: ``enroll`` K normal images of an organ, then ``predict``.

A model that compares with no support (SCRD4AD, PDD) is predicted with as it is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from anomalib_fsad.deploy.bundle import Bundle, BundleError, load_bundle
from anomalib_fsad.deploy.describing import calibrated, described, leave_one_out, one_by_one, seen_maps
from anomalib_fsad.deploy.enrolment import NO_PICTURES, Enrolment, refuse_enrolled
from anomalib_fsad.deploy.images import (
    Image,
    Images,
    Named,
    image_list,
    images_at,
    is_batch,
    named_images,
    refuse_copies,
    refuse_links,
    small_picture,
)
from anomalib_fsad.deploy.network import Maps, Network, Verdicts
from anomalib_fsad.deploy.normals import COMPARED, Normals, normals_of
from anomalib_fsad.deploy.patches import Bank, NearestPatch, hottest_patch, support_shares
from anomalib_fsad.deploy.prediction import Prediction
from anomalib_fsad.deploy.runtime import choose_backend
from anomalib_fsad.images.decoding import parse_intensity
from anomalib_fsad.images.support import choose_support
from anomalib_fsad.threshold import TARGET_FPR, around_half, check_target

BATCH_SIZE = 8
"""How many images of one size go through a graph at once."""


class FewShotInferencer:
    """Runs an exported model. It remembers no enrolment: any number of threads may call it at once, for any organs.

    After a fork, make a new one: the runtime's threads stay behind in the parent process.

    Args:
        bundle: folder that ``export`` wrote.
        backend: ``openvino``, ``onnx``, or ``auto``: OpenVINO if it is installed and in the bundle, else onnxruntime.
        device: where the runtime runs, e.g. ``CPU``, ``GPU`` or ``AUTO`` of OpenVINO, or a provider of onnxruntime.
        intensity: how images deeper than 8 bits become [0, 1]: ``auto``, ``minmax``, ``percentile`` or
            ``window(center,width)``. Use what the model was trained with.
        config: options of the runtime, e.g. ``{"INFERENCE_NUM_THREADS": 2}`` or ``{"intra_op_num_threads": 2}``.
        expected_digest: digest the bundle must have.

    Example:
        >>> inferencer = FewShotInferencer("liver_bundle")  # doctest: +SKIP
        >>> liver = inferencer.enroll("normals/")  # doctest: +SKIP
        >>> prediction = inferencer.predict("patient.dcm", liver)  # doctest: +SKIP
        >>> prediction.label, prediction.support_weights  # doctest: +SKIP
        (True, array([0.61, 0.12, 0.2 , 0.07], dtype=float32))
    """

    def __init__(
        self,
        bundle: str | Path,
        *,
        backend: str = "auto",
        device: str = "CPU",
        intensity: str = "auto",
        config: Mapping[str, Any] | None = None,
        expected_digest: str | None = None,
    ) -> None:
        parse_intensity(intensity)
        self.bundle: Bundle = load_bundle(bundle, expected_digest)
        self.backend = choose_backend(self.bundle, backend)
        self.intensity = intensity
        self._network = Network(self.bundle, self.backend, device, config or {})

    # Enrolment -------------------------------------------------------------------------------------------------------

    def enroll(
        self,
        images: Image | Images,
        *,
        k_shot: int | None = None,
        seed: int = 111,
        target_fpr: float | None = TARGET_FPR,
        pictures: bool = True,
        add_to: Enrolment | None = None,
    ) -> Enrolment:
        """The support that images are compared with by ``predict``.

        Images are read one after another, but their maps are held together, and each is compared with all others: the
        time grows with the square of their number.

        Args:
            images: normal images: a folder, a list of images or paths, or a batch B x H x W x 3.
            k_shot: how many of them to take, drawn by ``seed``; ``None`` takes all.
            seed: of the draw.
            target_fpr: sets a threshold by these images alone, which a share ``target_fpr`` of normal images would
                exceed; see :mod:`anomalib_fsad.threshold`. ``None`` keeps the checkpoint's own threshold, which
                was found on the data it was validated with.
            pictures: whether the enrolment keeps small pictures of them, for reports.
            add_to: an enrolment whose images they join.
        """
        if target_fpr is not None:
            check_target(target_fpr)
        metadata = self.bundle.metadata
        if not metadata.few_shot:
            msg = (
                f"The bundle {str(self.bundle.folder)!r} holds {metadata.model}, which compares with no support "
                "images: there is nothing to enrol. Predict without an enrolment."
            )
            raise ValueError(msg)
        if add_to is not None:
            self._check(add_to, "The enrolment to add to")
        support = self._support(images, k_shot, seed)
        if target_fpr is not None:
            support = refuse_copies(support)
        names: list[str] = []
        shrunk: list[NDArray[np.uint8]] = []
        maps, bank = described(self._network, metadata, self._seen(support, names, shrunk))
        kept = np.stack(shrunk) if pictures else NO_PICTURES
        if add_to is not None:
            if target_fpr is not None:
                refuse_enrolled(names, maps, add_to)
            maps, bank = self._joined(add_to, maps, bank)
            names = [*add_to.names, *names]
            both = len(kept) and len(add_to.pictures) and add_to.pictures.shape[1:] == kept.shape[1:]
            kept = np.concatenate([add_to.pictures, kept]) if both else NO_PICTURES
        scores, peaks, levels = leave_one_out(self._network, maps, bank)
        plain = Enrolment(maps, tuple(names), self.bundle.digest, scores, peaks, levels, bank=bank, pictures=kept)
        return plain.with_threshold(target_fpr)

    def normals(self, enrolment: Enrolment, seed: int = 111) -> Normals:
        """What the enrolled images say of one another; see :mod:`anomalib_fsad.deploy.normals`."""
        self._check(enrolment, "This enrolment")
        count = len(enrolment)
        others = choose_support(range(count), min(count, COMPARED), seed)
        singly = one_by_one(self._network, enrolment.maps, enrolment.bank, others)
        return normals_of(enrolment.names, enrolment.normal_scores, singly, others)

    def load(self, path: str | Path) -> Enrolment:
        """An enrolment that was saved; see ``Enrolment.save``.

        Raises:
            BundleError: if it is damaged, or was made with another bundle.
        """
        enrolment = Enrolment.load(path)
        self._check(enrolment, f"The enrolment {str(path)!r}")
        return enrolment

    # Prediction ------------------------------------------------------------------------------------------------------

    # A str is a sequence too, but comes first.
    @overload
    def predict(  # type: ignore[overload-overlap]
        self, image: str | Path | PilImage.Image, enrolment: Enrolment | None = None
    ) -> Prediction: ...

    @overload
    def predict(self, image: Sequence[Image], enrolment: Enrolment | None = None) -> list[Prediction]: ...

    @overload
    def predict(self, image: NDArray[Any], enrolment: Enrolment | None = None) -> Any: ...

    def predict(self, image: Image | Images, enrolment: Enrolment | None = None) -> Prediction | list[Prediction]:
        """Compare an image with the support: one prediction for one image, a list for several.

        Args:
            image: a path, an array H x W (x 1, 3 or 4), a Pillow image, a list of such, or an array B x H x W x 3.
            enrolment: what ``enroll`` or ``load`` returned; ``None`` for a model that compares with no support.
        """
        self._check_needed(enrolment)
        predictions: list[Prediction] = []
        for chunk in self._chunks(named_images(image, self.intensity)):
            names, pixels = [one.name for one in chunk], pixels_of(chunk)
            if enrolment is None:
                verdicts = self._network.detect(pixels)
            else:
                verdicts = self._network.compare(self._network.encode(pixels), enrolment.support)
            predictions += _predictions(names, verdicts, enrolment)
        return predictions if is_batch(image) else predictions[0]

    # The graphs ------------------------------------------------------------------------------------------------------

    def _chunks(self, images: Iterable[Named]) -> Iterator[list[Named]]:
        """In order; neighbours of one size go through a graph together.

        Images are read as they are needed, so that a long list costs the memory of its results only.
        """
        chunk: list[Named] = []
        for image in images:
            if chunk and (len(chunk) == BATCH_SIZE or image.pixels.shape != chunk[0].pixels.shape):
                yield chunk
                chunk = []
            chunk.append(image)
        if chunk:
            yield chunk

    def _seen(
        self, images: Iterable[Named], names: list[str], shrunk: list[NDArray[np.uint8]]
    ) -> Iterator[tuple[NDArray[np.float32], ...]]:
        """The maps of normal images, from all sides; their names and small pictures are put into the lists."""
        metadata = self.bundle.metadata
        for chunk in self._chunks(images):
            names += [image.name for image in chunk]
            shrunk += [small_picture(image.pixels, metadata.image_size) for image in chunk]
            yield seen_maps(self._network, metadata, pixels_of(chunk))

    def _joined(self, enrolled: Enrolment, maps: Maps, bank: Bank | None) -> tuple[Maps, Bank | None]:
        """What is enrolled already, and the maps and bank of more normal images."""
        together = tuple(np.concatenate(level) for level in zip(enrolled.maps, maps, strict=True))
        metadata = self.bundle.metadata
        if metadata.bank is None or bank is None or enrolled.bank is None:
            return together, None
        joined = enrolled.bank.joined(bank, len(enrolled), metadata.bank.maximum)
        return together, calibrated(self._network, metadata, together, joined)

    # Checks ----------------------------------------------------------------------------------------------------------

    def _support(self, images: Image | Images, k_shot: int | None, seed: int) -> Iterator[Named]:
        source = "The list of images"
        if isinstance(images, str | Path):
            source = f"The folder {str(images)!r}"
            folder = Path(images)
            images = images_at(folder)
            refuse_links(images, folder)
        every = image_list(images)
        wanted = len(every) if k_shot is None else k_shot
        if wanted < 1 or len(every) < wanted:
            msg = f"{source} holds {len(every)} images, but k_shot={k_shot}: add normal images or change k_shot."
            raise ValueError(msg)
        return named_images(choose_support(every, wanted, seed), self.intensity)

    def _check_needed(self, enrolment: Enrolment | None) -> None:
        model = self.bundle.metadata.model
        if enrolment is not None and not self.bundle.metadata.few_shot:
            msg = f"This bundle holds {model}, which compares with no support images: predict without an enrolment."
            raise TypeError(msg)
        if enrolment is None and self.bundle.metadata.few_shot:
            msg = (
                f"predict(image) of {model} needs an enrolment: predict(image, enrolment), with what enroll(images) or "
                "load(path) returned. The inferencer does not remember the last one."
            )
            raise TypeError(msg)
        if enrolment is not None:
            self._check(enrolment, "This enrolment")

    def _check(self, enrolment: Enrolment, what: str) -> None:
        if enrolment.bundle != self.bundle.digest:
            msg = f"{what} was made with another bundle than {str(self.bundle.folder)!r}: enrol its images again."
            raise BundleError(msg)
        shapes = tuple(maps.shape[1:] for maps in enrolment.maps)
        if shapes != self.bundle.metadata.map_shapes:
            msg = f"{what} holds maps of {shapes}, but the bundle makes {self.bundle.metadata.map_shapes}."
            raise BundleError(msg)
        if (enrolment.bank is None) != (self.bundle.metadata.bank is None):
            msg = f"{what} and the bundle {str(self.bundle.folder)!r} compare in another way: enrol its images again."
            raise BundleError(msg)


def pixels_of(images: Sequence[Named]) -> NDArray[np.float32]:
    """Images of one size as a batch, B x H x W x 3."""
    return np.stack([image.pixels for image in images])


def _predictions(names: Sequence[str], verdicts: Verdicts, enrolment: Enrolment | None) -> Iterator[Prediction]:
    """Verdicts by the enrolment's threshold if it has one, else by the checkpoint's."""
    scores, maps, labels, masks = verdicts.scores, verdicts.maps, verdicts.labels, verdicts.masks
    if enrolment is not None and enrolment.threshold is not None and enrolment.map_threshold is not None:
        threshold, map_threshold = enrolment.threshold.value, enrolment.map_threshold.value
        scores, labels = around_half(verdicts.raw_scores.astype(np.float64), threshold), verdicts.raw_scores > threshold
        maps, masks = around_half(verdicts.raw_maps, map_threshold), verdicts.raw_maps > map_threshold
    weights, patch = _explained(verdicts, enrolment)
    for place, name in enumerate(names):
        yield Prediction(
            name=name,
            score=float(scores[place]),
            label=None if labels is None else bool(labels[place]),
            anomaly_map=maps[place].astype(np.float32),
            mask=None if masks is None else masks[place],
            support_weights=weights[place].mean(axis=0),
            support_weights_by_scale=weights[place],
            raw_score=float(verdicts.raw_scores[place]),
            raw_map=verdicts.raw_maps[place],
            nearest_support=None if patch is None else int(patch.support[place]),
            nearest_box=None if patch is None else tuple(patch.box[place].tolist()),
        )


def _explained(verdicts: Verdicts, enrolment: Enrolment | None) -> tuple[NDArray[np.float32], NearestPatch | None]:
    """What each support counted, B x scale x K, and the nearest patch where patches are compared."""
    if enrolment is None or verdicts.found is None or enrolment.bank is None:
        none = np.empty((len(verdicts.scores), 1, 0), dtype=np.float32)
        return none if verdicts.weights is None else verdicts.weights, None
    shares = support_shares(verdicts.found, enrolment.bank, len(enrolment))
    return shares, hottest_patch(verdicts.raw_maps, verdicts.found, enrolment.bank)
