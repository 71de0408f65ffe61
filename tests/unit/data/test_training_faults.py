# SPDX-License-Identifier: Apache-2.0
"""What becomes of training when a file or a process goes away in the middle of it."""

import os
import signal
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import pytest
import torch

from anomalib_fsad import MedicalFewShot
from anomalib_fsad.data.cache import ImageStore
from anomalib_fsad.images.decoding import ImageReadError
from tests.processes import apart


def one_class(folder: Path, **options: object) -> MedicalFewShot:
    data = MedicalFewShot(
        folder,
        "fundus",
        reader="phantom",
        reader_args={"image_size": 32, "n_train": 8, "n_test": 2},
        protocol="one_class",
        cache="none",
        train_batch_size=2,
        **{"num_workers": 0, "val_images": 2, "k_shot": 2, **options},
    )
    data.setup()
    return data


def by_itself(test: Callable[..., None]) -> Callable[..., None]:
    """A test in a process of its own: what goes wrong in here on purpose has taken the process of the tests with it."""

    @wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        apart(lambda: test(*args, **kwargs))

    return run


@pytest.mark.parametrize("num_workers", [0, 1])
@by_itself
def test_an_image_that_goes_in_mid_epoch_is_named(tmp_path: Path, num_workers: int) -> None:
    data = one_class(tmp_path, num_workers=num_workers)
    lost = Path(data.train_data.paths[-1])
    lost.write_bytes(lost.read_bytes()[:100])
    with pytest.raises((ImageReadError, RuntimeError), match=lost.name):  # torch words a worker's error anew
        list(data.train_dataloader())


@by_itself
def test_skip_goes_on_with_as_many_batches(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each of several processes gets as many as the others, whichever of them meets the image."""
    data = one_class(tmp_path, on_error="skip")
    whole = len(list(data.train_dataloader()))
    lost = data.train_data.paths[-1]
    Path(lost).write_bytes(b"")
    batches = list(data.train_dataloader())
    assert len(batches) == whole
    assert lost not in {path for batch in batches for path in batch.image_path}
    assert lost in caplog.text
    assert "Another image takes its place" in caplog.text
    for path in data.train_data.paths:
        Path(path).write_bytes(b"")
    with pytest.raises(ImageReadError):
        list(data.train_dataloader())


@by_itself
def test_a_worker_that_dies_ends_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, read = one_class(tmp_path, num_workers=1), ImageStore.read

    def die(store: ImageStore, path: str) -> torch.Tensor:
        if torch.utils.data.get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return read(store, path)

    monkeypatch.setattr(ImageStore, "read", die)
    with pytest.raises(RuntimeError, match=r"worker.*(killed by signal|exited unexpectedly)"):
        list(data.train_dataloader())
