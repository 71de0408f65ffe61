# SPDX-License-Identifier: Apache-2.0
"""Bytes and plain data, damaged in the ways that find faults in readers."""

import zlib
from collections.abc import Sequence
from random import Random
from typing import Any

EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
WIDTHS = (1, 2, 4, 8)

WAYS = ("bit", "bit", "bytes", "number", "number", "cut", "drop", "repeat", "splice", "word", "other")

HEADER = 256
"""Bytes at the beginning where damage is understood as something else; half of all places lie there."""

STRANGE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63), 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", " ", "0", "-1", "nan", "1e999", "none", "..", "../../etc/passwd", "/etc/passwd", "~", "a\x00b", "\ud800"),
    *("=1+1", "x" * 5000, "ä" * 200, "\n", "-rf", "C:\\x", "{}", [], [[]], {}, {"": None}, [None]),
    *({"grid": []}, {"grid": [1, 2]}),
)


def mutate(content: bytes, random: Random, others: Sequence[bytes] = (), words: Sequence[bytes] = ()) -> bytes:
    """Damage ``content`` one to four times.

    Args:
        content: a whole file.
        random: of the damage.
        others: whole files of the same kind, for splicing.
        words: what such files are made of.
    """
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 2, 4))):
        if not changed:
            changed += random.randbytes(random.randint(1, 64))
        _damage(changed, random, others, words)
    return bytes(changed)


def _damage(changed: bytearray, random: Random, others: Sequence[bytes], words: Sequence[bytes]) -> None:
    at = random.randrange(min(len(changed), HEADER) if random.random() < 0.5 else len(changed))
    length = min(random.choice((1, 2, 4, 16, 64, 1024)), len(changed))
    match random.choice(WAYS):
        case "bit":
            for _ in range(random.choice((1, 1, 3, 8))):
                place = random.randrange(len(changed))
                changed[at if random.random() < 0.5 else place] ^= 1 << random.randrange(8)
        case "bytes":
            changed[at : at + length] = random.randbytes(length)
        case "number":
            width = random.choice(WIDTHS)
            value = random.choice(EXTREMES) % 256**width
            changed[at : at + width] = value.to_bytes(width, random.choice(("little", "big")))
        case "cut":
            del changed[at:]
        case "drop":
            del changed[at : at + length]
        case "repeat":
            changed[at:at] = changed[at : at + length] * random.choice((1, 2, 50))
        case "splice" if others:
            other = random.choice(others)
            start = random.randrange(len(other) + 1)
            changed[at:] = other[start:]
        case "word" if words:
            word = random.choice(words)
            changed[at : at + random.choice((0, len(word)))] = word
        case _:
            changed[at:] = random.randbytes(random.randint(0, 200))


def mutate_data(value: Any, random: Random) -> Any:
    """Plain data with one of its parts replaced by something strange, left out, doubled, or moved."""
    parts = list(_places(value))
    if not parts or random.random() < 0.03:
        return random.choice(STRANGE)
    holder, key = random.choice(parts)
    match random.choice(("replace", "replace", "replace", "delete", "add", "move")):
        case "replace":
            holder[key] = random.choice(STRANGE)
        case "delete":
            del holder[key]
        case "add" if isinstance(holder, list):
            holder.extend([holder[key]] * random.choice((1, 3)))
        case "add":
            holder[str(random.choice(STRANGE))] = random.choice(STRANGE)
        case _:
            other, place = random.choice(parts)
            if not _within(holder, other[place]):
                holder[key] = other[place]
    return value


def _places(value: Any) -> Any:
    keys = range(len(value)) if isinstance(value, list) else value if isinstance(value, dict) else ()
    for key in list(keys):
        yield value, key
        yield from _places(value[key])


def _within(part: Any, whole: Any) -> bool:
    """Whether putting ``whole`` into ``part`` would make a circle."""
    return whole is part or any(holder[key] is part for holder, key in _places(whole))


def with_checksums(png: bytes) -> bytes:
    """A damaged PNG whose chunks say that they are whole, so that the damage is read."""
    mended, at = bytearray(png), 8
    while at + 12 <= len(mended):
        length = int.from_bytes(mended[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(mended):
            break
        mended[end : end + 4] = zlib.crc32(mended[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(mended)
