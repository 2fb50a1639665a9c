# SPDX-License-Identifier: Apache-2.0
"""Which TensorRT a process gets. Each case runs in a process of its own: TensorRT is loaded once in a process."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from aotfactory.core.cache import cache_directory
from aotfactory.core.errors import MissingError
from aotfactory.plugins import stubs

ROOT = Path(__file__).resolve().parents[2]
LOAD = "from aotfactory.plugins import tensorrt_api as api\nloaded = api.load()\n"


def python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new process, with the compile-only TensorRT unless AOTFACTORY_TENSORRT is given."""
    env = {**os.environ, "AOTFACTORY_TENSORRT": "compile-only", **env}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=env, capture_output=True, text=True, check=False
    )


def succeed(code: str, **env: str) -> str:
    """Run code that must exit with 0 and print nothing to stderr; return its stdout."""
    result = python(code, **env)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def load_error(prelude: str = "", **env: str) -> str:
    """What load() raises in a new process, as `ErrorClass: text`."""
    return succeed(
        f"{textwrap.dedent(prelude)}\n"
        "from aotfactory.core import errors\nfrom aotfactory.plugins import tensorrt_api\n"
        "try:\n    tensorrt_api.load()\n"
        "except errors.AotError as error:\n    print(f'{type(error).__name__}: {error}')\n",
        **env,
    )


def write(directory: Path, files: dict[str, str | bytes]) -> str:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else textwrap.dedent(content).encode())
    return str(directory)


