// SPDX-License-Identifier: Apache-2.0
#include "plugin/tensors.h"

#include <algorithm>
#include <array>
#include <map>

#include "bundle/dimensions.h"
#include "common/error.h"

namespace aot::plugin {

namespace {

// In the order of nvinfer1::TensorFormat, named as the manifest names them.
constexpr std::array<const char*, 13> format_names = {"linear",   "chw2",  "hwc8",   "chw4", "chw16",
                                                      "chw32",    "dhwc8", "cdhw32", "hwc",  "dla_linear",
                                                      "dla_hwc4", "hwc16", "dhwc"};

}  // namespace

nvinfer1::DataType to_tensorrt(DType dtype) {
    using nvinfer1::DataType;
    switch (dtype) {
        case DType::fp32: return DataType::kFLOAT;
        case DType::fp16: return DataType::kHALF;
        case DType::bf16: return DataType::kBF16;
        case DType::fp8: return DataType::kFP8;
        case DType::int8: return DataType::kINT8;
        case DType::uint8: return DataType::kUINT8;
        case DType::int32: return DataType::kINT32;
        case DType::int64: return DataType::kINT64;
        case DType::boolean: break;
    }
    return DataType::kBOOL;
}

Shape to_shape(const nvinfer1::Dims& dims) { return {dims.d, dims.d + std::max(dims.nbDims, 0)}; }

bool takes(const Variant& variant, std::size_t index, const nvinfer1::PluginTensorDesc& tensor) {
    const auto format = static_cast<std::size_t>(tensor.format);
    return to_tensorrt(variant.dtypes[index]) == tensor.type && format < format_names.size() &&
           variant.formats[index] == format_names[format];
}

bool may_take(const Part& part, const std::vector<nvinfer1::Dims>& inputs) {
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        const auto& shape = part.input(i).shape;
        if (static_cast<std::size_t>(std::max(inputs[i].nbDims, 0)) != shape.size()) {
            return false;
        }
        for (std::size_t axis = 0; axis < shape.size(); ++axis) {
            const auto form = shape[axis].upper.linear();
            const bool constant = form && form->multiples.empty();
            if (constant && inputs[i].d[axis] != -1 && inputs[i].d[axis] != form->constant) {
                return false;
            }
        }
    }
    return true;
}

std::vector<std::int64_t> symbols_at(const Part& part, const std::vector<Shape>& inputs) {
    std::map<std::string, Shape> shapes;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        const auto [place, is_new] = shapes.emplace(part.input(i).name, inputs[i]);
        if (!is_new && place->second != inputs[i]) {  // one tensor, given twice
            throw Error(Exit::usage, "inputs of the same tensor " + quote(part.input(i).name) + " have other shapes: " +
                                         describe(place->second) + " and " + describe(inputs[i]));
        }
    }
    return bind_symbols(part.manifest(), shapes, ProfilePoint::opt, false);
}

}  // namespace aot::plugin
