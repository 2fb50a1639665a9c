# SPDX-License-Identifier: Apache-2.0
"""Which TensorRT a process gets. Each case runs in a process of its own: TensorRT is loaded once in a process."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from aotfactory.core.errors import MissingError
from aotfactory.plugins import stubs

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
        assert 'pip install "aotfactory[tensorrt]"' in out

    def test_runtime_without_a_gpu_is_refused(self) -> None:
        code = """
            api.cuda_device_count = lambda: 0
            try:
                loaded.trt.Runtime(loaded.trt.Logger())
            except Exception as error:
                print(type(error).__name__, error)
        """
        assert succeed(LOAD + textwrap.dedent(code)).startswith("MissingError TensorRT's runtime needs a GPU")

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
        assert out.startswith("MissingError: the full TensorRT is not on this machine")
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
            stubs.compile_stubs(tmp_path, int(major))
            number = 10000 * int(major) + 100 * int(minor) + int(patch) + shift
            source = tmp_path / "version.c"
            source.write_text(
                f'#include "{stubs.__path__[0]}/stubs.c"\nint getInferLibVersion(void) {{return {number};}}'
            )
            library = tmp_path / f"libnvinfer.so.{major}"
            options = ["-shared", "-fPIC", "-nostdlib", "-DSTUB_NVINFER", f"-Wl,-soname,{library.name}"]
            subprocess.run([*(stubs.find_compiler() or []), *options, "-o", str(library), str(source)], check=True)
        env = {"AOTFACTORY_TENSORRT": "auto", "LD_LIBRARY_PATH": str(tmp_path)}
        if expected == "MissingError":
            assert "libnvinfer.so.11 is 11." in load_error(no_package, **env)
        else:
            assert succeed(no_package + LOAD + code, **env) == f"{expected} True\n"

    def test_unknown_choice(self) -> None:
        assert load_error(AOTFACTORY_TENSORRT="lean").startswith("UsageError: AOTFACTORY_TENSORRT is 'lean'")

    @pytest.mark.parametrize(
        ("gone", "part"), [(["tensorrt_bindings"], "bindings"), (["tensorrt_lean_libs"], "lean runtime")]
    )
    def test_neither_is_here(self, gone: list[str], part: str) -> None:
        prelude = f"import sys\nfor name in {['tensorrt', 'tensorrt_libs', *gone]}:\n    sys.modules[name] = None"
        out = load_error(prelude, AOTFACTORY_TENSORRT="auto")
        assert out.startswith("MissingError: this machine has no TensorRT")
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
        assert out.startswith(f"MissingError: {tmp_path}/tensorrt_bindings: TensorRT's parts are of different versions")
        assert message in out


class TestStubs:
    MAJOR = 7  # none that a wheel carries, so the cache is used

    @pytest.fixture(autouse=True)
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("AOTFACTORY_CACHE", str(tmp_path / "cache"))
        return tmp_path / "cache"

    def test_stubs_load_and_say_no(self) -> None:
        directory = stubs.stub_directory(self.MAJOR)
        functions = {
            "nvinfer": ["createInferBuilder_INTERNAL", "getBuilderPluginRegistry", "getPluginRegistry"],
            "nvinfer_plugin": ["initLibNvInferPlugins"],
            "nvonnxparser": ["createNvOnnxParser_INTERNAL", "getNvOnnxParserVersion"],
        }
        for library, names in functions.items():
            opened = ctypes.CDLL(str(directory / f"lib{library}.so.7"))
            assert [opened[name]() for name in names] == [0] * len(names)

    def test_stubs_are_compiled_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        directory = stubs.stub_directory(self.MAJOR)
        monkeypatch.setattr(stubs, "compile_stubs", lambda *_: pytest.fail("compiled again"))
        assert stubs.stub_directory(self.MAJOR) == directory

    def test_many_processes_at_once(self, cache: Path, tmp_path: Path) -> None:
        start = tmp_path / "start"
        code = f"""
            import pathlib, time
            from aotfactory.plugins.stubs import stub_directory
            print("ready", flush=True)
            while not pathlib.Path({str(start)!r}).exists():
                time.sleep(0.001)
            print(stub_directory({self.MAJOR}))
        """
        command = [sys.executable, "-c", textwrap.dedent(code)]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
        for process in running:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        start.touch()
        directories = {process.communicate()[0].strip() for process in running}
        assert {process.returncode for process in running} == {0}
        (made,) = (cache / "stubs").iterdir()  # nothing temporary is left
        assert directories == {str(made)}
        assert sorted(path.name for path in made.iterdir()) == [
            "libnvinfer.so.7",
            "libnvinfer_plugin.so.7",
            "libnvonnxparser.so.7",
        ]

    def test_losing_the_race_uses_the_winners_stubs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        compile_stubs = stubs.compile_stubs

        def lose(directory: Path, major: int) -> None:
            monkeypatch.setattr(stubs, "compile_stubs", compile_stubs)
            winners.append(stubs.stub_directory(major))
            compile_stubs(directory, major)

        winners: list[Path] = []
        monkeypatch.setattr(stubs, "compile_stubs", lose)
        assert [stubs.stub_directory(self.MAJOR)] == winners

    def test_no_compiler(self, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CC", raising=False)
        with pytest.raises(MissingError, match=r"no C compiler(.|\n)*sudo apt install gcc"):
            stubs.stub_directory(self.MAJOR)
        assert list((cache / "stubs").iterdir()) == []

    def test_compiler_that_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CC", "false")
        with pytest.raises(MissingError, match="the C compiler failed: false -shared"):
            stubs.stub_directory(self.MAJOR)

    def test_cache_that_cannot_be_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("AOTFACTORY_CACHE", str(tmp_path / "file"))
        with pytest.raises(MissingError, match=r"can't write(.|\n)*set AOTFACTORY_CACHE"):
            stubs.stub_directory(self.MAJOR)

    def test_where_the_cache_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/someone")
        monkeypatch.setenv("XDG_CACHE_HOME", "/var/xdg")
        monkeypatch.setenv("AOTFACTORY_CACHE", "/var/own")
        found = [str(stubs.cache_directory())]
        for name in ("AOTFACTORY_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name)
            found.append(str(stubs.cache_directory()))
        assert found == ["/var/own", "/var/xdg/aotfactory", "/home/someone/.cache/aotfactory"]
