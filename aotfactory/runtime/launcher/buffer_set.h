// SPDX-License-Identifier: Apache-2.0
// Device memory of all of a bundle's tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "bundle/evaluate.h"
#include "cuda/buffers.h"

namespace aot {

// One buffer for each tensor that owns memory, shared by the tensors that alias it; and the workspaces of the variants
// that run.
class BufferSet {
public:
    BufferSet(const cuda::Session& session, const Manifest& manifest, const std::vector<TensorShape>& shapes,
              std::size_t guard);

    const std::vector<std::size_t>& owners() const { return owners_; }  // tensors that own memory
    Buffer& of(std::size_t tensor) { return buffers_[slot_[tensor]]; }
    std::uint64_t bytes() const;  // of the tensors

    Buffer& add_workspace(std::uint64_t bytes);
    void drop_workspaces() { workspaces_.clear(); }
    const std::vector<std::unique_ptr<Buffer>>& workspaces() const { return workspaces_; }

private:
    const cuda::Session& session_;
    std::size_t guard_;
    std::vector<std::size_t> owners_, slot_;
    std::vector<Buffer> buffers_;
    std::vector<std::unique_ptr<Buffer>> workspaces_;  // each stays where it is
};

}  // namespace aot
