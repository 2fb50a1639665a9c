// SPDX-License-Identifier: Apache-2.0
// A plan as a run of it sees it: tensors, their addresses, one inference. TensorRT stands behind it (plan.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/dtype.h"
#include "common/shape.h"
#include "cuda/cuda_api.h"

namespace aot {

struct PlanTensor {
    std::string name;
    bool input;
    DType dtype;
    std::string aliases;  // the input whose memory an output shares; empty: none
    Shape shape;          // -1: only known when the plan has run
    bool data_dependent() const;
};

// Memory for an output whose size is only known while the plan runs.
class OutputMemory {
public:
    virtual ~OutputMemory() = default;
    virtual void* resize(std::uint64_t bytes) noexcept = 0;  // null: there is not so much
    virtual void set_shape(const Shape& shape) noexcept = 0;
};

class Inference {
public:
    virtual ~Inference() = default;
    virtual const std::vector<PlanTensor>& tensors() const = 0;  // inputs first
    virtual bool bind(const std::string& name, void* address) = 0;
    virtual bool bind(const std::string& name, OutputMemory& memory) = 0;
    virtual bool enqueue(cuda::Stream stream) = 0;  // false: refused, for the reason in errors()
    virtual std::string errors() const = 0;         // all so far, "; " between
};

}  // namespace aot