class TestCompileOnly:
    def test_tensorrt_imports_unchanged_and_quietly(self) -> None:
        code = """
            import tensorrt as trt
            import tensorrt.plugin as trtp
            from tensorrt.plugin import TensorDesc, register
            assert loaded is api.load() and loaded.trt is trt and loaded.trtp is trtp
            print(loaded.kind, loaded.version == trt.__version__, trt.float32)
        """
        assert succeed(LOAD + textwrap.dedent(code)) == "compile-only True DataType.FLOAT\n"

    def test_every_module_exists_once(self) -> None:
        code = """
            import collections, sys
            import tensorrt.plugin._lib, tensorrt.tensorrt, tensorrt_bindings.plugin._lib
            from tensorrt.plugin import _tensor
            assert tensorrt.plugin._lib is tensorrt_bindings.plugin._lib
            by_file = collections.defaultdict(set)
            for name, module in list(sys.modules.items()):
                if name.split(".")[0] in ("tensorrt", "tensorrt_bindings"):
                    by_file[module.__file__].add(id(module))
            print(len(by_file) >= 10, {len(copies) for copies in by_file.values()})
        """
        assert succeed(LOAD + textwrap.dedent(code)) == "True {1}\n"

    def test_no_submodule_of_the_bindings_is_left_to_import_twice(self) -> None:
        code = """
            import pkgutil, sys
            names = {m.name for m in pkgutil.walk_packages(loaded.trt.__path__, "tensorrt.")}
            print(len(names) >= 8, sorted(names - set(sys.modules)))
        """
        assert succeed(LOAD + textwrap.dedent(code)) == "True []\n"

    def test_decorators_register_a_plugin(self, tmp_path: Path) -> None:
        definition = """
            from typing import List, Tuple, Union
            import tensorrt as trt
            import tensorrt.plugin as trtp

            @trtp.register("test::twice")
            def describe(x: trtp.TensorDesc, factor: int) -> trtp.TensorDesc:
                return x.like()

            @trtp.autotune("test::twice")
            def combinations(x: trtp.TensorDesc, outputs: Tuple[trtp.TensorDesc]) -> List[trtp.AutoTuneCombination]:
                return [trtp.AutoTuneCombination("FP32, FP32", "LINEAR", [1, 2])]

            @trtp.aot_impl("test::twice")
            def kernel(x: trtp.TensorDesc, factor: int, outputs: Tuple[trtp.TensorDesc], tactic: int) -> Tuple[
                Union[str, bytes], Union[str, bytes], trtp.KernelLaunchParams, trtp.SymExprs
            ]:
                raise NotImplementedError
        """
        write(tmp_path, {"definition.py": definition})
        code = """
            import definition
            from tensorrt.plugin._lib import QDP_REGISTRY
            plugin = QDP_REGISTRY["test::twice"]
            assert plugin.register_func is definition.describe and plugin.aot_impl_func is definition.kernel
            print(plugin.input_tensor_names, list(plugin.input_attrs), plugin.autotune_func.__name__)
            print("twice" in [creator.name for creator in loaded.trt.get_plugin_registry().all_creators])
        """
        out = succeed(LOAD + textwrap.dedent(code), PYTHONPATH=str(tmp_path))
        assert out == "['x'] ['factor'] combinations\nTrue\n"

    @pytest.mark.parametrize("ask", ["api.require_builder()", "loaded.trt.Builder(loaded.trt.Logger())"])
    def test_a_builder_is_refused_with_the_remedy(self, ask: str) -> None:
        code = (
            f"from aotfactory.core.errors import MissingError\ntry:\n    {ask}\nexcept MissingError as e:\n    print(e)"
        )
        out = succeed(LOAD + code)
        assert "TensorRT's builder is not on this machine" in out
        assert f'pip install -e "{ROOT}[tensorrt]"' in out

    def test_runtime_without_a_gpu_is_refused(self) -> None:
        code = """
            api.cuda_device_count = lambda: 0
            try:
                loaded.trt.Runtime(loaded.trt.Logger())
            except Exception as error:
                print(type(error).__name__, error)
        """
        assert succeed(LOAD + textwrap.dedent(code)).startswith("NoGpuError TensorRT's runtime needs a GPU")

    @pytest.mark.gpu
    def test_runtime_with_a_gpu_is_the_real_one(self) -> None:
        code = "log = loaded.trt.Logger()\nprint(loaded.trt.Runtime(log).deserialize_cuda_engine(b'not a plan'))"
        result = python(LOAD + code)
        assert (result.returncode, result.stdout.splitlines()[-1]) == (0, "None")
        assert "[TRT] [E]" in result.stdout + result.stderr

    @pytest.mark.parametrize(
        "call",
        [
            "trt.Builder(log)",
            "trt.Runtime(log)",
            "trt.OnnxParser(trt.INetworkDefinition.__new__(trt.INetworkDefinition), log)",
            "trt.OnnxParserRefitter(trt.Refitter.__new__(trt.Refitter), log)",
            "trt.Refitter(None, log)",
            "trt.init_libnvinfer_plugins(log, '')",
            "trt.get_nv_onnx_parser_version()",
            "trt.get_builder_plugin_registry(trt.EngineCapability.STANDARD).all_creators",
        ],
    )
    def test_nothing_crashes(self, call: str) -> None:
        code = f"""
            trt = loaded.trt
            log = trt.Logger()
            try:
                {call}
            except Exception as error:
                print(error)
            print("end")
        """
        result = python(LOAD + textwrap.dedent(code))
        assert (result.returncode, result.stdout.splitlines()[-1:]) == (0, ["end"]), result.stderr

    def test_lean_runtime_wins_over_the_stubs(self) -> None:
        # The stub of getPluginRegistry returns null, which the bindings turn into None.
        assert succeed(LOAD + "print(len(loaded.trt.get_plugin_registry().all_creators) > 0)") == "True\n"


