# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.speed NAME``."""

import sys
from collections.abc import Sequence
from importlib import import_module

from benchmarks.command import chosen

SUBJECTS = {
    "models": "training step and inference of all models side by side, eager and exported",
    "d24fad": "D24FAD against the authors' test loop, and its two ways of training",
    "scrd4ad": "SCRD4AD's training step against the authors'",
    "noise": "simplex noise against the opensimplex package",
    "teacher_cache": "training with and without the teachers' maps kept",
    "vmamba": "the selective scan against the plain loop",
    "vmamba_forms": "VMamba-Tiny in each form it takes on a CPU, and its limit",
    "growth": "time and memory against K, image size, number of files and patches",
    "startup": "how long our command, our imports and anomalib's command take to start",
    "deploy": "the deployed inferencer beside anomalib's",
    "start": "from nothing to the first prediction of a bundle, part by part",
}


def main(arguments: Sequence[str]) -> None:
    """Measure the one that is named."""
    name, rest = chosen("speed", SUBJECTS, arguments)
    subject = import_module(f"benchmarks.speed.{name}")
    if hasattr(subject, "main"):  # one with measures and tables of its own
        subject.main(rest)
        return
    from benchmarks.speed.subject import measure

    measure(name, subject, rest)


if __name__ == "__main__":
    main(sys.argv[1:])
