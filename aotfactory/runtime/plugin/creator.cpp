// SPDX-License-Identifier: Apache-2.0
#include "plugin/creator.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "bundle/evaluate.h"
#include "common/error.h"
#include "plugin/log.h"
#include "plugin/plugin.h"

namespace aot::plugin {

namespace {

const nvinfer1::PluginField* find_field(const nvinfer1::PluginFieldCollection& fields, const std::string& name) {
    const auto* end = fields.fields + std::max(fields.nbFields, 0);
    const auto* found = std::find_if(fields.fields, end,
                                     [&](const auto& field) { return field.name != nullptr && name == field.name; });
    return found == end ? nullptr : found;
}

bool matches(const Part& part, const nvinfer1::PluginFieldCollection& fields) {
    return std::all_of(part.attributes.begin(), part.attributes.end(), [&](const Attribute& attribute) {
        const auto* field = find_field(fields, attribute.name());
        return field != nullptr && attribute.matches(*field);
    });
}

std::string describe(const Part& part) {
    std::string text;
    for (const Attribute& attribute : part.attributes) {
        text += (text.empty() ? "" : " ") + attribute.describe();
    }
    return text;
}

// Throws where nothing of the plugin runs on the GPU of this machine, if it has one.
void require_gpu(const Parts& parts) {
    const auto arch = gpu_architecture();
    std::string there;
    for (const auto& part : parts) {
        if (!arch || !usable_variants(part->manifest(), 0, *arch, [](const Variant&) { return true; }).empty()) {
            return;
        }
        for (const std::string& name : architectures(part->manifest())) {
            there += there.find(name) == std::string::npos ? " " + name : "";
        }
    }
    throw Error(Exit::missing, "the library has no kernels for this GPU, " + *arch + ", only for" + there);
}

}  // namespace

Creator::Creator(Parts parts, std::shared_ptr<Kernels> kernels)
    : parts_(std::move(parts)), kernels_(std::move(kernels)) {
    for (const Attribute& attribute : parts_.front()->attributes) {
        fields_.emplace_back(attribute.name().c_str(), nullptr, attribute.field_type(), 1);
    }
    collection_ = {static_cast<std::int32_t>(fields_.size()), fields_.data()};
}

nvinfer1::IPluginV3* Creator::createPlugin(const char*, const nvinfer1::PluginFieldCollection* fields,
                                           nvinfer1::TensorRTPhase) noexcept {
    const std::string subject = parts_.front()->call().plugin;
    return guarded<nvinfer1::IPluginV3*>(subject, nullptr, [&]() -> nvinfer1::IPluginV3* {
        static const nvinfer1::PluginFieldCollection none{0, nullptr};
        Parts parts = find(fields != nullptr ? *fields : none);
        require_gpu(parts);
        return std::make_unique<Plugin>(std::move(parts), kernels_).release();
    });
}

Parts Creator::find(const nvinfer1::PluginFieldCollection& fields) const {
    if (const auto* carried = find_field(fields, kernels_field)) {
        Parts parts = parse_parts({static_cast<const char*>(carried->data), static_cast<std::size_t>(carried->length)});
        const bool own = std::all_of(parts.begin(), parts.end(), [&](const auto& part) {
            return part->call().plugin == parts_.front()->call().plugin;
        });
        if (parts.empty() || !own) {
            throw Error(Exit::definition, "the plan carries kernels of another plugin");
        }
        return parts;
    }
    Parts parts;
    std::copy_if(parts_.begin(), parts_.end(), std::back_inserter(parts),
                 [&](const auto& part) { return matches(*part, fields); });
    if (parts.empty()) {
        std::set<std::string> known;
        for (const auto& part : parts_) {
            known.insert(describe(*part));
        }
        std::string text;
        for (const std::string& each : known) {
            text += (text.empty() ? "" : "; ") + each;
        }
        throw Error(Exit::usage, "no kernels for these attributes: the library was made for " + text);
    }
    return parts;
}

}  // namespace aot::plugin
