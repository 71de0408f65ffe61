# SPDX-License-Identifier: Apache-2.0
"""The three files that the wheel puts at the root of site-packages; pyproject.toml, ``force-include``."""
