# SPDX-License-Identifier: Apache-2.0
"""The three protocols: who is trained on, who is validated on, and what nobody may see."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib import TaskType
from anomalib.data import get_datamodule
from anomalib.visualization.image.item_visualizer import visualize_image_item
from lightning.pytorch import LightningModule, Trainer
from omegaconf import OmegaConf
from PIL import Image
from torch import nn
from torchvision.transforms.v2 import Compose, Normalize, RandomHorizontalFlip, Resize

import anomalib_fsad
from anomalib_fsad.data import FewShotBatch, MedicalFewShot

Make = Callable[..., MedicalFewShot]

SOURCES = {"brain_mri", "chest_xray", "head_ct", "histology", "retina_oct"}


def paths(dataset) -> set[str]:
    return set(dataset.samples["image_path"])


def test_episodic(medical: Make) -> None:
    data = medical(val_images=4)
    data.setup()
    assert set(data.train_data.categories) == set(data.val_data.categories) == SOURCES
    assert set(data.test_data.categories) == set(data.support_data.categories) == {"fundus"}
    assert len(data.train_data) == 5 * 6
    assert len(data.test_data) == 20
    assert len(data.val_data) == 5 * 4
    assert data.val_data.samples["label_index"].mean() == 0.5
    assert (data.train_data.samples["label_index"] == 0).all()
    assert data.name == "MedicalFewShot"
    assert data.category == "fundus"
    assert data.task == TaskType.SEGMENTATION

    train = next(iter(data.train_dataloader()))
    assert isinstance(train, FewShotBatch)
    assert train.support.shape == (4, 2, 3, 32, 32)
    assert not train.gt_label.any()
    val = next(iter(data.val_dataloader()))
    assert val.support.shape == (20, 2, 3, 32, 32)
    test = next(iter(data.test_dataloader()))
    assert test.support is None
    assert test.gt_mask.any()
    assert set(test.category) == {"fundus"}


def test_the_target_beyond_its_support_is_never_seen(medical: Make) -> None:
    data = medical()
    data.setup()
    seen = paths(data.train_data) | paths(data.val_data)
    seen |= {path for draws in data.val_data.draw.supports.values() for path in draws}
    assert not any("/fundus/" in path for path in seen)


def test_few_shot(medical: Make) -> None:
    data = medical(protocol="few_shot")
    data.setup()
    assert paths(data.train_data) == set(data.support_files)
    assert len(data.train_data) == 2
    assert next(iter(data.train_dataloader())).support is None
    assert not paths(data.val_data) & paths(data.test_data)
    assert not paths(data.val_data) & paths(data.train_data)
    assert data.val_data.samples["label_index"].value_counts().to_dict() == {0: 4, 1: 4}
    assert data.val_data.has_anomalous


def test_one_class(medical: Make) -> None:
    data = medical(protocol="one_class")
    data.setup()
    assert len(data.train_data) == 5
    assert data.val_data.samples["label_index"].value_counts().to_dict() == {0: 1, 1: 4}
    assert not paths(data.val_data) & (paths(data.train_data) | paths(data.test_data))
    assert set(data.support_files) <= paths(data.train_data)
    assert all("/fundus/train/good/" in path for path in data.train_data.paths)


@pytest.mark.parametrize("protocol", ["few_shot", "one_class"])
def test_synthetic_validation_repeats_and_leaves_the_generators_alone(medical: Make, protocol: str) -> None:
    first, second = medical(protocol=protocol), medical(protocol=protocol)
    before = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
    first.setup()
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert before[2] == random.getstate()
    second.setup()
    for one, two in zip(first.val_data, second.val_data, strict=True):
        assert torch.equal(one.image, two.image)
        assert one.gt_label == two.gt_label
    spoilt = [item for item in first.val_data if item.gt_label]
    assert spoilt
    assert all(item.gt_mask.any() for item in spoilt)


def test_few_shot_with_no_normal_left(medical: Make, caplog: pytest.LogCaptureFixture) -> None:
    data = medical(protocol="few_shot", k_shot=6)
    data.setup()
    assert "No normal images are left to hold out" in caplog.text
    assert set(data.val_data.samples["label_index"]) == {0, 1}
    assert len(data.train_data) == 6


def test_same_as_test_is_warned_about_and_recorded(
    medical: Make, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    data = medical(val="same_as_test")
    data.trainer = Trainer(default_root_dir=tmp_path / "run", logger=False, accelerator="cpu")
    data.setup()
    assert (
        "val=same_as_test: threshold, checkpoint and what else hangs on validation are chosen with the test labels"
        in caplog.text
    )
    assert paths(data.val_data) == paths(data.test_data)
    record = json.loads((tmp_path / "run/data.json").read_text())
    assert record["val"] == "same_as_test"
    assert record["support"] == data.support_files
    assert record["images"]["fundus"]["test abnormal"] == 10
    assert next(iter(data.val_dataloader())).support.shape[:2] == (20, 2)


class Scorer(LightningModule):
    """Logs two figures of a test, one of which cannot be computed."""

    seed = 5

    def test_step(self, batch: FewShotBatch) -> None:
        self.log("image_AUROC", batch.gt_label.float().mean(), batch_size=len(batch))
        self.log("pixel_AUROC", float("nan"), batch_size=len(batch))


def test_metrics_are_left_beside_the_results(medical: Make, tmp_path: Path) -> None:
    options = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu", "barebones": False}
    data = medical(seed=3)
    Trainer(default_root_dir=tmp_path / "run", **options).test(Scorer(), datamodule=data, verbose=False)
    found = json.loads((tmp_path / "run/metrics.json").read_text())
    assert found["metrics"] == {"image_AUROC": 0.5, "pixel_AUROC": None}
    assert found["model"] == "Scorer"
    assert found["seeds"] == {"model": 5, "data": 3, "support": 0}
    assert found["data"] == json.loads((tmp_path / "run/data.json").read_text())
    assert found["data"]["support"] == data.support_files
    assert set(found["versions"]) == {"anomalib_fsad", "anomalib", "torch", "lightning", "timm"}


def test_support_is_seeded_nested_and_the_same_under_every_protocol(medical: Make) -> None:
    chosen = {}
    for options in ({}, {"protocol": "few_shot"}, {"protocol": "one_class"}, {"seed": 7}, {"train_batch_size": 1}):
        data = medical(**options)
        data.setup()
        chosen[str(options)] = tuple(data.support_files)
    assert len(set(chosen.values())) == 1
    more = medical(k_shot=4)
    more.setup()
    assert set(chosen["{}"]) < set(more.support_files)
    others = []
    for seed in range(1, 4):
        other = medical(support_seed=seed)
        other.setup()
        others.append(tuple(other.support_files))
    assert set(others) != {chosen["{}"]}


def test_support_dataloader(medical: Make) -> None:
    data = medical(k_shot=3)
    data.setup()
    (batch,) = list(data.support_dataloader())
    assert batch.image.shape == (3, 3, 32, 32)
    assert list(batch.image_path) == data.support_files
    assert not batch.gt_label.any()


def test_few_shot_source(medical: Make, phantom_root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "deeper").mkdir(parents=True)
    for i, path in enumerate(sorted((phantom_root / "fundus/train/good").iterdir())[:3]):
        (folder / ("deeper" if i else ".") / path.name).write_bytes(path.read_bytes())
    data = medical(few_shot_source=folder, k_shot=2, protocol="few_shot")
    data.setup()
    assert len(data.support_files) == 2
    assert all(path.startswith(str(folder)) for path in data.support_files)
    assert paths(data.train_data) == set(data.support_files)
    copied = {path.name for path in map(Path, data.support_files)}
    assert not copied & {Path(path).name for path in data.val_data.paths if "/fundus/train/" in path}
    one_class = medical(few_shot_source=folder, k_shot=2, protocol="one_class")
    one_class.setup()
    assert not paths(one_class.train_data) & set(one_class.support_files)


def test_the_setup_table_and_the_support_files_are_shown_once(medical: Make, capsys: pytest.CaptureFixture) -> None:
    data = medical(support_seed=12345)
    data.setup("fit")
    shown = capsys.readouterr().err
    data.setup("test")
    assert capsys.readouterr().err == ""
    medical(support_seed=12345, k_shot=1).setup()
    assert "1-shot" in capsys.readouterr().err
    for word in ("episodic, 2-shot, target fundus", "category", "train", "validation", "support", *SOURCES):
        assert word in shown
    [line] = [line for line in shown.splitlines() if line.startswith("support images, in ")]
    folder, names = line.removeprefix("support images, in ").split(": ")
    assert [str(Path(folder, name)) for name in names.split(", ")] == data.support_files


def test_same_category_batches(medical: Make) -> None:
    data = medical(same_category_batches=True, train_batch_size=4)
    data.setup()
    batches = list(data.train_dataloader())
    assert len(batches) == 5 * 2  # 6 images of each source fill two batches of 4
    for batch in batches:
        assert len(set(batch.category)) == 1
        assert len(set(batch.image_path)) == 4
        assert batch.support is None


def test_a_batch_of_one(medical: Make) -> None:
    data = medical(train_batch_size=1, eval_batch_size=1, k_shot=1)
    data.setup()
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        batch = next(iter(loader))
        assert len(batch) == 1
        assert batch.image.shape == (1, 3, 32, 32)


class Recorder(LightningModule):
    """Notes each training batch; has a pre-processor as anomalib models have one."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.pre_processor = nn.Module()
        self.pre_processor.transform = Compose([Resize((size, size), antialias=True), Normalize([0.5] * 3, [0.5] * 3)])
        self.seen: list[list[tuple[str, float]]] = []
        self.shapes: set[tuple[int, ...]] = set()

    def on_train_epoch_start(self) -> None:
        self.seen.append([])

    def training_step(self, batch: FewShotBatch) -> None:
        self.shapes |= {tuple(batch.image.shape[1:]), tuple(batch.support.shape[1:])}
        sums = batch.support.double().sum(dim=(1, 2, 3, 4)).tolist()
        self.seen[-1] += list(zip(batch.image_path, sums, strict=True))

    def configure_optimizers(self) -> None:
        return None


