// SPDX-License-Identifier: Apache-2.0
// The build interface: types, shapes, formats, tactics.
#include <algorithm>

#include "common/error.h"
#include "plugin/log.h"
#include "plugin/plugin.h"
#include "plugin/tensors.h"

namespace aot::plugin {

namespace {

// The shapes of a part's inputs that TensorRT's profile has: min, opt and max where a dimension is dynamic.
std::vector<std::vector<Shape>> corners(const nvinfer1::DynamicPluginTensorDesc* inputs, std::int32_t count) {
    std::vector<std::vector<Shape>> result(3);
    for (std::int32_t i = 0; i < count; ++i) {
        const Shape known = to_shape(inputs[i].desc.dims);
        const bool dynamic = std::find(known.begin(), known.end(), -1) != known.end();
        result[0].push_back(dynamic ? to_shape(inputs[i].min) : known);
        result[1].push_back(dynamic ? to_shape(inputs[i].opt) : known);
        result[2].push_back(dynamic ? to_shape(inputs[i].max) : known);
    }
    return result;
}

// Whether the variant takes the tensors 0 to `last`.
template <typename DescOf>
bool takes_all(const Variant& variant, std::size_t last, DescOf desc_of) {
    for (std::size_t i = 0; i <= last; ++i) {
        if (!takes(variant, i, desc_of(i))) {
            return false;
        }
    }
    return true;
}

}  // namespace

std::int32_t Plugin::getNbOutputs() const noexcept { return static_cast<std::int32_t>(first().call().outputs.size()); }

std::int32_t Plugin::getOutputDataTypes(nvinfer1::DataType* outputs, std::int32_t output_count,
                                        const nvinfer1::DataType* inputs, std::int32_t input_count) const noexcept {
    return guarded(subject(), -1, [&] {
        require_counts(input_count, output_count);
        const auto count = static_cast<std::size_t>(input_count);
        for (const auto& part : parts_) {
            for (const Variant* variant : usable(*part)) {
                const auto& types = variant->dtypes;
                if (std::equal(inputs, inputs + count, types.begin(),
                               [](auto given, DType known) { return given == to_tensorrt(known); })) {
                    std::transform(types.begin() + input_count, types.end(), outputs, to_tensorrt);
                    return 0;
                }
            }
        }
        // A weakly typed network asks with the types that it prefers, and takes others through
        // supportsFormatCombination.
        log(Severity::kWARNING, subject(), "has no kernels for such inputs: the library was made for other data types");
        for (std::int32_t i = 0; i < output_count; ++i) {
            outputs[i] = to_tensorrt(first().output(static_cast<std::size_t>(i)).dtype);
        }
        return 0;
    });
}

std::int32_t Plugin::getOutputShapes(const nvinfer1::DimsExprs* inputs, std::int32_t input_count,
                                     const nvinfer1::DimsExprs*, std::int32_t, nvinfer1::DimsExprs* outputs,
                                     std::int32_t output_count, nvinfer1::IExprBuilder& builder) noexcept {
    return guarded(subject(), -1, [&] {
        require_counts(input_count, output_count);
        std::string why;
        for (const auto& part : parts_) {
            try {
                build_output_shapes(*part, inputs, outputs, builder);
                return 0;
            } catch (const Error& error) {
                why = error.what();
            }
        }
        throw Error(Exit::usage, "no kernels for inputs of these shapes: " + why);
    });
}

bool Plugin::supportsFormatCombination(std::int32_t position, const DynamicDesc* tensors, std::int32_t input_count,
                                       std::int32_t output_count) noexcept {
    return guarded(subject(), false, [&] {
        require_counts(input_count, output_count);
        std::vector<nvinfer1::Dims> shapes;
        for (std::int32_t i = 0; i < std::min(position + 1, input_count); ++i) {
            shapes.push_back(tensors[i].desc.dims);
        }
        const auto desc_of = [&](std::size_t i) -> const Desc& { return tensors[i].desc; };
        return std::any_of(parts_.begin(), parts_.end(), [&](const auto& part) {
            const auto variants = usable(*part);
            return may_take(*part, shapes) &&
                   std::any_of(variants.begin(), variants.end(), [&](const Variant* variant) {
                       return takes_all(*variant, static_cast<std::size_t>(position), desc_of);
                   });
        });
    });
}

std::int32_t Plugin::configurePlugin(const DynamicDesc* inputs, std::int32_t input_count, const DynamicDesc* outputs,
                                     std::int32_t output_count) noexcept {
    return guarded(subject(), -1, [&] {
        require_counts(input_count, output_count);
        const auto count = static_cast<std::size_t>(input_count);
        const auto desc_of = [&](std::size_t i) -> const Desc& {
            return i < count ? inputs[i].desc : outputs[i - count].desc;
        };
        std::string why = "other data types or formats";
        for (const auto& part : parts_) {
            const Variant* found = nullptr;
            std::vector<std::int32_t> tactics;
            for (const Variant* variant : usable(*part)) {
                if (takes_all(*variant, variant->dtypes.size() - 1, desc_of)) {
                    found = variant;
                    if (variant->tactic != 0) {
                        tactics.push_back(static_cast<std::int32_t>(variant->tactic));
                    }
                }
            }
            if (found == nullptr) {
                continue;
            }
            try {
                for (const auto& shapes : corners(inputs, input_count)) {
                    symbols_at(*part, shapes);
                }
            } catch (const Error& error) {
                why = error.what();
                continue;
            }
            configured_ = part;
            configured_types_ = found->dtypes;
            tactics_ = std::move(tactics);
            return 0;
        }
        throw Error(Exit::usage, "no kernels for these inputs: " + why);
    });
}

std::int32_t Plugin::getValidTactics(std::int32_t* tactics, std::int32_t count) noexcept {
    if (count != getNbTactics()) {
        return -1;
    }
    std::copy(tactics_.begin(), tactics_.end(), tactics);
    return 0;
}

std::size_t Plugin::getWorkspaceSize(const DynamicDesc*, std::int32_t, const DynamicDesc*,
                                     std::int32_t) const noexcept {
    // The most of all tactics at all shapes: nobody says which tactic it is for, or promises that smaller shapes take
    // less.
    return guarded<std::size_t>(subject(), 0, [&] {
        std::size_t most = 0;
        for (const auto& part : configured_ ? Parts{configured_} : parts_) {
            for (const Variant* variant : usable(*part)) {
                if (!configured_ || variant->dtypes == configured_types_) {
                    most = std::max(most, workspace_offsets(*variant).back());
                }
            }
        }
        return most;
    });
}

std::int32_t Plugin::getAliasedInput(std::int32_t output) noexcept {
    return guarded(subject(), -1, [&] {
        const auto& inputs = first().call().inputs;
        const auto index = static_cast<std::size_t>(output);
        const auto source = index < first().call().outputs.size() ? first().output(index).aliases : std::nullopt;
        const auto found = source ? std::find(inputs.begin(), inputs.end(), *source) : inputs.end();
        return found == inputs.end() ? -1 : static_cast<std::int32_t>(found - inputs.begin());
    });
}

}  // namespace aot::plugin
