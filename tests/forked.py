# SPDX-License-Identifier: Apache-2.0
"""Programs that tests start by the hundred, forked from a process that has loaded them, instead of starting each anew.

An interpreter check takes a process of its own, which takes 0.4 s to start and often less to answer; the programs that
stand for trtexec and the runner take 0.2 s for NumPy. Here a command starts a program that imports nothing (`ask`) and
hands its arguments, streams, directory and environment to a server, which forks a process for them: as new as one that
was started, since the server itself runs nothing. Whoever ends the command ends that process.

The processes of the command line and of the documents are the real ones.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from typing import Any

STREAMS = (0, 1, 2)


class Server:
    """Runs the function `main` of modules; started when first needed.

    Args:
        modules: What is loaded.
        load: Names of functions to call after that, as "module:function".
        environment: Variables that are to be set when it is.
    """

    def __init__(self, *modules: str, load: tuple[str, ...] = (), **environment: str) -> None:
        self._load, self._environment = [*modules, *load], environment
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def command(self, module: str) -> list[str]:
        """What to start in place of a program whose arguments follow."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="aot-")  # a socket's name must be short
            self._process = subprocess.Popen(
                [sys.executable, __file__, "serve", self._address, *self._load],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                env={**os.environ, **self._environment},
            )  # fmt: skip
            assert self._process.stdout
            assert self._process.stdout.readline() == b"ready\n"
        return [sys.executable, "-I", "-S", __file__, "ask", self._address, module]

    @property
    def _address(self) -> str:
        assert self._folder
        return f"{self._folder.name}/socket"

    def close(self) -> None:
        if self._process and self._folder:
            self._process.communicate()  # the end of its stdin ends it
            self._folder.cleanup()


WORKER = "aotfactory.executors.interpreter.worker"
INTERPRETERS = Server(
    WORKER,
    load=("aotfactory.plugins.tensorrt_api:load",),
    TRITON_INTERPRET="1",
    OMP_NUM_THREADS="1",
    OPENBLAS_NUM_THREADS="1",
)
DOUBLES = Server("doubles.fake_runner", "doubles.fake_trtexec", PYTHONPATH=os.path.dirname(__file__))


def ask(address: str, module: str, arguments: list[str]) -> int:
    """In the program that was started: have the server do its work; the exit code."""
    request = {"module": module, "arguments": arguments, "directory": os.getcwd(), "environment": dict(os.environ)}
    message = json.dumps(request).encode()
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", STREAMS))]
        server.sendmsg([len(message).to_bytes(4, "big")], rights)
        server.sendall(message)
        code = int(server.recv(16) or b"1")
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def serve(address: str, load: list[str]) -> None:
    """Until stdin ends."""
    for name in load:
        module, _, function = name.partition(":")
        found = importlib.import_module(module)
        if function:
            getattr(found, function)()
    gc.collect()
    gc.freeze()  # what is inherited stays shared: a collection would write to all of it
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [], 1)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if sys.stdin in ready:
                return
            if listener in ready:
                asking, _ = listener.accept()
                if os.fork() == 0:
                    listener.close()
                    attend(asking)
                asking.close()


def attend(asking: socket.socket) -> None:
    """Have the work of one program done, unless that program is gone first: does not return."""
    length, streams, _, _ = socket.recv_fds(asking, 4, len(STREAMS))
    text = b""
    while len(text) < int.from_bytes(length, "big"):
        text += asking.recv(1 << 16)
    worker = os.fork()
    if worker == 0:
        asking.close()
        work(streams, **json.loads(text))
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(worker)
    if ended in select.select([asking, ended], [], [])[0]:
        code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
        with contextlib.suppress(OSError):
            asking.sendall(str(code).encode())
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker, signal.SIGKILL)
    os._exit(0)


def work(streams: list[int], module: str, arguments: list[str], directory: str, environment: dict[str, Any]) -> None:
    """Be the program: does not return."""
    code: Any = 1
    try:
        os.setsid()
        for stream, number in zip(streams, STREAMS, strict=True):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[0], sys.argv[:] = directory, [module, *arguments]
        code = sys.modules[module].main() or 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    action, place, *others = sys.argv[1:]
    if action == "serve":
        serve(place, others)
    else:
        sys.exit(ask(place, others[0], others[1:]))
