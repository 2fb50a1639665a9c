# SPDX-License-Identifier: Apache-2.0
"""Mistakes in plugin definitions, explained: what is wrong, in which line of the author's, and what to write instead.

TensorRT reports most of them without a line, some only inside a build, and in the words of its own implementation.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from aotfactory.core.errors import AotError, AuthorError, NoMemoryError

Statement = TypeVar("Statement", bound=ast.stmt)

_RETURN = "-> Tuple[Union[str, bytes], Union[str, bytes], trtp.KernelLaunchParams, trtp.SymExprs], or -> AotKernel"
_FOUR = "return kernel name, PTX, launch parameters, extra arguments"
_OPERATORS = "there are + - * // == <, trtp.cdiv, trtp.max and trtp.min"
_ATTRIBUTE = "an attribute is an int, float, str, bool or bytes, or a 1-D array: npt.NDArray[np.int32]"
_NUMBER = f"a dimension is an expression, not a number: {_OPERATORS}"
_COMBINATION = 'write a type for each input and output: trtp.AutoTuneCombination("FP32|FP16, FP32|FP16", "LINEAR")'

HINTS = (
    (
        r"ModuleNotFoundError: No module named",
        "install it; a module of a package that imports too much: aotfactory.import_alone('package.module')",
    ),
    # Registration.
    (r"registered already", "give each plugin its own id, and load each module once"),
    (r"values to unpack \(expected 2", "a plugin id is namespace::name"),
    (r"Did you register it with", "put @trtp.register for this id above it, and spell the two ids alike"),
    (
        r"No return annotation found for register|Return argument is of type .* TensorDesc",
        "annotate the register: -> trtp.TensorDesc, or -> Tuple[trtp.TensorDesc, trtp.TensorDesc] for two outputs",
    ),
    (r"does not have a type annotation", f"annotate inputs with trtp.TensorDesc; {_ATTRIBUTE}"),
    (r"has a default value", "drop the default value: TensorRT has none for attributes; a recipe gives them"),
    (r"not a supported (serializable|numpy array) type|annotate numpy array attributes", _ATTRIBUTE),
    (
        r"TensorDescs args should come first",
        "a plugin has at least one input, and none is optional: begin with inp0: trtp.TensorDesc",
    ),
    (r"reserved namespace|cannot have any '\.'", "use the name of your project as namespace: my_project::name"),
    (r"not allowed as a plugin attribute name", "TensorRT has a use for outputs, stream and tactic: take another name"),
    (r"not a positional-or-keyword", "name each input and attribute: there is no *args and no **kwargs"),
    (r"cannot be interspersed", "write all inputs first, then the attributes"),
    # The other functions against the registration.
    (r"No return annotation found for aot_impl|[Rr]eturn annotation", f"annotate the aot_impl: {_RETURN}"),
    (
        r"Signature of the aot_impl function",
        "write def NAME(<inputs>, <all attributes>, outputs: Tuple[trtp.TensorDesc], tactic: int) -> AotKernel",
    ),
    (
        r"Signature of the impl function",
        "write def NAME(<inputs>, <some attributes>, outputs: Tuple[trtp.Tensor], stream: int) -> None",
    ),
    (r"autotune function signature", "write def NAME(<inputs>, <some attributes>, outputs: Tuple[trtp.TensorDesc])"),
    (r"'outputs' (should be of type|contains)|'outputs'.*contains", "annotate it: outputs: Tuple[trtp.TensorDesc]"),
    (r"Unexpected (attribute|tensor) .* specified in", "use the names of the register function"),
    (r"different from the one specified at registration", "use the annotations of the register function"),
    # Mistakes in what the functions return.
    (r"values to unpack \(expected 4|cannot unpack non-iterable|(Launch params|PTX/CUBIN|Kernel name) must be", _FOUR),
    (r"Extra args must be a 'tensorrt.plugin.SymInt32'", "wrap each one: trtp.SymInt32(expression)"),
    (
        r"Extra args must be a 'tensorrt.plugin.SymIntExprs'",
        "collect them: trtp.SymIntExprs.from_tuple([trtp.SymInt32(n), ...])",
    ),
    (
        r"'NoneType' object has no attribute '(dtype|get_aliased|shape_expr)'",
        "return a trtp.TensorDesc from the register, such as inp0.like()",
    ),
    (r"register of .*KeyError: \d{6}", "alias an input itself: inp0.aliased()"),
    (r"Cannot modify immutable TensorDesc", "change a copy: out = inp0.like()"),
    (r"KernelLaunchParams object has no attribute", "it has grid_x, ..., block_x, ... and shared_mem"),
    (r"'int' object is not iterable", "positions and tactics are lists: pos([2], ...), tactics([1])"),
    (
        r"'(AutoTuneCombination|NoneType)' .*(len\(\)|not iterable)|no attribute '_get_combinations'",
        "return a list: [trtp.AutoTuneCombination(...)]",
    ),
    (r"'\S*(DataType|TensorFormat)' has no attribute", f"{_COMBINATION}; types and formats are TensorRT's names"),
    (r"illegal dependent lengths|both '\|' and '\*'|attribute name must be string", _COMBINATION),
    (r"autotune of .*(IndexError|AssertionError)|one data type for each", _COMBINATION),
    # Launch code.
    (
        r"'TensorDesc' object has no attribute 'strides?'",
        "tensors are contiguous: a stride is the product of the extents after it, x.shape_expr[1] for rows of a matrix",
    ),
    (
        r"'TensorDesc' object has no attribute|not TensorDesc",
        "a TensorDesc has no data: x.shape_expr[0], x.shape_expr.numel(), x.ndim, x.dtype; register makes outputs",
    ),
    (
        r"aot_impl of .*: KeyError: \d+$",
        "the table lacks this tactic: offer in autotune what the table has; without an autotune the tactic is 0",
    ),
    (
        r"'(ShapeExpr|SymIntExpr|SymInt32)' object (has no attribute 'bit_length'|cannot be interpreted as an integer)",
        "a dimension is an expression, not a number; aotfactory.constant(d) is one, aotfactory.upper_bound(d) the most",
    ),
    (
        r"'(ShapeExprs|Shape)' object has no attribute|'ShapeExpr' object is not (iterable|subscriptable)",
        "x.shape_expr is the list of dimensions; take one: x.shape_expr[0]",
    ),
    (
        r"'(Autotuner|Heuristics|LibEntry|CachedAutotuner|LibTuner)' object has no attribute",
        "triton.compile takes what @triton.jit made: give it KERNEL.fn; aot_kernel takes the kernel as it is",
    ),
    (
        r"'function' object has no attribute 'arg_names'",
        "triton.compile takes what @triton.jit made, not the function inside of it: KERNEL, not KERNEL.fn",
    ),
    # Triton as it was.
    (
        r"compile\(\) got an unexpected keyword argument '(signature|constants|constexprs|num_warps|num_stages)'",
        "triton.compile(triton.compiler.ASTSource(KERNEL, signature={...}, constexprs={...}), options={...})",
    ),
    (
        r"cannot import name 'AttrsDescriptor'",
        "divisibility is written attrs={(0,): [['tt.divisibility', 16]]}, by the parameter's place; or use aot_kernel",
    ),
    (
        r"aot_impl of .*: TypeError: tuple indices must be integers or slices, not str",
        "metadata has attributes: compiled.metadata.shared, compiled.metadata.num_warps, compiled.metadata.name",
    ),
    # Arithmetic on dimensions.
    (r"Float symbolic expressions", "extra arguments are int32; compile a float in, as tl.constexpr"),
    (r"unsupported operand type\(s\) for %", f"{_OPERATORS}; write a % b as a - a // b * b"),
    (
        r"unsupported operand type\(s\).*'(int|float)' and '\w*(ShapeExpr|SymInt)",
        f"write the expression first, expr * 2 and not 2 * expr; {_OPERATORS}",
    ),
    (r"object has no attribute '_expr'", f"compute with Python's integers; {_OPERATORS}"),
    (r"operand type.*(ShapeExpr|SymInt)", _OPERATORS),
    (r"operations on size tensor|no arithmetic on", "compute with the size tensor's upper bound instead"),
    (r"'(>|>=|<=)' not supported", "dimensions can only be compared by < and =="),
    (
        r"Cannot evaluate (symbolic expression|fake ShapeExpr)|Not accessible for (fake|non-constant)",
        "a dimension may be open while this runs: ask only `if not d.is_fake and d.is_constant`",
    ),
    (r"Both arguments cannot be 'int's", "these are plain numbers: compute with Python's own -(-a // b), max and min"),
    (r"Error: .*(ShapeExpr|SymIntExpr|SymInt32)", _NUMBER),
    (
        r"is an NVIDIA driver library|cudaErrorInsufficientDriver|CUDA_ERROR_NO_DEVICE|cudaErrorNoDevice",
        "this asks for more than the architecture, and there is no GPU here; aotfactory.aot_cuda compiles without",
    ),
    # Modules.
    (r"calls sys\.exit", 'put what a script does under `if __name__ == "__main__":`'),
    (r"attempted relative import", "give the module by its dotted name: --plugins package.module"),
)
"""Corrections, by what TensorRT or Python says of a definition."""

_OURS = f"{os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}{os.sep}"
_PACKAGES = tuple(  # wherever they are: a directory on PYTHONPATH need not be called site-packages
    os.path.join(os.path.dirname(spec.origin), "")
    for spec in map(importlib.util.find_spec, ("tensorrt_bindings", "triton", "numpy"))
    if spec and spec.origin
)
_STDLIB = f"{sysconfig.get_path('stdlib')}{os.sep}"


@contextmanager
def explained(path: Path | None, *, what: str = "", otherwise: Callable[[], str] | None = None) -> Iterator[None]:
    """Turn what the author's code raises into an error with the line of the author's that it came through.

    Args:
        path: The author's file, where it is known.
        what: What was run; the message begins with it.
        otherwise: The place to name where no line of the author's was involved.
    """
    try:
        yield
    except AotError as error:
        where = error.where or _line(error, path) or (otherwise() if otherwise else None)
        raise type(error)(error.message, where=where, hint=error.hint) from error
    except MemoryError as error:
        text = f"{what}: there is not enough memory" if what else "there is not enough memory"
        raise NoMemoryError(
            text, where=_line(error, path), hint="smaller shapes, or fewer --jobs, take less"
        ) from error
    except (Exception, SystemExit) as error:
        text = f"{what}: {_text(error)}" if what else _text(error)
        raise AuthorError(
            text,
            where=_line(error, path) or (otherwise() if otherwise else None) or (str(path) if path else None),
            hint=_hint(error, text),
        ) from error


def _text(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"the module calls sys.exit({error.code!r}) when it is imported"
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    if "already has a defintion" in str(error):
        return _registered(error)
    said = str(error) or _statement(error)
    text = said if isinstance(error, ValueError) and str(error) else f"{type(error).__name__}: {said}"
    # TensorRT prints annotations by where its classes are defined, not by the names that authors use.
    text = re.sub(r"tensorrt(_bindings)?\.plugin\._\w+\.", "trtp.", text).replace("tensorrt_bindings.tensorrt.", "trt.")
    return re.sub(r"<class '(?:numpy\.(?=\w+'>))?([\w.]+)'>", r"\1", text)


def _statement(error: BaseException) -> str:
    """The line of code that an exception without words comes from: an `assert` says what it wanted."""
    frames = traceback.extract_tb(error.__traceback__)
    return (frames[-1].line or "") if frames else ""


def _registered(error: BaseException) -> str:
    from aotfactory.plugins import registry

    frame = next(frame for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))))
    plugin_id = frame.f_locals.get("plugin_id", "")
    where = f", at {registry.registration(plugin_id)}" if plugin_id in registry.registered() else ""
    return f"the plugin id {plugin_id} is registered already{where}"


def _line(error: BaseException, path: Path | None) -> str | None:
    """The innermost line that the author wrote: in `path`, or outside of Python's library and installed packages."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}" if error.lineno else error.filename
    every = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in every if frame.filename == str(path) or not is_library(frame.filename)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None


