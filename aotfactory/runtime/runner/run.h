// SPDX-License-Identifier: Apache-2.0
// Runs a plan between guard bands and over poison, as the launcher does with a bundle.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/check.h"
#include "cuda/buffers.h"
#include "runner/plan.h"

namespace aot {

// Memory for an output whose size TensorRT only knows while the plan runs.
class GuardedAllocator : public nvinfer1::IOutputAllocator {
public:
    GuardedAllocator(const cuda::Session& session, std::size_t guard) : session_(session), guard_(guard) {}

    void* reallocateOutputAsync(char const* name, void* current, std::uint64_t size, std::uint64_t alignment,
                                cudaStream_t stream) override;
    void notifyShape(char const* name, nvinfer1::Dims const& dims) noexcept override;

    // The next inference is over this poison, and those after `rest` over nothing: filling would be part of their time.
    void prepare(unsigned char poison, unsigned char guard) {
        poison_ = poison, guard_pattern_ = guard, fill_ = guard_ != 0;
    }
    void rest() { fill_ = false; }
    Buffer* buffer() { return buffer_.get(); }
    const Shape& shape() const { return shape_; }
    const std::string& error() const { return error_; }

private:
    const cuda::Session& session_;
    std::size_t guard_;
    unsigned char poison_ = 0, guard_pattern_ = 0;
    bool fill_ = false;
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

class PlanRun {
public:
    // `inputs`: each input's bytes. `changed`: inputs that the plan may write to, besides those that TensorRT says
    // share their memory with an output. `guard`: bytes around each tensor, 0 for compute-sanitizer.
    PlanRun(const cuda::Session& session, Plan& plan, std::map<std::string, Bytes> inputs,
            std::set<std::string> changed, std::size_t guard);

    // Two passes over different poison. Checks: launch, guard, input, written, repeatable (see execute.h).
    std::vector<Check> check();
    const std::vector<PlanOutput>& outputs() const { return first_; }

    void enqueue();  // one inference on the session's stream; Error(check) with TensorRT's words
    bool data_dependent() const { return !allocators_.empty(); }
    std::uint64_t bytes() const;  // of all tensors, each once, at the sizes of the last pass

private:
    std::vector<PlanOutput> pass(unsigned char poison, unsigned char guard, std::vector<Check>& checks);
    Buffer& buffer(const PlanTensor& tensor);
    void check_guards(unsigned char guard, std::vector<Check>& checks);

    const cuda::Session& session_;
    Plan& plan_;
    std::map<std::string, Bytes> inputs_;
    std::set<std::string> changed_;
    std::size_t guard_;
    std::map<std::string, Buffer> buffers_;  // by the name of the tensor that owns them
    std::map<std::string, std::unique_ptr<GuardedAllocator>> allocators_;
    std::vector<PlanOutput> first_;
};

}  // namespace aot
