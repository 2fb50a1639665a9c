// SPDX-License-Identifier: Apache-2.0
// The element types of a bundle's tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/limits.h"
#include "common/shape.h"

namespace aot {

enum class DType : std::uint8_t { fp32, fp16, bf16, fp8, int8, uint8, int32, int64, boolean };

struct DTypeInfo {
    DType dtype;
    const char* name;                 // in the manifest
    std::size_t bytes;                // of one element
    int significand;                  // bits of a floating-point significand with the hidden one; 0 for integers
    std::vector<const char*> descrs;  // NumPy's names for it; the first one is written
};

const DTypeInfo& info(DType dtype);
const DTypeInfo* find_dtype(std::string_view name);  // null if there is none of that name

// Bytes of a tensor; nothing if a dimension is negative or above limits::extent, or the tensor above
// limits::tensor_bytes (zeros left out: what strides are made of must fit, too).
std::optional<std::uint64_t> tensor_bytes(DType dtype, const Shape& shape);

}  // namespace aot
