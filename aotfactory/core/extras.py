# SPDX-License-Identifier: Apache-2.0
"""How to install what an optional part of aotfactory needs, in a checkout as well as where it came from a wheel."""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def install_command(extra: str) -> str:
    """``pip install "aotfactory[remote]"``; in a checkout, which no index has, the directory stands for the name."""
    if (CHECKOUT / "pyproject.toml").is_file():
        return f'pip install -e "{CHECKOUT}[{extra}]"'
    return f'pip install "aotfactory[{extra}]"'
