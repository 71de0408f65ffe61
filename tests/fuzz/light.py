# SPDX-License-Identifier: Apache-2.0
"""Images, bundles and enrolments, which are read without torch."""

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from anomalib_fsad.deploy.bundle import Metadata, digest_of, graph_files, load_bundle, record_file, write_metadata
from anomalib_fsad.deploy.enrolment import METADATA_ENTRY, Enrolment
from anomalib_fsad.images.decoding import is_displayable, needs_own_reader, read_header, read_mask, read_rgb
from tests.fuzz.kinds import Kind, refused_or
from tests.fuzz.mutate import mutate, mutate_data, with_checksums
from tests.fuzz.pictures import WORDS, pictures, strange_dicom


def light_kinds(folder: Path) -> list[Kind]:
    """Images, bundles and enrolments, which are read without torch."""
    return [*image_kinds(), bundle_kind(folder), enrolment_kind()]


# Images --------------------------------------------------------------------------------------------------------------

SUFFIXES = {"png": ".png", "jpeg": ".jpg", "bmp": ".bmp", "tiff": ".tif", "dicom": ".dcm"}

INTENSITIES = ("auto", "minmax", "percentile", "window(40,80)")


def image_kinds() -> list[Kind]:
    """The five formats."""
    kinds = []
    for name, whole in pictures().items():

        def damage(content: bytes, random: Random, name: str = name, whole: Sequence[bytes] = whole) -> bytes:
            if name == "dicom" and random.random() < 0.4:
                return strange_dicom(content, random)
            changed = mutate(content, random, whole, WORDS[name])
            return with_checksums(changed) if name == "png" and random.random() < 0.7 else changed

        kinds.append(Kind(name, f"image{SUFFIXES[name]}", whole, damage, read_image))
    return kinds


def read_image(path: Path) -> None:
    """Read a file in every way; what comes is an image."""
    intensity = INTENSITIES[path.stat().st_size % len(INTENSITIES)]
    image = refused_or(lambda: read_rgb(path, intensity))
    if image is not None:
        assert (image.ndim, image.shape[2], image.dtype) == (3, 3, np.float32)
        assert np.isfinite(image).all()
        assert (image.min() >= 0) & (image.max() <= 1)
        header = read_header(path)
        assert {header.width, header.height} == set(image.shape[:2]), (header, image.shape)
        is_displayable(path)
    else:
        refused_or(lambda: read_header(path))
    needs_own_reader(path)
    if path.suffix != ".dcm":
        refused_or(lambda: read_mask(path))
    if image is None:
        read_rgb(path, intensity)


# Bundles and enrolments ----------------------------------------------------------------------------------------------


def bundle_kind(folder: Path) -> Kind:
    """The json of a bundle; half of the damaged ones carry a digest that fits, as an attacker's would."""
    place = folder / "bundle"
    place.mkdir(exist_ok=True)
    names = [*graph_files("openvino"), *graph_files("onnx")]
    for name in names:
        (place / name).write_bytes(name.encode() * 10)
    write_metadata(
        place,
        Metadata(
            model="D24FAD",
            backbone="resnet18",
            image_size=(32, 32),
            map_shapes=((3, 16, 16), (3, 8, 8)),
            normalization={"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]},
            image_score="max",
            normalized=True,
            labelled=True,
            post_processing={"image_min": 0.0, "image_max": 1.0, "image_threshold": 0.02, "image_sensitivity": 0.5},
            software={"torch": "2"},
            files={name: record_file(place / name) for name in names},
        ),
    )
    whole = (place / "bundle.json").read_bytes()

    def damage(content: bytes, random: Random) -> bytes:
        if random.random() < 0.4:
            return mutate(content, random, [whole])
        document = mutate_data(json.loads(content), random)
        if isinstance(document, dict) and random.random() < 0.8:
            document.pop("digest", None)
            document["digest"] = digest_of(document)
        return json.dumps(document).encode(errors="surrogatepass")

    def read(path: Path) -> None:
        bundle = load_bundle(path.parent)
        for name in bundle.metadata.files:
            refused_or(lambda name=name: bundle.read(name))
        for of in ("image", "pixel"):
            bundle.metadata.threshold(of)

    return Kind("bundle", "bundle/bundle.json", [whole], damage, read)


def enrolment_kind() -> Kind:
    """An enrolment: the bytes of the archive, or its arrays and its json with hashes that fit."""
    maps = tuple(np.linspace(0, 1, 3 * 3 * g * g, dtype=np.float32).reshape(3, 3, g, g) for g in (4, 2))
    values = np.array([0.1, 0.2, 0.3])
    plain = Enrolment(maps, ("a.png", "b.png", "c.png"), "0" * 64, values, values, values)
    whole = [enrolment_bytes(plain), enrolment_bytes(plain.with_threshold(0.05))]

    def damage(content: bytes, random: Random) -> bytes:
        return mutate(content, random, whole) if random.random() < 0.5 else strange_enrolment(content, random)

    return Kind("enrolment", "organ.npz", whole, damage, lambda path: len(Enrolment.load(path)))


def enrolment_bytes(enrolment: Enrolment) -> bytes:
    """What ``save`` writes."""
    arrays = dict(enrolment._arrays())
    return archive(arrays, {**enrolment._document(), "digest": enrolment.digest})


def archive(arrays: dict[str, Any], document: Any) -> bytes:
    """Arrays and a json, as an enrolment holds them."""
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(document).encode(errors="surrogatepass"), dtype=np.uint8)
    np.savez(buffer, **{METADATA_ENTRY: text}, **arrays)
    return buffer.getvalue()


def strange_enrolment(content: bytes, random: Random) -> bytes:
    """Another array, header or json, under checksums that fit."""
    with np.load(io.BytesIO(content)) as file:
        arrays = dict(file)
    document = json.loads(arrays.pop(METADATA_ENTRY).tobytes())
    name = random.choice(list(arrays))
    way = random.choice(("array", "array", "document", "header", "deflated"))
    if way == "array":
        kinds = (np.float16, np.float64, np.int8, np.bool_, "U3", "S2", "M8[s]", np.complex64)
        arrays[name] = random.choice(
            (
                np.zeros(0),
                np.float32(3),
                arrays[name][..., :0],
                np.full_like(arrays[name], np.nan),
                np.zeros(arrays[name].shape, dtype=random.choice(kinds)),
                arrays[name].ravel(),
                np.asfortranarray(arrays[name]),
            )
        )
    elif way == "document":
        document = mutate_data(document, random)
    if isinstance(document, dict):
        document.pop("digest", None)
        document["arrays"] = {
            key: sha256(f"{a.dtype.str}{a.shape}".encode() + np.ascontiguousarray(a).tobytes()).hexdigest()
            for key, a in ((key, np.asarray(value)) for key, value in arrays.items())
        }
        document["digest"] = digest_of(document)
    made = archive(arrays, document)
    if way == "header":
        return _with_entry(made, f"{name}.npy", lambda entry: mutate(entry[:128], random) + entry[128:])
    return _with_entry(made, f"{name}.npy", lambda entry: entry, zipfile.ZIP_DEFLATED) if way == "deflated" else made


def _with_entry(content: bytes, name: str, change: Callable[[bytes], bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """The archive again, with an entry changed; its checksums fit."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", method) as new:
        for entry in old.namelist():
            new.writestr(entry, change(old.read(entry)) if entry == name else old.read(entry))
    return buffer.getvalue()
