# SPDX-License-Identifier: Apache-2.0
"""What SECURITY.md promises: nothing that comes in a file is executed, and nothing of a patient is told."""

import ast
import io
import json
import logging
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import anomalib_fsad
from anomalib_fsad import D24FAD
from anomalib_fsad.compare.entrants import entrant
from anomalib_fsad.compare.reading import read_scores
from anomalib_fsad.data.cache import ImageStore
from anomalib_fsad.data.readers.registry import run_reader
from anomalib_fsad.deploy.bundle import load_bundle
from anomalib_fsad.deploy.enrolment import Enrolment
from anomalib_fsad.deploy.inspection import inspect_path
from anomalib_fsad.images.decoding import read_rgb
from anomalib_fsad.models.components.checkpoint import load_plain, model_name_of, read_state_dict
from anomalib_fsad.models.components.teacher_store import FolderStore
from tests.fuzz.mutate import mutate
from tests.fuzz.pictures import dicom_bytes, pixels, slice_of

PACKAGE = Path(anomalib_fsad.__file__).parent

PATIENT = "Mustermann"


class Payload:
    """What an attacker would put into a pickle; here it writes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.write_text, (self.mark, "executed")


def by_torch(payload: Payload) -> bytes:
    buffer = io.BytesIO()
    content = {"state_dict": {"a": payload}, "hyper_parameters": payload, "pytorch-lightning_version": "2.5"}
    torch.save({**content, "anomalib_fsad_model": "D24FAD"}, buffer)
    return buffer.getvalue()


def by_numpy(payload: Payload) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([payload], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def archive(payload: Payload) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, metadata=np.array([payload], dtype=object), map_1=np.array([payload], dtype=object))
    return buffer.getvalue()


def scores(payload: Payload) -> bytes:
    buffer = io.BytesIO()
    poison = np.array([payload], dtype=object)
    np.savez_compressed(buffer, paths=poison, scores=poison, labels=poison)
    return buffer.getvalue()


def yaml(payload: Payload) -> bytes:
    return f"model: !!python/object/apply:pathlib.Path.write_text [{payload.mark}, executed]\n".encode()


def cached(path: Path) -> Any:
    """The image cache finds the file where it would have written its own."""
    image = path.with_name("image.png")
    Image.fromarray(pixels(3)).save(image)
    store = ImageStore("disk", 0, path.with_name("cache"), "auto")
    store.fill([str(image)])
    (kept,) = path.with_name("cache").rglob("*.npy")
    kept.write_bytes(path.read_bytes())
    again = ImageStore("disk", 0, path.with_name("cache"), "auto")
    again.fill([str(image)])
    assert again.read(str(image)).shape == (3, 16, 12)
    msg = "made anew"
    raise ValueError(msg)


def kept_maps(path: Path) -> Any:
    """The teachers' cache finds the file where it would have written its own."""
    if FolderStore(path.parent, 1 << 20).read(path.stem, ["4"]) is None:
        msg = "made anew"
        raise ValueError(msg)


KINDS: list[tuple[str, Callable[[Payload], bytes], Callable[[Path], Any]]] = [
    ("model.ckpt", by_torch, inspect_path),
    ("model.ckpt", by_torch, model_name_of),
    ("model.ckpt", by_torch, lambda path: D24FAD.load_from_checkpoint(path, map_location="cpu")),
    ("model.ckpt", pickle.dumps, inspect_path),
    ("weights.pth", by_torch, read_state_dict),
    ("weights.pth", pickle.dumps, load_plain),
    ("weights.safetensors", pickle.dumps, read_state_dict),
    ("organ.npz", archive, Enrolment.load),
    ("organ.npz", pickle.dumps, Enrolment.load),
    ("bundle.json", pickle.dumps, lambda path: load_bundle(path.parent)),
    ("cell.npz", scores, read_scores),
    ("model.yaml", yaml, lambda path: entrant(str(path))),
    ("meta.json", pickle.dumps, lambda path: run_reader("meta_json", path.parent, "organ", {})),
    ("image.png", pickle.dumps, read_rgb),
    ("image.dcm", pickle.dumps, read_rgb),
    ("labels.csv", pickle.dumps, lambda path: run_reader("head_ct", path.parent, "organ", {})),
    ("kept.npy", by_numpy, cached),
    ("kept.safetensors", by_torch, kept_maps),
]


