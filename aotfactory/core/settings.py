# SPDX-License-Identifier: Apache-2.0
"""Environment variables that matter, and what each is for."""

from __future__ import annotations

SETTINGS = {
    "AOTFACTORY_CACHE": "Directory of the cache; default `$XDG_CACHE_HOME/aotfactory`, else `~/.cache/aotfactory`.",
    "AOTFACTORY_CACHE_SIZE": "How large the cache may become: `500M`, `20G`; default 10G.",
    "AOTFACTORY_NO_CACHE": "1: neither read nor fill the cache, as `--no-cache`.",
    "AOTFACTORY_REMOTE_CACHE": "A cache that several machines share, in any store that fsspec reaches: `s3://bucket/path`.",
    "AOTFACTORY_TENSORRT": "`full`, `compile-only` or `auto` (default): which TensorRT is loaded.",
    "AOTFACTORY_LAUNCHER": "A built `aotfactory-launcher`, instead of the wheel's or of compiling one.",
    "AOTFACTORY_RUNNER": "A built `aotfactory-runner`, instead of compiling one.",
    "AOTFACTORY_BUILD_LAUNCHER": "0, while a wheel is built: leave the launcher out of it.",
    "TENSORRT_ROOT": "TensorRT's directory, for trtexec and the runner's headers.",
    "CUDA_HOME": "A CUDA toolkit, for headers; `CUDA_PATH` is read too.",
    "CUDA_VISIBLE_DEVICES": "Which GPUs there are, as for every CUDA program.",
    "LD_LIBRARY_PATH": "Where the C++ programs find TensorRT's libraries.",
    "TRITON_CACHE_DIR": "Triton's own cache.",
    "TRITON_PTXAS_PATH": "Another ptxas than the one that ships with Triton.",
    "TRITON_INTERPRET": "Must not be set: kernels would be interpreted instead of compiled.",
    "TRITON_DEBUG": "Triton's own; it changes what is compiled.",
    "TRITON_ALWAYS_COMPILE": "Triton's own: its cache is not read.",
    "CC": "The C compiler.",
    "CXX": "The C++ compiler of launcher and runner.",
    "COLUMNS": "How wide tables are where the output is not a terminal.",
}

SECRET = ("AOTFACTORY_REMOTE_CACHE",)
"""Those whose value may hold a password: a bug report shows only that they are set."""
