// SPDX-License-Identifier: Apache-2.0
#include "common/dtype.h"
#include "common/limits.h"

#include <algorithm>
#include <array>

namespace aot {

namespace {
// NumPy has no bf16 and no fp8: ml_dtypes saves them as void of their size, others as raw unsigned integers.
const std::array<DTypeInfo, 9>& table() {
    static const std::array<DTypeInfo, 9> types = {{
        {DType::fp32, "fp32", 4, 24, {"<f4"}},
        {DType::fp16, "fp16", 2, 11, {"<f2"}},
        {DType::bf16, "bf16", 2, 8, {"<V2", "|V2", "<u2"}},
        {DType::fp8, "fp8", 1, 4, {"<V1", "|V1", "|u1"}},
        {DType::int8, "int8", 1, 0, {"|i1"}},
        {DType::uint8, "uint8", 1, 0, {"|u1"}},
        {DType::int32, "int32", 4, 0, {"<i4"}},
        {DType::int64, "int64", 8, 0, {"<i8"}},
        {DType::boolean, "bool", 1, 0, {"|b1"}},
    }};
    return types;
}
}  // namespace

const DTypeInfo& info(DType dtype) { return table()[static_cast<std::size_t>(dtype)]; }

const DTypeInfo* find_dtype(std::string_view name) {
    for (const DTypeInfo& entry : table()) {
        if (name == entry.name) {
            return &entry;
        }
    }
    return nullptr;
}

std::optional<std::uint64_t> tensor_bytes(DType dtype, const Shape& shape) {
    auto widest = static_cast<std::int64_t>(info(dtype).bytes);
    bool empty = false;
    for (const std::int64_t extent : shape) {
        if (extent < 0 || extent > limits::extent ||
            __builtin_mul_overflow(widest, std::max<std::int64_t>(extent, 1), &widest)) {
            return std::nullopt;
        }
        empty = empty || extent == 0;
    }
    if (widest > limits::tensor_bytes) {
        return std::nullopt;
    }
    return empty ? 0 : static_cast<std::uint64_t>(widest);
}

}  // namespace aot
