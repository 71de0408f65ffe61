# SPDX-License-Identifier: Apache-2.0
"""The ``anomalib-fsad`` command: what anomalib's own command line has no verb for.

A verb is a module of ``anomalib_fsad.commands`` and a line in ``VERBS``. Only the verb that was asked for is imported.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from anomalib_fsad import __version__

VERBS = {
    "demo": "D24FAD beside PatchCore and PaDiM on drawn organs, in a few minutes",
    "data": "what a folder of data sets is read as, and what would be wrong with it",
    "export": "checkpoint -> bundle (needs torch and anomalib)",
    "enroll": "bundle or checkpoint + normal images -> enrolment of an organ (.npz or .ckpt)",
    "predict": "bundle + enrolment + images -> csv and heat maps",
    "verify": "how far a bundle is from its checkpoint on this machine (needs torch and anomalib)",
    "convert": "authors' checkpoint -> anomalib checkpoint (needs anomalib)",
    "weights": "which teachers have trained weights on this machine",
    "compare": "models, ours and anomalib's, side by side: table and page (needs anomalib)",
    "inspect": "what is in this checkpoint, bundle or enrolment",
}


HEAVY = frozenset({"anomalib", "lightning", "torch"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; the exit status is 0, 1 where results need attention, 2 for an error, or 130 for Ctrl-C."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        options = parser(given[0] if given else None).parse_args(given)
        tell_overlap()
        return int(options.run(options))
    # What a user can mend comes as one line; anything else is a fault of ours and keeps its traceback.
    except (ValueError, OSError, ImportError) as error:
        from anomalib_fsad.commands.common import FAILED, say

        say(f"anomalib-fsad {given[0]}: {in_words(error)}", style="red")
        return FAILED
    except KeyboardInterrupt:
        from anomalib_fsad.commands.common import INTERRUPTED, say

        say(f"anomalib-fsad {given[0]}: interrupted")
        return INTERRUPTED


def in_words(error: Exception) -> str:
    """What to say of an error that a user can mend."""
    from anomalib_fsad.deploy.bundle import BundleError

    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if missing == "anomalib_fsad" or missing in HEAVY:
        return (
            f"this needs torch and anomalib ({error}). Where anomalib-fsad-runtime is installed, pip uninstall it and "
            "pip install anomalib-fsad."
        )
    return f"{'broken file' if isinstance(error, BundleError) else 'error'}: {error}"


def tell_overlap() -> None:
    """Say so where anomalib-fsad and anomalib-fsad-runtime are both installed: the files of one are the other's too."""
    here = Path(__file__).parent
    if (here / "plugin.py").exists() and any(here.parent.glob("anomalib_fsad_runtime-*.dist-info")):
        from anomalib_fsad.commands.common import say

        say(
            "warning: anomalib-fsad-runtime is installed beside anomalib-fsad, which holds all of it. To have one: pip "
            "uninstall anomalib-fsad-runtime, then pip install --force-reinstall --no-deps anomalib-fsad.",
            style="yellow",
        )


def parser(verb: str | None = None) -> argparse.ArgumentParser:
    """The command line; the options are those of ``verb`` alone."""
    top = argparse.ArgumentParser(
        prog="anomalib-fsad",
        description="What anomalib's own command line has no verb for: deploy without torch, import the authors' "
        "checkpoints, look into files. Training and testing are anomalib's: see anomalib --help.",
    )
    top.add_argument("--version", action="version", version=f"anomalib-fsad {__version__}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, summary in VERBS.items():
        command = verbs.add_parser(name, help=summary, description=summary)
        if name == verb:
            module = import_module(f"anomalib_fsad.commands.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return top


if __name__ == "__main__":
    sys.exit(main())
