# SPDX-License-Identifier: Apache-2.0
"""Loading definitions, and what is said of the mistakes in them: what, in which line, and what to write instead."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_definitions import SOURCE, Definitions, changed

from aotfactory.api.build import BuildResult, build_bundle
from aotfactory.compiler.compile import Options
from aotfactory.core.arch import parse_archs
from aotfactory.core.errors import AotError, DamagedError, DefinitionError, UsageError
from aotfactory.plugins import loader, registry
from aotfactory.plugins.catalog import Catalog
from aotfactory.plugins.definitions import find
from aotfactory.targets.request import TargetOptions

ROOT = Path(__file__).resolve().parents[2]


def build(definitions: Definitions, attributes: dict[str, Any] | None = None) -> BuildResult:
    request = TargetOptions(
        min_shape={None: (1, 64)},
        max_shape={None: (8, 64)},
        attributes={"scale": "1"} if attributes is None else attributes,
    )
    options = Options(archs=parse_archs("portable"))
    out, specs = definitions.path.parent, [str(definitions.path)]
    return build_bundle(definitions.id, request=request, options=options, out=out, plugins=specs, interpret=False)


def test_the_definitions_that_the_mistakes_are_made_in_are_right(tmp_path: Path) -> None:
    assert build(Definitions(tmp_path)).failed == []


REGISTER = '@trtp.register("NS::copy")'
DESCRIBE = f"{REGISTER}\ndef describe(inp0: trtp.TensorDesc, scale: int) -> trtp.TensorDesc:"
AUTOTUNE = '@trtp.autotune("NS::copy")'
AOT = '@trtp.aot_impl("NS::copy")'
IMPLEMENT = "(\n    inp0: trtp.TensorDesc, scale: int, outputs: Tuple[trtp.TensorDesc], tactic: int\n)"
RETURNS = " -> Tuple[Union[str, bytes], Union[str, bytes], trtp.KernelLaunchParams, trtp.SymExprs]:"
COUNT = "    n = inp0.shape_expr.numel()\n"
EXTRA = "trtp.SymIntExprs.from_tuple([trtp.SymInt32(n)])"
HERE = "  # HERE"


def register(signature: str) -> str:
    return changed(DESCRIBE, f"{REGISTER}{HERE}\ndef describe{signature}:")


def described(statement: str) -> str:
    return changed(f"{REGISTER}\n", f"{REGISTER}{HERE}\n", "    return inp0.like()", f"    {statement}")


def aot_impl(signature: str) -> str:
    return changed(AOT, f"{AOT}{HERE}", IMPLEMENT + RETURNS, f"{signature}:")


def aot(old: str, new: str) -> str:
    """A mistake that comes out after the aot_impl returned: then its first line is told."""
    return changed(AOT, f"{AOT}{HERE}", old, new)


def computed(expression: str) -> str:
    return changed(COUNT, f"{COUNT}    m = {expression}{HERE}\n")


def tuned(combinations: str) -> str:
    return changed(AUTOTUNE, f"{AUTOTUNE}{HERE}", '[trtp.AutoTuneCombination("FP32, FP32")]', combinations)


ARGUMENTS = "(inp0: trtp.TensorDesc, scale: int, outputs: Tuple[trtp.TensorDesc], tactic: int)"

# Name: source, what the message says, what the hint says.
MISTAKES: dict[str, tuple[str, str, str]] = {
    "register without a return annotation": (
        register("(inp0: trtp.TensorDesc, scale: int)"),
        "No return annotation found for register",
        r"annotate the register: -> trtp\.TensorDesc",
    ),
    "register with another return annotation": (
        register("(inp0: trtp.TensorDesc, scale: int) -> List[trtp.TensorDesc]"),
        r"Return argument is of type typing\.List\[trtp\.TensorDesc\]",
        r"Tuple\[trtp\.TensorDesc",
    ),
    "aot_impl without a return annotation": (
        aot_impl(ARGUMENTS),
        "No return annotation found for aot_impl",
        r"-> Tuple\[Union\[str, bytes\], .* or -> AotKernel",
    ),
    "aot_impl with another return annotation": (
        aot_impl(f"{ARGUMENTS} -> Tuple[str, str, int, int]"),
        "Argument at index 2 of return annotation is 'int'",
        "annotate the aot_impl",
    ),
    "aot_impl with a subset of the attributes": (
        aot_impl(f"{ARGUMENTS}{RETURNS[:-1]}".replace(" scale: int,", "")),
        r"takes the attributes \(\), but TensorRT calls it with all of register's: \(scale\)",
        "give the aot_impl every attribute",
    ),
    "aot_impl without tactic": (
        aot_impl(f"{ARGUMENTS}{RETURNS[:-1]}".replace(", tactic: int", "")),
        r"does not match the expected input arg schema: \(inp0, scale, outputs, tactic\)",
        "write def NAME.*tactic: int",
    ),
    "aot_impl with its parameters in another order": (
        aot_impl(f"{ARGUMENTS}{RETURNS[:-1]}".replace("inp0: trtp.TensorDesc, scale: int", "scale: int, inp0")),
        r"does not match the expected input arg schema",
        "<inputs>, <all attributes>, outputs",
    ),
    "attribute annotated in two ways": (
        aot_impl(f"{ARGUMENTS}{RETURNS[:-1]}".replace("scale: int", "scale: float")),
        "Attribute 'scale' has a type annotation different",
        "use the annotations of the register function",
    ),
    "autotune with its parameters in another order": (
        changed(AUTOTUNE, f"{AUTOTUNE}{HERE}", "tune(inp0: trtp.TensorDesc, outputs", "tune(outputs"),
        "is not consistent with the expected input arg schema",
        "<inputs>, <some attributes>, outputs",
    ),
    "annotations as text": (
        "from __future__ import annotations\n" + changed(REGISTER, f"{REGISTER}{HERE}"),
        "TensorDescs args should come first",
        "remove `from __future__ import annotations`",
    ),
    "list attribute": (
        register("(inp0: trtp.TensorDesc, scale: List[int]) -> trtp.TensorDesc"),
        r"'scale' of type typing\.List\[int\] is not a supported",
        r"a 1-D array: npt\.NDArray\[np\.int32\]",
    ),
    "attribute without annotation": (
        register("(inp0: trtp.TensorDesc, scale) -> trtp.TensorDesc"),
        "Argument scale does not have a type annotation",
        "an attribute is an int",
    ),
    "default value": (
        register("(inp0: trtp.TensorDesc, scale: int = 1) -> trtp.TensorDesc"),
        "has a default value",
        "drop the default value",
    ),
    "no inputs, an attribute first": (
        register("(scale: int) -> trtp.TensorDesc"),
        "TensorDescs args should come first",
        "a plugin has at least one input",
    ),
    "no inputs, and no attribute": (
        f"{SOURCE[: SOURCE.index('@trtp')]}{REGISTER}{HERE}\ndef describe() -> trtp.TensorDesc:\n    return None\n",
        "has no input",
        "TensorRT's plugins have at least one",
    ),
    "input after an attribute": (
        register("(inp0: trtp.TensorDesc, scale: int, inp1: trtp.TensorDesc) -> trtp.TensorDesc"),
        "cannot be interspersed",
        "write all inputs first",
    ),
    "registered twice": (
        f"{SOURCE}\n{REGISTER}{HERE}\ndef again(inp0: trtp.TensorDesc) -> trtp.TensorDesc:\n    return inp0.like()\n",
        r"the plugin id mistake\d+::copy is registered already, at .*definitions_\d+\.py:\d+$",
        "give each plugin its own id",
    ),
    "misspelt id": (
        changed(AOT, f'@trtp.aot_impl("NS::cpoy"){HERE}'),
        "::cpoy is not registered",
        "spell the two ids alike",
    ),
    "id without a namespace": (
        changed(REGISTER, f'@trtp.register("copy"){HERE}'),
        "not enough values",
        "a plugin id is namespace::name",
    ),
    "reserved namespace": (
        changed(REGISTER, f'@trtp.register("trt::copy"){HERE}'),
        "trt is a reserved namespace",
        "the name of your project",
    ),
    "no aot_impl": (
        SOURCE[: SOURCE.index(AOT)].replace(REGISTER, REGISTER + HERE),
        "has no aot_impl",
        "add @trtp.aot_impl.*PATH:FUNC",
    ),
    "an impl alone": (
        SOURCE[: SOURCE.index(AOT)].replace(REGISTER, REGISTER + HERE)
        + '@trtp.impl("NS::copy")\ndef run(inp0, outputs: Tuple[trtp.Tensor], stream: int) -> None:\n    pass\n',
        "has no aot_impl, only an impl, which Python would run",
        r"add @trtp.aot_impl.*jit-to-aot\.md",
    ),
    "remainder": (computed("n % 64"), "aot_impl of .*for %", r"write a % b as a - a // b \* b"),
    "number first": (computed("2 * n"), r"for \*: 'int' and 'ShapeExpr'", r"expr \* 2 and not 2 \* expr"),
    "true division": (computed("n / 2"), "for /", r"there are \+ - \* // == <"),
    "comparison by >=": (computed("n >= 2"), "'>=' not supported", "only be compared by < and =="),
    "a decision on a dimension": (computed("1 if n == 2 else 3"), "as boolean", "if not d.is_fake and d.is_constant"),
    "dimension as a number": (computed("int(n)"), "int.. argument must be", "an expression, not a number"),
    "dimension in a loop": (computed("list(range(n))"), "interpreted as an integer", "an expression, not a number"),
    "dimension in a dict": (computed("{n: 1}"), "unhashable", "an expression, not a number"),
    "dimension times a float": (computed("n * 1.5"), "no attribute '_expr'", "compute with Python's integers"),
    "cdiv of two numbers": (computed("trtp.cdiv(5, 2)"), "Both arguments cannot be 'int's", "these are plain numbers"),
    "exception in aot_impl": (computed("{}['missing']"), "aot_impl of mistake.*: KeyError: 'missing'", ""),
    "exception in register": (
        changed("    return inp0.like()", f"    return {{}}['missing']{HERE}"),
        "register of mistake.*: KeyError: 'missing'",
        "",
    ),
    "exception in autotune": (
        changed("    return [trtp", f"    raise RuntimeError('boom'){HERE}\n    return [trtp"),
        "autotune of mistake.*: RuntimeError: boom",
        "",
    ),
    "arithmetic on a size tensor": (
        changed(
            "    return inp0.like()",
            f"    rows = inp0.shape_expr[0]\n    trtp.size_tensor(rows, rows).expr() * 2{HERE}\n    return inp0.like()",
        ),
        "binary operations on size tensor",
        "the size tensor's upper bound",
    ),
    "sum as an extra argument": (
        aot(EXTRA, "trtp.SymIntExprs.from_tuple([trtp.SymInt32(n) + trtp.SymInt32(1)])"),
        r"Got: trtp\.SymIntExpr",
        r"wrap each one: trtp\.SymInt32",
    ),
    "number as an extra argument": (
        aot(EXTRA, "trtp.SymIntExprs.from_tuple([1])"),
        r"Got: trtp\.SymIntExpr",
        r"wrap each one: trtp\.SymInt32",
    ),
    "extra arguments in a list": (aot(EXTRA, "[trtp.SymInt32(n)]"), "Got: list", "SymIntExprs.from_tuple"),
    "float as an extra argument": (
        aot(EXTRA, "trtp.SymIntExprs.from_tuple([trtp.SymInt32(1.5)])"),
        "extra argument 0 is neither an int nor an expression",
        "convert numbers by int",
    ),
    "NumPy's integer in the launch": (
        aot("block_x=64", "block_x=np.int64(64)"),
        "block_x is neither an int nor an expression",
        "NumPy's integers",
    ),
    "misspelt launch parameter": (
        changed("    extra =", f"    launch.gridx = 1{HERE}\n    extra ="),
        "no attribute 'gridx'",
        "it has grid_x",
    ),
    "three results": (
        aot('"copy", PTX, launch, extra', '"copy", PTX, launch'),
        "expected 4, got 3",
        "return kernel name",
    ),
    "no results": (aot('"copy", PTX, launch, extra', "None"), "cannot unpack", "return kernel name, PTX"),
    "a cubin": (aot("PTX, launch, extra", "b'\\x7fELF\\xff', launch, extra"), "the PTX is not text", "not a cubin"),
    "position as a number": (
        changed(
            '    return [trtp.AutoTuneCombination("FP32, FP32")]',
            f"    c = trtp.AutoTuneCombination()\n    c.pos(2, 'FP32'){HERE}\n    return [c]",
        ),
        "'int' object is not iterable",
        r"pos\(\[2\], \.\.\.\)",
    ),
    "combination for too few tensors": (
        tuned('[trtp.AutoTuneCombination("FP32")]'),
        "IndexError",
        "a type for each input",
    ),
    "combination for too many tensors": (
        tuned('[trtp.AutoTuneCombination("FP32, FP32, FP32")]'),
        "autotune of",
        "a type for each input",
    ),
    "unknown type": (tuned('[trtp.AutoTuneCombination("FP42, FP42")]'), "no attribute 'FP42'", "TensorRT's names"),
    "unknown format": (tuned('[trtp.AutoTuneCombination("FP32, FP32", "NCHW")]'), "no attribute 'NCHW'", "TensorRT's"),
    "a combination outside of a list": (tuned('trtp.AutoTuneCombination("FP32, FP32")'), "no len", "return a list"),
    "no combinations": (tuned("None"), "NoneType", "return a list"),
    "tactic 0": (
        tuned('[trtp.AutoTuneCombination("FP32, FP32", "LINEAR", [0])]'),
        "offers tactic 0",
        "positive integers",
    ),
    "other types than the network's": (
        tuned('[trtp.AutoTuneCombination("FP16, FP16")]'),
        "offers no combination for fp32-fp32",
        "it offers fp16-fp16",
    ),
    "register returns nothing": (described("pass"), "'NoneType' object", r"inp0\.like\(\)"),
    "register returns more than it says": (
        described("return inp0.like(), inp0.like()"),
        "returns 2 tensors; expected 1",
        "as many tensors as the return annotation names",
    ),
    "register changes its input": (
        changed("    return inp0.like()", f"    inp0.dtype = trt.int32{HERE}\n    return inp0.like()"),
        "Cannot modify immutable",
        r"out = inp0\.like\(\)",
    ),
    "output without a type": (
        described("return trtp.from_shape_expr(inp0.shape_expr, None)"),
        "an output's dtype is None",
        "give each output one",
    ),
    "alias of a copy": (described("return inp0.like().aliased()"), "KeyError", r"inp0\.aliased\(\)"),
    "syntax error": (f"{SOURCE}\ndef x(:{HERE}\n", "SyntaxError: invalid syntax", ""),
    "module that is not there": (f"from nonexistent import x{HERE}\n{SOURCE}", "No module named 'nonexistent'", ""),
    "module that an installed package lacks": (
        f"from numpy.nonexistent import x{HERE}\n{SOURCE}",
        "No module named 'numpy.nonexistent'",
        "^install it",
    ),
    "exception in the module": (f"{SOURCE}\nraise RuntimeError('boom'){HERE}\n", "^RuntimeError: boom$", ""),
    "script that exits": (f"import sys\n{SOURCE}\nsys.exit(3){HERE}\n", r"calls sys\.exit\(3\)", "__main__"),
    "assertion without words": (
        changed(COUNT, f"{COUNT}    assert inp0.ndim == 7{HERE}\n"),
        "AssertionError: assert inp0.ndim == 7",
        "",
    ),
    "a compiler of Triton 2": (
        changed(COUNT, f"{COUNT}    import triton\n    triton.compile(None, signature='*fp32'){HERE}\n"),
        "unexpected keyword argument 'signature'",
        r"ASTSource\(KERNEL, signature=",
    ),
    "attributes of Triton 3.2": (
        changed(COUNT, f"{COUNT}    from triton.compiler import AttrsDescriptor{HERE}\n"),
        "cannot import name 'AttrsDescriptor'",
        r"attrs=\{\(0,\): ",
    ),
    "torch used in the import": (
        f"import torch\nx = torch.zeros(3){HERE}\n{SOURCE}",
        "torch.zeros is used, but torch is not installed",
        "import it inside the impl function",
    ),
    "torch used in aot_impl": (
        f"import torch\n{computed('torch.zeros(3)')}",
        "torch.zeros is used, but torch is not installed",
        "pip install torch",
    ),
}


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without torch, whatever this one has."""
    origin = loader._origin
    monkeypatch.setattr(loader, "_origin", lambda name: None if name == "torch" else origin(name))
    for name in [n for n in sys.modules if n.partition(".")[0] == "torch"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_explained(mistake: str, tmp_path: Path) -> None:
    source, message, hint = MISTAKES[mistake]
    definitions = Definitions(tmp_path, source)
    with pytest.raises(DefinitionError) as caught:
        build(definitions)
    here = [definitions.here]
    if sys.version_info < (3, 11):  # there, a decorator is called at the line of its function
        path, _, line = here[0].rpartition(":")
        here.append(f"{path}:{int(line) + 1}")
    assert caught.value.where in here
    assert re.search(message, caught.value.message, re.DOTALL), caught.value.message
    assert re.search(hint, caught.value.hint or "", re.DOTALL), caught.value.hint
    assert "tensorrt_bindings" not in str(caught.value)
    assert not list(tmp_path.glob("*.aot"))


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", "-3", -3),
        ("float", "0.5", 0.5),
        ("bool", "true", True),
        ("bool", "0", False),
        ("str", "a=b", "a=b"),
        ("str", "", ""),
        ("bytes", "ab", b"ab"),
        ("bytes", "a", b"a"),
        ("npt.NDArray[np.int32]", "1,-2, 3", np.array([1, -2, 3], np.int32)),
        ("npt.NDArray[np.int32]", "", np.zeros(0, np.int32)),
        ("npt.NDArray[np.int64]", "9007199254740993", np.array([9007199254740993])),
        ("npt.NDArray[np.float16]", "1,2.5", np.array([1, 2.5], np.float16)),
        ("npt.NDArray[np.bool_]", "1,false", np.array([True, False])),
    ],
)
def test_attributes_arrive_as_they_were_given(kind: str, text: str, value: Any, tmp_path: Path) -> None:
    definitions = Definitions(tmp_path, changed("scale: int", f"scale: {kind}"))
    (call,) = build(definitions, {"scale": text}).bundle.network.calls
    np.testing.assert_array_equal(call.attributes["scale"], value, strict=True)
    assert type(call.attributes["scale"]) is type(value)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("int", {}, "needs the attribute scale"),
        ("int", {"scale": "1", "scael": "1"}, "has no attribute scael"),
        ("int", {"scale": "1.5"}, "is int, not '1.5'"),
        ("int", {"scale": True}, "is int, not True"),
        ("int", {"scale": str(2**63)}, "is int, not"),
        ("float", {"scale": "abc"}, "is float, not 'abc'"),
        ("bool", {"scale": "maybe"}, "is bool, not 'maybe'"),
        ("str", {"scale": 5}, "is str, not 5"),
        ("bytes", {"scale": 5}, "is bytes, not 5"),
        ("npt.NDArray[np.int8]", {"scale": "1,200"}, r"is int8\[\], not '1,200'"),
        ("npt.NDArray[np.int32]", {"scale": "1x2"}, r"is int32\[\], not '1x2'"),
        ("npt.NDArray[np.int32]", {"scale": "1.5"}, r"is int32\[\], not '1.5'"),
    ],
)
def test_a_wrong_attribute_is_a_usage_error(kind: str, given: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        build(Definitions(tmp_path, changed("scale: int", f"scale: {kind}")), given)
    assert "--attr" in str(caught.value.hint) or "its attributes are" in str(caught.value.hint)


def test_an_unknown_plugin_is_told_with_those_that_are_there(tmp_path: Path) -> None:
    definitions = Definitions(tmp_path)
    loader.load(str(definitions.path))
    with pytest.raises(UsageError, match="no plugin 'mine::nothing' is registered") as caught:
        find("mine::nothing")
    assert definitions.id in str(caught.value.hint)


def test_an_unknown_plugin_that_a_function_may_register_is_told_with_it(tmp_path: Path) -> None:
    body = "".join(f"    {line}\n" for line in SOURCE.splitlines())
    other = "def helper(name):\n    trtp.register(name)\n\n\ndef other():\n    pass\n"
    definitions = Definitions(tmp_path, f"def setup(again=False):\n{body}\n\n{other}")
    loader.load(str(definitions.path))
    with pytest.raises(UsageError, match=f"no plugin '{definitions.id}' is registered") as caught:
        find(definitions.id)
    functions = [f for f in loader.registering() if f.startswith(str(definitions.path))]
    assert functions == [f"{definitions.path}:setup"]
    assert ":setup" in (caught.value.hint or "")
    loader.load(f"{definitions.path}:setup")
    assert f"{definitions.path}:setup" not in loader.registering()
    with pytest.raises(UsageError) as caught:
        find(definitions.id.replace("copy", "coppy"))
    assert (caught.value.hint or "").startswith(f"did you mean {definitions.id}? ")


@pytest.mark.usefixtures("no_torch")
class TestTorch:
    def test_may_be_missing_where_only_impl_uses_it(self, tmp_path: Path) -> None:
        source = f"import torch\nimport torch.nn.functional as F\n{SOURCE}"
        assert build(Definitions(tmp_path, source)).failed == []
        assert not [name for name in sys.modules if name.partition(".")[0] == "torch"]

    def test_a_module_that_is_prepared_for_its_absence_sees_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "torch", None)  # the import then raises, installed or not
        source = f"try:\n    import torch\nexcept ImportError:\n    torch = None\nassert torch is None\n{SOURCE}"
        assert build(Definitions(tmp_path, source)).failed == []


