// SPDX-License-Identifier: Apache-2.0
// Runs a bundle's calls and checks what they did to memory.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "bundle/bundle.h"
#include "bundle/evaluate.h"
#include "common/check.h"
#include "launcher/buffer_set.h"
#include "launcher/kernels.h"

namespace aot {

struct Output {
    std::size_t tensor;
    Shape dims;  // data-dependent dimensions at what the run found
    Bytes data;
};

struct RunResult {
    std::vector<Check> checks;
    std::vector<Output> outputs;  // of the first pass; none if a launch failed
    bool broken = false;          // a fault left the CUDA context unusable
    bool passed() const { return all_passed(checks); }
};

// Everything that stays the same for all tactics.
class Executor {
public:
    // `inputs`: each input tensor's bytes. `tight`: allocations of exactly a tensor's size and no writes to outputs
    // before the kernels, for compute-sanitizer; without it, guard bands and poison.
    Executor(const cuda::Session& session, const Bundle& bundle, std::vector<std::int64_t> symbols,
             std::map<std::size_t, Bytes> inputs, bool tight);

    // Checks, each with the tensor or call as its subject:
    //   launch      every kernel was launched and ended without a fault
    //   guard       nothing was stored within 64 KiB around a tensor
    //   input       an input that no output shares was not written
    //   size        a size tensor's value lies between 0 and the upper bound
    //   written     every element of an output was written: none keeps two different poisons in two passes
    //   repeatable  no element depends on poison or guards; skipped if results vary between equal passes anyway
    RunResult run(const std::vector<const Variant*>& variants);

    std::vector<PreparedLaunch> prepare(const std::vector<const Variant*>& variants, BufferSet& buffers);
    void upload_inputs(BufferSet& buffers) const;

    const cuda::Session& session;
    const Bundle& bundle;
    const std::vector<std::int64_t> symbols;
    const std::vector<TensorShape> shapes;
    BufferSet& buffers() { return buffers_; }
    const Kernel& kernel(const Variant& variant) { return kernels_.get(variant); }

private:
    void pass(std::vector<PreparedLaunch>& launches, unsigned char poison, RunResult& result);
    std::map<std::size_t, Shape> actual_dims(RunResult& result);
    void check_inputs(RunResult& result);
    void check_poison(std::vector<PreparedLaunch>& launches, const std::map<std::size_t, Bytes>& first,
                      RunResult& result);

    const std::map<std::size_t, Bytes> inputs_;
    const bool tight_;
    std::vector<std::size_t> written_;  // tensors that own a buffer which a call writes
    Kernels kernels_;
    BufferSet buffers_;
};

}  // namespace aot
