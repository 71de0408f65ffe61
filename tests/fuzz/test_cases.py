# SPDX-License-Identifier: Apache-2.0
"""Every case that was ever found, a few fresh ones of fixed seeds, and the bombs; `make fuzz` goes on from here."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.attack import MEMORY_KIB, case_of, fault_of, is_clear, kinds_of, silence
from tests.fuzz.kinds import Kind

CASES = Path(__file__).parent / "cases"

FRESH = 60
"""Of each kind."""


@pytest.fixture(scope="module", params=["light", "heavy"])
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Kind], Path]:
    folder = tmp_path_factory.mktemp(request.param)
    with silence():
        return kinds_of(request.param, folder), folder


def test_found_cases_stay_mended(family: tuple[list[Kind], Path]) -> None:
    kinds, folder = family
    seen = 0
    with silence():
        for kind in kinds:
            for file in CASES.glob(f"{kind.name}-*"):
                assert fault_of(kind, file.read_bytes(), folder) is None, file.name
                seen += 1
    assert seen > 10


def test_fresh_cases_are_read_or_refused_in_words(family: tuple[list[Kind], Path]) -> None:
    kinds, folder = family
    outcomes: Counter[str] = Counter()
    with silence():
        for kind in kinds:
            random = Random(f"{kind.name} 0")
            for number in range(FRESH):
                fault = fault_of(kind, case_of(kind, random), folder)
                assert fault is None, f"{kind.name}, case {number}: {fault}"
                try:
                    kind.read(folder / kind.file)
                except Exception as error:
                    assert is_clear(error)  # noqa: PT017 - of any kind but in our words
                    outcomes["refused"] += 1
                else:
                    outcomes["read"] += 1
    # Both ways were taken, or the attack was none.
    assert min(outcomes["read"], outcomes["refused"]) > 50


def test_whole_files_are_read(family: tuple[list[Kind], Path]) -> None:
    kinds, folder = family
    with silence():
        for kind in kinds:
            (folder / kind.file).write_bytes(kind.whole[0])
            kind.read(folder / kind.file)


def test_what_is_no_refusal_of_ours_is_a_fault(tmp_path: Path) -> None:
    def stumble(path: Path) -> None:
        int(path.read_text())

    def forget(path: Path) -> None:
        kept.append(path.open())

    kept: list = []
    (tmp_path / "a").write_text("")
    assert "invalid literal" in str(
        fault_of(Kind("odd", "a", [b""], lambda case, random: case, stumble), b"x", tmp_path)
    )
    assert "left open" in str(fault_of(Kind("odd", "a", [b""], lambda case, random: case, forget), b"x", tmp_path))
    kept[0].close()


def test_bombs_are_refused_before_they_go_off(tmp_path: Path) -> None:
    for role in ("make", "read"):
        command = [sys.executable, "-m", "tests.fuzz.bombs", role, str(tmp_path)]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) > 15
    assert not [line for line in lines if line.endswith(": read")]
    assert all(int(re.match(r"\s*(\d+) MiB", line)[1]) < MEMORY_KIB >> 10 for line in lines)  # type: ignore[index]
