# SPDX-License-Identifier: Apache-2.0
"""Few-shot detection from a bundle: ``enroll`` K normal images of an organ, then ``predict``; no torch, no anomalib."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from anomalib_fsad.deploy.bundle import Bundle, BundleError, load_bundle
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
from anomalib_fsad.deploy.prediction import Prediction
from anomalib_fsad.deploy.runtime import choose_backend
from anomalib_fsad.images.decoding import parse_intensity
from anomalib_fsad.images.support import choose_support
from anomalib_fsad.threshold import TARGET_FPR, around_half, check_target

BATCH_SIZE = 8
"""How many images of one size go through a graph at once."""


class FewShotInferencer:
    """Runs an exported D24FAD. It remembers no enrolment: any number of threads may call it at once, for any organs.

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
        >>> prediction.label, prediction.reference_weights  # doctest: +SKIP
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
        if add_to is not None:
            self._check(add_to, "The enrolment to add to")
        support = self._support(images, k_shot, seed)
        if target_fpr is not None:
            support = refuse_copies(support)
        shrunk: list[NDArray[np.uint8]] = []
        names: tuple[str, ...] = ()
        chunks: list[Maps] = []
        for chunk_names, chunk in self._encoded(self._pictured(support, shrunk)):
            names += tuple(chunk_names)
            chunks.append(chunk)
        maps = tuple(np.concatenate(scale) for scale in zip(*chunks, strict=True))
        kept = np.stack(shrunk) if pictures else NO_PICTURES
        if add_to is not None:
            if target_fpr is not None:
                refuse_enrolled(names, maps, add_to)
            names = add_to.names + names
            maps = tuple(np.concatenate(scales) for scales in zip(add_to.maps, maps, strict=True))
            both = pictures and len(add_to.pictures) and add_to.pictures.shape[1:] == kept.shape[1:]
            kept = np.concatenate([add_to.pictures, kept]) if both else NO_PICTURES
        scores, peaks, levels = self._leave_one_out(maps)
        plain = Enrolment(maps, names, self.bundle.digest, scores, peaks, levels, pictures=kept)
        return plain.with_threshold(target_fpr)

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
        self, image: str | Path | PilImage.Image, enrolment: Enrolment
    ) -> Prediction: ...

    @overload
    def predict(self, image: Sequence[Image], enrolment: Enrolment) -> list[Prediction]: ...

    @overload
    def predict(self, image: NDArray[Any], enrolment: Enrolment) -> Any: ...

    def predict(self, image: Image | Images, enrolment: Enrolment | None = None) -> Prediction | list[Prediction]:
        """Compare an image with the support: one prediction for one image, a list for several.

        Args:
            image: a path, an array H x W (x 1, 3 or 4), a Pillow image, a list of such, or an array B x H x W x 3.
            enrolment: what ``enroll`` or ``load`` returned.
        """
        if enrolment is None:
            msg = (
                "predict(image) needs an enrolment: predict(image, enrolment), with what enroll(images) or load(path) "
                "returned. The inferencer does not remember the last one."
            )
            raise TypeError(msg)
        self._check(enrolment, "This enrolment")
        predictions: list[Prediction] = []
        for names, maps in self._encoded(named_images(image, self.intensity)):
            predictions += _predictions(names, self._network.compare(maps, enrolment.maps), enrolment)
        return predictions if is_batch(image) else predictions[0]

    # The graphs ------------------------------------------------------------------------------------------------------

    def _encoded(self, images: Iterable[Named]) -> Iterator[tuple[list[str], Maps]]:
        """The student's maps, in order; neighbours of one size go through the encoder together.

        Images are read as they are needed, so that a long list costs the memory of its results only.
        """
        chunk: list[Named] = []
        for image in images:
            if chunk and (len(chunk) == BATCH_SIZE or image.pixels.shape != chunk[0].pixels.shape):
                yield self._encode(chunk)
                chunk = []
            chunk.append(image)
        if chunk:
            yield self._encode(chunk)

    def _pictured(self, images: Iterable[Named], shrunk: list[NDArray[np.uint8]]) -> Iterator[Named]:
        """The images, as they are; small pictures of them are put into a list."""
        for image in images:
            shrunk.append(small_picture(image.pixels, self.bundle.metadata.image_size))
            yield image

    def _encode(self, chunk: Sequence[Named]) -> tuple[list[str], Maps]:
        return [image.name for image in chunk], self._network.encode(np.stack([image.pixels for image in chunk]))

    def _leave_one_out(self, maps: Maps) -> NDArray[np.float64]:
        """Raw scores, peaks and medians of the raw maps of each image against the others; none of one image."""
        found = []
        count = len(maps[0])
        for left_out in range(count if count > 1 else 0):
            verdicts = self._network.compare(
                tuple(scale[left_out : left_out + 1] for scale in maps),
                tuple(np.delete(scale, left_out, axis=0) for scale in maps),
            )
            found.append((verdicts.raw_scores[0], verdicts.raw_maps.max(), np.median(verdicts.raw_maps)))
        return np.asarray(found, dtype=np.float64).reshape(-1, 3).T

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

    def _check(self, enrolment: Enrolment, what: str) -> None:
        if enrolment.bundle != self.bundle.digest:
            msg = f"{what} was made with another bundle than {str(self.bundle.folder)!r}: enrol its images again."
            raise BundleError(msg)
        shapes = tuple(maps.shape[1:] for maps in enrolment.maps)
        if shapes != self.bundle.metadata.map_shapes:
            msg = f"{what} holds maps of {shapes}, but the bundle makes {self.bundle.metadata.map_shapes}."
            raise BundleError(msg)


def _predictions(names: Sequence[str], verdicts: Verdicts, enrolment: Enrolment) -> Iterator[Prediction]:
    """Verdicts by the enrolment's threshold if it has one, else by the checkpoint's."""
    scores, maps, labels, masks = verdicts.scores, verdicts.maps, verdicts.labels, verdicts.masks
    if enrolment.threshold is not None and enrolment.map_threshold is not None:
        threshold, map_threshold = enrolment.threshold.value, enrolment.map_threshold.value
        scores, labels = around_half(verdicts.raw_scores.astype(np.float64), threshold), verdicts.raw_scores > threshold
        maps, masks = around_half(verdicts.raw_maps, map_threshold), verdicts.raw_maps > map_threshold
    for place, name in enumerate(names):
        yield Prediction(
            name=name,
            score=float(scores[place]),
            label=None if labels is None else bool(labels[place]),
            anomaly_map=maps[place].astype(np.float32),
            mask=None if masks is None else masks[place],
            reference_weights=verdicts.weights[place].mean(axis=0),
            reference_weights_by_scale=verdicts.weights[place],
            raw_score=float(verdicts.raw_scores[place]),
            raw_map=verdicts.raw_maps[place],
        )