@pytest.mark.parametrize(("name", "poison", "read"), KINDS, ids=[f"{k[0]}-{k[1].__name__}" for k in KINDS])
def test_a_poisoned_file_runs_nothing(tmp_path: Path, name: str, poison: Any, read: Callable[[Path], Any]) -> None:
    mark = tmp_path / "mark"
    (tmp_path / name).write_bytes(poison(Payload(mark)))
    with pytest.raises(Exception, match=r"."):
        read(tmp_path / name)
    assert not mark.exists()


def test_the_poison_works(tmp_path: Path) -> None:
    """Else the test above would prove nothing."""
    for number, (poison, read) in enumerate(
        [
            (pickle.dumps, pickle.loads),
            (by_torch, lambda content: torch.load(io.BytesIO(content), weights_only=False)),
            (by_numpy, lambda content: np.load(io.BytesIO(content), allow_pickle=True)),
        ]
    ):
        mark = tmp_path / str(number)
        read(poison(Payload(mark)))
        assert mark.exists()


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Every call in the package: its file, what is called, the call."""
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield str(file.relative_to(PACKAGE)), ast.unparse(node.func), node


FORBIDDEN = re.compile(
    r"(c?[pP]ickle|dill|cloudpickle|joblib|marshal|shelve)\.\w*(load|Unpickler|open)\w*"
    r"|eval|exec|compile|os\.(system|popen|exec\w*)|yaml\.(unsafe_|full_)?load(_all)?|torch\.(hub\.load\w*|jit\.load)"
)


LOADS = {
    *("torch.load", "np.load", "np.lib.format.read_array", "load_file", "safe_open"),
    *("json.loads", "yaml.safe_load", "pd.read_csv", "Image.open", "pydicom.dcmread", "read_model", "InferenceSession"),
}


def test_nothing_in_the_package_executes_what_it_reads() -> None:
    """Whatever reads a file is of one of the harmless kinds that SECURITY.md lists."""
    loads = set()
    table = (PACKAGE.parent / "SECURITY.md").read_text(encoding="utf-8")
    for file, name, call in calls():
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert not FORBIDDEN.fullmatch(name), f"{file}: {name}"
        assert options.get("shell") != "True", f"{file}: {name}"
        assert options.get("allow_pickle", "False") == "False", f"{file}: {name}"
        if name == "torch.load":
            assert options.get("weights_only") == "True", f"{file}: {name}"
        load = next((load for load in LOADS if name == load or name.endswith(f".{load}")), None)
        if load is not None:
            assert f"`{load}`" in table, load
            assert f"`{file}`" in table, f"{file}: {name} is not in SECURITY.md's table"
            loads.add(load)
    assert loads == LOADS


def test_of_a_patient_nothing_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: Any) -> None:
    """Neither in an error, nor in a log, nor on the screen, however broken the file is."""
    whole = dicom_bytes(slice_of(pixels(deep=True), PatientID=f"{PATIENT}-1", StudyDescription=PATIENT))
    assert PATIENT.encode() in whole
    path, random, told = tmp_path / "slice.dcm", Random(0), []
    with caplog.at_level(logging.DEBUG):
        for _ in range(300):
            path.write_bytes(mutate(whole, random))
            try:
                read_rgb(path)
            except ValueError as error:
                told.append(str(error))
    assert len(told) > 50
    screen = capfd.readouterr()
    assert PATIENT not in json.dumps(told) + caplog.text + screen.out + screen.err
