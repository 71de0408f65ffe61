# SPDX-License-Identifier: Apache-2.0
"""The fused scan of ``scan_native.cpp`` for a CPU: built in a second or two by the C++ compiler at hand, if asked for.

``ANOMALIB_FSAD_NATIVE_SCAN=1`` asks. The library is kept in the package's cache folder, one for each source, compiler
and instruction set; it is written beside its place and renamed, so that any number of processes may build at once.
Whatever fails is said in one line, and the scan runs in torch as it does without the variable.
"""

import ctypes
import logging
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from anomalib_fsad.cache_folder import cache_folder, write_whole
from anomalib_fsad.models.vmamba.walks import Walks

ASKED = "ANOMALIB_FSAD_NATIVE_SCAN"
SOURCE = Path(__file__).with_suffix(".cpp")
COMPILERS = ("c++", "g++", "clang++")
FLAGS = (
    "-std=c++17",
    "-O3",
    "-ffp-contract=fast",
    "-ffinite-math-only",
    "-fno-signed-zeros",
    "-fopenmp",
    "-fPIC",
    "-shared",
)
INSTRUCTIONS = {
    "AVX512": ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"),
    "AVX2": ("-mavx2", "-mfma"),
}
"""By what torch calls the processor; others get the compiler's default."""
BUILD_S = 120

WalkScan = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Walks], Tensor]
"""``scan_walks`` below."""

logger = logging.getLogger(__name__)


def may_run_native(*tensors: Tensor) -> bool:
    """Whether these are on a CPU, want no gradient, and nothing is being traced."""
    wants_gradient = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return not (
        wants_gradient or torch.compiler.is_compiling() or any(tensor.device.type != "cpu" for tensor in tensors)
    )


@cache
def native_scan() -> WalkScan | None:
    """The kernel, if it was asked for and can be built here."""
    if os.environ.get(ASKED, "0") in {"", "0"}:
        return None
    try:
        function = ctypes.CDLL(str(built_library())).scan_walks
    except (OSError, subprocess.SubprocessError) as error:
        reason = str(getattr(error, "stderr", None) or error).strip().splitlines()[-1]
        logger.warning("%s=%s: no fused scan, torch does it more slowly: %s", ASKED, os.environ[ASKED], reason)
        return None
    function.restype = None
    function.argtypes = [ctypes.c_void_p] * 9 + [ctypes.c_int64] * 7

    def scan_walks(
        u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor, walks: Walks
    ) -> Tensor:
        """The scans of a plane along K walks, each with ``softplus(delta + delta_bias)``, summed where they meet.

        By position: u, y: B L D; delta: B K L D; B, C: B L K N. A: K D N; D, delta_bias: K D.
        """
        batch, length, channels = u.shape
        K, _, N = A.shape
        u, delta, D, delta_bias = (tensor.float().contiguous() for tensor in (u, delta, D, delta_bias))
        A = A.float().transpose(1, 2).contiguous()
        BC = torch.cat([B, C], dim=-1).float()
        positions = walks.positions.to(torch.int32)
        y = torch.empty_like(u)
        at_B = BC.data_ptr()
        function(
            *(tensor.data_ptr() for tensor in (u, delta, delta_bias, A)),
            at_B, at_B + 4 * N,
            *(tensor.data_ptr() for tensor in (D, positions, y)),
            batch, K, channels, N, length, 2 * N,
            torch.get_num_threads(),
        )  # fmt: skip
        return y

    return scan_walks


def built_library() -> Path:
    """Build the library unless the cache holds it."""
    compiler = os.environ.get("CXX") or next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        msg = f"no C++ compiler: none of {', '.join(COMPILERS)} is on the PATH, CXX is not set"
        raise FileNotFoundError(msg)
    version = _run(compiler, "--version")
    flags = (*FLAGS, *INSTRUCTIONS.get(torch.backends.cpu.get_cpu_capability(), ()))
    digest = sha256("\n".join([SOURCE.read_text(), compiler, version, *flags]).encode()).hexdigest()[:16]
    library = cache_folder() / f"scan-{digest}.so"
    if not library.exists():
        write_whole(library, lambda draft: _run(compiler, *flags, "-o", str(draft), str(SOURCE)))
    return library


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=BUILD_S).stdout
