// SPDX-License-Identifier: Apache-2.0
#include "cuda/buffers.h"

#include <algorithm>

namespace aot {

Buffer::Buffer(const cuda::Session& session, std::uint64_t bytes, std::size_t guard)
    : session_(&session), bytes_(bytes), guard_(guard), memory_(session.api, bytes + 2 * guard) {}

void Buffer::fill(unsigned char pattern) {
    if (bytes_ != 0) {
        session_->api.check(session_->api.cuMemsetD8Async(address(), pattern, bytes_, session_->stream()),
                            "cuMemsetD8Async");
    }
}

void Buffer::fill_guards(unsigned char pattern) {
    const auto& api = session_->api;
    if (guard_ != 0) {
        api.check(api.cuMemsetD8Async(memory_.address(), pattern, guard_, session_->stream()), "cuMemsetD8Async");
        api.check(api.cuMemsetD8Async(address() + bytes_, pattern, guard_, session_->stream()), "cuMemsetD8Async");
    }
}

void Buffer::upload(const Bytes& data) {
    const auto& api = session_->api;
    if (!data.empty()) {
        api.check(api.cuMemcpyHtoDAsync_v2(address(), data.data(), data.size(), session_->stream()),
                  "cuMemcpyHtoDAsync");
        session_->synchronize("upload");
    }
}

void Buffer::copy_from(const Buffer& other) {
    const auto& api = session_->api;
    if (bytes_ != 0) {
        api.check(api.cuMemcpyDtoDAsync_v2(address(), other.address(), bytes_, session_->stream()),
                  "cuMemcpyDtoDAsync");
    }
}

void Buffer::download(std::uint64_t offset, std::size_t count, unsigned char* target) const {
    const auto& api = session_->api;
    if (count != 0) {
        api.check(api.cuMemcpyDtoHAsync_v2(target, address() + offset, count, session_->stream()), "cuMemcpyDtoHAsync");
        session_->synchronize("download");
    }
}

std::string Buffer::guard_damage(unsigned char pattern) const {
    std::string damage;
    Bytes guard(guard_);
    for (const bool behind : {false, true}) {
        const auto& api = session_->api;
        const cuda::DevicePointer start = behind ? address() + bytes_ : memory_.address();
        if (guard_ == 0) {
            continue;
        }
        api.check(api.cuMemcpyDtoHAsync_v2(guard.data(), start, guard_, session_->stream()), "cuMemcpyDtoHAsync");
        session_->synchronize("download");
        const auto touched = guard_ - static_cast<std::size_t>(std::count(guard.begin(), guard.end(), pattern));
        if (touched == 0) {
            continue;
        }
        const auto other = [&](unsigned char byte) { return byte != pattern; };
        // the byte nearest to the tensor
        const auto distance = behind ? std::find_if(guard.begin(), guard.end(), other) - guard.begin()
                                     : std::find_if(guard.rbegin(), guard.rend(), other) - guard.rbegin() + 1;
        damage += (damage.empty() ? "" : "; ") + std::to_string(touched) + " bytes changed " +
                  (behind ? "behind" : "before") + " the tensor, the nearest " + std::to_string(distance) +
                  (behind ? " bytes behind its end" : " bytes before its start");
    }
    return damage;
}

void Buffer::read(std::uint64_t bytes,
                  const std::function<void(std::uint64_t, const unsigned char*, std::size_t)>& visit) const {
    constexpr std::uint64_t piece = 64u << 20;
    Bytes data(static_cast<std::size_t>(std::min(bytes, piece)));
    for (std::uint64_t offset = 0; offset < bytes; offset += piece) {
        const auto count = static_cast<std::size_t>(std::min(piece, bytes - offset));
        download(offset, count, data.data());
        visit(offset, data.data(), count);
    }
}

}  // namespace aot