class TestChoice:
    FULL = """
        __version__ = "11.4.0"
        class Logger:
            ERROR = WARNING = 0
            def __init__(self, severity=0): pass
    """

    def test_a_working_tensorrt_is_preferred(self, tmp_path: Path) -> None:
        path = write(tmp_path, {"tensorrt/__init__.py": self.FULL, "tensorrt/plugin.py": "def aot_impl(): pass"})
        code = (
            "import tensorrt as t\nprint(loaded.kind, t.__file__, repr(loaded.reason), api.require_builder() is loaded)"
        )
        out = succeed(LOAD + code, AOTFACTORY_TENSORRT="auto", PYTHONPATH=path)
        assert out == f"full {tmp_path}/tensorrt/__init__.py '' True\n"

    def test_tensorrt_too_old_for_ahead_of_time_plugins(self, tmp_path: Path) -> None:
        path = write(tmp_path, {"tensorrt/__init__.py": self.FULL, "tensorrt/plugin.py": ""})
        assert "has no ahead-of-time plugins" in load_error(AOTFACTORY_TENSORRT="auto", PYTHONPATH=path)

    def test_a_broken_tensorrt_gives_way_and_its_error_is_kept(self, tmp_path: Path) -> None:
        broken = "import tensorrt.part\nraise ImportError('libnvinfer.so.10: cannot open')"
        path = write(tmp_path, {"tensorrt/__init__.py": broken, "tensorrt/part.py": ""})
        code = "import sys, tensorrt\nprint(loaded.kind, loaded.reason, 'tensorrt.part' in sys.modules)"
        out = succeed(LOAD + code, AOTFACTORY_TENSORRT="auto", PYTHONPATH=path)
        assert out == "compile-only import tensorrt: ImportError: libnvinfer.so.10: cannot open False\n"

    def test_full_can_be_insisted_on(self, tmp_path: Path) -> None:
        path = write(tmp_path, {"tensorrt/__init__.py": "raise ImportError('no such library')"})
        out = load_error(AOTFACTORY_TENSORRT="full", PYTHONPATH=path)
        assert out.startswith("NoTensorRTError: the full TensorRT is not on this machine")
        assert "no such library" in out

    def test_compile_only_can_be_insisted_on(self, tmp_path: Path) -> None:
        path = write(tmp_path, {"tensorrt/__init__.py": self.FULL, "tensorrt_libs/__init__.py": "1 / 0"})
        code = "import sys\nprint(loaded.kind, loaded.trt.__name__, 'tensorrt_libs' in sys.modules)"
        assert succeed(LOAD + code, PYTHONPATH=path) == "compile-only tensorrt_bindings False\n"

    @pytest.mark.parametrize(
        ("shift", "expected"),
        [(0, "full"), (100, "MissingError"), (None, "compile-only")],
        ids=["same version", "another version", "no libraries"],
    )
    def test_libraries_of_the_tar_or_debian_packages(self, tmp_path: Path, shift: int | None, expected: str) -> None:
        # They stand on the loader's path, and the bindings come from PyPI: there is no package `tensorrt`.
        no_package = "import sys\nsys.modules['tensorrt'] = None\n"
        code = "import tensorrt\nprint(loaded.kind, tensorrt is loaded.trt)"
        if shift is not None:
            major, minor, patch = succeed(LOAD + "print(loaded.version)").split(".")[:3]
            for name in stubs.LIBRARIES:
                file = stubs.soname(name, int(major))
                (tmp_path / file).write_bytes(stubs.stub(file, platform.machine()))
            number = 10000 * int(major) + 100 * int(minor) + int(patch) + shift
            functions = "".join(f"void *{f}(void) {{return 0;}}\n" for f in stubs.FUNCTIONS)
            source = tmp_path / "version.c"
            source.write_text(f"{functions}int getInferLibVersion(void) {{return {number};}}")
            library = tmp_path / f"libnvinfer.so.{major}"
            options = ["-shared", "-fPIC", "-nostdlib", f"-Wl,-soname,{library.name}"]
            subprocess.run(["cc", *options, "-o", str(library), str(source)], check=True)
        env = {"AOTFACTORY_TENSORRT": "auto", "LD_LIBRARY_PATH": str(tmp_path)}
        if expected == "MissingError":
            assert "libnvinfer.so.11 is 11." in load_error(no_package, **env)
        else:
            assert succeed(no_package + LOAD + code, **env) == f"{expected} True\n"

    def test_unknown_choice(self) -> None:
        assert load_error(AOTFACTORY_TENSORRT="lean").startswith("SettingError: AOTFACTORY_TENSORRT is 'lean'")

    @pytest.mark.parametrize(
        ("gone", "part"), [(["tensorrt_bindings"], "bindings"), (["tensorrt_lean_libs"], "lean runtime")]
    )
    def test_neither_is_here(self, gone: list[str], part: str) -> None:
        prelude = f"import sys\nfor name in {['tensorrt', 'tensorrt_libs', *gone]}:\n    sys.modules[name] = None"
        out = load_error(prelude, AOTFACTORY_TENSORRT="auto")
        assert out.startswith("NoTensorRTError: this machine has no TensorRT")
        assert f"the {part} is missing" in out
        assert 'pip install "tensorrt-cu13-bindings==' in out

    @pytest.mark.parametrize(
        ("major", "version", "message"),
        [
            (11, "11.0.9.1", "the bindings are 11.0.9.1, libnvinfer_lean.so.11 is 11."),
            (9, "9.3.0.1", "not libnvinfer_lean.so.9"),
        ],
    )
    def test_parts_of_different_versions(self, tmp_path: Path, major: int, version: str, message: str) -> None:
        bindings = {
            "tensorrt_bindings/__init__.py": f'__version__ = "{version}"',
            "tensorrt_bindings/tensorrt.so": f"\0libnvinfer.so.{major}\0libc.so.6\0",
        }
        out = load_error(PYTHONPATH=write(tmp_path, bindings))
        assert out.startswith(
            f"TensorRTVersionError: {tmp_path}/tensorrt_bindings: TensorRT's parts are of different versions"
        )
        assert message in out


