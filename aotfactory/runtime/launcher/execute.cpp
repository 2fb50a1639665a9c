// SPDX-License-Identifier: Apache-2.0
#include "launcher/execute.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "cuda/poison.h"

namespace aot {

namespace {

std::vector<std::size_t> written_buffers(const Manifest& manifest) {
    std::set<std::size_t> result;
    for (const Call& call : manifest.calls) {
        for (const std::size_t output : call.outputs) {
            result.insert(manifest.tensors[output].buffer);
        }
    }
    return {result.begin(), result.end()};
}

struct Count {  // of elements, and the first of them
    std::uint64_t number = 0, first = 0;
    void add(std::uint64_t element) { first = number++ == 0 ? element : first; }
    std::string text() const {
        return std::to_string(number) + " elements, the first at flat index " + std::to_string(first);
    }
};

Count differences(const Buffer& buffer, const Bytes& expected, std::size_t element) {
    Count count;
    buffer.read(expected.size(), [&](std::uint64_t offset, const unsigned char* data, std::size_t bytes) {
        const unsigned char* other = expected.data() + offset;
        if (std::memcmp(data, other, bytes) == 0) {
            return;
        }
        for (std::size_t i = 0; i < bytes; i += element) {
            if (std::memcmp(data + i, other + i, element) != 0) {
                count.add((offset + i) / element);
            }
        }
    });
    return count;
}

}  // namespace

Executor::Executor(const cuda::Session& cuda_session, const Bundle& loaded, std::vector<std::int64_t> values,
                   std::map<std::size_t, Bytes> inputs, bool tight)
    : session(cuda_session),
      bundle(loaded),
      symbols(std::move(values)),
      shapes(evaluate_shapes(loaded.manifest, symbols)),
      inputs_(std::move(inputs)),
      tight_(tight),
      written_(written_buffers(loaded.manifest)),
      kernels_(cuda_session, loaded),
      buffers_(cuda_session, loaded.manifest, shapes, tight ? 0 : guard_bytes) {}

std::vector<PreparedLaunch> Executor::prepare(const std::vector<const Variant*>& variants, BufferSet& buffers) {
    std::vector<PreparedLaunch> launches;
    for (const Variant* variant : variants) {
        launches.emplace_back(session, kernels_.get(*variant), bundle.manifest.calls[variant->call],
                              evaluate_launch(*variant, symbols), buffers);
    }
    return launches;
}

void Executor::upload_inputs(BufferSet& buffers) const {
    for (const auto& [tensor, data] : inputs_) {
        buffers.of(tensor).upload(data);
    }
}

void Executor::pass(std::vector<PreparedLaunch>& launches, unsigned char poison, RunResult& result) {
    for (const std::size_t owner : buffers_.owners()) {
        if (!tight_) {
            buffers_.of(owner).fill_guards(guard_pattern(poison, owner));
            buffers_.of(owner).fill(poison);
        }
    }
    upload_inputs(buffers_);
    session.synchronize("filling the buffers");
    for (PreparedLaunch& launch : launches) {
        if (launch.launch().empty) {
            continue;
        }
        cuda::Result status = launch.enqueue(session.api, session.stream());
        const bool accepted = status == cuda::success;
        // waits for each kernel, so that a fault is put down to the right one
        status = accepted ? session.api.cuStreamSynchronize(session.stream()) : status;
        if (status != cuda::success) {
            result.checks.push_back(
                {"launch", launch.launch().variant->id, "failed",
                 (accepted ? "the kernel failed: " : "cuLaunchKernel: ") + session.api.describe(status)});
            result.broken = true;
            return;
        }
    }
    for (const std::size_t owner : buffers_.owners()) {
        const std::string& name = bundle.manifest.tensors[owner].name;
        const bool known = std::any_of(result.checks.begin(), result.checks.end(), [&](const Check& check) {
            return check.name == "guard" && check.subject == name;
        });
        if (const auto damage = tight_ || known ? "" : buffers_.of(owner).guard_damage(guard_pattern(poison, owner));
            !damage.empty()) {
            result.checks.push_back({"guard", name, "failed", damage});
        }
    }
}

std::map<std::size_t, Shape> Executor::actual_dims(RunResult& result) {
    std::map<std::size_t, Shape> dims;
    for (std::size_t i = 0; i < shapes.size(); ++i) {
        dims[i] = shapes[i].dims;
        for (std::size_t d = 0; d < dims[i].size(); ++d) {
            const auto size_tensor = bundle.manifest.tensors[i].shape[d].size_tensor;
            if (!size_tensor) {
                continue;
            }
            std::int64_t extent = 0;
            if (bundle.manifest.tensors[*size_tensor].dtype == DType::int64) {
                buffers_.of(*size_tensor).download(0, sizeof extent, reinterpret_cast<unsigned char*>(&extent));
            } else {
                std::int32_t narrow = 0;
                buffers_.of(*size_tensor).download(0, sizeof narrow, reinterpret_cast<unsigned char*>(&narrow));
                extent = narrow;
            }
            const bool valid = extent >= 0 && extent <= dims[i][d];
            result.checks.push_back({"size", bundle.manifest.tensors[i].name, valid ? "passed" : "failed",
                                     "dimension " + std::to_string(d) + " is " + std::to_string(extent) + ", at most " +
                                         std::to_string(dims[i][d])});
            dims[i][d] = valid ? extent : 0;
        }
    }
    return dims;
}

void Executor::check_inputs(RunResult& result) {
    for (const auto& [tensor, data] : inputs_) {
        if (std::binary_search(written_.begin(), written_.end(), tensor)) {
            continue;  // an output shares it
        }
        const Tensor& input = bundle.manifest.tensors[tensor];
        const Count changed = differences(buffers_.of(tensor), data, info(input.dtype).bytes);
        result.checks.push_back({"input", input.name, changed.number == 0 ? "passed" : "failed",
                                 changed.number == 0 ? "" : "the kernels changed " + changed.text()});
    }
}

void Executor::check_poison(std::vector<PreparedLaunch>& launches, const std::map<std::size_t, Bytes>& first,
                            RunResult& result) {
    pass(launches, second_poison, result);
    if (result.broken) {
        return;
    }
    std::map<std::size_t, Count> changed;
    for (const auto& [owner, data] : first) {
        const Tensor& tensor = bundle.manifest.tensors[owner];
        const std::size_t element = info(tensor.dtype).bytes;
        Count unwritten, other;
        buffers_.of(owner).read(
            data.size(), [&, &before = data](std::uint64_t offset, const unsigned char* after, std::size_t bytes) {
                if (std::memcmp(before.data() + offset, after, bytes) == 0) {
                    return;  // all written: the poisons differ
                }
                for (std::size_t i = 0; i < bytes; i += element) {
                    const unsigned char* old = before.data() + offset + i;
                    if (std::memcmp(old, after + i, element) == 0) {
                        continue;
                    }
                    const bool kept = tensor.role != Role::input && holds(old, element, first_poison) &&
                                      holds(after + i, element, second_poison);
                    (kept ? unwritten : other).add((offset + i) / element);
                }
            });
        if (tensor.role != Role::input) {  // an input's buffer holds data, not poison, before the kernels
            result.checks.push_back({"written", tensor.name, unwritten.number == 0 ? "passed" : "failed",
                                     unwritten.number == 0 ? "" : "never written: " + unwritten.text()});
        }
        if (other.number != 0) {
            changed[owner] = other;
        }
    }
    if (!changed.empty()) {  // by the patterns, or by chance: a third pass like the first tells
        pass(launches, first_poison, result);
    }
    for (const auto& [owner, data] : first) {
        const Tensor& tensor = bundle.manifest.tensors[owner];
        Check check{"repeatable", tensor.name, "passed", ""};
        if (const auto found = changed.find(owner); found != changed.end() && !result.broken) {
            const bool chance = differences(buffers_.of(owner), data, info(tensor.dtype).bytes).number != 0;
            check.status = chance ? "skipped" : "failed";
            check.detail = chance ? "results vary from run to run"
                                  : "depends on memory that holds no input: " + found->second.text();
        }
        result.checks.push_back(check);
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
        result.checks.push_back({"launch", bundle.manifest.name, "failed", error.what()});
        return result;  // another tactic may fit the device
    }
    pass(launches, first_poison, result);
    if (result.broken) {
        return result;
    }
    const auto dims = actual_dims(result);
    check_inputs(result);
    std::map<std::size_t, Bytes> first;  // what the calls wrote
    for (const std::size_t owner : written_) {
        std::uint64_t bytes = info(bundle.manifest.tensors[owner].dtype).bytes;
        for (const std::int64_t extent : dims.at(owner)) {
            bytes *= static_cast<std::uint64_t>(extent);
        }
        auto& data = first[owner] = Bytes(static_cast<std::size_t>(bytes));
        buffers_.of(owner).download(0, data.size(), data.data());
    }
    if (!tight_) {
        check_poison(launches, first, result);
    }
    for (const char* name : {"guard", "written", "repeatable"}) {
        if (tight_) {
            result.checks.push_back({name, bundle.manifest.name, "skipped", "--tight leaves it to compute-sanitizer"});
        }
    }
    if (result.broken) {
        return result;
    }
    result.checks.push_back({"launch", bundle.manifest.name, "passed", ""});
    const auto is_guard = [](const Check& check) { return check.name == "guard"; };
    if (std::none_of(result.checks.begin(), result.checks.end(), is_guard)) {
        result.checks.push_back({"guard", bundle.manifest.name, "passed", ""});
    }
    for (std::size_t i = 0; i < shapes.size(); ++i) {
        if (bundle.manifest.tensors[i].role == Role::output) {
            result.outputs.push_back({i, dims.at(i), first.at(bundle.manifest.tensors[i].buffer)});
        }
    }
    return result;
}

}  // namespace aot
