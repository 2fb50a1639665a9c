# SPDX-License-Identifier: Apache-2.0
"""A Triton kernel that takes TensorRT's arguments in TensorRT's order and hands them to a kernel that does not.

It costs nothing: Triton inlines the kernel into it, and folds the constants that it passes.
"""

from __future__ import annotations

import linecache
from collections.abc import Mapping, Sequence
from typing import Any

from aotfactory.plugins.kernel_arguments import Argument, Tree, leaves


def is_needed(kernel: Any, trees: Mapping[str, Tree], order: Sequence[str]) -> bool:
    """Whether the kernel cannot be compiled itself: TensorRT passes `order`, every constant is a `tl.constexpr`."""
    found = list(trees.values())
    if any(not isinstance(tree, Argument) for tree in found):
        return True
    arguments = [leaf for tree in found for leaf in leaves(tree)]
    typed = any(a.type is not None for a in arguments if a.is_constant)
    cast = any(a.type != a.kind for a in arguments if a.is_extra)
    return typed or cast or [a.name for a in arguments if not a.is_constant] != list(order)


def wrap(kernel: Any, trees: Mapping[str, Tree], order: Sequence[str], arrives_as: Mapping[int, str]) -> Any:
    """A `@triton.jit` function of the kernel's name that takes `order` and the constants, and calls the kernel.

    Args:
        order: Parameters in TensorRT's order; those that the kernel does not know go unused.
        arrives_as: The name of the pointer to each tensor, by `id`: one that the kernel takes twice arrives once.
    """
    import triton
    import triton.language as tl

    arguments = [leaf for tree in trees.values() for leaf in leaves(tree)]
    taken = {*order, *(a.name for a in arguments)}
    called, language = _free("kernel", taken), _free("tl", taken)

    def passed(tree: Tree) -> str:
        if not isinstance(tree, Argument):
            return f"({''.join(f'{passed(item)}, ' for item in tree)})"
        if tree.is_pointer:
            return arrives_as[id(tree.value)]
        if tree.type is None or (tree.is_extra and tree.type == tree.kind):
            return tree.name
        dtype = f"{language}.{_name_of(tree.type)}"
        return f"{tree.name}.to({dtype})" if tree.is_extra else f"{language}.full((), {tree.name}, {dtype})"

    constants = [a.name for a in arguments if a.is_constant]
    parameters = ", ".join([*order, *(f"{n}: {language}.constexpr" for n in constants)])
    call = ", ".join(f"{n}={passed(tree)}" for n, tree in trees.items())
    text = f"def {kernel.__name__}({parameters}):\n    {called}({call})\n"
    filename = f"<aotfactory wrapper of {kernel.fn.__module__}.{kernel.__name__}: {text}>"
    # Triton reads the source of a function through inspect, which asks linecache for files that do not exist.
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    scope = {language: tl, called: kernel, "__name__": kernel.fn.__module__}
    exec(compile(text, filename, "exec"), scope)
    return triton.jit(scope[kernel.__name__])


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _name_of(type_: str) -> str:
    """The name in `triton.language` of a scalar type: ``i32`` is ``int32``."""
    if type_ in ("u1", "i1"):
        return "int1"
    for short, long in (("bf", "bfloat"), ("fp", "float"), ("u", "uint"), ("i", "int")):
        if type_.startswith(short):
            return long + type_.removeprefix(short)
    return type_
