// SPDX-License-Identifier: Apache-2.0
// A plugin's attributes: the values that a call was compiled for, and the fields that TensorRT brings.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "common/json_node.h"

namespace aot::plugin {

class Attribute {
public:
    // From the manifest: {"type": "int32[]", "value": [1, 1]}. Throws Error(definition).
    Attribute(std::string name, const JsonNode& node);

    const std::string& name() const { return name_; }

    // As TensorRT's own creators of Python plugins declare the type, so that models stay as they are.
    nvinfer1::PluginFieldType field_type() const { return field_type_; }

    // Whether the field holds the value, as it is or as TensorRT's ONNX parser passes it on: integers in any width,
    // floats rounded to float32, texts with a zero byte at the end.
    bool matches(const nvinfer1::PluginField& field) const;

    std::string describe() const;  // "pads=[1,1,1,1]"

private:
    using Integers = std::vector<std::int64_t>;
    using Floats = std::vector<double>;

    std::string name_, shown_;
    nvinfer1::PluginFieldType field_type_;
    std::variant<Integers, Floats, std::string> value_;
};

}  // namespace aot::plugin
