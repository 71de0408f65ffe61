# SPDX-License-Identifier: Apache-2.0
"""The phantom set: exact masks, the same from the same seed, and scores on it that mean something."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from PIL import Image
from sklearn.metrics import roc_auc_score

from anomalib_fsad.data.phantom import LESIONS, ORGANS, STRENGTHS, make_phantom, write_phantom
from anomalib_fsad.data.phantom.__main__ import contact_sheet

KINDS = [(lesion, strength) for strength in STRENGTHS for lesion in LESIONS]

Images = list[np.ndarray]


def drawn(organ: str, size: int, n_train: int, n_test: int) -> tuple[Images, Images, Images]:
    """Training, healthy and ill images."""
    number = list(ORGANS).index(organ)
    train = [make_phantom(organ, [0, number, 0, i], size).image for i in range(n_train)]
    good = [make_phantom(organ, [0, number, 1, i], size).image for i in range(n_test)]
    bad = [make_phantom(organ, [0, number, 2, i], size, *KINDS[i % len(KINDS)]).image for i in range(n_test)]
    return train, good, bad


@pytest.mark.parametrize("organ", ORGANS)
@pytest.mark.parametrize("lesion", LESIONS)
@pytest.mark.parametrize("strength", STRENGTHS)
def test_the_mask_is_where_the_picture_changed(organ: str, lesion: str, strength: str) -> None:
    for seed in range(3):
        healthy = make_phantom(organ, seed, 64)
        ill = make_phantom(organ, seed, 64, lesion, strength)
        change = np.abs(healthy.image.astype(float) - ill.image)
        change = change.max(axis=2) if change.ndim == 3 else change
        assert not healthy.mask.any()
        assert 8 <= ill.mask.sum() <= 0.35 * ill.mask.size
        # Device blur carries a lesion one pixel further, and its rim is soft.
        around = np.asarray(Image.fromarray(ill.mask).resize((64, 64)))
        for _ in range(4):
            padded = np.pad(around, 1)
            around = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:] | around
        assert change[~around].max() <= 1.5
        assert change[ill.mask].mean() > 3


def test_organs_and_sizes() -> None:
    for organ in ORGANS:
        for size in (32, 100):
            image = make_phantom(organ, 0, size).image
            assert image.shape[:2] == (size, size)
            assert image.dtype == np.uint8
            assert image.std() > 10


def test_patients_differ_and_seeds_repeat() -> None:
    for organ in ORGANS:
        one, two = make_phantom(organ, [1, 2], 48).image, make_phantom(organ, [1, 3], 48).image
        assert (one == make_phantom(organ, [1, 2], 48).image).all()
        assert np.abs(one.astype(float) - two).mean() > 3


def test_thousands_of_images_a_minute() -> None:
    start = time.process_time()
    for i in range(60):
        make_phantom(list(ORGANS)[i % len(ORGANS)], i, 128, *KINDS[i % len(KINDS)])
    assert 60 / (time.process_time() - start) * 60 > 1000


def test_written_set(tmp_path: Path) -> None:
    home = write_phantom(tmp_path, 24, n_train=2, n_test=12)
    for organ in ORGANS:
        assert len(list((home / organ / "train/good").iterdir())) == 2
        assert len(list((home / organ / "test/good").iterdir())) == 12
        bad = sorted(p.relative_to(home / organ / "test") for p in (home / organ).glob("test/*/*_*.png"))
        assert len(bad) == 12
        assert {path.parts[0] for path in bad} == set(LESIONS)
        masks = sorted(
            p.relative_to(home / organ / "ground_truth") for p in (home / organ).glob("ground_truth/*/*.png")
        )
        assert masks == bad
    assert [p.name for p in tmp_path.iterdir()] == [home.name]
    assert write_phantom(tmp_path, 24, n_train=2, n_test=12) == home


def test_an_easier_set(tmp_path: Path) -> None:
    """Patients more alike, and easy lesions only; a set of its own beside the usual one."""
    usual, easier = write_phantom(tmp_path, 24, 2, 6), write_phantom(tmp_path, 24, 2, 6, spread=0.3, strengths=["easy"])
    assert usual != easier
    assert list(usual.glob("*/test/*/*_hard.png"))
    assert not list(easier.glob("*/test/*/*_hard.png"))
    distances = []
    for spread in (0.0, 1.0):
        patients = [make_phantom("head_ct", i, 48, spread=spread).image.astype(float) for i in range(6)]
        distances.append(np.std(patients, axis=0).mean())
    assert distances[0] < 0.8 * distances[1]
    with pytest.raises(ValueError, match=r"strengths=\['tiny'\] must name some of \['easy', 'hard'\]"):
        write_phantom(tmp_path, 24, strengths=["tiny"])


def test_contact_sheet() -> None:
    sheet = contact_sheet(tile=32)
    assert sheet.width == 78 + 7 * 36
    assert sheet.height == 18 + 6 * 36


STATISTICS: dict[str, Callable[[np.ndarray], float]] = {
    "mean": np.mean,
    "std": np.std,
    "median": np.median,
    "95th percentile": lambda image: float(np.percentile(image, 95)),
    "gradient": lambda image: float(np.abs(np.diff(image.astype(float), axis=0)).mean()),
}


@pytest.mark.parametrize("organ", ORGANS)
def test_trivial_detectors_stay_near_chance(organ: str) -> None:
    _, good, bad = drawn(organ, 48, 0, 120)
    labels = [0] * len(good) + [1] * len(bad)
    for name, statistic in STATISTICS.items():
        auroc = roc_auc_score(labels, [statistic(image) for image in good + bad])
        print(f"{organ}: {name} {auroc:.3f}")
        assert 0.35 <= auroc <= 0.65, f"{name}: {auroc:.3f}"


def test_patchcore_with_an_untrained_network_does_clearly_better() -> None:
    def tensor(images: Images) -> torch.Tensor:
        rgb = [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2) for image in images]
        return torch.from_numpy(np.stack(rgb)).permute(0, 3, 1, 2).float() / 255 * 4 - 2

    aurocs = {}
    for organ in ORGANS:
        train, good, bad = drawn(organ, 64, 30, 30)
        torch.manual_seed(0)
        model = PatchcoreModel(layers=["layer1", "layer2"], backbone="resnet18", pre_trained=False)
        model.train()
        model(tensor(train))
        model.subsample_embedding(sampling_ratio=0.03)
        model.eval()
        with torch.no_grad():
            scores = model(tensor(good + bad)).pred_score
        aurocs[organ] = roc_auc_score([0] * len(good) + [1] * len(bad), scores)
    print({organ: round(float(value), 3) for organ, value in aurocs.items()}, np.mean(list(aurocs.values())))
    assert np.mean(list(aurocs.values())) > 0.7
    assert min(aurocs.values()) > 0.55