class TestStubs:
    @pytest.mark.parametrize("machine", sorted(stubs.MACHINES))
    def test_a_stub_is_the_library_that_it_says(self, machine: str, tmp_path: Path) -> None:
        path = tmp_path / "stub.so"
        path.write_bytes(stubs.stub("libnvinfer.so.7", machine))
        said = subprocess.run(["readelf", "-hdlW", path], capture_output=True, text=True, check=True)
        assert said.stderr == ""
        # glibc 2.41 and later do not load a library that asks for a stack that can be executed, by leaving this out.
        assert re.search(r"GNU_STACK .* RW +0x", said.stdout)
        assert "Library soname: [libnvinfer.so.7]" in said.stdout
        assert {"x86_64": "X86-64", "aarch64": "AArch64"}[machine] in said.stdout

    def test_functions_say_no(self, tmp_path: Path) -> None:
        path = tmp_path / "stub.so"
        path.write_bytes(stubs.stub("libany.so.7", platform.machine()))
        opened = ctypes.CDLL(str(path))
        assert [opened[name]() for name in stubs.FUNCTIONS] == [0] * len(stubs.FUNCTIONS)
        with pytest.raises(AttributeError, match="undefined symbol: createInferBuilder"):
            _ = opened.createInferBuilder

    def test_the_linker_takes_them_for_tensorrt(self) -> None:
        code = """
            import ctypes
            from aotfactory.plugins import stubs
            stubs.load_stubs(7)
            print(*(ctypes.CDLL(stubs.soname(n, 7)).getPluginRegistry() for n in stubs.LIBRARIES))
        """
        assert succeed(textwrap.dedent(code)) == "0 0 0\n"

    def test_a_process_may_load_those_of_two_versions(self) -> None:
        code = """
            import ctypes
            from aotfactory.plugins import stubs
            stubs.load_stubs(7)
            stubs.load_stubs(8)
            print(*(ctypes.CDLL(stubs.soname(n, m)).getPluginRegistry() for n in stubs.LIBRARIES for m in (7, 8)))
        """
        assert succeed(textwrap.dedent(code)) == "0 0 0 0 0 0\n"

    def test_neither_a_compiler_nor_a_cache_is_needed(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        nowhere = str(tmp_path / "file" / "cache")
        out = succeed(LOAD + "print(loaded.kind)", PATH="", AOTFACTORY_CACHE=nowhere, TMPDIR=nowhere, HOME=nowhere)
        assert out == "compile-only\n"

    def test_where_memory_has_no_files_a_temporary_one_does(self, tmp_path: Path) -> None:
        code = """
            import os
            def refuse(*arguments): raise OSError(38, "Function not implemented")
            os.memfd_create = refuse
            from aotfactory.plugins import tensorrt_api
            print(tensorrt_api.load().kind)
        """
        assert succeed(textwrap.dedent(code), TMPDIR=str(tmp_path)) == "compile-only\n"
        assert list(tmp_path.iterdir()) == []

    def test_nowhere_to_put_them(self, tmp_path: Path) -> None:
        forbid = """
            import os, tempfile
            def refuse(*arguments, **named): raise OSError(13, "Permission denied")
            os.memfd_create = tempfile.mkstemp = refuse
        """
        said = load_error(forbid)
        assert said.startswith("NoTensorRTError: the link-time stubs of TensorRT cannot be loaded: ")
        assert "set TMPDIR" in said

    def test_another_machine(self) -> None:
        with pytest.raises(MissingError, match="no compile-only TensorRT for riscv64"):
            stubs.stub("libnvinfer.so.11", "riscv64")

    def test_where_the_cache_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/someone")
        monkeypatch.setenv("XDG_CACHE_HOME", "/var/xdg")
        monkeypatch.setenv("AOTFACTORY_CACHE", "/var/own")
        found = [str(cache_directory())]
        for name in ("AOTFACTORY_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name)
            found.append(str(cache_directory()))
        assert found == ["/var/own", "/var/xdg/aotfactory", "/home/someone/.cache/aotfactory"]
