// SPDX-License-Identifier: Apache-2.0
#include "runner/run.h"

#include <algorithm>

#include "common/error.h"
#include "common/limits.h"
#include "cuda/poison.h"

namespace aot {

namespace {

void* pointer(cuda::DevicePointer address) { return reinterpret_cast<void*>(static_cast<std::uintptr_t>(address)); }

}  // namespace

bool PlanTensor::data_dependent() const {
    return std::any_of(shape.begin(), shape.end(), [](std::int64_t extent) { return extent < 0; });
}

void* GuardedOutput::resize(std::uint64_t bytes) noexcept {
    try {  // what is thrown here would end the process inside TensorRT
        if (!buffer_ || buffer_->bytes() < bytes) {
            buffer_ = std::make_unique<Buffer>(session_, bytes, guard_);
            if (patterns_) {
                buffer_->fill(patterns_->content);
                buffer_->fill_guards(patterns_->guard);
            }
        }
        return pointer(buffer_->address());
    } catch (const std::exception& error) {
        error_ = error.what();
        return nullptr;
    }
}

PlanRun::PlanRun(const cuda::Session& session, Inference& plan, std::map<std::string, Bytes> inputs,
                 std::set<std::string> changed, bool tight)
    : session_(session), plan_(plan), inputs_(std::move(inputs)), changed_(std::move(changed)), tight_(tight) {
    for (const auto& name : changed_) {
        if (inputs_.count(name) == 0) {
            throw Error(Exit::usage, "--in-place: the plan has no input " + quote(name));
        }
    }
    const std::size_t guard = tight ? 0 : guard_bytes;
    for (const auto& tensor : plan_.tensors()) {
        bool known = true;
        if (!tensor.aliases.empty()) {
            changed_.insert(tensor.aliases);
            known = plan_.bind(tensor.name, pointer(buffers_.at(tensor.aliases).address()));
        } else if (tensor.data_dependent()) {
            auto& memory = growing_[tensor.name] = std::make_unique<GuardedOutput>(session_, guard);
            known = plan_.bind(tensor.name, *memory);
        } else {
            const auto bytes = tensor_bytes(tensor.dtype, tensor.shape);
            if (!bytes) {
                throw Error(Exit::usage, quote(tensor.name) + " of shape " + describe(tensor.shape) +
                                             " is larger than " + std::to_string(limits::tensor_bytes) + " bytes");
            }
            const auto made = buffers_.emplace(tensor.name, Buffer(session_, *bytes, guard)).first;
            known = plan_.bind(tensor.name, pointer(made->second.address()));
        }
        if (!known) {
            throw Error(Exit::check,
                        "TensorRT does not take the address of " + quote(tensor.name) + ": " + plan_.errors());
        }
    }
}

bool PlanRun::check(std::vector<Check>& checks) {
    const auto data = CheckedRun::check("plan", tight_, checks);
    if (!data) {
        outputs_.clear();
        return false;
    }
    std::map<std::string, const Bytes*> written;
    std::size_t next = 0;
    for (const Memory& memory : memories()) {
        if (memory.written) {
            written[memory.name] = &data->at(next++);
        }
    }
    for (auto& output : outputs_) {
        const auto& tensor = *std::find_if(plan_.tensors().begin(), plan_.tensors().end(),
                                           [&](const PlanTensor& each) { return each.name == output.name; });
        output.data = *written.at(tensor.aliases.empty() ? tensor.name : tensor.aliases);
    }
    return true;
}

void PlanRun::enqueue() {
    if (!plan_.enqueue(session_.stream())) {
        std::string reason = plan_.errors();
        for (const auto& [name, memory] : growing_) {
            reason += memory->error().empty() ? "" : "; " + name + ": " + memory->error();
        }
        throw Error(Exit::check, "TensorRT could not run the plan: " + reason);
    }
}

std::uint64_t PlanRun::bytes() const {
    std::uint64_t sum = 0;
    for (const auto& [name, data] : inputs_) {
        sum += data.size();
    }
    for (const auto& output : outputs_) {
        sum += output.data.size();
    }
    return sum;
}

std::optional<Check> PlanRun::run_once() {
    try {
        enqueue();
        session_.synchronize("the plan");
    } catch (const Error& error) {
        return verdict("launch", "plan", error.what());
    }
    for (const PlanTensor* tensor : owners()) {
        const auto bytes = tensor_bytes(tensor->dtype, shape(*tensor));
        const auto found = growing_.find(tensor->name);
        if (found != growing_.end() &&
            (found->second->buffer() == nullptr || !bytes || *bytes > found->second->buffer()->bytes())) {
            return verdict("launch", "plan", "TensorRT gave no usable shape or memory for " + quote(tensor->name));
        }
    }
    for (auto& [name, memory] : growing_) {
        memory->prepare(std::nullopt);
    }
    return std::nullopt;
}

std::vector<Memory> PlanRun::memories() {
    std::vector<Memory> result;
    for (const PlanTensor* tensor : owners()) {
        const auto data = inputs_.find(tensor->name);
        const auto growing = growing_.find(tensor->name);
        Buffer* buffer = growing != growing_.end() ? growing->second->buffer() : &buffers_.at(tensor->name);
        const bool written = !tensor->input || changed_.count(tensor->name) != 0;
        result.push_back({tensor->name, tensor->dtype, buffer, tensor_bytes(tensor->dtype, shape(*tensor)).value_or(0),
                          data == inputs_.end() ? nullptr : &data->second, written});
    }
    return result;
}

void PlanRun::prepare(std::optional<unsigned char> poison) {
    const auto all = owners();
    for (std::size_t i = 0; poison && i < all.size(); ++i) {
        if (const auto found = growing_.find(all[i]->name); found != growing_.end()) {
            found->second->prepare(GuardedOutput::Patterns{*poison, guard_pattern(*poison, i)});
        }
    }
}

void PlanRun::look(std::vector<Check>&) {
    for (const PlanTensor& tensor : plan_.tensors()) {
        if (!tensor.input) {
            outputs_.push_back({tensor.name, tensor.dtype, shape(tensor), {}});
        }
    }
}

std::vector<const PlanTensor*> PlanRun::owners() const {
    std::vector<const PlanTensor*> result;
    for (const PlanTensor& tensor : plan_.tensors()) {
        if (tensor.aliases.empty()) {
            result.push_back(&tensor);
        }
    }
    return result;
}

Shape PlanRun::shape(const PlanTensor& tensor) const {
    const auto found = growing_.find(tensor.name);
    return found != growing_.end() ? found->second->shape() : tensor.shape;
}

}  // namespace aot
