# SPDX-License-Identifier: Apache-2.0
"""Work in a process of its own, forked: what becomes of it does not touch the process of the tests."""

import contextlib
import io
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable

LIMIT_S = 300
"""What takes longer hangs."""


def apart(work: Callable[[], None]) -> None:
    """Do it in a process of its own, to its end."""
    child = fork(work)
    end = time.monotonic() + LIMIT_S
    while (state := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            msg = f"not at its end after {LIMIT_S} s"
            raise TimeoutError(msg)
        time.sleep(0.005)
    status = os.waitstatus_to_exitcode(state[1])
    if status != 0:
        msg = f"ended with {status}"
        raise RuntimeError(msg)


def fork(work: Callable[[], None]) -> int:
    """A process that does it and ends, whatever happens; what it says is shown only if it fails."""
    child = os.fork()
    if child:
        with contextlib.suppress(OSError):  # whichever of the two comes first
            os.setpgid(child, child)
        return child
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    said, status = io.StringIO(), 1
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            work()
        status = 0
    except BaseException:
        sys.__stderr__.write(said.getvalue()[-2000:] + traceback.format_exc())
        sys.__stderr__.flush()
    os._exit(status)
