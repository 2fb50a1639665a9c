# SPDX-License-Identifier: Apache-2.0
"""`aot_cuda`: kernels in CUDA C++, their arguments by name, in TensorRT's calling convention."""

from __future__ import annotations

import re
from typing import Any

import pytest
from building import MODULES, Built, build, load, network, tensor

from aotfactory.core.errors import AotError, DefinitionError, MissingError
from aotfactory.plugins import nvrtc

SOURCES = load(MODULES / "cuda_arguments.py")
LINES = (MODULES / "cuda_arguments.py").read_text().splitlines()

try:
    nvrtc._library()
except MissingError as error:  # in CI it is there: the extra `test` brings it
    pytest.skip(error.message, allow_module_level=True)


def made(which: str, dtype: str = "fp32", shape: str = "N=1/3/9 48", **options: Any) -> Built:
    net = network("cuda::call", tensor("x", shape, dtype), attributes={"which": which})
    return build(net, SOURCES, **options)


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
@pytest.mark.parametrize("arch", ["sm_90", "portable"])
def test_arguments_come_by_name_and_constants_are_folded(dtype: str, arch: str) -> None:
    built = made("scale", dtype, archs=arch)
    assert not built.failed, built.found
    assert built.variant.parameters == ("ptr", "i32", "ptr")
    assert [str(e) for e in built.variant.extra_args] == ["N*48"]
    assert str(built.variant.launch["grid_x"]) == "cdiv(N*48, 128)"
    assert re.search(r"\.maxntid\s+128", built.variant.text)
    assert built.variant.kernel.startswith("scale_aot_")
    assert "call.uni" not in built.variant.text
    assert built.variant.ptx_target == ("sm_90" if arch == "sm_90" else "sm_80")


def test_static_shapes_leave_no_argument() -> None:
    assert made("scale", shape="3 48").variant.parameters == ("ptr", "ptr")


def test_in_place_through_one_pointer() -> None:
    built = build(network("cuda::negate", tensor("x", "N=1/3/9 48")), SOURCES)
    assert not built.failed, built.found
    assert built.variant.parameters == ("ptr", "i32", "ptr")


def test_dynamic_shared_memory() -> None:
    built = made("shared")
    assert not built.failed, built.found
    assert str(built.variant.launch["shared_mem"]) == "1024"


MISTAKES = {
    "missing": (r"scale<float, 3> is not given n, bias, none and has no parameter m", "it takes y, x, n, bias, none"),
    "no kernel": (r"the source has no kernel 'scales'", "it has scale, halves, negate, shared_memory"),
    "no output": (r"negate is not given outputs\[0\]", "TensorRT passes a pointer for every input and output"),
    "float for int": (r"n is 0\.5, but the kernel declares it long long", "give it an integer"),
    "include": (r'NVRTC: .*"no\.h"', "include_paths"),
}


@pytest.mark.parametrize("which", MISTAKES)
def test_mistakes_are_named(which: str) -> None:
    message, hint = MISTAKES[which]
    with pytest.raises(DefinitionError, match=message) as caught:
        made(which)
    assert hint in (caught.value.hint or "")
    assert ("kernel.cu:1" if which == "include" else "cuda_arguments.py:") in str(caught.value)


def test_a_tensor_of_another_type_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"halves takes x as const float \*, but the tensor is fp16") as caught:
        made("halves", "fp16")
    with pytest.raises(DefinitionError, match=r"scale takes y as T \*__restrict__, but the tensor is fp16"):
        made("wrong type", "fp16")
    assert "give a tensor of the type that the kernel declares" in (caught.value.hint or "")
    assert not made("wrong type", "fp32").failed


def test_errors_of_the_source_come_with_its_line_and_a_caret() -> None:
    line = next(i for i, text in enumerate(LINES, 1) if "x[j]" in text)
    with pytest.raises(DefinitionError, match=r'identifier "j" is undefined') as caught:
        made("broken")
    assert caught.value.where == f"{MODULES / 'cuda_arguments.py'}:{line}"
    assert re.search(r"y\[i\] = x\[j\];\n\s+\^", caught.value.message)


def test_without_nvrtc_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the code of what a machine lacks, not of a wrong definition."""
    from cuda.bindings import nvrtc as library

    def missing() -> Any:
        raise RuntimeError("libnvrtc.so.13 was not found\nhere nor there")

    monkeypatch.setattr(library, "nvrtcVersion", missing)
    with pytest.raises(MissingError, match=r"NVRTC, which compiles CUDA C\+\+, is not installed") as caught:
        made("scale")
    assert caught.value.exit_code == 3
    assert "nvrtc" in (caught.value.hint or "")
    assert isinstance(caught.value, AotError)


def test_cudas_own_headers_are_found() -> None:
    assert nvrtc.include_paths()
