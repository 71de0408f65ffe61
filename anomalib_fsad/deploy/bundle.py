# SPDX-License-Identifier: Apache-2.0
"""The format of an exported model: a folder with one to three graphs, in one runtime's files or both, and one json.

    bundle.json                 what the graphs are, and the size and SHA-256 of each file
    encoder.xml + encoder.bin   OpenVINO: image -> the maps that are compared
    scorer.xml + scorer.bin     OpenVINO: maps of images, the support -> map, score, and what was compared with
    views.xml + views.bin       OpenVINO: image -> its views, where each support is seen from several sides
    detector.xml + .bin         OpenVINO: image -> map, score: the one graph of a model without a support
    encoder.onnx, ...           the same for onnxruntime

Files are read whole, compared with the json, and only then handed to a runtime: what was checked is what runs.
Nothing is ever unpickled. The hashes tell damage and mix-ups; against somebody who rewrites the json as well, keep the
bundle's ``digest`` elsewhere and pass it as ``expected_digest``.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

Backend = Literal["openvino", "onnx"]

FORMAT = "anomalib-fsad-bundle"
VERSION = 2
READABLE = (1, 2)
"""Version 1 had no ``bank``: it held nothing but D24FAD with ``matching=aligned``."""

METADATA_FILE = "bundle.json"
MAX_METADATA_BYTES = 1 << 20

PAIR = ("encoder", "scorer")
GRAPHS = (*PAIR, "views", "detector")
SUFFIXES: dict[Backend, tuple[str, ...]] = {"openvino": (".xml", ".bin"), "onnx": (".onnx",)}
KNOWN_FILES = frozenset(graph + suffix for graph in GRAPHS for suffixes in SUFFIXES.values() for suffix in suffixes)


class BundleError(ValueError):
    """A bundle or an enrolment that is damaged, incomplete, mixed up, or of another version; the message says which."""


class FileRecord(NamedTuple):
    """What ``bundle.json`` knows of a file."""

    bytes: int
    sha256: str


class BankRecipe(NamedTuple):
    """How the patches of a support are kept, with ``matching=nearest``.

    Attributes:
        maximum: patches of each level.
        views: sides that each support is seen from.
        calibrated: whether a distance of 1 is what the supports have among one another, at each level.
    """

    maximum: int
    views: int
    calibrated: bool


@dataclass(frozen=True)
class Metadata:
    """The json, checked.

    Attributes:
        model: class name of the exported model.
        backbone: its teacher.
        image_size: height and width that the encoder resizes to; also the map's.
        map_shapes: channels, height and width of the maps of each level; none where nothing is compared with.
        normalization: ``mean`` and ``std`` applied after resizing, or ``None``.
        image_score: ``max`` or ``mean``.
        normalized: whether scores and maps are normalised to [0, 1] by the checkpoint's statistics.
        labelled: whether the scorer gives labels and masks by the checkpoint's thresholds.
        post_processing: the thresholds, ranges and switches inside the scorer; ``None`` where there is none.
        software: versions the bundle was made with.
        files: size and hash of each file.
        bank: how patches are kept; ``None`` where images are compared place by place, or not at all.
    """

    model: str
    backbone: str
    image_size: tuple[int, int]
    map_shapes: tuple[tuple[int, int, int], ...]
    normalization: dict[str, list[float]] | None
    image_score: str
    normalized: bool
    labelled: bool
    post_processing: dict[str, float | bool | None]
    software: dict[str, str]
    files: dict[str, FileRecord]
    bank: BankRecipe | None = None

    @property
    def few_shot(self) -> bool:
        """Whether images are compared with those of an enrolment."""
        return bool(self.map_shapes)

    @property
    def graphs(self) -> tuple[str, ...]:
        """What it consists of."""
        if not self.few_shot:
            return ("detector",)
        return (*PAIR, "views") if self.bank is not None and self.bank.views > 1 else PAIR

    def threshold(self, of: Literal["image", "pixel"]) -> float | None:
        """The checkpoint's threshold on raw scores or raw maps, its sensitivity included; ``None`` without labels."""
        if not self.labelled:
            return None
        low, high, middle, sensitivity = (
            self.post_processing.get(f"{of}_{name}") for name in ("min", "max", "threshold", "sensitivity")
        )
        if low is None or high is None:
            return None
        # As anomalib's post-processor: without a threshold of its own it takes the middle of the range.
        middle = (low + high) / 2 if middle is None else middle
        return middle + (0.5 - (0.5 if sensitivity is None else sensitivity)) * (high - low)


@dataclass(frozen=True)
class Bundle:
    """A folder whose json has been read and checked; files are checked as they are read.

    Attributes:
        folder: where it is.
        metadata: what the json says.
        digest: SHA-256 of the metadata, and through the files' hashes of the whole bundle.
    """

    folder: Path
    metadata: Metadata
    digest: str

    @property
    def backends(self) -> tuple[Backend, ...]:
        """The runtimes it has files for."""
        graphs = self.metadata.graphs
        return tuple(b for b in SUFFIXES if all(name in self.metadata.files for name in graph_files(b, graphs)))

    def read(self, name: str) -> bytes:
        """The content of a file, once its size and hash are found right."""
        record = self.metadata.files.get(name)
        if record is None:
            msg = f"The bundle {str(self.folder)!r} has no {name!r}; it has {sorted(self.metadata.files)}."
            raise BundleError(msg)
        path = self.folder / name
        try:
            size = path.stat().st_size
            # Before reading: a file that grew should not be read into memory.
            content = path.read_bytes() if size == record.bytes else b""
        except OSError as error:
            msg = f"{str(path)!r} cannot be read ({error.strerror or error}): copy the whole bundle again."
            raise BundleError(msg) from error
        if size != record.bytes:
            msg = f"{str(path)!r} has {size} bytes where {record.bytes} are expected: copy the bundle again."
            raise BundleError(msg)
        if hashlib.sha256(content).hexdigest() != record.sha256:
            msg = f"{str(path)!r} is not the file that was exported (its SHA-256 differs): copy the bundle again."
            raise BundleError(msg)
        return content


