# SPDX-License-Identifier: Apache-2.0
"""What the documents say is true: their commands run, their tutorials execute, their links lead somewhere."""
