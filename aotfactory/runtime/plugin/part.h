// SPDX-License-Identifier: Apache-2.0
// A part of the library: one call of a plugin, with its attributes and kernels, as a bundle of that call alone.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bundle/bundle.h"
#include "plugin/attribute.h"

namespace aot::plugin {

struct Part {
    std::string plugin_namespace, plugin_name;
    std::vector<Attribute> attributes;
    Bundle bundle;
    Json document;       // {"manifest": ..., "ptx": {file name: text}}, as the library and plans carry it
    std::string digest;  // SHA-256 of the document

    const Manifest& manifest() const { return bundle.manifest; }
    const Call& call() const { return bundle.manifest.calls.front(); }
    const Tensor& input(std::size_t index) const { return manifest().tensors[call().inputs[index]]; }
    const Tensor& output(std::size_t index) const { return manifest().tensors[call().outputs[index]]; }
};

// Where each of a variant's workspaces begins in the one that TensorRT gives, and last the bytes of all: the same at
// every shape.
std::vector<std::size_t> workspace_offsets(const Variant& variant);

using Parts = std::vector<std::shared_ptr<const Part>>;

// {"schema": "aotfactory.plugin_parts/1", "parts": [...]}. Throws Error(definition) as load_bundle.
Parts parse_parts(std::string_view text);

// The document of these parts, with only the variants that `keep` takes.
std::string write_parts(const Parts& parts, const std::function<bool(const Variant&)>& keep);

}  // namespace aot::plugin
