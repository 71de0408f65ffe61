# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.speed NAME``."""

import sys

from benchmarks.command import dispatch

SUBJECTS = {
    "models": "training step and inference of all models side by side, eager and exported",
    "d24fad": "D24FAD against the authors' test loop, and its two ways of training",
    "scrd4ad": "SCRD4AD's training step against the authors'",
    "noise": "simplex noise against the opensimplex package",
    "teacher_cache": "epochs with and without the teachers' features kept",
    "vmamba": "the selective scan against the plain loop, and VMamba-Tiny exported",
    "deploy": "the deployed inferencer beside anomalib's",
}

if __name__ == "__main__":
    sys.exit(dispatch("speed", SUBJECTS))
