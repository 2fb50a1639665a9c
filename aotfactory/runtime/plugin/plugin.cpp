// SPDX-License-Identifier: Apache-2.0
#include "plugin/plugin.h"

#include "common/error.h"
#include "common/sha256.h"
#include "plugin/log.h"

namespace aot::plugin {

Plugin::Plugin(Parts parts, std::shared_ptr<Kernels> kernels) : parts_(std::move(parts)), kernels_(std::move(kernels)) {
    std::string digests;
    for (const auto& part : parts_) {
        digests += part->digest;
    }
    digest_ = sha256_hex(digests);  // other kernels: other timings
    metadata_ = subject();
    for (const Attribute& attribute : first().attributes) {
        metadata_ += " " + attribute.describe();
    }
    metadata_ += " kernels=" + digest_.substr(0, 16);
}

nvinfer1::IPluginCapability* Plugin::getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept {
    switch (type) {
        case nvinfer1::PluginCapabilityType::kCORE: return static_cast<nvinfer1::IPluginV3OneCore*>(this);
        case nvinfer1::PluginCapabilityType::kBUILD: return static_cast<BuildInterface*>(this);
        case nvinfer1::PluginCapabilityType::kRUNTIME: return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
    }
    return nullptr;
}

nvinfer1::IPluginV3* Plugin::clone() noexcept {
    return guarded<nvinfer1::IPluginV3*>(subject(), nullptr, [&] {
        auto copy = std::make_unique<Plugin>(parts_, kernels_);
        copy->configured_ = configured_;
        copy->configured_types_ = configured_types_;
        copy->tactics_ = tactics_;
        copy->tactic_ = tactic_;
        return copy.release();
    });
}

void Plugin::require_counts(std::int32_t inputs, std::int32_t outputs) const {
    const Call& call = first().call();
    if (inputs != static_cast<std::int32_t>(call.inputs.size()) ||
        outputs != static_cast<std::int32_t>(call.outputs.size())) {
        throw Error(Exit::usage, "has " + std::to_string(call.inputs.size()) + " inputs and " +
                                     std::to_string(call.outputs.size()) + " outputs, not " + std::to_string(inputs) +
                                     " and " + std::to_string(outputs));
    }
}

std::vector<const Variant*> Plugin::usable(const Part& part) const {
    const auto arch = gpu_architecture();  // without a GPU: of the first architecture, as the launcher's --dry-run
    return usable_variants(part.manifest(), 0, arch ? *arch : architectures(part.manifest()).front(),
                           [](const Variant&) { return true; });
}

}  // namespace aot::plugin
