# SPDX-License-Identifier: Apache-2.0
# TENSORRT_INCLUDE and CUDA_INCLUDE: the headers that runner and plugin are compiled with.
set(TENSORRT_ROOT "$ENV{TENSORRT_ROOT}" CACHE PATH "Directory of TensorRT's include/ and lib/")
find_path(TENSORRT_INCLUDE NvInferRuntime.h HINTS "${TENSORRT_ROOT}/include" PATHS /usr/include/x86_64-linux-gnu /usr/include/aarch64-linux-gnu)
if(NOT TENSORRT_INCLUDE)
  message(FATAL_ERROR "NvInferRuntime.h not found: TensorRT's headers come with its tar and Debian packages, not with pip; "
                      "give their place with -DTENSORRT_ROOT=")
endif()
find_path(CUDA_INCLUDE cuda_runtime_api.h HINTS "$ENV{CUDA_HOME}/include" PATHS /usr/local/cuda/include ${CUDA_HEADERS})
if(NOT CUDA_INCLUDE)
  message(FATAL_ERROR "cuda_runtime_api.h not found: TensorRT's headers need those of the CUDA toolkit; set CUDA_HOME")
endif()
