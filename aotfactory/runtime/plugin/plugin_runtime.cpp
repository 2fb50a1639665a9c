// SPDX-License-Identifier: Apache-2.0
// The runtime interface: kernels prepared for a shape, and their launch.
#include <algorithm>
#include <cstring>

#include "common/error.h"
#include "common/limits.h"
#include "cuda/launch.h"
#include "plugin/log.h"
#include "plugin/plugin.h"
#include "plugin/tensors.h"

namespace aot::plugin {

std::int32_t Plugin::setTactic(std::int32_t tactic) noexcept {
    if (tactic != tactic_) {
        tactic_ = tactic;
        prepared_.reset();
    }
    return 0;
}

std::int32_t Plugin::onShapeChange(const Desc* inputs, std::int32_t input_count, const Desc* outputs,
                                   std::int32_t output_count) noexcept {
    return guarded(subject(), -1, [&] {
        require_counts(input_count, output_count);
        prepare(inputs, outputs);
        return 0;
    });
}

void Plugin::prepare(const Desc* inputs, const Desc* outputs) {
    const std::size_t count = first().call().inputs.size();
    std::vector<Shape> shapes;
    for (std::size_t i = 0; i < count; ++i) {
        shapes.push_back(to_shape(inputs[i].dims));
    }
    std::string why = "none for this GPU, these data types and formats, and tactic " + std::to_string(tactic_);
    for (const auto& part : parts_) {
        const auto variants = usable(*part);
        const auto found = std::find_if(variants.begin(), variants.end(), [&](const Variant* variant) {
            for (std::size_t i = 0; i < variant->dtypes.size(); ++i) {
                if (!takes(*variant, i, i < count ? inputs[i] : outputs[i - count])) {
                    return false;
                }
            }
            return tactic_ == 0 || variant->tactic == tactic_;
        });
        if (found == variants.end()) {
            continue;
        }
        std::vector<std::int64_t> symbols;
        try {
            symbols = symbols_at(*part, shapes);
        } catch (const Error& error) {
            why = error.what();
            continue;
        }
        prepare(*part, **found, symbols, inputs);
        configured_ = part;
        configured_types_ = (*found)->dtypes;
        return;
    }
    throw Error(Exit::usage, "no kernel for these inputs: " + why);
}

void Plugin::prepare(const Part& part, const Variant& variant, const std::vector<std::int64_t>& symbols,
                     const Desc* inputs) {
    const std::size_t input_count = part.call().inputs.size();
    Prepared made;
    made.inputs.reserve(input_count);
    for (std::size_t i = 0; i < input_count; ++i) {
        made.inputs.push_back(inputs[i].dims);
    }
    const auto bytes = evaluate_workspaces(variant, symbols);
    made.offsets = workspace_offsets(variant);  // and their end
    made.workspaces.assign(bytes.size(), nullptr);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        if (bytes[i] > static_cast<std::uint64_t>(variant.workspaces[i].at_most)) {
            throw Error(Exit::damaged, quote(variant.id) + ": workspace " + std::to_string(i) + " takes " +
                                           std::to_string(bytes[i]) + " bytes, more than its at_most");
        }
    }
    for (Launch& launch : evaluate_launches(variant, symbols)) {
        auto kernel = kernels_->get(*launch.kernel, part.bundle.ptx.at(launch.kernel->ptx));
        kernel->allow_shared(launch.shared_mem);
        cuda::make_launchable(driver(), kernel->function(), launch);
        made.kernels.push_back({std::move(kernel), std::move(launch), {}});
    }
    prepared_ = std::move(made);
    for (PreparedKernel& each : prepared_->kernels) {  // whose values stay where they are from now on
        auto& extra_args = each.launch.extra_args;
        const std::size_t tensors = variant.dtypes.size();
        each.arguments.assign(tensors + extra_args.size() + prepared_->workspaces.size(), nullptr);
        for (std::size_t i = 0; i < extra_args.size(); ++i) {
            each.arguments[input_count + i] = extra_args[i].address();
        }
        for (std::size_t i = 0; i < prepared_->workspaces.size(); ++i) {
            each.arguments[tensors + extra_args.size() + i] = &prepared_->workspaces[i];
        }
    }
}

bool Plugin::is_prepared_for(const Desc* inputs) const {
    if (!prepared_) {
        return false;
    }
    for (std::size_t i = 0; i < prepared_->inputs.size(); ++i) {
        const nvinfer1::Dims &given = inputs[i].dims, &known = prepared_->inputs[i];
        if (given.nbDims != known.nbDims || !std::equal(given.d, given.d + given.nbDims, known.d)) {
            return false;
        }
    }
    return true;
}

std::int32_t Plugin::enqueue(const Desc* inputs, const Desc* outputs, const void* const* input_memory,
                             void* const* output_memory, void* workspace, cudaStream_t stream) noexcept {
    return guarded(subject(), -1, [&] {
        if (!is_prepared_for(inputs)) {
            prepare(inputs, outputs);
        }
        const std::size_t input_count = prepared_->inputs.size(), output_count = first().call().outputs.size();
        if (workspace == nullptr && !prepared_->workspaces.empty()) {
            throw Error(Exit::check, "TensorRT gives no workspace, and the kernels have one");
        }
        for (std::size_t i = 0; i < prepared_->workspaces.size(); ++i) {
            prepared_->workspaces[i] = static_cast<char*>(workspace) + prepared_->offsets[i];
        }
        const cuda::Api& api = driver();
        for (PreparedKernel& each : prepared_->kernels) {
            if (each.launch.empty) {
                continue;
            }
            // A parameter is passed by its address, so those of the tensors' addresses will do.
            for (std::size_t i = 0; i < input_count; ++i) {
                each.arguments[i] = const_cast<void*>(static_cast<const void*>(&input_memory[i]));
            }
            const std::size_t first_output = input_count + each.launch.extra_args.size();
            for (std::size_t i = 0; i < output_count; ++i) {
                each.arguments[first_output + i] = const_cast<void*>(static_cast<const void*>(&output_memory[i]));
            }
            const cuda::Result result = cuda::enqueue(api, each.kernel->function(), each.launch,
                                                      reinterpret_cast<cuda::Stream>(stream), each.arguments.data());
            if (result != cuda::success) {
                api.check(result, "launch of " + each.launch.kernel->kernel + " of " + each.launch.variant->id);
            }
        }
        return 0;
    });
}

const nvinfer1::PluginFieldCollection* Plugin::getFieldsToSerialize() noexcept {
    return guarded<const nvinfer1::PluginFieldCollection*>(subject(), nullptr, [&] {
        const Parts parts = configured_ ? Parts{configured_} : parts_;
        serialized_ = write_parts(parts, [&](const Variant& variant) {
            return configured_types_.empty() || variant.dtypes == configured_types_;
        });
        field_ = {kernels_field, serialized_.data(), nvinfer1::PluginFieldType::kUNKNOWN,
                  static_cast<std::int32_t>(serialized_.size())};
        fields_ = {1, &field_};
        return &fields_;
    });
}

}  // namespace aot::plugin
