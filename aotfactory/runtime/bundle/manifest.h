// SPDX-License-Identifier: Apache-2.0
// A bundle's manifest ("aotfactory.bundle/1"), parsed and checked: whatever holds one may rely on its consistency.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bundle/expression.h"
#include "common/dtype.h"
#include "common/shape.h"

namespace aot {

struct Symbol {  // a dynamic dimension; 0 <= min <= opt <= max
    std::string name;
    std::int64_t min, opt, max;
};

struct Extent {                              // one dimension of a tensor
    Expression upper;                        // its value; for a size tensor the upper bound, which buffers are made for
    std::optional<std::size_t> size_tensor;  // the tensor that holds the extent after the run: a scalar int32 or int64
    std::optional<Expression> opt;           // of a size tensor: the extent that TensorRT tunes for
};

enum class Role : std::uint8_t { input, output, internal };

struct Tensor {
    std::string name;
    Role role;
    DType dtype;
    std::vector<Extent> shape;
    std::optional<std::size_t> aliases;  // a tensor that exists before the call that makes this one
    std::size_t buffer;                  // the tensor that owns the memory: itself, or where the aliases lead
    bool data_dependent() const;
};

struct Call {  // in execution order; the inputs exist before it, each output is made by one call
    std::string name, plugin;
    std::vector<std::size_t> inputs, outputs;
};

enum LaunchField : std::size_t { grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_mem, launch_fields };
inline constexpr std::array<const char*, launch_fields> launch_field_names = {
    "grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z", "shared_mem"};

struct Variant {
    std::string id, arch, kernel, ptx, sha256, ptx_target;
    std::size_t call, ptx_bytes;
    std::vector<DType> dtypes;  // inputs, then outputs
    std::vector<std::string> formats;
    bool linear;          // whether all formats are
    std::int64_t tactic;  // 0: the plugin has no custom tactics
    std::vector<Expression> launch;
    std::vector<Expression> extra_args;
};

struct Manifest {
    std::string name, target;
    std::vector<Symbol> symbols;  // by name
    std::vector<Tensor> tensors;
    std::vector<Call> calls;
    std::vector<Variant> variants;

    std::optional<std::size_t> find_input(std::string_view tensor_name) const;
    std::vector<std::string> input_names() const;
};

// Throws Error(definition) with the place of the first mistake.
Manifest parse_manifest(std::string_view text);

// Fills in `variants` from the manifest's list of that name; the rest of `manifest` must be there.
void parse_variants(const JsonNode& list, const SymbolIndex& symbols, Manifest& manifest);

// The kernel's parameters: "ptr" for each of the call's inputs, "i32" for each extra argument, "ptr" for each output.
std::vector<std::string> expected_parameters(const Manifest& manifest, const Variant& variant);

}  // namespace aot
