# SPDX-License-Identifier: Apache-2.0
"""Completion in bash, zsh and fish, where Typer's scripts stumble over `=`.

Bash breaks words at ``=`` and ``:``, so that of ``--dtype x=f`` it completes ``f`` alone, and Typer's script passes the
pieces on. Ours passes the words as they stand on the line and gives back what follows the last break. No space comes
after ``pads=``, where the value is still to be typed.

In zsh and fish Typer's scripts offer ``sm_90`` for ``--arch=sm_9``, which the shell drops, as it begins otherwise. In
zsh they do nothing the first time, when the shell has only loaded them; in fish they start Python twice. Ours read what
is made for fish, a value and its description to a line.
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
    # The text before the last break that bash knows is on the line already.
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

ZSH = r"""
#compdef %(prog_name)s

%(complete_func)s() {
    local -a lines values open
    local line value
    lines=("${(@f)$(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _TYPER_COMPLETE_FISH_ACTION=get-args \
                    %(autocomplete_var)s=complete_fish %(prog_name)s)}")
    [[ $PREFIX == --*=* ]] && compset -P 1 '--*='
    [[ -n $lines ]] || { _files; return }
    for line in $lines; do
        value=${${line%%%%$'\t'*}//:/\\:}
        [[ $line == *$'\t'* ]] && value+=:${line#*$'\t'}
        [[ $line == *= ]] && open+=($value) || values+=($value)
    done
    _describe value values -- open -S ''
}

# Loaded with autoload, this file is the function's body the first time.
if [[ $funcstack[1] == _%(prog_name)s ]]; then
    %(complete_func)s "$@"
fi
compdef %(complete_func)s %(prog_name)s
"""

FISH = r"""
function %(complete_func)s
    set -lx %(autocomplete_var)s complete_fish
    set -lx _TYPER_COMPLETE_FISH_ACTION get-args
    set -lx _TYPER_COMPLETE_ARGS (commandline -cp)
    set -l option (string match -r -- '^--[^=]+=' (commandline -ct))
    set -l found (%(prog_name)s)
    test -n "$found"; or set found (__fish_complete_path (string replace -- "$option" '' (commandline -ct)))
    set -q found[1]; and printf '%%s\n' "$option"$found
end

complete --command %(prog_name)s --no-files --arguments "(%(complete_func)s)"
"""


def use_own_scripts() -> None:
    """Have ``--show-completion`` and ``--install-completion`` give these; Typer has no public way to say so."""
    try:
        scripts: dict[Any, str] = importlib.import_module("typer._completion_shared")._completion_scripts
    except (ImportError, AttributeError):  # of another version: its own scripts will do
        return
    scripts.update(bash=BASH, zsh=ZSH, fish=FISH)
