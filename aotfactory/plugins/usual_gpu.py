# SPDX-License-Identifier: Apache-2.0
"""Facts of a usual GPU of each architecture, as Triton's driver, PyTorch and NVIDIA's bindings would tell them."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

_KNOWN = {  # capability: multiprocessors, KiB of shared memory that a block may ask for, threads, MiB of memory and L2
    75: ("T4", 40, 64, 1024, 16384, 4),
    80: ("A100", 108, 163, 2048, 81920, 40),
    86: ("A10", 72, 99, 1536, 24576, 6),
    87: ("Orin", 16, 163, 1536, 32768, 4),
    89: ("L40S", 142, 99, 1536, 49152, 96),
    90: ("H100", 132, 227, 2048, 81920, 50),
    100: ("B200", 148, 227, 2048, 184320, 126),
    103: ("B300", 148, 227, 2048, 276480, 126),
    110: ("Thor", 20, 227, 1536, 131072, 32),
    120: ("RTX PRO 6000", 188, 99, 1536, 98304, 128),
    121: ("GB10", 48, 99, 1536, 131072, 24),
}
"""A usual product of each architecture: NVIDIA's data sheets, and the CUDA C++ Programming Guide, "Compute
Capabilities". What is compiled must be right on any other product of the architecture, too."""


@dataclass(frozen=True)
class Device:
    """CUDA's answers on a GPU of this compute capability (90 is 9.0)."""

    capability: int

    @property
    def _facts(self) -> tuple[str, int, int, int, int, int]:
        return _KNOWN[max((c for c in _KNOWN if c <= self.capability), default=min(_KNOWN))]

    @property
    def name(self) -> str:
        return f"NVIDIA {self._facts[0]}"

    def for_triton(self, device: int = 0) -> dict[str, int]:
        """As `triton.runtime.driver.active.utils.get_device_properties` gives them."""
        _, processors, shared, _, _, _ = self._facts
        return {
            "max_shared_mem": shared * 1024,
            "max_num_regs": 65536,
            "multiprocessor_count": processors,
            "warpSize": 32,
            "sm_clock_rate": 1500000,
            "mem_clock_rate": 1500000,
            "mem_bus_width": 4096,
        }

    def for_torch(self, device: Any = None) -> SimpleNamespace:
        """As `torch.cuda.get_device_properties` gives them."""
        _, processors, shared, threads, memory, cache = self._facts
        return SimpleNamespace(
            name=self.name,
            major=self.capability // 10,
            minor=self.capability % 10,
            multi_processor_count=processors,
            total_memory=memory * 2**20,
            warp_size=32,
            max_threads_per_multi_processor=threads,
            max_threads_per_block=1024,
            regs_per_multiprocessor=65536,
            shared_memory_per_block=48 * 1024,
            shared_memory_per_block_optin=shared * 1024,
            shared_memory_per_multiprocessor=(shared + 1) * 1024,
            L2_cache_size=cache * 2**20,
            is_integrated=0,
            is_multi_gpu_board=0,
        )

    def torch_cuda(self) -> dict[str, Callable[..., Any]]:
        """The functions of `torch.cuda` that ask for a GPU's properties."""
        return {
            "is_available": lambda: True,
            "device_count": lambda: 1,
            "current_device": lambda: 0,
            "get_device_name": lambda device=None: self.name,
            "get_device_capability": lambda device=None: divmod(self.capability, 10),
            "get_device_properties": self.for_torch,
            "is_bf16_supported": lambda *_, **__: self.capability >= 80,
        }

    def cuda_runtime(self, runtime: types.ModuleType) -> dict[str, Callable[..., Any]]:
        """The functions of `cuda.bindings.runtime` that ask for a GPU's properties; each gives an error code first."""
        done, major, minor = runtime.cudaError_t.cudaSuccess, *divmod(self.capability, 10)
        facts = self.for_torch()
        asked = runtime.cudaDeviceAttr
        attributes = {
            asked.cudaDevAttrComputeCapabilityMajor: major,
            asked.cudaDevAttrComputeCapabilityMinor: minor,
            asked.cudaDevAttrMultiProcessorCount: facts.multi_processor_count,
            asked.cudaDevAttrMaxSharedMemoryPerBlockOptin: facts.shared_memory_per_block_optin,
        }
        properties = SimpleNamespace(
            name=self.name.encode(),
            major=major,
            minor=minor,
            multiProcessorCount=facts.multi_processor_count,
            sharedMemPerBlock=facts.shared_memory_per_block,
            sharedMemPerBlockOptin=facts.shared_memory_per_block_optin,
            sharedMemPerMultiprocessor=facts.shared_memory_per_multiprocessor,
            totalGlobalMem=facts.total_memory,
            l2CacheSize=facts.L2_cache_size,
            warpSize=32,
            maxThreadsPerBlock=1024,
            maxThreadsPerMultiProcessor=facts.max_threads_per_multi_processor,
            regsPerBlock=65536,
            regsPerMultiprocessor=65536,
        )
        ask = runtime.cudaDeviceGetAttribute
        return {
            "cudaGetDeviceCount": lambda: (done, 1),
            "cudaGetDevice": lambda: (done, 0),
            "cudaSetDevice": lambda device: (done,),
            "cudaGetDeviceProperties": lambda device: (done, properties),
            "cudaDeviceGetAttribute": lambda a, device: (done, attributes[a]) if a in attributes else ask(a, device),
        }

    def cuda_driver(self, driver: types.ModuleType) -> dict[str, Callable[..., Any]]:
        """The same of `cuda.bindings.driver`, which does not load where there is no driver."""
        done, major, minor = driver.CUresult.CUDA_SUCCESS, *divmod(self.capability, 10)
        asked = driver.CUdevice_attribute
        attributes = {
            asked.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: major,
            asked.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: minor,
            asked.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: self.for_torch().multi_processor_count,
        }
        ask = driver.cuDeviceGetAttribute
        return {
            "cuInit": lambda flags: (done,),
            "cuDeviceGetCount": lambda: (done, 1),
            "cuDeviceGet": lambda ordinal: (done, driver.CUdevice(0)),
            "cuDeviceGetName": lambda length, device: (done, self.name.encode()),
            "cuDeviceGetAttribute": lambda a, device: (done, attributes[a]) if a in attributes else ask(a, device),
        }


BINDINGS = {"cuda.bindings.runtime": Device.cuda_runtime, "cuda.bindings.driver": Device.cuda_driver}
"""NVIDIA's Python bindings by the module's name, and what is answered in their place."""
