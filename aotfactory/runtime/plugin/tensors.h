// SPDX-License-Identifier: Apache-2.0
// TensorRT's descriptions of tensors, and a part's.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <string>
#include <vector>

#include "plugin/part.h"

namespace aot::plugin {

nvinfer1::DataType to_tensorrt(DType dtype);

Shape to_shape(const nvinfer1::Dims& dims);

// Whether the variant takes tensor number `index`, inputs before outputs, as it is described.
bool takes(const Variant& variant, std::size_t index, const nvinfer1::PluginTensorDesc& tensor);

// Whether the part has inputs of such shapes, as far as they are known: -1 may be anything that the part's profile
// allows.
bool may_take(const Part& part, const std::vector<nvinfer1::Dims>& inputs);

// The symbols' values at these inputs. Throws Error(usage) where the part was not compiled for them.
std::vector<std::int64_t> symbols_at(const Part& part, const std::vector<Shape>& inputs);

// As getOutputShapes. Throws Error(usage) where the part was not compiled for these inputs.
void build_output_shapes(const Part& part, const nvinfer1::DimsExprs* inputs, nvinfer1::DimsExprs* outputs,
                         nvinfer1::IExprBuilder& builder);

}  // namespace aot::plugin