class TestLoading:
    def test_a_file_is_loaded_once_by_whatever_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        definitions = Definitions(tmp_path)
        link = tmp_path / "link"
        link.symlink_to(tmp_path)
        monkeypatch.chdir(tmp_path)
        specs = [str(definitions.path), definitions.path.name, str(link / definitions.path.name), definitions.path.stem]
        assert len({id(loader.load(spec)) for spec in specs}) == 1

    def test_a_function_registers_and_is_called_once(self, tmp_path: Path) -> None:
        body = "".join(f"    {line}\n" for line in SOURCE.splitlines())
        definitions = Definitions(tmp_path, f"def setup():\n{body}")
        for spec in (f"{definitions.path}:setup", os.path.relpath(definitions.path) + ":setup"):
            Catalog([spec])
        assert find(definitions.id).function("aot_impl")

    def test_an_exception_in_the_function_has_its_line(self, tmp_path: Path) -> None:
        definitions = Definitions(tmp_path, "def setup():\n    raise KeyError('x')  # HERE\n")
        with pytest.raises(DefinitionError, match=r"setup\(\): KeyError: 'x'") as caught:
            loader.load(f"{definitions.path}:setup")
        assert caught.value.where == definitions.here

    def test_a_function_that_wants_arguments_is_told_how_to_be_called(self, tmp_path: Path) -> None:
        definitions = Definitions(tmp_path, "def setup(key, *, size, name=None):\n    pass\n")
        with pytest.raises(UsageError, match=r"setup\(\) takes key, size, and --plugins") as caught:
            loader.load(f"{definitions.path}:setup")
        assert "calls setup(...)" in (caught.value.hint or "")

    def test_a_missing_file_of_the_same_package_is_named(self, tmp_path: Path) -> None:
        package = tmp_path / "mypackage_incomplete"
        package.mkdir()
        (package / "__init__.py").touch()
        definitions = Definitions(package, f"from .kernels import copy  # HERE\n{SOURCE}")
        with pytest.raises(DefinitionError, match=r"No module named 'mypackage_incomplete.kernels'") as caught:
            loader.load(str(definitions.path))
        assert caught.value.where == definitions.here
        assert f"there is no {package / 'kernels.py'}" in (caught.value.hint or "")

    def test_a_directory(self, tmp_path: Path) -> None:
        made = [Definitions(tmp_path), Definitions(tmp_path)]
        (tmp_path / "_private.py").write_text("raise RuntimeError")
        assert Catalog([str(tmp_path)]).sources == sorted(str(d.path) for d in made)
        assert {d.id for d in made} <= set(registry.registered())

    def test_a_dotted_name_in_the_current_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        package = tmp_path / "mypackage_dotted"
        package.mkdir()
        (package / "__init__.py").touch()
        definitions = Definitions(package, f"from . import __name__ as parent\n{SOURCE}")
        monkeypatch.chdir(tmp_path)
        module = loader.load(f"mypackage_dotted.{definitions.path.stem}")
        # By its path it is the same module, with relative imports that work.
        assert loader.load(str(definitions.path)) is module

    def test_a_file_in_a_package_has_relative_imports(self, tmp_path: Path) -> None:
        package = tmp_path / "mypackage_relative"
        package.mkdir()
        (package / "__init__.py").write_text("VALUE = 1\n")
        definitions = Definitions(package, f"from . import VALUE\n{SOURCE}")
        assert loader.load(str(definitions.path)).__name__ == f"mypackage_relative.{definitions.path.stem}"

    def test_siblings_can_be_imported_and_are_not_loaded_twice(self, tmp_path: Path) -> None:
        sibling = Definitions(tmp_path)
        other = Definitions(tmp_path, f"import {sibling.path.stem}\n{SOURCE}")
        Catalog([str(other.path), str(sibling.path)])
        assert {sibling.id, other.id} <= set(registry.registered())

    def test_a_mistake_in_a_sibling_is_told_there(self, tmp_path: Path) -> None:
        sibling = Definitions(tmp_path, "def helper():\n    raise KeyError('x')  # HERE\n")
        other = Definitions(tmp_path, f"from {sibling.path.stem} import helper\nhelper()\n")
        with pytest.raises(DefinitionError, match="KeyError: 'x'") as caught:
            loader.load(str(other.path))
        assert caught.value.where == sibling.here

    def test_directories_may_have_siblings_of_one_name(self, tmp_path: Path) -> None:
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "own_utils.py").write_text(f"NAME = {name!r}\n")
            (tmp_path / name / "own_kernels.py").write_text("import own_utils\nfrom own_utils import NAME\n")
        loaded = [loader.load(str(tmp_path / name / "own_kernels.py")) for name in ("first", "second")]
        assert [module.NAME for module in loaded] == ["first", "second"]
        # A module that is loaded is not loaded again.
        for module, name in zip(loaded, ("first", "second"), strict=True):
            assert loader.load(str(tmp_path / name / "own_utils.py")) is module.own_utils

    def test_a_file_does_not_take_the_place_of_a_module(self, tmp_path: Path) -> None:
        path = tmp_path / "colorsys.py"
        path.write_text("MINE = True\n")
        assert loader.load(str(path)).MINE
        assert loader.load(str(path)) is loader.load(str(path))
        import colorsys

        assert not hasattr(colorsys, "MINE")

    @pytest.mark.parametrize("name", ["mended_definitions.py", "wave.py"])  # the second is also a module of Python's
    def test_a_module_that_failed_can_be_loaded_when_it_is_mended(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        path.write_text("raise RuntimeError('boom')\n")
        with pytest.raises(DefinitionError, match="boom"):
            loader.load(str(path))
        path.write_text("VALUE = 'mended'\n")
        assert loader.load(str(path)).VALUE == "mended"

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("nowhere/definitions.py", "no such file: .*nowhere/definitions.py"),
            ("no_such_module", "no module named 'no_such_module'"),
            ("json.no_such_module", "no module named 'json.no_such_module'"),
            ("nowhere/", "no such file or module: 'nowhere/'"),
            ("", "no such file or module: ''"),
            ("json:no_such_function", "json has no function 'no_such_function'"),
            ("json:", "json has no function ''"),
        ],
    )
    def test_what_is_not_there_is_a_usage_error(self, spec: str, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            Catalog([spec])

    def test_an_empty_directory(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no Python files in"):
            Catalog([str(tmp_path)])

    def test_an_import_that_fails_inside_a_module_is_not_taken_for_the_module(self, tmp_path: Path) -> None:
        definitions = Definitions(tmp_path, "from no_such_dependency import x  # HERE\n")
        sys.path.append(str(tmp_path))
        with pytest.raises(DefinitionError, match="No module named 'no_such_dependency'") as caught:
            loader.load(definitions.path.stem)
        assert caught.value.where == definitions.here


class TestCatalog:
    def test_a_shipped_kernel_by_path_is_the_shipped_kernel(self) -> None:
        path = ROOT / "kernels" / "elementwise_add.py"
        catalog = Catalog([str(path), "aotfactory.kernels.elementwise_add"])
        found = catalog.find("elementwise_add")
        catalog.load_all()
        assert found is not None
        assert catalog.find("elementwise_add") is found
        assert loader.load(str(path)).__name__ == "aotfactory.kernels.elementwise_add"
        assert catalog.problems == []

    def test_a_recipe_does_not_hide_a_shipped_one(self, tmp_path: Path) -> None:
        definitions = Definitions(tmp_path, SOURCE + RECIPE.replace("NAME", "circ_pad"))
        with pytest.raises(DefinitionError, match=r"recipe 'circ_pad' hides aotfactory's own") as caught:
            Catalog([str(definitions.path)])
        assert str(caught.value.where).startswith(f"{definitions.path}:")

    def test_two_recipes_of_the_user_with_one_name(self, tmp_path: Path) -> None:
        made = [Definitions(tmp_path, SOURCE + RECIPE.replace("NAME", "mine")) for _ in range(2)]
        with pytest.raises(DefinitionError, match="two recipes are called 'mine'") as caught:
            Catalog(str(d.path) for d in made)
        assert caught.value.where == str(made[1].path)

    @pytest.mark.parametrize("name", ["../mine", "", ".", "a b", "mine.onnx"])
    def test_a_name_that_cannot_name_a_bundle(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(DefinitionError, match="is not a valid recipe name"):
            Catalog([str(Definitions(tmp_path, SOURCE + RECIPE.replace("NAME", name)).path)])

    def test_something_else_than_a_recipe(self, tmp_path: Path) -> None:
        with pytest.raises(DefinitionError, match="RECIPE is a str"):
            Catalog([str(Definitions(tmp_path, 'RECIPE = "circ_pad"\n').path)])

    def test_entry_points(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        good = Definitions(tmp_path, SOURCE + RECIPE.replace("NAME", "from_a_package"))
        broken = Definitions(tmp_path, "raise RuntimeError('boom')\n")
        info = tmp_path / "somebodys_kernels-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys-kernels\nVersion: 1.0\n")
        entries = f"[aotfactory.recipes]\ngood = {good.path.stem}\nbroken = {broken.path.stem}\n"
        (info / "entry_points.txt").write_text(entries)
        monkeypatch.syspath_prepend(tmp_path)
        catalog = Catalog()
        found = catalog.find("from_a_package")
        assert found is not None, catalog.problems
        assert found.plugin == good.id
        assert good.path.stem in catalog.sources
        (problem,) = catalog.problems  # one package's mistake does not stop the others
        assert re.match(r"entry point broken is left out: .*RuntimeError: boom", problem)


RECIPE = """
from aotfactory.recipe import Input, Recipe

RECIPE = Recipe(
    name="NAME", plugin="NS::copy", summary="", inputs=(Input(name="x", shape=(4, 64)),), dtypes=("fp32",),
    attributes={"scale": 1}, reference=lambda x, scale: x,
)
"""


def test_a_copy_of_a_shipped_kernel_leaves_that_one_out(tmp_path: Path) -> None:
    source = (ROOT / "kernels" / "circ_pad.py").read_text("utf-8").replace('name="circ_pad"', 'name="my_pad"')
    (tmp_path / "my_pad.py").write_text(source, "utf-8")
    code = (
        "from aotfactory.plugins.catalog import Catalog\n"
        "catalog = Catalog(['my_pad.py'])\n"
        "catalog.load_all()\n"
        "print(catalog.find('my_pad').reference.__code__.co_filename)\n"
        "print(*catalog.problems)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    path, problems = done.stdout.split("\n", 1)
    assert path == str(tmp_path / "my_pad.py")
    assert problems.startswith("circ_pad is left out: ")
    assert f"aotfactory::circ_pad is registered already, at {path}:" in problems


def test_every_error_has_an_exit_code_for_the_command_line() -> None:
    groups = [*AotError.__subclasses__(), DamagedError]
    assert {group.__name__: group.exit_code for group in groups} == {
        "CheckError": 1,
        "UsageError": 2,
        "MissingError": 3,
        "DefinitionError": 4,
        "DamagedError": 5,
    }
