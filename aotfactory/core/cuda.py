# SPDX-License-Identifier: Apache-2.0
"""The CUDA driver of this machine, asked through libcuda; nothing here needs a CUDA toolkit."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path


def open_driver() -> ctypes.CDLL | None:
    """The driver's library; None where there is none."""
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None


def driver_version() -> int | None:
    """The CUDA version of the driver as ``cuDriverGetVersion`` gives it (13.0 is 13000); None without a driver."""
    driver, version = open_driver(), ctypes.c_int()
    if driver is None or driver.cuDriverGetVersion(ctypes.byref(version)) or not version.value:
        return None
    return version.value


def driver_release() -> str | None:
    """The driver's own version, ``580.159.04``, as far as the kernel tells it; else its CUDA version."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text("utf-8", "replace")
    except OSError:
        text = ""
    found = re.search(r"\b\d{3,4}(\.\d+)+\b", text)
    version = driver_version()
    return found[0] if found else None if version is None else str(version)


def cuda_device_count() -> int:
    """How many GPUs the driver sees; 0 without a driver."""
    driver, count = open_driver(), ctypes.c_int()
    if driver is None or driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def gpu_name() -> str | None:
    """Name of GPU 0, as the driver gives it; None without a driver or GPU."""
    driver, device, text = open_driver(), ctypes.c_int(), ctypes.create_string_buffer(256)
    if driver is None or driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0):
        return None
    return None if driver.cuDeviceGetName(text, len(text), device) else text.value.decode(errors="replace")


def compute_capability() -> tuple[int, int] | None:
    """Major and minor compute capability of GPU 0; None without a driver or GPU."""
    driver, device = open_driver(), ctypes.c_int()
    if driver is None or not cuda_device_count() or driver.cuDeviceGet(ctypes.byref(device), 0):
        return None
    version = [ctypes.c_int(), ctypes.c_int()]
    for attribute, value in zip((75, 76), version, strict=True):  # COMPUTE_CAPABILITY_MAJOR, _MINOR of cuda.h
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
    return version[0].value, version[1].value
