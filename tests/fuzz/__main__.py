# SPDX-License-Identifier: Apache-2.0
"""Fresh broken files, for some minutes: python -m tests.fuzz --minutes 10 [--seed S].

Each family of kinds is attacked by a process of its own, one after the other, so that a crash, a hang or hunger for
memory ends that process only. What is found is kept below ``tests/fuzz/cases`` and replayed by ``make test``.
"""

import argparse
import os
import re
import secrets
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from hashlib import sha256
from pathlib import Path

CASES = Path(__file__).parent / "cases"

FAMILIES = ("light", "heavy")

START_S, HANG_S = 300, 5

STILL_S = 120
"""A process that gets no processor, because others have it, is waited for; one that sleeps for so long hangs."""


def main() -> int:
    """Attack, and say what was found; the exit status is 1 where something was."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", help="of an earlier run, to see the same cases again")
    parser.add_argument("--family", choices=FAMILIES, help="only this one")
    options = parser.parse_args()
    seed = options.seed or secrets.token_hex(4)
    families = [options.family] if options.family else list(FAMILIES)
    print(f"--seed {seed}", flush=True)
    counts: Counter[str] = Counter()
    found: dict[str, str] = {}
    for family in families:
        left, attempt = options.minutes * 60 / len(families), 0
        while left > 0:
            left -= attack(family, f"{seed}-{attempt}", left, counts, found)
            attempt += 1
    for kind, count in sorted(counts.items()):
        print(f"{count:8,} {kind}")
    print(f"{counts.total():8,} cases, {len(found)} kinds of faults")
    for fault, file in found.items():
        print(f"{file}: {fault}")
    return 1 if found else 0


def attack(family: str, seed: str, seconds: float, counts: Counter[str], found: dict[str, str]) -> float:
    """One process, until the time is over or it dies; the seconds that it took once it was ready."""
    with tempfile.TemporaryDirectory(prefix="fuzz_") as folder:
        command = [sys.executable, "-m", "tests.fuzz.attack", family, seed, str(seconds), folder]
        environment = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **os.environ}
        pipe, silent = subprocess.PIPE, subprocess.DEVNULL  # libtiff writes its complaints by itself
        child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=silent, env=environment)
        assert child.stdin is not None
        assert child.stdout is not None
        started, kind, unread = time.monotonic(), "", b""
        heard, worked = started, 0.0
        try:
            while True:
                limit = HANG_S if kind else START_S
                ready, _, _ = select.select([child.stdout], [], [], limit)
                chunk = os.read(child.stdout.fileno(), 1 << 16) if ready else b""
                starved = processor_s(child.pid) < worked + limit - 1 and time.monotonic() < heard + limit + STILL_S
                if not ready and starved:
                    continue
                heard, worked = time.monotonic(), processor_s(child.pid)
                if not ready:
                    assert kind, f"{family} did not start"
                    keep(Path(folder), kind, f"no answer after {limit} s of work", found)
                    break
                if not chunk:
                    if (status := child.wait()) != 0:
                        keep(Path(folder), kind, f"exit status {status}", found)
                        assert kind, f"{family} did not start"
                    break
                *lines, unread = (unread + chunk).split(b"\n")
                for line in lines:
                    word, _, rest = line.decode(errors="replace").partition(" ")
                    if word == "ready":
                        started = time.monotonic()
                    elif word == "case":
                        kind = rest
                        counts[kind] += 1
                    elif word == "found":
                        keep(Path(folder), *rest.split(" ", 1), found)
                        child.stdin.write(b"\n")
                        child.stdin.flush()
        finally:
            child.kill()
            child.communicate()
        return max(time.monotonic() - started, 1)


def processor_s(process: int) -> float:
    """Seconds of a processor that it has had."""
    # Behind the command's name, which may hold anything: field 14 and 15 of proc(5).
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def keep(folder: Path, kind: str, fault: str, found: dict[str, str]) -> None:
    """Keep the first case of each fault."""
    name = re.sub(r"\d+|(?<=TypeError: ).*", "_", f"{kind}: {fault[-300:]}")
    if name in found:
        return
    case = (folder / "case").read_bytes()
    file = CASES / f"{kind}-{sha256(case).hexdigest()[:12]}"
    file.write_bytes(case)
    found[name] = file.name
    print(f"{file.name}: {fault}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
