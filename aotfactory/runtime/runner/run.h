// SPDX-License-Identifier: Apache-2.0
// Runs a plan and checks what it did to memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cuda/checked_run.h"
#include "runner/inference.h"

namespace aot {

// An output's memory between guard bands, made when TensorRT asks for it.
class GuardedOutput : public OutputMemory {
public:
    GuardedOutput(const cuda::Session& session, std::size_t guard) : session_(session), guard_(guard) {}

    void* resize(std::uint64_t bytes) noexcept override;
    void set_shape(const Shape& shape) noexcept override { shape_ = shape; }

    // Memory that is made in the next inference holds these patterns; without them none, as filling takes time.
    struct Patterns {
        unsigned char content, guard;
    };
    void prepare(std::optional<Patterns> patterns) { patterns_ = patterns; }

    Buffer* buffer() { return buffer_.get(); }
    const Shape& shape() const { return shape_; }
    const std::string& error() const { return error_; }

private:
    const cuda::Session& session_;
    std::size_t guard_;
    std::optional<Patterns> patterns_;
    std::unique_ptr<Buffer> buffer_;
    Shape shape_;
    std::string error_;
};

struct PlanOutput {
    std::string name;
    DType dtype;
    Shape shape;
    Bytes data;
};

class PlanRun : private CheckedRun {
public:
    // `inputs`: each input's bytes. `changed`: inputs that the plan may write to, besides those that TensorRT says
    // share their memory with an output. `tight`: see CheckedRun. Throws Error(check) if TensorRT does not take an
    // address.
    PlanRun(const cuda::Session& session, Inference& plan, std::map<std::string, Bytes> inputs,
            std::set<std::string> changed, bool tight);

    // The checks of CheckedRun; false if the plan could not be run.
    bool check(std::vector<Check>& checks);
    const std::vector<PlanOutput>& outputs() const { return outputs_; }  // of the first pass

    void enqueue();  // one inference on the session's stream; Error(check) with TensorRT's words
    bool data_dependent() const { return !growing_.empty(); }
    std::uint64_t bytes() const;  // of all tensors, each once, at the sizes of the first pass

private:
    std::optional<Check> run_once() override;
    std::vector<Memory> memories() override;
    void prepare(std::optional<unsigned char> poison) override;
    void look(std::vector<Check>& checks) override;

    std::vector<const PlanTensor*> owners() const;  // tensors that have memory of their own
    Shape shape(const PlanTensor& tensor) const;    // as the last pass made it

    const cuda::Session& session_;
    Inference& plan_;
    std::map<std::string, Bytes> inputs_;
    std::set<std::string> changed_;
    bool tight_;
    std::map<std::string, Buffer> buffers_;  // by the name of the tensor that owns them
    std::map<std::string, std::unique_ptr<GuardedOutput>> growing_;
    std::vector<PlanOutput> outputs_;
};

}  // namespace aot