def trained(data: MedicalFewShot, size: int = 24, epochs: int = 3) -> Recorder:
    model = Recorder(size)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "accelerator": "cpu"}
    trainer = Trainer(max_epochs=epochs, limit_val_batches=0, enable_model_summary=False, **quiet)
    trainer.fit(model, datamodule=data)
    return model


def test_episodes_are_the_same_for_any_number_of_workers_and_new_each_epoch(medical: Make) -> None:
    alone = trained(medical())
    assert alone.shapes == {(3, 24, 24), (2, 3, 24, 24)}
    epochs = [dict(epoch) for epoch in alone.seen]
    assert all(len(epoch) == 30 for epoch in epochs)
    assert [path for path, _ in alone.seen[0]] != [path for path, _ in alone.seen[1]]
    changed = [path for path in epochs[0] if epochs[0][path] != epochs[1][path]]
    assert len(changed) > 15
    helped = trained(medical(num_workers=2))
    assert helped.seen == alone.seen
    assert trained(medical(seed=1)).seen != alone.seen


@pytest.mark.parametrize("cache", ["disk", "none"])
def test_the_kind_of_cache_does_not_change_the_episodes(medical: Make, cache: str) -> None:
    reference, other = trained(medical(), epochs=1), trained(medical(cache=cache), epochs=1)
    for (path, total), (other_path, other_total) in zip(reference.seen[0], other.seen[0], strict=True):
        assert path == other_path
        assert abs(total - other_total) / total < 1e-3


