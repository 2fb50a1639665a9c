// SPDX-License-Identifier: Apache-2.0
// Runs a bundle's calls and checks what they did to memory.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bundle/bundle.h"
#include "bundle/evaluate.h"
#include "common/check.h"
#include "cuda/checked_run.h"
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
    // `inputs`: each input tensor's bytes. `tight`: see CheckedRun.
    Executor(const cuda::Session& session, const Bundle& bundle, std::vector<std::int64_t> symbols,
             std::map<std::size_t, Bytes> inputs, bool tight);

    // The checks of CheckedRun, and
    //   size        a size tensor's value lies between 0 and the upper bound
    RunResult run(const std::vector<const Variant*>& variants);

    // All launches, in order. The workspaces of `buffers` are made anew: what was prepared with it before is void.
    std::vector<PreparedLaunch> prepare(const std::vector<const Variant*>& variants, BufferSet& buffers);
    void upload_inputs(BufferSet& buffers) const;

    const cuda::Session& session;
    const Bundle& bundle;
    const std::vector<std::int64_t> symbols;
    const std::vector<TensorShape> shapes;
    const std::map<std::size_t, Bytes> inputs;
    BufferSet& buffers() { return buffers_; }
    const Kernel& kernel(const LaunchedKernel& launched) { return kernels_.get(launched); }

private:
    const bool tight_;
    Kernels kernels_;
    BufferSet buffers_;
};

}  // namespace aot
