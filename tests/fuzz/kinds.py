# SPDX-License-Identifier: Apache-2.0
"""What a kind of file is to the attack, and which refusals are clear ones."""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

Damage = Callable[[bytes, Random], bytes]


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
        name: for the reports and for the names of kept cases.
        file: what the attacked file is called, below the folder that all is in.
        whole: contents that are read without a fault; the first lies there to begin with.
        damage: makes a case of one of them.
        read: all that reads such a file; it raises nothing but what a user understands.
    """

    name: str
    file: str
    whole: Sequence[bytes]
    damage: Damage
    read: Callable[[Path], Any]


def refused_or(read: Callable[[], Any]) -> Any:
    """What ``read`` returns, or ``None`` where it refuses in words of ours."""
    try:
        return read()
    except Exception as error:
        if not is_clear(error):
            raise
        return None


def is_clear(error: BaseException) -> bool:
    """Whether a user gets a line that was written for him: of a kind the command line knows, and raised by our code."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    ours = place is not None and "/anomalib_fsad/" in place.tb_frame.f_code.co_filename
    return ours and isinstance(error, ValueError | OSError | ImportError)