def graph_files(backend: Backend, graphs: Sequence[str] = PAIR) -> list[str]:
    """The file names of graphs.

    Example:
        >>> graph_files("onnx")
        ['encoder.onnx', 'scorer.onnx']
    """
    return [graph + suffix for graph in graphs for suffix in SUFFIXES[backend]]


def record_file(path: Path) -> FileRecord:
    """Size and hash of a file on disk."""
    content = path.read_bytes()
    return FileRecord(len(content), hashlib.sha256(content).hexdigest())


def write_metadata(folder: Path, metadata: Metadata) -> Bundle:
    """Write the json, last of all files, so that an interrupted export is no bundle."""
    content = asdict(metadata)
    content["files"] = {name: record._asdict() for name, record in metadata.files.items()}
    content["bank"] = None if metadata.bank is None else metadata.bank._asdict()
    document = {"format": FORMAT, "version": VERSION, **content}
    document["digest"] = digest_of(document)
    write_atomically(folder / METADATA_FILE, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())
    return load_bundle(folder)


def load_bundle(folder: str | Path, expected_digest: str | None = None) -> Bundle:
    """Read and check a bundle's json.

    Args:
        folder: the bundle.
        expected_digest: the digest it must have, for those who keep it apart from the bundle.

    Raises:
        BundleError: if there is none, or it is damaged, edited, or of another version.
    """
    folder = Path(folder)
    path = folder / METADATA_FILE
    try:
        if path.stat().st_size > MAX_METADATA_BYTES:
            msg = f"{str(path)!r} is larger than any bundle's json: this is another file."
            raise BundleError(msg)
        document = json.loads(path.read_bytes())
    except OSError as error:
        msg = f"{str(folder)!r} is no bundle: {METADATA_FILE} cannot be read ({error.strerror or error})."
        raise BundleError(msg) from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, BundleError):
            raise
        msg = f"{str(path)!r} is damaged or truncated ({error}): copy the bundle again."
        raise BundleError(msg) from error
    check_header(document, FORMAT, READABLE, path)
    digest = document.pop("digest", None)
    if digest != digest_of(document):
        msg = f"{str(path)!r} was changed after the export (its digest differs): export or copy the bundle again."
        raise BundleError(msg)
    if expected_digest is not None and digest != expected_digest:
        msg = f"{str(folder)!r} is another bundle (digest {digest}) than expected ({expected_digest})."
        raise BundleError(msg)
    try:
        metadata = _metadata(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        msg = f"{str(path)!r} lacks a field or has a wrong one ({error}): export the bundle again."
        raise BundleError(msg) from error
    return Bundle(folder, metadata, digest)


def check_header(document: Any, name: str, versions: Sequence[int], path: Path) -> None:
    """Refuse another kind of file or another version of it."""
    if not isinstance(document, dict) or document.get("format") != name:
        msg = f"{str(path)!r} is no {name}."
        raise BundleError(msg)
    if document.get("version") not in versions:
        msg = (
            f"{str(path)!r} has version {document.get('version')!r} of {name}; this anomalib-fsad reads version "
            f"{' and '.join(map(str, versions))}. Install the anomalib-fsad it was made with, or make it again."
        )
        raise BundleError(msg)


def digest_of(document: Mapping[str, Any]) -> str:
    """SHA-256 of a json document, whatever its order and blanks."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is whole or not there."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _metadata(document: Mapping[str, Any]) -> Metadata:
    values = {field.name: document[field.name] for field in fields(Metadata) if field.name != "bank"}
    values["bank"] = _bank(document.get("bank"))
    values["image_size"] = _sizes(values["image_size"], 2)
    values["map_shapes"] = tuple(_sizes(shape, 3) for shape in values["map_shapes"])
    for name in ("model", "backbone", "image_score"):
        _expect(name, values[name], str)
    for name in ("normalized", "labelled"):
        _expect(name, values[name], bool)
    for name in ("post_processing", "software", "files"):
        _expect(name, values[name], dict)
    # Names out of a fixed set: no path can lead out of the folder.
    unknown = sorted(set(values["files"]) - KNOWN_FILES)
    if unknown:
        msg = f"unknown files {unknown}"
        raise ValueError(msg)
    values["files"] = {
        name: FileRecord(int(record["bytes"]), str(record["sha256"])) for name, record in values["files"].items()
    }
    return Metadata(**values)


def _bank(value: Any) -> BankRecipe | None:
    if value is None:
        return None
    recipe = BankRecipe(**value)
    _sizes([recipe.maximum, recipe.views], 2)
    _expect("calibrated", recipe.calibrated, bool)
    return recipe


def _sizes(value: Any, count: int) -> Any:
    if not isinstance(value, list) or len(value) != count or not all(type(v) is int and v > 0 for v in value):
        msg = f"{value!r} should be {count} positive integers"
        raise ValueError(msg)
    return tuple(value)


def _expect(name: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind):
        msg = f"{name}={value!r} should be a {kind.__name__}"
        raise TypeError(msg)
