// SPDX-License-Identifier: Apache-2.0
#include "launcher/buffer_set.h"

namespace aot {

BufferSet::BufferSet(const cuda::Session& session, const Manifest& manifest, const std::vector<TensorShape>& shapes,
                     std::size_t guard)
    : session_(session), guard_(guard), slot_(manifest.tensors.size()) {
    for (std::size_t tensor = 0; tensor < manifest.tensors.size(); ++tensor) {
        if (manifest.tensors[tensor].buffer == tensor) {
            slot_[tensor] = buffers_.size();
            owners_.push_back(tensor);
            buffers_.emplace_back(session, shapes[tensor].bytes, guard);
        }
    }
    for (std::size_t tensor = 0; tensor < manifest.tensors.size(); ++tensor) {
        slot_[tensor] = slot_[manifest.tensors[tensor].buffer];
    }
}

Buffer& BufferSet::add_workspace(std::uint64_t bytes) {
    return *workspaces_.emplace_back(std::make_unique<Buffer>(session_, bytes, guard_));
}

std::uint64_t BufferSet::bytes() const {
    std::uint64_t total = 0;
    for (const Buffer& buffer : buffers_) {
        total += buffer.bytes();
    }
    return total;
}

}  // namespace aot
