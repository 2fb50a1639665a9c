# SPDX-License-Identifier: Apache-2.0
"""``python -m aotfactory``, and ``aotfactory``: the command line."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Entry point; ctrl-C is answered alike while the command line is still being loaded."""
    try:
        from aotfactory.cli.main import main as command_line
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    command_line()


if __name__ == "__main__":
    main()
