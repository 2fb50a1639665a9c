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

enum class ScalarType : std::uint8_t { i32, i64, fp32 };

struct ExtraArg {
    ScalarType type;
    Expression value;
    std::optional<Expression> divisor;  // of fp32, which is a quotient
};

struct LaunchedKernel {  // an entry of a PTX file, and how it is launched
    std::string kernel, ptx, sha256, ptx_target;
    std::size_t ptx_bytes;
    std::vector<Expression> launch;
    std::vector<ExtraArg> extra_args;
    std::array<unsigned, 3> cluster;      // blocks in x, y, z that the launch states; 0: the PTX's own, or none
    std::array<unsigned, 3> ptx_cluster;  // the same that the PTX states

    unsigned cluster_blocks() const;  // of a cluster, whoever states it; 0: no clusters
};

struct Workspace {  // memory that the kernels of a variant share, and nobody else; uninitialised at first
    Expression bytes;
    std::int64_t at_most;  // bytes at any shape of the profile
};

struct Variant : LaunchedKernel {  // the base is its first kernel
    std::string id, arch;
    std::size_t call;
    std::vector<DType> dtypes;  // inputs, then outputs
    std::vector<std::string> formats;
    bool linear;          // whether all formats are
    std::int64_t tactic;  // 0: the plugin has no custom tactics
    std::vector<Workspace> workspaces;
    std::vector<LaunchedKernel> then;  // launched after the first one, in this order, with the same tensors

    std::vector<const LaunchedKernel*> kernels() const;
};

struct Manifest {
    std::string name, target;
    std::vector<Symbol> symbols;  // by name
    std::vector<Tensor> tensors;
    std::vector<Call> calls;
    std::vector<Variant> variants;
    bool for_library = false;  // made for a plugin library, whose launches may be more than AOT plugins'

    std::optional<std::size_t> find_input(std::string_view tensor_name) const;
    std::vector<std::string> input_names() const;
};

// Throws Error(definition) with the place of the first mistake.
Manifest parse_manifest(std::string_view text);

// Fills in `variants` from the manifest's list of that name; the rest of `manifest` must be there.
void parse_variants(const JsonNode& list, const SymbolIndex& symbols, Manifest& manifest);

// The kernel's parameters: "ptr" for each of the call's inputs, "i32", "i64" or "fp32" for each extra argument, "ptr"
// for each output and for each workspace.
std::vector<std::string> expected_parameters(const Manifest& manifest, const Variant& variant,
                                             const LaunchedKernel& kernel);

}  // namespace aot
