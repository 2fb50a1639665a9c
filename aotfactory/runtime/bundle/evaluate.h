// SPDX-License-Identifier: Apache-2.0
// From a manifest and the inputs' shapes to concrete shapes, kernels and launches. No GPU is involved.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bundle/manifest.h"

namespace aot {

struct TensorShape {
    Shape dims;  // data-dependent dimensions at their upper bound
    std::int64_t elements;
    std::uint64_t bytes;
};

class Scalar {  // the value of an extra argument
public:
    explicit Scalar(std::int32_t value) : type_(ScalarType::i32), narrow_(value) {}
    explicit Scalar(std::int64_t value) : type_(ScalarType::i64), wide_(value) {}
    explicit Scalar(float value) : type_(ScalarType::fp32), real_(value) {}

    // Where a kernel's parameter is copied from: as long as this is where it is.
    void* address();
    Json json() const;

private:
    ScalarType type_;
    std::int32_t narrow_ = 0;
    std::int64_t wide_ = 0;
    float real_ = 0;
};

struct Launch {
    const Variant* variant;
    const LaunchedKernel* kernel;  // one of the variant's
    std::array<unsigned, 3> grid, block;
    unsigned shared_mem;  // bytes, dynamic
    std::vector<Scalar> extra_args;
    bool empty;  // a grid dimension is 0: there is nothing to launch
};

// One per tensor. Throws Error(definition) for a negative dimension, a tensor that is too large, or two tensors that
// share a buffer and differ in shape.
std::vector<TensorShape> evaluate_shapes(const Manifest& manifest, const std::vector<std::int64_t>& symbols);

// Throws Error(definition) for a value that CUDA's launch or an argument can't hold.
Launch evaluate_launch(const Variant& variant, const LaunchedKernel& kernel, const std::vector<std::int64_t>& symbols);

// All kernels' launches of a variant, in their order.
std::vector<Launch> evaluate_launches(const Variant& variant, const std::vector<std::int64_t>& symbols);

// Bytes of each workspace. Throws Error(definition) for one that is negative or too large.
std::vector<std::uint64_t> evaluate_workspaces(const Variant& variant, const std::vector<std::int64_t>& symbols);

// The variants of a call, among those that `wanted` takes, that run on the architecture: its own, else those of the
// newest plain PTX target, all of one architecture. aotfactory/compiler/select.py chooses the same.
std::vector<const Variant*> usable_variants(const Manifest& manifest, std::size_t call, const std::string& arch,
                                            const std::function<bool(const Variant&)>& wanted);

// The architectures that the bundle has variants for, in the order of the manifest.
std::vector<std::string> architectures(const Manifest& manifest);

// The tactics that any call has for the architecture, in the order of the manifest; a single 0 if there are none.
std::vector<std::int64_t> tactics(const Manifest& manifest, const std::string& arch);

// One variant per call, with the tensors' dtypes and linear formats: of the architecture itself, else of the newest
// plain PTX target that runs on it. A call that lacks the tactic, or all calls if none is given, take the first one
// listed. Throws Error(missing) if a call has no variant, Error(usage) if no call has the tactic.
std::vector<const Variant*> select_variants(const Manifest& manifest, const std::string& arch,
                                            std::optional<std::int64_t> tactic);

}  // namespace aot
