# SPDX-License-Identifier: Apache-2.0
"""``python -m anomalib_fsad train ...``: anomalib's own command line, with the plug-in loaded and no start-up hook."""

from anomalib.cli.cli import main

from anomalib_fsad.plugin import register

if __name__ == "__main__":
    register()
    main()
