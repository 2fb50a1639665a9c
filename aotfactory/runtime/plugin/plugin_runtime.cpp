// SPDX-License-Identifier: Apache-2.0
// The runtime interface: kernels prepared for a shape, and their launch.
#include <algorithm>
#include <cstring>

#include "common/error.h"
#include "common/limits.h"
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
        Prepared made{nullptr, evaluate_launch(**found, symbols), {}};
        made.kernel = kernels_->get(**found, part->bundle.ptx.at((*found)->ptx));
        made.kernel->allow_shared(made.launch.shared_mem);
        for (std::size_t i = 0; i < count; ++i) {
            made.inputs.push_back(inputs[i].dims);
        }
        configured_ = part;
        configured_types_ = (*found)->dtypes;
        prepared_ = std::move(made);
        arguments_.assign((*found)->dtypes.size() + prepared_->launch.extra_args.size(), nullptr);
        for (std::size_t i = 0; i < prepared_->launch.extra_args.size(); ++i) {
            arguments_[count + i] = &prepared_->launch.extra_args[i];
        }
        return;
    }
    throw Error(Exit::usage, "no kernel for these inputs: " + why);
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
                             void* const* output_memory, void*, cudaStream_t stream) noexcept {
    return guarded(subject(), -1, [&] {
        if (!is_prepared_for(inputs)) {
            prepare(inputs, outputs);
        }
        const Launch& launch = prepared_->launch;
        if (launch.empty) {
            return 0;
        }
        // A parameter is passed by its address, so those of the tensors' addresses will do.
        const std::size_t input_count = prepared_->inputs.size(), first_output = input_count + launch.extra_args.size();
        for (std::size_t i = 0; i < input_count; ++i) {
            arguments_[i] = const_cast<void*>(static_cast<const void*>(&input_memory[i]));
        }
        for (std::size_t i = first_output; i < arguments_.size(); ++i) {
            arguments_[i] = const_cast<void*>(static_cast<const void*>(&output_memory[i - first_output]));
        }
        const cuda::Api& api = driver();
        const cuda::Result result =
            api.cuLaunchKernel(prepared_->kernel->function(), launch.grid[0], launch.grid[1], launch.grid[2],
                               launch.block[0], launch.block[1], launch.block[2], launch.shared_mem,
                               reinterpret_cast<cuda::Stream>(stream), arguments_.data(), nullptr);
        if (result != cuda::success) {
            api.check(result, "launch of " + launch.variant->id);
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
