# SPDX-License-Identifier: Apache-2.0
"""Each image is looked at once, in whatever company; nothing else is ever given for it."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from anomalib_fsad.models.components import Teacher
from anomalib_fsad.models.components.teacher_cache import TOGETHER, Remembering, TeacherCache, remember, teacher_cache
from anomalib_fsad.models.components.teacher_store import GIB, FolderStore, MemoryStore


class Counting(Remembering):
    """Tells how many images it was shown."""

    levels = ("4", "8")
    kind = "counting"

    def __init__(self, factor: float = 2) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(float(factor)), requires_grad=False)
        self.seen: list[int] = []
        self.eval()

    def look(self, images: Tensor) -> list[Tensor]:
        self.seen.append(len(images.unique(dim=0)))
        return [images * self.factor, images.mean(dim=(2, 3), keepdim=True)]


def in_memory(half: bool = False) -> TeacherCache:
    return TeacherCache(MemoryStore(GIB), half=half)


def assert_equal(actual: list[Tensor], expected: list[Tensor]) -> None:
    assert all(torch.equal(a, e) for a, e in zip(actual, expected, strict=True))


def test_each_image_is_looked_at_once_in_whatever_order() -> None:
    images, teacher = torch.rand(7, 3, 4, 4), Counting()
    teacher.cache = in_memory()
    for _epoch in range(3):
        for batch in torch.randperm(7).split(3):
            assert_equal(teacher(images[batch]), Counting().look(images[batch]))
    assert sum(teacher.seen) == len(teacher.cache.store.kept) == 7


def test_an_image_that_comes_twice_in_a_batch_is_looked_at_once() -> None:
    images, teacher = torch.rand(2, 3, 4, 4)[[0, 1, 0, 0]], Counting()
    teacher.cache = in_memory()
    assert_equal(teacher(images), Counting().look(images))
    assert teacher.seen == [2]


def test_another_noise_is_another_image() -> None:
    image, teacher = torch.rand(1, 3, 4, 4), Counting()
    teacher.cache = in_memory()
    teacher(image)
    changed = image.clone()
    changed[0, 0, 0, 0] += 1e-6
    assert_equal(teacher(changed), Counting().look(changed))
    assert teacher.seen == [1, 1]


def test_another_shape_of_the_same_bytes_is_another_image() -> None:
    teacher = Counting()
    teacher.cache = in_memory()
    for shape in ((1, 3, 2, 8), (1, 3, 8, 2)):
        assert teacher(torch.ones(shape))[0].shape == shape


def test_one_folder_serves_other_runs_and_no_other_teacher(tmp_path: Path) -> None:
    images = torch.rand(3, 3, 4, 4)
    for factor, looks in ((2, [3]), (2, []), (3, [3]), (2, [])):
        teacher = Counting(factor)
        teacher.cache = TeacherCache(FolderStore(tmp_path, GIB))
        assert_equal(teacher(images), Counting(factor).look(images))
        assert teacher.seen == looks


def test_another_arithmetic_is_another_answer() -> None:
    images, teacher = torch.rand(2, 3, 64, 64), Teacher("resnet18", pre_trained=False)
    teacher.cache = in_memory()
    teacher(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert teacher(images)[0].dtype == torch.bfloat16
    assert teacher(images)[0].dtype == torch.float32


@pytest.mark.parametrize("backbone", ["resnet18", "tf_efficientnet_lite0"])
def test_what_is_given_does_not_hang_on_the_company(backbone: str) -> None:
    """Bit for bit, however the images are cut into batches and whatever is known before."""
    teacher, images = Teacher(backbone, (4, 8, 16, 32), pre_trained=False), torch.rand(9, 3, 64, 64)
    alone = teacher.look(images)
    answers = []
    for cut in (1, 2, 5, 9):
        teacher.cache = in_memory()
        for batch in torch.randperm(9).split(cut):
            teacher(images[batch])
        answers.append(teacher(images))
    for other in answers[1:]:
        assert_equal(other, answers[0])
    for level, plain in zip(answers[0], alone, strict=True):
        assert (level - plain).abs().max() <= 1e-5 * plain.abs().max()


def test_batches_of_so_many_are_as_without_a_cache() -> None:
    teacher, images = Teacher("resnet18", pre_trained=False), torch.rand(TOGETHER, 3, 64, 64)
    plain = teacher(images)
    teacher.cache = in_memory()
    assert_equal(teacher(images), plain)


def test_fewer_levels_come_from_the_same_record() -> None:
    images, cache = torch.rand(2, 3, 64, 64), in_memory()
    deep = Teacher("tf_efficientnet_lite0", (4, 8, 16, 32), pre_trained=False)
    shallow = Teacher("tf_efficientnet_lite0", (4, 8, 16), pre_trained=False)
    shallow.load_state_dict(deep.state_dict())
    deep.cache = shallow.cache = cache
    known = deep(images)
    shallow.network.register_forward_pre_hook(lambda *_: pytest.fail("looked again"))
    assert_equal(shallow(images), known[:3])


def test_half_precision_is_the_same_at_once_and_later() -> None:
    images, teacher = 10 * torch.rand(3, 3, 4, 4), Counting()
    teacher.cache = in_memory(half=True)
    first = teacher(images)
    assert_equal(teacher(images), first)
    assert first[0].dtype == torch.float32
    assert all(level.dtype == torch.float16 for maps in teacher.cache.store.kept.values() for level in maps.values())
    torch.testing.assert_close(first[0], 2 * images, atol=0, rtol=2**-11)
    assert teacher(torch.full((1, 3, 4, 4), 1e5))[0].isfinite().all()


def test_what_was_seen_in_validation_can_be_trained_on() -> None:
    images, teacher, student = torch.rand(2, 3, 4, 4), Counting(), nn.Conv2d(3, 3, 1)
    teacher.cache = in_memory()
    with torch.inference_mode():
        teacher(images)
    student(teacher(images)[0]).sum().backward()
    assert student.weight.grad is not None


def test_a_teacher_that_learns_is_refused() -> None:
    teacher = Counting()
    teacher.cache = in_memory()
    teacher.factor.requires_grad_(True)
    with pytest.raises(ValueError, match="no frozen teacher"):
        teacher(torch.rand(1, 3, 4, 4))


def test_the_place_on_disk_is_the_packages_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANOMALIB_FSAD_CACHE", str(tmp_path))
    model = nn.Sequential(Counting())
    remember(model, teacher_cache("disk", 1))
    model(torch.rand(1, 3, 4, 4))
    assert len(list((tmp_path / "teachers").rglob("*.safetensors"))) == 1
    remember(model, teacher_cache("none", 1))
    assert model[0].cache is None
