// SPDX-License-Identifier: Apache-2.0
#include "launcher/execute.h"

#include <algorithm>
#include <set>

namespace aot {

namespace {

std::set<std::size_t> written_buffers(const Manifest& manifest) {
    std::set<std::size_t> result;
    for (const Call& call : manifest.calls) {
        for (const std::size_t output : call.outputs) {
            result.insert(manifest.tensors[output].buffer);
        }
    }
    return result;
}

// A bundle's calls with one variant each.
class BundleRun : public CheckedRun {
public:
    BundleRun(Executor& executor, std::vector<PreparedLaunch> launches)
        : executor_(executor), launches_(std::move(launches)), written_(written_buffers(executor.bundle.manifest)) {
        for (const TensorShape& shape : executor.shapes) {
            dims_.push_back(shape.dims);
        }
    }

    const Shape& dims(std::size_t tensor) const { return dims_[tensor]; }

    // Where in the results of check() the tensor's buffer is.
    std::size_t position(std::size_t tensor) const {
        const auto found = written_.find(executor_.bundle.manifest.tensors[tensor].buffer);
        return static_cast<std::size_t>(std::distance(written_.begin(), found));
    }

protected:
    std::optional<Check> run_once() override;
    std::vector<Memory> memories() override;
    void prepare(std::optional<unsigned char>) override {}
    void look(std::vector<Check>& checks) override;

private:
    std::int64_t extent(std::size_t size_tensor);

    Executor& executor_;
    std::vector<PreparedLaunch> launches_;
    std::set<std::size_t> written_;  // tensors that own a buffer which a call writes
    std::vector<Shape> dims_;        // of each tensor; data-dependent ones are known after the first pass
};

std::optional<Check> BundleRun::run_once() {
    const auto& session = executor_.session;
    session.synchronize("filling the buffers");
    for (PreparedLaunch& launch : launches_) {
        if (launch.launch().empty) {
            continue;
        }
        cuda::Result status = launch.enqueue(session.api, session.stream());
        const bool accepted = status == cuda::success;
        // waits for each kernel, so that a fault is put down to the right one
        status = accepted ? session.api.cuStreamSynchronize(session.stream()) : status;
        if (status != cuda::success) {
            const std::string what = accepted ? "the kernel failed: " : "cuLaunchKernel: ";
            return verdict("launch", launch.launch().variant->id, what + session.api.describe(status));
        }
    }
    return std::nullopt;
}

std::vector<Memory> BundleRun::memories() {
    std::vector<Memory> result;
    for (const std::size_t owner : executor_.buffers().owners()) {
        const Tensor& tensor = executor_.bundle.manifest.tensors[owner];
        const auto data = executor_.inputs.find(owner);
        result.push_back({tensor.name, tensor.dtype, &executor_.buffers().of(owner),
                          tensor_bytes(tensor.dtype, dims_[owner]).value(),
                          data == executor_.inputs.end() ? nullptr : &data->second, written_.count(owner) != 0});
    }
    const auto& workspaces = executor_.buffers().workspaces();
    for (std::size_t i = 0; i < workspaces.size(); ++i) {  // poisoned and guarded; what is left in them is nobody's
        result.push_back({"workspace " + std::to_string(i), DType::uint8, workspaces[i].get(), workspaces[i]->bytes(),
                          nullptr, false});
    }
    return result;
}

std::int64_t BundleRun::extent(std::size_t size_tensor) {
    std::int64_t wide = 0;
    std::int32_t narrow = 0;
    Buffer& buffer = executor_.buffers().of(size_tensor);
    if (executor_.bundle.manifest.tensors[size_tensor].dtype == DType::int64) {
        buffer.download(0, sizeof wide, reinterpret_cast<unsigned char*>(&wide));
        return wide;
    }
    buffer.download(0, sizeof narrow, reinterpret_cast<unsigned char*>(&narrow));
    return narrow;
}

void BundleRun::look(std::vector<Check>& checks) {
    const auto& tensors = executor_.bundle.manifest.tensors;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        for (std::size_t d = 0; d < dims_[i].size(); ++d) {
            if (const auto size_tensor = tensors[i].shape[d].size_tensor) {
                const std::int64_t found = extent(*size_tensor), most = dims_[i][d];
                const bool valid = found >= 0 && found <= most;
                checks.push_back({"size", tensors[i].name, valid ? "passed" : "failed",
                                  "dimension " + std::to_string(d) + " is " + std::to_string(found) + ", at most " +
                                      std::to_string(most)});
                dims_[i][d] = valid ? found : 0;
            }
        }
    }
}

}  // namespace

Executor::Executor(const cuda::Session& cuda_session, const Bundle& loaded, std::vector<std::int64_t> values,
                   std::map<std::size_t, Bytes> data, bool tight)
    : session(cuda_session),
      bundle(loaded),
      symbols(std::move(values)),
      shapes(evaluate_shapes(loaded.manifest, symbols)),
      inputs(std::move(data)),
      tight_(tight),
      kernels_(cuda_session, loaded),
      buffers_(cuda_session, loaded.manifest, shapes, tight ? 0 : guard_bytes) {}

std::vector<PreparedLaunch> Executor::prepare(const std::vector<const Variant*>& variants, BufferSet& buffers) {
    std::vector<PreparedLaunch> launches;
    buffers.drop_workspaces();
    for (const Variant* variant : variants) {
        std::vector<cuda::DevicePointer> workspaces;
        for (const std::uint64_t bytes : evaluate_workspaces(*variant, symbols)) {
            workspaces.push_back(buffers.add_workspace(bytes).address());
        }
        for (Launch& launch : evaluate_launches(*variant, symbols)) {
            const Kernel& kernel = kernels_.get(*launch.kernel);
            launches.emplace_back(session, kernel, bundle.manifest.calls[variant->call], std::move(launch), buffers,
                                  workspaces);
        }
    }
    return launches;
}

void Executor::upload_inputs(BufferSet& buffers) const {
    for (const auto& [tensor, data] : inputs) {
        buffers.of(tensor).upload(data);
    }
}

RunResult Executor::run(const std::vector<const Variant*>& variants) {
    RunResult result;
    std::vector<PreparedLaunch> launches;
    try {
        launches = prepare(variants, buffers_);
    } catch (const Error& error) {
        if (error.exit() != Exit::check) {
            throw;
        }
        result.checks.push_back(verdict("launch", bundle.manifest.name, error.what()));
        return result;  // another tactic may fit the device
    }
    BundleRun run(*this, std::move(launches));
    const auto data = run.check(bundle.manifest.name, tight_, result.checks);
    result.broken = !data;
    for (std::size_t i = 0; data && i < shapes.size(); ++i) {
        if (bundle.manifest.tensors[i].role == Role::output) {
            result.outputs.push_back({i, run.dims(i), data->at(run.position(i))});
        }
    }
    return result;
}

}  // namespace aot
