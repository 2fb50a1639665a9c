// SPDX-License-Identifier: Apache-2.0
// The TensorRT of this process. It is not linked: the program that loads this library has it loaded, or there is none.
#pragma once

#include <NvInferRuntime.h>

namespace aot::plugin {

nvinfer1::IPluginRegistry* host_registry();  // null if there is none
nvinfer1::ILogger* host_logger();            // null if there is none

}  // namespace aot::plugin
