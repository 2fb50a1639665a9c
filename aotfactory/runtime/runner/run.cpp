// SPDX-License-Identifier: Apache-2.0
#include "runner/run.h"

#include <algorithm>
#include <cstring>

#include "common/error.h"

namespace aot {

namespace {

// Elements of an output that kept the poison of both passes: nothing wrote them.
std::size_t unwritten(const PlanOutput& first, const PlanOutput& second, unsigned char poison1, unsigned char poison2) {
    const std::size_t size = info(first.dtype).bytes;
    std::size_t count = 0;
    for (std::size_t at = 0; at + size <= std::min(first.data.size(), second.data.size()); at += size) {
        const auto kept = [&](const Bytes& data, unsigned char poison) {
            return std::all_of(data.begin() + static_cast<std::ptrdiff_t>(at),
                               data.begin() + static_cast<std::ptrdiff_t>(at + size),
                               [&](unsigned char byte) { return byte == poison; });
        };
        count += kept(first.data, poison1) && kept(second.data, poison2);
    }
    return count;
}

void* pointer(cuda::DevicePointer address) { return reinterpret_cast<void*>(static_cast<std::uintptr_t>(address)); }

}  // namespace

void* GuardedAllocator::reallocateOutputAsync(char const*, void*, std::uint64_t size, std::uint64_t, cudaStream_t) {
    try {  // what is thrown here would end the process inside TensorRT
        if (!buffer_ || buffer_->bytes() < size) {
            buffer_ = std::make_unique<Buffer>(session_, size, guard_);
        }
        if (fill_) {
            buffer_->fill(poison_);
            buffer_->fill_guards(guard_pattern_);
        }
        return pointer(buffer_->address());
    } catch (const std::exception& error) {
        error_ = error.what();
        return nullptr;
    }
}

void GuardedAllocator::notifyShape(char const*, nvinfer1::Dims const& dims) noexcept {
    shape_.assign(dims.d, dims.d + std::max(dims.nbDims, 0));
}

PlanRun::PlanRun(const cuda::Session& session, Plan& plan, std::map<std::string, Bytes> inputs,
                 std::set<std::string> changed, std::size_t guard)
    : session_(session), plan_(plan), inputs_(std::move(inputs)), changed_(std::move(changed)), guard_(guard) {
    for (const auto& tensor : plan_.tensors()) {
        changed_.insert(tensor.aliases);
        const char* name = tensor.name.c_str();
        bool known = true;
        if (!tensor.aliases.empty()) {
            known = plan_.context().setTensorAddress(name, pointer(buffers_.at(tensor.aliases).address()));
        } else if (tensor.data_dependent()) {
            auto& allocator = allocators_[tensor.name] = std::make_unique<GuardedAllocator>(session_, guard_);
            known = plan_.context().setOutputAllocator(name, allocator.get());
        } else {
            const auto made = buffers_.emplace(tensor.name, Buffer(session_, tensor.bytes(), guard_)).first;
            known = plan_.context().setTensorAddress(name, pointer(made->second.address()));
        }
        if (!known) {
            throw Error(Exit::check,
                        "TensorRT does not take the address of " + quote(tensor.name) + ": " + plan_.errors());
        }
    }
}

void PlanRun::enqueue() {
    // CUstream and cudaStream_t are one type in CUDA's headers; the launcher's declarations have their own.
    if (!plan_.context().enqueueV3(reinterpret_cast<cudaStream_t>(session_.stream()))) {
        std::string reason = plan_.errors();
        for (const auto& [name, allocator] : allocators_) {
            reason += allocator->error().empty() ? "" : "; " + name + ": " + allocator->error();
        }
        throw Error(Exit::check, "TensorRT could not run the plan: " + reason);
    }
}

Buffer& PlanRun::buffer(const PlanTensor& tensor) {
    if (const auto found = allocators_.find(tensor.name); found != allocators_.end()) {
        if (found->second->buffer() == nullptr) {
            throw Error(Exit::check, "TensorRT asked for no memory for " + quote(tensor.name));
        }
        return *found->second->buffer();
    }
    return buffers_.at(tensor.aliases.empty() ? tensor.name : tensor.aliases);
}

std::uint64_t PlanRun::bytes() const {
    std::uint64_t sum = 0;
    for (const auto& [name, data] : inputs_) {
        sum += data.size();
    }
    for (const auto& output : first_) {
        sum += output.data.size();
    }
    return sum;
}

std::vector<PlanOutput> PlanRun::pass(unsigned char poison, unsigned char guard, std::vector<Check>& checks) {
    for (auto& [name, allocator] : allocators_) {
        allocator->prepare(poison, guard);
    }
    for (auto& [name, memory] : buffers_) {
        if (guard_ != 0) {
            memory.fill(poison);
            memory.fill_guards(guard);
        }
        if (const auto data = inputs_.find(name); data != inputs_.end()) {
            memory.upload(data->second);
        }
    }
    enqueue();
    session_.synchronize("the plan");
    for (auto& [name, allocator] : allocators_) {
        allocator->rest();
    }
    std::vector<PlanOutput> outputs;
    for (const auto& tensor : plan_.tensors()) {
        if (tensor.input) {
            continue;
        }
        PlanTensor made = tensor;
        if (const auto found = allocators_.find(tensor.name); found != allocators_.end()) {
            made.shape = found->second->shape();
        }
        Buffer& memory = buffer(tensor);
        if (made.data_dependent() || made.bytes() > memory.bytes()) {
            throw Error(Exit::check, "TensorRT gave no usable shape for " + quote(tensor.name));
        }
        Bytes data(static_cast<std::size_t>(made.bytes()));
        memory.download(0, data.size(), data.data());
        outputs.push_back({made.name, made.dtype, made.shape, std::move(data)});
    }
    if (guard_ != 0) {
        check_guards(guard, checks);
    }
    return outputs;
}

void PlanRun::check_guards(unsigned char guard, std::vector<Check>& checks) {
    for (const auto& tensor : plan_.tensors()) {
        if (tensor.aliases.empty()) {
            const std::string damage = buffer(tensor).guard_damage(guard);
            checks.push_back({"guard", tensor.name, damage.empty() ? "passed" : "failed", damage});
        }
    }
}

std::vector<Check> PlanRun::check() {
    constexpr unsigned char poison[] = {0xA5, 0x5A}, guard[] = {0xC3, 0x3C};
    std::vector<Check> checks = {{"launch", "plan", "passed", ""}};
    first_ = pass(poison[0], guard[0], checks);
    for (const auto& [name, data] : inputs_) {
        if (changed_.count(name) == 0) {
            Bytes now(data.size());
            buffers_.at(name).download(0, now.size(), now.data());
            checks.push_back(
                {"input", name, now == data ? "passed" : "failed", now == data ? "" : "the plan wrote to it"});
        }
    }
    if (guard_ == 0) {
        return checks;
    }
    checks.erase(std::remove_if(checks.begin(), checks.end(),
                                [](const Check& c) { return c.name == "guard" && c.status == "passed"; }),
                 checks.end());
    const auto second = pass(poison[1], guard[1], checks);
    for (std::size_t i = 0; i < first_.size(); ++i) {
        const auto& tensor = *std::find_if(plan_.tensors().begin(), plan_.tensors().end(),
                                           [&](const auto& t) { return t.name == first_[i].name; });
        if (tensor.aliases.empty()) {
            const std::size_t count = unwritten(first_[i], second[i], poison[0], poison[1]);
            checks.push_back({"written", tensor.name, count == 0 ? "passed" : "failed",
                              count == 0 ? "" : std::to_string(count) + " elements were never written"});
        }
        const bool equal = first_[i].shape == second[i].shape && first_[i].data == second[i].data;
        checks.push_back(
            {"repeatable", tensor.name, equal ? "passed" : "failed", equal ? "" : "two runs on the same input differ"});
    }
    return checks;
}

}  // namespace aot
