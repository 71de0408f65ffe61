# SPDX-License-Identifier: Apache-2.0
"""Checkpoints, weights, tables of data sets, configurations and the image cache, read with torch and pandas."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
import yaml
from safetensors.torch import save

from anomalib_fsad.compare.entrants import entrant
from anomalib_fsad.data.cache import ImageStore
from anomalib_fsad.data.readers.registry import run_reader
from anomalib_fsad.deploy.inspection import inspect_path
from anomalib_fsad.models.components.checkpoint import MODEL_KEY, model_name_of, read_state_dict
from tests.fuzz.kinds import Damage, Kind, refused_or
from tests.fuzz.mutate import mutate, mutate_data
from tests.fuzz.pictures import pictures

CONFIGS = Path(__file__).parents[2] / "configs" / "model"


def heavy_kinds(folder: Path) -> list[Kind]:
    """All of them."""
    return [*torch_kinds(), *table_kinds(folder), config_kind(), cached_kind(folder)]


# Checkpoints and weights ---------------------------------------------------------------------------------------------

OPCODES = (b"cbuiltins\neval\n", b"cos\nsystem\n", b"\x80\x02", b"R.", b"PK\x03\x04")

TENSORS = {
    "model.a.weight": torch.ones(2, 3),
    "model.a.bias": torch.zeros(2),
    "post_processor.image_min": torch.tensor(0.5),
}

CHECKPOINT = {
    "state_dict": TENSORS,
    "pytorch-lightning_version": "2.5.0",
    "hyper_parameters": {"backbone": "resnet18", "k_shot": 4, "layers": [1, 2]},
    "epoch": 3,
    MODEL_KEY: "D24FAD",
}


def torch_kinds() -> list[Kind]:
    """As torch saves them today, as it did long ago, and as safetensors."""
    weights = [saved(TENSORS), saved({"state_dict": TENSORS}), saved_long_ago(TENSORS)]
    return [
        Kind(
            "checkpoint",
            "model.ckpt",
            [saved(CHECKPOINT), saved_long_ago(CHECKPOINT)],
            strange(saved, CHECKPOINT),
            read_checkpoint,
        ),
        Kind("weights", "weights.pth", weights, strange(saved, TENSORS), read_weights),
        Kind("safetensors", "weights.safetensors", [save(TENSORS)], strange(as_safetensors, TENSORS), read_weights),
    ]


def saved(content: Any, **options: Any) -> bytes:
    """A file of torch."""
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def saved_long_ago(content: Any) -> bytes:
    """A file of torch before 1.6: pickles, one after another."""
    return saved(content, _use_new_zipfile_serialization=False)


def as_safetensors(content: Any) -> bytes:
    """The tensors among ``content``."""
    tensors = content.items() if isinstance(content, dict) else ()
    return save({str(name): value for name, value in tensors if isinstance(value, torch.Tensor)})


def strange(make: Callable[[Any], bytes], content: Any) -> Damage:
    """Damage the bytes, or save something strange."""

    def damage(whole: bytes, random: Random) -> bytes:
        if random.random() < 0.25:
            return make(mutate_data(copied(content), random))
        return mutate(whole, random, [make(content)], OPCODES)

    return damage


def copied(value: Any) -> Any:
    """Plain data again; its tensors are shared."""
    if isinstance(value, dict):
        return {key: copied(part) for key, part in value.items()}
    return list(value) if isinstance(value, list) else value


def read_checkpoint(path: Path) -> None:
    """As the command line does."""
    refused_or(lambda: inspect_path(path))
    model_name_of(path)


def read_weights(path: Path) -> None:
    """As the models do."""
    read_state_dict(path)


# Tables and configurations -------------------------------------------------------------------------------------------

WORDS = (b",", b'"', b"\r\n", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"NaN", b"1e999", b"../", b";", b"\t")

YAML_WORDS = (b"&a [*a, *a]", b"!!python/object/apply:os.system [ls]", b"<<: *x", b": ", b"- ", b"\t", b"? ", b"1:1")

NAMES = tuple(f"{number}.png" for number in range(4))


def table_kinds(folder: Path) -> list[Kind]:
    """meta.json, data.json and two tables of public sets, beside the images that they name."""
    entries = [{"img_path": f"images/{name}", "mask_path": "", "cls_name": "liver", "anomaly": 0} for name in NAMES]
    ill = {"img_path": "images/3.png", "mask_path": "images/2.png", "cls_name": "liver", "anomaly": 1}
    meta = {"train": {"liver": entries[:2]}, "test": {"liver": [entries[2], {**ill, "specie_name": "tumour"}]}}
    splits = {"train": {"0": NAMES[:2]}, "test": {"0": NAMES[2:3], "1": NAMES[3:]}}
    grades = [["id_code", "diagnosis"], *([name.removesuffix(".png"), str(i)] for i, name in enumerate(NAMES))]
    seen = [["id", " hemorrhage"], *([str(i), str(i % 2)] for i in range(4))]
    return [
        table_kind(folder, "meta_json", "meta.json", json.dumps(meta).encode(), "images"),
        table_kind(folder, "split_json", "data.json", json.dumps(splits).encode(), "images"),
        table_kind(folder, "aptos", "train.csv", as_csv(grades), "train_images"),
        table_kind(folder, "head_ct", "labels.csv", as_csv(seen), "head_ct"),
    ]


def as_csv(rows: Sequence[Sequence[str]]) -> bytes:
    """A table."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def table_kind(folder: Path, name: str, file: str, whole: bytes, images: str) -> Kind:
    """A table by which a set is read; whatever it says, it names nothing outside of the set's folder."""
    root = folder / name
    (root / images).mkdir(parents=True, exist_ok=True)
    for each in NAMES:
        (root / images / each).write_bytes(pictures()["png"][0])

    def damage(content: bytes, random: Random) -> bytes:
        if content.startswith(b"{") and random.random() < 0.6:
            return json.dumps(mutate_data(json.loads(content), random)).encode()
        return b"[" * 100_000 if random.random() < 0.02 else mutate(content, random, [whole], WORDS)

    def read(path: Path) -> None:
        rows = run_reader(name, path.parent, "organ", {})
        for each in (*rows["image_path"], *filter(None, rows["mask_path"])):
            assert Path(each).resolve().is_relative_to(root.resolve()), each

    return Kind(name, f"{name}/{file}", [whole], damage, read)


def config_kind() -> Kind:
    """The yaml of a model, as a comparison takes it."""
    contents = [file.read_bytes() for file in sorted(CONFIGS.glob("*.yaml"))]

    def damage(content: bytes, random: Random) -> bytes:
        if random.random() < 0.6:
            return yaml.safe_dump(mutate_data(yaml.safe_load(content), random)).encode(errors="replace")
        return mutate(content, random, contents, YAML_WORDS)

    return Kind("config", "model.yaml", contents, damage, lambda path: entrant(str(path)).name)


def cached_kind(folder: Path) -> Kind:
    """What the image cache has kept: damaged, it is made anew."""
    image, cache = folder / "cached.png", folder / "cache"
    image.write_bytes(pictures()["png"][1])

    def filled() -> torch.Tensor:
        store = ImageStore("disk", 0, cache, "auto")
        store.fill([str(image)])
        return store.read(str(image))

    pixels = filled()
    kept = next(file for file in cache.rglob("*") if file.is_file())

    def read(path: Path) -> None:
        assert filled().equal(pixels)

    file = str(kept.relative_to(folder))
    return Kind("cached", file, [kept.read_bytes()], mutate, read)