def is_library(filename: str) -> bool:
    """Whether a file is Python's, an installed package's or aotfactory's own: not the author's."""
    kernels = os.path.join(_OURS, "kernels", "")
    return (
        filename.startswith(("<", _STDLIB, *_PACKAGES))
        or filename.endswith((".pyx", ".pxi"))  # of an extension module, wherever it was compiled
        or (filename.startswith(_OURS) and not filename.startswith(kernels))
        or bool({"site-packages", "dist-packages"} & set(Path(filename).parts))
    )


def _hint(error: BaseException, text: str) -> str | None:
    if _in_tensorrt(error) and (line := _line(error, None)) and _future_annotations(Path(line.rpartition(":")[0])):
        return "remove `from __future__ import annotations`: TensorRT reads the annotations as types, not as text"
    if isinstance(error, ModuleNotFoundError) and (file := _absent_sibling(error)):
        return f"there is no {file}: it belongs to the same package as the file that imports it"
    return next((hint for pattern, hint in HINTS if re.search(pattern, text)), None)


def _absent_sibling(error: ModuleNotFoundError) -> Path | None:
    """The file of a module that is missing from a package of the author's that is there."""
    package, _, module = (error.name or "").rpartition(".")
    folders = getattr(sys.modules.get(package), "__path__", None)
    file = Path(next(iter(folders), ""), f"{module}.py") if folders else None
    return file if file and not is_library(str(file)) else None


def _in_tensorrt(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).parent.name == "plugin"


def _future_annotations(path: Path) -> bool:
    imports = (node for node in top_level(path, ast.ImportFrom) if node.module == "__future__")
    return any(alias.name == "annotations" for node in imports for alias in node.names)


def top_level(path: Path, kind: type[Statement]) -> list[Statement]:
    """The statements of a kind at the top level of a file; none where it cannot be parsed."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    return [node for node in tree.body if isinstance(node, kind)]
