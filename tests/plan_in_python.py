# SPDX-License-Identifier: Apache-2.0
"""Runs a plan by TensorRT's Python runtime, with no help from aotfactory: for tests where the full TensorRT is.

As a script, PLAN INPUTS.npz OUTPUTS.npz MODULE...: with these modules made impossible to import.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np


def execute(plan: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The plan's outputs, by name."""
    import tensorrt as trt
    from cuda.bindings import runtime as cuda

    def checked(result: Any) -> Any:
        error, *values = result
        assert error == cuda.cudaError_t.cudaSuccess, error
        return values[0] if values else None

    def allocate(size: int) -> int:
        return int(checked(cuda.cudaMalloc(max(size, 1))))

    class Allocator(trt.IOutputAllocator):
        """Memory for an output whose shape depends on data."""

        def __init__(self) -> None:
            super().__init__()
            self.memory, self.size, self.shape = 0, -1, ()

        def reallocate_output(self, tensor_name: str, memory: int, size: int, alignment: int) -> int:
            if size > self.size:
                self.memory, self.size = allocate(size), size
            return self.memory

        def reallocate_output_async(self, tensor_name: str, memory: int, size: int, alignment: int, stream: int) -> int:
            return self.reallocate_output(tensor_name, memory, size, alignment)

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            self.shape = tuple(shape)

    logger = trt.Logger(trt.Logger.ERROR)
    runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(plan)
    assert engine is not None
    context = engine.create_execution_context()
    addresses: dict[str, int] = {}
    for name, array in inputs.items():
        assert context.set_input_shape(name, array.shape)
        addresses[name] = allocate(array.nbytes)
        data = np.ascontiguousarray(array)
        to_device = cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        checked(cuda.cudaMemcpy(addresses[name], data.ctypes.data, data.nbytes, to_device))
        assert context.set_tensor_address(name, addresses[name])
    assert context.infer_shapes() == []
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    aliased = getattr(engine, "get_aliased_input_tensor", lambda name: None)  # it came with 10.15
    allocators: dict[str, Allocator] = {}
    arrays: dict[str, np.ndarray] = {}
    for name in (n for n in names if n not in inputs):
        shape = tuple(context.get_tensor_shape(name))
        if any(extent < 0 for extent in shape):
            allocators[name] = Allocator()
            assert context.set_output_allocator(name, allocators[name])
        else:
            arrays[name] = np.empty(shape, trt.nptype(engine.get_tensor_dtype(name)))
            addresses[name] = addresses[aliased(name)] if aliased(name) else allocate(arrays[name].nbytes)
            assert context.set_tensor_address(name, addresses[name])
    stream = checked(cuda.cudaStreamCreate())
    assert context.execute_async_v3(int(stream))
    checked(cuda.cudaStreamSynchronize(stream))
    for name, allocator in allocators.items():
        arrays[name] = np.empty(allocator.shape, trt.nptype(engine.get_tensor_dtype(name)))
        addresses[name] = allocator.memory
    for name, array in arrays.items():
        to_host = cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        checked(cuda.cudaMemcpy(array.ctypes.data, addresses[name], array.nbytes, to_host))
    for memory in set(addresses.values()):
        checked(cuda.cudaFree(memory))
    return arrays


if __name__ == "__main__":
    for module in sys.argv[4:]:
        sys.modules[module] = None  # type: ignore[assignment]  # import then raises ModuleNotFoundError
    np.savez(sys.argv[3], **execute(Path(sys.argv[1]).read_bytes(), dict(np.load(sys.argv[2]))))