def test_evaluation_images_are_resized_as_the_model_does_and_never_rounded(medical: Make) -> None:
    data = medical()
    trained(data, size=24, epochs=1)
    path = data.test_data.paths[3]
    pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32) / 255
    expected = Resize((24, 24), antialias=True)(torch.from_numpy(pixels).permute(2, 0, 1))
    assert (data.test_data[3].image - expected).abs().max() < 1e-6
    (support,) = list(data.support_dataloader())
    assert support.image.shape == (2, 3, 24, 24)
    rounded = (support.image * 255).round() / 255
    assert (support.image - rounded).abs().max() > 1e-3


def test_augmentations_reach_queries_and_supports(medical: Make) -> None:
    plain, mirrored = medical(), medical(train_augmentations=RandomHorizontalFlip(p=1.0))
    plain.setup()
    mirrored.setup()
    one, two = plain.train_data[0], mirrored.train_data[0]
    assert torch.allclose(one.image, two.image.flip(-1))
    assert torch.allclose(one.support, two.support.flip(-1))
    assert torch.equal(plain.test_data[0].image, mirrored.test_data[0].image)


def test_mixed_sizes_channels_and_depths(tmp_path: Path) -> None:
    """Grey, colour, 16 bit and a palette, in different sizes and formats: one batch."""
    rng = np.random.default_rng(0)

    def write(path: Path, i: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        size = (20 + 4 * i, 30 - 2 * i)
        if i % 4 == 1:
            Image.fromarray(rng.integers(0, 4000, size).astype(np.uint16)).save(path.with_suffix(".tif"))
        else:
            image = Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8))
            image.convert(("RGB", "", "L", "P")[i % 4]).save(path.with_suffix(".png"))

    for category in ("a", "b"):
        for i in range(6):
            write(tmp_path / category / "train/good" / str(i), i)
        for kind in ("good", "bad"):
            for i in range(4):
                write(tmp_path / category / "test" / kind / str(i), i)
    data = MedicalFewShot(tmp_path, "a", k_shot=2, num_workers=0, cache_dir=tmp_path / ".cache")
    model = trained(data, size=16, epochs=1)
    assert model.shapes == {(3, 16, 16), (2, 3, 16, 16)}
    assert data.task == TaskType.CLASSIFICATION
    batch = next(iter(data.test_dataloader()))
    assert batch.image.shape == (8, 3, 16, 16)
    assert batch.gt_mask is None
    for path, original in zip(batch.image_path, data.test_data.paths, strict=True):
        assert (path == original) == original.endswith(".png")
        with Image.open(path) as image:
            assert image.mode in {"RGB", "L", "P"}
    unsized = MedicalFewShot(tmp_path, "a", k_shot=2, num_workers=0, cache_dir=tmp_path / ".cache")
    unsized.setup()
    assert len(next(iter(unsized.train_dataloader()))) == 6  # without a model the largest image sets the size


