// SPDX-License-Identifier: Apache-2.0
// Device memory of a tensor, between guard bands that show a store outside of a tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/npy.h"
#include "cuda/cuda_driver.h"

namespace aot {

inline constexpr std::size_t guard_bytes = 64u << 10;  // a multiple of 256, which keeps TensorRT's alignment

// One tensor's memory; the upper guard begins with the first byte behind the tensor. All work is on the session's
// stream.
class Buffer {
public:
    // `guard` bytes before and behind; 0 leaves the bounds to compute-sanitizer, which knows every allocation's.
    Buffer(const cuda::Session& session, std::uint64_t bytes, std::size_t guard);

    cuda::DevicePointer address() const { return memory_.address() + guard_; }
    std::uint64_t bytes() const { return bytes_; }

    void fill(unsigned char pattern);         // the tensor
    void fill_guards(unsigned char pattern);  // what is around it
    void upload(const Bytes& data);
    void copy_from(const Buffer& other);
    void download(std::uint64_t offset, std::size_t count, unsigned char* target) const;

    // Describes the bytes of the guards that no longer hold the pattern; empty if all do.
    std::string guard_damage(unsigned char pattern) const;

    // Calls compare(offset, device bytes, count) for the first `bytes` bytes, in pieces of a multiple of 8 bytes.
    void read(std::uint64_t bytes,
              const std::function<void(std::uint64_t, const unsigned char*, std::size_t)>& visit) const;

private:
    const cuda::Session* session_;
    std::uint64_t bytes_;
    std::size_t guard_;
    cuda::Memory memory_;
};

}  // namespace aot
