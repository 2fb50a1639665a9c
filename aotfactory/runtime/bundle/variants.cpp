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

}  // namespace

std::vector<std::string> expected_parameters(const Manifest& manifest, const Variant& variant) {
    std::vector<std::string> result(manifest.calls[variant.call].inputs.size(), "ptr");
    result.insert(result.end(), variant.extra_args.size(), "i32");
    result.insert(result.end(), manifest.calls[variant.call].outputs.size(), "ptr");
    return result;
}

void parse_variants(const JsonNode& list, const SymbolIndex& symbols, Manifest& manifest) {
    std::map<std::string, std::size_t> calls;
    for (const Call& call : manifest.calls) {
        calls.emplace(call.name, calls.size());
    }
    std::set<std::string> ids;
    for (const JsonNode& item : list.items(limits::variants)) {
        const auto text = [&](const char* key, std::size_t limit, auto accept, const char* rule) {
            auto value = item.at(key).text(limit);
            if (!accept(value)) {
                item.at(key).fail(quote(value) + " is not " + rule);
            }
            return value;
        };
        const auto target = [](const std::string& name) { return parse_target(name).has_value(); };
        Variant variant{};
        variant.id =
            text("id", limits::variant_id_bytes, [&](const auto& id) { return ids.insert(id).second; }, "unique");
        variant.call = calls.at(
            text("call", limits::name_bytes, [&](const auto& name) { return calls.count(name) != 0; }, "a call"));
        variant.arch = text("arch", 16, architecture, "portable or sm_ and a number");
        variant.kernel = text("kernel", limits::kernel_name_bytes, ptx_identifier, "an entry's name");
        variant.ptx = text("ptx", limits::ptx_name_bytes, plain_file_name, "a plain file name inside the bundle");
        variant.sha256 = text("sha256", 64, hex_digest, "a SHA-256 of 64 lower-case hexadecimal digits");
        variant.ptx_target = text("ptx_target", 16, target, "a PTX target, as sm_80 or sm_90a");
        variant.ptx_bytes = static_cast<std::size_t>(item.at("ptx_bytes").integer(1, limits::ptx_bytes));
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
        for (const char* field : launch_field_names) {
            variant.launch.push_back(Expression::parse(item.at("launch").at(field), symbols));
        }
        for (const JsonNode& argument : item.at("extra_args").items(limits::extra_args)) {
            variant.extra_args.push_back(Expression::parse(argument, symbols));
        }
        if (item.at("parameters").texts(2 * limits::call_tensors + limits::extra_args, 16) !=
            expected_parameters(manifest, variant)) {
            item.at("parameters")
                .fail("must be one ptr for each input, one i32 for each extra argument, one ptr for each output");
        }
        manifest.variants.push_back(std::move(variant));
    }
}

}  // namespace aot