def test_the_visualizer_shows_dicom(tmp_path: Path) -> None:
    """anomalib opens ``image_path`` itself, as 8-bit RGB; a DICOM path alone would crash it."""
    pytest.importorskip("pydicom")
    from tests.unit.images.test_dicom import write

    rng = np.random.default_rng(0)
    for place, n in (("train/good", 4), ("test/good", 2), ("test/bad", 2)):
        (tmp_path / "ct" / place).mkdir(parents=True)
        for i in range(n):
            pixels = rng.integers(0, 4000, (24, 20)).astype(np.uint16)
            write(tmp_path / "ct" / place / f"{i}.dcm", pixels, RescaleIntercept=-1024, RescaleSlope=1)
    options = {"intensity": "window(40,400)", "cache_dir": tmp_path / ".cache", "num_workers": 0}
    data = MedicalFewShot(tmp_path, "ct", protocol="one_class", k_shot=2, **options)
    data.setup()
    batch = next(iter(data.test_dataloader()))
    batch.update(anomaly_map=torch.rand(4, 1, 24, 20), pred_score=torch.rand(4))
    for item, original in zip(batch, data.test_data.paths, strict=True):
        assert item.image_path != original
        assert Path(item.image_path).parent.name == Path(original).parent.name
        assert visualize_image_item(item, fields=["image"], overlay_fields=[("image", ["anomaly_map"])]) is not None
        shown = np.asarray(Image.open(item.image_path))
        assert np.abs(shown / 255 - item.image.permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6


def test_few_shot_with_k_of_one(medical: Make, caplog: pytest.LogCaptureFixture) -> None:
    data = medical(protocol="few_shot", k_shot=1, same_category_batches=True)
    data.setup()
    assert paths(data.train_data) == set(data.support_files)
    assert [batch.image.shape[0] for batch in data.train_dataloader()] == [1]
    assert "Training sees a single image: a model that compares" in caplog.text
    assert data.val_data.samples["label_index"].value_counts().to_dict() == {0: 5, 1: 5}


def test_some_missing_masks(
    medical: Make, phantom_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "set"
    for name in ("fundus", "head_ct"):
        shutil.copytree(phantom_root / name, root / name)
    gone = sorted((root / "fundus/ground_truth").rglob("*.png"))[:2]
    for mask in gone:
        mask.unlink()
    with pytest.raises(ValueError, match=r"2 of 10 abnormal images of \['fundus'\] have no mask: '.*Add the masks, or"):
        medical(root=root).setup()
    skipping = medical(root=root, missing_masks="skip")
    skipping.setup()
    assert skipping.task == TaskType.SEGMENTATION
    assert len(skipping.test_data) == 18
    scoring = medical(root=root, missing_masks="classification")
    scoring.setup()
    assert scoring.task == TaskType.CLASSIFICATION
    assert len(scoring.test_data) == 20
    assert scoring.val_data.samples.attrs["task"] == "segmentation"

    shutil.rmtree(root / "fundus/ground_truth")
    shutil.copytree(phantom_root / "chest_xray", root / "chest_xray")
    other = medical(root=root, target="head_ct")
    other.setup()
    assert other.task == TaskType.SEGMENTATION
    assert "['chest_xray'] have masks and ['fundus'] have none: pixels are not validated" in caplog.text


def test_segmentation_needs_masks(medical: Make, phantom_root: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for name in ("fundus", "head_ct"):
        (tmp_path / "set" / name).mkdir()
        for part in ("train", "test"):
            (tmp_path / "set" / name / part).symlink_to(phantom_root / name / part)
    data = medical(root=tmp_path / "set")
    data.setup()
    assert data.task == TaskType.CLASSIFICATION
    assert next(iter(data.test_dataloader())).gt_mask is None


def test_plain_data_as_the_benchmark_gives_it(phantom_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import anomalib.data

    monkeypatch.setattr(anomalib.data, "MedicalFewShot", anomalib_fsad.MedicalFewShot, raising=False)
    config = {
        "class_path": "anomalib_fsad.MedicalFewShot",
        "init_args": {
            "root": str(phantom_root),
            "target": "head_ct",
            "source_categories": ["fundus", "histology"],
            "sets": {name: {} for name in ("head_ct", "fundus", "histology")},
            "num_workers": 0,
        },
    }
    data = get_datamodule(OmegaConf.create({"data": config}))
    data.setup()
    assert set(data.train_data.categories) == {"fundus", "histology"}


def test_a_part_of_the_training_set_draws_the_same_supports(medical: Make) -> None:
    """``subsample`` is anomalib's way to take some of the images."""
    data = medical()
    data.setup()
    part = data.train_data.subsample([3, 7])
    assert len(part) == 2
    for item, whole in zip(part, (data.train_data[3], data.train_data[7]), strict=True):
        assert item.image_path == whole.image_path
        assert torch.equal(item.support, whole.support)
    assert part.store is data.store


def test_one_set_needs_no_target(medical: Make, phantom_root: Path) -> None:
    data = medical(root=phantom_root / "histology", target=None, protocol="one_class")
    data.setup()
    assert data.category == "histology"


def test_sources_without_test_images_are_validated_synthetically(
    medical: Make, phantom_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "set"
    root.mkdir()
    (root / "fundus").symlink_to(phantom_root / "fundus")
    for name in ("head_ct", "histology"):
        (root / name).mkdir()
        (root / name / "train").symlink_to(phantom_root / name / "train")
    data = medical(root=root)
    data.setup()
    assert "validating on synthetic anomalies" in caplog.text
    assert set(data.val_data.categories) == {"head_ct", "histology"}
    held = {path for path in data.val_data.paths if str(root) in path}
    assert not held & paths(data.train_data)
    supports = {path for draws in data.val_data.draw.supports.values() for path in draws}
    assert not held & supports
