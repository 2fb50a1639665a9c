// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cctype>
#include <limits>
#include <set>

#include "bundle/architecture.h"
#include "bundle/manifest.h"
#include "common/error.h"
#include "common/limits.h"

namespace aot {

namespace {

bool plain_file_name(const std::string& name) {
    const auto plain = [](unsigned char c) {
        return c < 0x80 && (std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.');
    };
    return name.size() <= limits::ptx_name_bytes && name.front() != '.' && std::all_of(name.begin(), name.end(), plain);
}

bool ptx_identifier(const std::string& name) {
    const auto letter = [](unsigned char c) { return c < 0x80 && (std::isalnum(c) != 0 || c == '_' || c == '$'); };
    return std::isdigit(static_cast<unsigned char>(name.front())) == 0 && std::all_of(name.begin(), name.end(), letter);
}

bool hex_digest(const std::string& text) {
    return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// "portable", or "sm_" and a number.
bool architecture(const std::string& text) {
    const auto target = parse_target(text);
    return text == "portable" || (target && target->suffix == 0);
}

std::string checked_text(const JsonNode& item, const char* key, std::size_t limit, bool (*accept)(const std::string&),
                         const char* rule) {
    auto value = item.at(key).text(limit);
    if (!accept(value)) {
        item.at(key).fail(quote(value) + " is not " + rule);
    }
    return value;
}

ExtraArg parse_extra_arg(const JsonNode& node, const std::string& type, const SymbolIndex& symbols) {
    if (type == "fp32") {
        const auto items = node.is_array() ? node.items(3) : std::vector<JsonNode>{};
        if (items.size() != 3 || !items[0].is_string() || items[0].text(64) != "quotient") {
            node.fail("an fp32 argument is [\"quotient\", a, b]");
        }
        return {ScalarType::fp32, Expression::parse(items[1], symbols), Expression::parse(items[2], symbols)};
    }
    return {type == "i64" ? ScalarType::i64 : ScalarType::i32, Expression::parse(node, symbols), std::nullopt};
}

std::array<unsigned, 3> parse_cluster(const JsonNode& item, const char* key) {
    std::array<unsigned, 3> cluster{};
    const auto stated = item.find(key);
    if (!stated || stated->is_null()) {
        return cluster;
    }
    const auto extents = stated->items(3);
    unsigned blocks = 1;
    for (std::size_t axis = 0; axis < extents.size(); ++axis) {
        cluster[axis] = static_cast<unsigned>(extents[axis].integer(1, limits::cluster));
        blocks *= cluster[axis];
    }
    if (extents.size() != cluster.size() || blocks > limits::cluster) {
        stated->fail("a cluster is [x, y, z], of at most " + std::to_string(limits::cluster) + " blocks");
    }
    return cluster;
}

// A kernel of a variant of a call, with so many workspaces.
void parse_kernel(const JsonNode& item, const SymbolIndex& symbols, const Call& call, std::size_t workspaces,
                  LaunchedKernel& kernel) {
    const auto target = [](const std::string& name) { return parse_target(name).has_value(); };
    kernel.kernel = checked_text(item, "kernel", limits::kernel_name_bytes, ptx_identifier, "an entry's name");
    kernel.ptx =
        checked_text(item, "ptx", limits::ptx_name_bytes, plain_file_name, "a plain file name inside the bundle");
    kernel.sha256 = checked_text(item, "sha256", 64, hex_digest, "a SHA-256 of 64 lower-case hexadecimal digits");
    kernel.ptx_target = checked_text(item, "ptx_target", 16, target, "a PTX target, as sm_80 or sm_90a");
    kernel.ptx_bytes = static_cast<std::size_t>(item.at("ptx_bytes").integer(1, limits::ptx_bytes));
    kernel.cluster = parse_cluster(item, "cluster_at_launch");
    kernel.ptx_cluster = parse_cluster(item, "cluster");
    for (const char* field : launch_field_names) {
        kernel.launch.push_back(Expression::parse(item.at("launch").at(field), symbols));
    }
    const std::size_t outputs = call.outputs.size(), inputs = call.inputs.size();
    const auto parameters =
        item.at("parameters").texts(2 * limits::call_tensors + limits::extra_args + limits::workspaces, 16);
    const auto arguments = item.at("extra_args").items(limits::extra_args);
    bool fits = parameters.size() == inputs + arguments.size() + outputs + workspaces;
    for (std::size_t i = 0; fits && i < parameters.size(); ++i) {
        const bool extra = i >= inputs && i < inputs + arguments.size();
        fits = extra ? parameters[i] == "i32" || parameters[i] == "i64" || parameters[i] == "fp32"
                     : parameters[i] == "ptr";
    }
    if (!fits) {
        item.at("parameters")
            .fail(
                "must be one ptr for each input, one i32, i64 or fp32 for each extra argument, one ptr for each "
                "output and each workspace");
    }
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        kernel.extra_args.push_back(parse_extra_arg(arguments[i], parameters[inputs + i], symbols));
    }
}

bool plain(const LaunchedKernel& kernel) {  // whether an AOT plugin may have it
    return kernel.cluster[0] == 0 && kernel.cluster_blocks() <= limits::portable_cluster &&
           std::all_of(kernel.extra_args.begin(), kernel.extra_args.end(),
                       [](const ExtraArg& arg) { return arg.type == ScalarType::i32; });
}

}  // namespace

unsigned LaunchedKernel::cluster_blocks() const {
    const auto& extents = cluster[0] != 0 ? cluster : ptx_cluster;
    return extents[0] * extents[1] * extents[2];
}

std::vector<const LaunchedKernel*> Variant::kernels() const {
    std::vector<const LaunchedKernel*> result = {this};
    for (const LaunchedKernel& later : then) {
        result.push_back(&later);
    }
    return result;
}

std::vector<std::string> expected_parameters(const Manifest& manifest, const Variant& variant,
                                             const LaunchedKernel& kernel) {
    static constexpr const char* names[] = {"i32", "i64", "fp32"};
    std::vector<std::string> result(manifest.calls[variant.call].inputs.size(), "ptr");
    for (const ExtraArg& argument : kernel.extra_args) {
        result.emplace_back(names[static_cast<std::size_t>(argument.type)]);
    }
    result.insert(result.end(), manifest.calls[variant.call].outputs.size() + variant.workspaces.size(), "ptr");
    return result;
}

void parse_variants(const JsonNode& list, const SymbolIndex& symbols, Manifest& manifest) {
    std::map<std::string, std::size_t> calls;
    for (const Call& call : manifest.calls) {
        calls.emplace(call.name, calls.size());
    }
    std::set<std::string> ids;
    for (const JsonNode& item : list.items(limits::variants)) {
        Variant variant{};
        variant.id = item.at("id").text(limits::variant_id_bytes);
        if (!ids.insert(variant.id).second) {
            item.at("id").fail(quote(variant.id) + " is not unique");
        }
        const auto named = calls.find(item.at("call").text(limits::name_bytes));
        if (named == calls.end()) {
            item.at("call").fail(quote(item.at("call").text(limits::name_bytes)) + " is not a call");
        }
        variant.call = named->second;
        variant.arch = checked_text(item, "arch", 16, architecture, "portable or sm_ and a number");
        variant.tactic = item.at("tactic").integer(0, limits::extent);

        const Call& call = manifest.calls[variant.call];
        const std::size_t tensors = call.inputs.size() + call.outputs.size();
        for (const JsonNode& name : item.at("dtypes").items(2 * limits::call_tensors)) {
            const DTypeInfo* dtype = find_dtype(name.text(16));
            if (dtype == nullptr) {
                name.fail("unknown dtype " + quote(name.text(16)));
            }
            variant.dtypes.push_back(dtype->dtype);
        }
        variant.formats = item.at("formats").texts(2 * limits::call_tensors, 32);
        variant.linear = std::all_of(variant.formats.begin(), variant.formats.end(),
                                     [](const auto& name) { return name == "linear"; });
        if (variant.dtypes.size() != tensors || variant.formats.size() != tensors) {
            item.fail("dtypes and formats need one entry for each of the call's " + std::to_string(tensors) +
                      " tensors");
        }
        if (const auto workspaces = item.find("workspaces")) {
            for (const JsonNode& workspace : workspaces->items(limits::workspaces)) {
                variant.workspaces.push_back({Expression::parse(workspace.at("bytes"), symbols),
                                              workspace.at("at_most").integer(0, limits::tensor_bytes)});
            }
        }
        parse_kernel(item, symbols, call, variant.workspaces.size(), variant);
        if (const auto then = item.find("then")) {
            for (const JsonNode& kernel : then->items(limits::kernels - 1)) {
                parse_kernel(kernel, symbols, call, variant.workspaces.size(), variant.then.emplace_back());
            }
        }
        if (!manifest.for_library && !(plain(variant) && variant.workspaces.empty() && variant.then.empty())) {
            item.fail("needs a plugin library, but the bundle does not say \"road\": \"library\"");
        }
        manifest.variants.push_back(std::move(variant));
    }
}

}  // namespace aot
