# SPDX-License-Identifier: Apache-2.0
"""What a frozen teacher says of an image is always the same: let it say it once.

An image is known by its own pixels, as the teacher is given them, and the teacher by its weights. So what is kept
serves any epoch, seed, K and model that shows the same pixels to the same teacher, and an image that was augmented or
spoiled is never taken for one that was not.

The last bit of a convolution hangs on how many images pass together. A cache therefore looks at ``TOGETHER`` images at
a time, always: what it gives for an image never hangs on what else was in the batch, or on what others kept before.
Without a cache the teacher takes the whole batch, and its maps differ from these by some 1e-6 of their largest value.
"""

import hashlib
from typing import Literal

import torch
from torch import Tensor, nn

from anomalib_fsad.cache_folder import cache_folder
from anomalib_fsad.models.components.teacher_store import GIB, FolderStore, MemoryStore, Store, bytes_of

CachePlace = Literal["none", "ram", "disk"]

FORMAT = 1
"""Of what is kept on disk; another number leaves what was kept before to be dropped as unused."""

TOGETHER = 4
"""Images that pass a teacher at once; fewer are filled up with the last of them."""


class Remembering(nn.Module):
    """A frozen network that, while it is given a cache, looks at each image once.

    Attributes:
        cache: what it remembers by, if it does.
        levels: a name for each of its maps, the same in every network that shares weights and maps.
        kind: what the weights do not tell of it.
    """

    cache: "TeacherCache | None" = None
    levels: tuple[str, ...]
    kind: str

    def look(self, images: Tensor) -> list[Tensor]:
        """The maps of images, B x 3 x H x W -> B x C x h x w each, from the network itself."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> list[Tensor]:
        """The same, as far as possible from the cache."""
        return self.look(images) if self.cache is None else self.cache.maps(self, images)


class TeacherCache:
    """Keeps the maps of each image that a teacher has seen.

    Args:
        store: where.
        half: whether float32 is kept as float16, in half the room; maps then differ by up to 5e-4 of their own value.

    Example:
        >>> from anomalib_fsad.models.components import Teacher
        >>> teacher = Teacher("resnet18", pre_trained=False)
        >>> images = torch.rand(2, 3, 64, 64)
        >>> teacher.cache = TeacherCache(MemoryStore(GIB))
        >>> for first, again in zip(teacher(images), teacher(images.flip(0)), strict=True):
        ...     assert torch.equal(first, again.flip(0))
        >>> len(teacher.cache.store.kept)
        2
    """

    def __init__(self, store: Store, *, half: bool = False) -> None:
        self.store = store
        self.half = half
        self._weights: dict[int, str] = {}

    def __deepcopy__(self, memo: dict) -> "TeacherCache":
        """One cache serves every copy of a model."""
        del memo
        return self

    def maps(self, teacher: Remembering, images: Tensor) -> list[Tensor]:
        """What ``teacher.look(images)`` gives, image by image from the store, and from the teacher if it is new."""
        half = self.half and not torch.is_autocast_enabled(images.device.type) and images.dtype == torch.float32
        space = self._space(teacher, images, half=half)
        names = [f"{space}/{_digest(image)}" for image in images.detach().cpu()]
        known = {name: self.store.read(name, teacher.levels) for name in names}
        new = [name for name, maps in known.items() if maps is None]
        for some in (new[start : start + TOGETHER] for start in range(0, len(new), TOGETHER)):
            rows = _filled_up([names.index(name) for name in some])
            seen = [_halved(maps) if half else maps for maps in teacher.look(images[rows])]
            for place, name in enumerate(some):
                known[name] = [maps[place] for maps in seen]
                self.store.keep(name, dict(zip(teacher.levels, (maps[place].cpu() for maps in seen), strict=True)))
        each = [[maps.to(images.device) for maps in known[name] or ()] for name in names]
        together = (torch.stack(level) for level in zip(*each, strict=True))
        return [maps.float() if half else maps for maps in together]

    def _space(self, teacher: Remembering, images: Tensor, *, half: bool) -> str:
        """Whatever the maps of an image hang on besides its pixels."""
        if id(teacher) not in self._weights:
            self._weights[id(teacher)] = digest_of_weights(teacher)
        return _short(f"{FORMAT} {self._weights[id(teacher)]} {half} {arithmetic(images)}")


def teacher_cache(place: CachePlace, limit_gib: float, *, half: bool = False) -> TeacherCache | None:
    """The cache of a training run.

    Args:
        place: ``none``, ``ram`` of this process, or ``disk``: the folder ``teachers`` of the package's cache folder.
        limit_gib: the most that is kept there.
        half: see ``TeacherCache``.
    """
    limit = int(limit_gib * GIB)
    if place == "none":
        return None
    return TeacherCache(
        MemoryStore(limit) if place == "ram" else FolderStore(cache_folder() / "teachers", limit), half=half
    )


def remember(model: nn.Module, cache: TeacherCache | None) -> None:
    """Give a cache to all teachers of a model, or take it away."""
    for module in model.modules():
        if isinstance(module, Remembering):
            module.cache = cache


def digest_of_weights(teacher: Remembering) -> str:
    """Of a teacher's kind, its tensors and their names.

    Raises:
        ValueError: if what it says may change from step to step.
    """
    if teacher.training or any(parameter.requires_grad for parameter in teacher.parameters()):
        msg = f"{type(teacher).__name__} is no frozen teacher: call eval() and requires_grad_(False) before caching it."
        raise ValueError(msg)
    digest = hashlib.blake2b(f"{type(teacher).__name__} {teacher.kind}".encode())
    for name, value in teacher.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(bytes_of(value))
    return digest.hexdigest()


def arithmetic(images: Tensor) -> str:
    """What the last bits of a result hang on: versions, processor, threads, precision."""
    device = images.device.type
    unit = (
        torch.cuda.get_device_name(images.device)
        if device == "cuda"
        else f"{torch.backends.cpu.get_cpu_capability()} {torch.get_num_threads()}"
    )
    autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    return f"{torch.__version__} {device} {unit} {images.dtype} {autocast} {torch.get_float32_matmul_precision()}"


def _digest(image: Tensor) -> str:
    return _short(str(tuple(image.shape)), bytes_of(image))


def _short(text: str, content: memoryview | bytes = b"") -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    digest.update(content)
    return digest.hexdigest()


def _halved(maps: Tensor) -> Tensor:
    largest = torch.finfo(torch.float16).max
    return maps.clamp(-largest, largest).half()


def _filled_up(rows: list[int]) -> list[int]:
    return [*rows, *rows[-1:] * (TOGETHER - len(rows))]
