# SPDX-License-Identifier: Apache-2.0
"""``python -m aotfactory``: the command line."""

from aotfactory.cli.main import main

main()
