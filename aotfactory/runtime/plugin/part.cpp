// SPDX-License-Identifier: Apache-2.0
#include "plugin/part.h"

#include <set>

#include "common/error.h"
#include "common/limits.h"
#include "common/sha256.h"

namespace aot::plugin {

namespace {

constexpr const char* schema = "aotfactory.plugin_parts/1";

std::shared_ptr<const Part> parse_part(const Json& document, const std::string& where) {
    const JsonNode node(document, where);
    node.at("manifest");
    node.at("ptx").members(limits::variants);
    auto part = std::make_shared<Part>();
    part->bundle = load_bundle([&](const std::string& name, std::size_t limit) {
        if (name == "manifest.json") {
            return document["manifest"].dump();
        }
        const auto file = document["ptx"].find(name);
        if (file == document["ptx"].end() || !file->is_string() || file->get_ref<const std::string&>().size() > limit) {
            throw Error(Exit::definition, where + ": " + quote(name) + " is missing or too large");
        }
        return file->get<std::string>();
    });
    if (part->bundle.manifest.calls.size() != 1) {
        node.fail("must have one call");
    }
    const std::string& plugin = part->call().plugin;
    const std::size_t colons = plugin.find("::");
    part->plugin_namespace = colons == std::string::npos ? "" : plugin.substr(0, colons);
    part->plugin_name = colons == std::string::npos ? plugin : plugin.substr(colons + 2);
    const JsonNode attributes = node.at("manifest").at("calls").items(1).front().at("attributes");
    for (const auto& [name, value] : attributes.members(limits::attributes)) {
        part->attributes.emplace_back(name, value);
    }
    part->document = document;
    part->digest = sha256_hex(document.dump());
    return part;
}

}  // namespace

Parts parse_parts(std::string_view text) {
    const Json document = parse_json(text, "library");
    const JsonNode root(document, "library");
    if (root.at("schema").text(64) != schema) {
        root.at("schema").fail(std::string("is not ") + schema);
    }
    root.at("parts").items(limits::calls);
    Parts parts;
    for (const Json& item : document["parts"]) {
        parts.push_back(parse_part(item, "library.parts[" + std::to_string(parts.size()) + "]"));
    }
    return parts;
}

std::vector<std::size_t> workspace_offsets(const Variant& variant) {
    constexpr std::size_t alignment = 256;  // as TensorRT's own
    std::vector<std::size_t> offsets = {0};
    for (const Workspace& workspace : variant.workspaces) {
        const auto bytes = static_cast<std::size_t>(workspace.at_most);
        offsets.push_back(offsets.back() + (bytes + alignment - 1) / alignment * alignment);
    }
    return offsets;
}

std::string write_parts(const Parts& parts, const std::function<bool(const Variant&)>& keep) {
    Json written = Json::array();
    for (const auto& part : parts) {
        std::set<std::string> kept;
        Json document = {{"manifest", part->document["manifest"]}, {"ptx", Json::object()}};
        for (const Variant& variant : part->manifest().variants) {
            if (keep(variant)) {
                kept.insert(variant.id);
                for (const LaunchedKernel* kernel : variant.kernels()) {
                    document["ptx"][kernel->ptx] = part->bundle.ptx.at(kernel->ptx);
                }
            }
        }
        Json variants = Json::array();
        for (const Json& variant : document["manifest"]["variants"]) {
            if (kept.count(variant["id"].get<std::string>()) != 0) {
                variants.push_back(variant);
            }
        }
        document["manifest"]["variants"] = std::move(variants);
        written.push_back(std::move(document));
    }
    return Json{{"schema", schema}, {"parts", std::move(written)}}.dump();
}

}  // namespace aot::plugin
