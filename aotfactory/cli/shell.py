# SPDX-License-Identifier: Apache-2.0
"""Completion in bash, where Typer's script stumbles over `=`.

Bash breaks words at ``=`` and ``:``, so that of ``--dtype x=f`` it completes ``f`` alone, and Typer's script passes the
pieces on. Ours passes the words as they stand on the line and gives back what follows the last break. No space comes
after ``pads=``, where the value is still to be typed.
"""

from __future__ import annotations

import importlib
from typing import Any

BASH = r"""
%(complete_func)s() {
    local IFS=$' \t\n' line=${COMP_LINE:0:COMP_POINT} words kept
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    kept=${words[${#words[@]}-1]}
    # What stands before the last break that bash knows is on the line already.
    if [[ $kept == *[=:]* && $COMP_WORDBREAKS == *[=:]* ]]; then kept=${kept%%"${kept##*[=:]}"}; else kept=; fi
    IFS=$'\n'
    COMPREPLY=( $( env COMP_WORDS="${words[*]}" COMP_CWORD=$(( ${#words[@]} - 1 )) \
                   %(autocomplete_var)s=complete_bash $1 ) )
    COMPREPLY=( "${COMPREPLY[@]#"$kept"}" )
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
    return 0
}

complete -o default -F %(complete_func)s %(prog_name)s
"""


def use_own_bash_script() -> None:
    """Have ``--show-completion`` and ``--install-completion`` give this one; Typer has no public way to say so."""
    try:
        scripts: dict[Any, str] = importlib.import_module("typer._completion_shared")._completion_scripts
    except (ImportError, AttributeError):  # of another version: its own script will do
        return
    scripts["bash"] = BASH
