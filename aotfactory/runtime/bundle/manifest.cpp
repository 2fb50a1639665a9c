// SPDX-License-Identifier: Apache-2.0
#include "bundle/manifest.h"

#include <algorithm>
#include <limits>
#include <set>

#include "bundle/dimensions.h"
#include "common/error.h"
#include "common/limits.h"

namespace aot {

namespace {

using NameIndex = std::map<std::string, std::size_t>;

struct PendingSizeTensor {  // a size tensor's output index means something only once the calls are known
    std::size_t tensor, dimension, output;
    std::string where;
};

struct Parser {
    Manifest manifest;
    SymbolIndex symbols;
    NameIndex tensor_names;
    std::vector<PendingSizeTensor> size_tensors;

    void read_symbols(const JsonNode& node);
    void read_tensors(const JsonNode& node);
    Extent read_extent(const JsonNode& node, std::size_t dimension, Role role);
    void read_calls(const JsonNode& node);
    void read_aliases(const JsonNode& node);
    std::size_t tensor(const JsonNode& name) const;
};

void Parser::read_symbols(const JsonNode& node) {
    for (const auto& [name, bounds] : node.members(limits::symbols)) {
        const bool identifier = std::all_of(name.begin(), name.end(), [](unsigned char letter) {
            return letter == '_' || (letter < 0x80 && std::isalnum(letter) != 0);
        });
        if (name.empty() || name.size() > limits::symbol_characters || !identifier) {
            bounds.fail("a symbol's name is an ASCII identifier of at most " +
                        std::to_string(limits::symbol_characters) + " characters");
        }
        Symbol symbol{name, bounds.at("min").integer(0, limits::extent), bounds.at("opt").integer(0, limits::extent),
                      bounds.at("max").integer(0, limits::extent)};
        if (symbol.min > symbol.opt || symbol.opt > symbol.max) {
            bounds.fail("min <= opt <= max does not hold");
        }
        symbols.emplace(name, manifest.symbols.size());
        manifest.symbols.push_back(std::move(symbol));
    }
}

void Parser::read_tensors(const JsonNode& node) {
    static const std::map<std::string, Role> roles = {
        {"input", Role::input}, {"output", Role::output}, {"internal", Role::internal}};
    for (const JsonNode& item : node.items(limits::tensors)) {
        const auto role = roles.find(item.at("role").text(16));
        if (role == roles.end()) {
            item.at("role").fail("must be input, output or internal");
        }
        const DTypeInfo* dtype = find_dtype(item.at("dtype").text(16));
        if (dtype == nullptr) {
            item.at("dtype").fail("unknown dtype " + quote(item.at("dtype").text(16)));
        }
        const std::size_t index = manifest.tensors.size();
        Tensor tensor{item.at("name").text(limits::name_bytes), role->second, dtype->dtype, {}, std::nullopt, index};
        if (!tensor_names.emplace(tensor.name, index).second) {
            item.at("name").fail("two tensors are named " + quote(tensor.name));
        }
        for (const JsonNode& extent : item.at("shape").items(limits::rank)) {
            tensor.shape.push_back(read_extent(extent, tensor.shape.size(), tensor.role));
        }
        manifest.tensors.push_back(std::move(tensor));
    }
    for (const std::size_t symbol : unsolved_symbols(manifest)) {
        node.fail("the inputs' shapes do not tell the symbol " + quote(manifest.symbols[symbol].name));
    }
}

Extent Parser::read_extent(const JsonNode& node, std::size_t dimension, Role role) {
    if (node.is_array()) {
        const auto items = node.items(4);
        if (!items.empty() && items[0].is_string() && items[0].text(64) == "size_tensor") {
            if (items.size() != 4 || role == Role::input) {
                node.fail(items.size() != 4 ? "a size tensor is [\"size_tensor\", output_index, opt, upper]"
                                            : "an input can't have a data-dependent dimension");
            }
            const auto output = static_cast<std::size_t>(items[1].integer(0, limits::extent));
            size_tensors.push_back({manifest.tensors.size(), dimension, output, node.where()});
            return {Expression::parse(items[3], symbols), std::nullopt, Expression::parse(items[2], symbols)};
        }
    }
    return {Expression::parse(node, symbols), std::nullopt, std::nullopt};
}

std::size_t Parser::tensor(const JsonNode& name) const {
    const auto found = tensor_names.find(name.text(limits::name_bytes));
    if (found == tensor_names.end()) {
        name.fail("unknown tensor " + quote(name.text(limits::name_bytes)));
    }
    return found->second;
}

void Parser::read_calls(const JsonNode& node) {
    std::vector<std::optional<std::size_t>> made_by(manifest.tensors.size());
    std::set<std::string> names;
    for (const JsonNode& item : node.items(limits::calls)) {
        Call call{item.at("name").text(limits::name_bytes), item.at("plugin").text(limits::name_bytes), {}, {}};
        if (!names.insert(call.name).second) {
            item.at("name").fail("two calls are named " + quote(call.name));
        }
        for (const JsonNode& name : item.at("inputs").items(limits::call_tensors)) {
            const std::size_t index = tensor(name);
            if (manifest.tensors[index].role != Role::input && !made_by[index]) {
                name.fail(quote(manifest.tensors[index].name) + " is used before a call makes it");
            }
            call.inputs.push_back(index);
        }
        for (const JsonNode& name : item.at("outputs").items(limits::call_tensors)) {
            const std::size_t index = tensor(name);
            if (manifest.tensors[index].role == Role::input || made_by[index]) {
                name.fail(quote(manifest.tensors[index].name) + " is already made, as an input or by another call");
            }
            call.outputs.push_back(index);
        }
        for (const std::size_t output : call.outputs) {
            if (made_by[output]) {
                item.at("outputs").fail("names " + quote(manifest.tensors[output].name) + " twice");
            }
            made_by[output] = manifest.calls.size();
        }
        if (call.outputs.empty()) {
            item.at("outputs").fail("a call needs an output");
        }
        manifest.calls.push_back(std::move(call));
    }
    if (manifest.calls.empty()) {
        node.fail("a bundle needs a call");
    }
    for (std::size_t i = 0; i < manifest.tensors.size(); ++i) {
        if (manifest.tensors[i].role != Role::input && !made_by[i]) {
            node.fail("no call makes " + quote(manifest.tensors[i].name));
        }
    }
    for (const PendingSizeTensor& pending : size_tensors) {
        const auto& outputs = manifest.calls[*made_by[pending.tensor]].outputs;
        if (pending.output >= outputs.size()) {
            throw Error(Exit::damaged, pending.where + ": the call has no output " + std::to_string(pending.output));
        }
        const Tensor& size = manifest.tensors[outputs[pending.output]];
        if (!size.shape.empty() || (size.dtype != DType::int32 && size.dtype != DType::int64)) {
            throw Error(Exit::damaged,
                        pending.where + ": " + quote(size.name) + " is not a scalar of type int32 or int64");
        }
        manifest.tensors[pending.tensor].shape[pending.dimension].size_tensor = outputs[pending.output];
    }
}

void Parser::read_aliases(const JsonNode& node) {
    std::vector<std::optional<std::string>> wanted;
    const auto items = node.items(limits::tensors);
    std::vector<bool> exists;
    for (std::size_t i = 0; i < items.size(); ++i) {
        exists.push_back(manifest.tensors[i].role == Role::input);
        const auto alias = items[i].find("aliases");
        if (alias && !alias->is_null() && exists[i]) {
            alias->fail("an input can't share another tensor's buffer");
        }
    }
    for (const Call& call : manifest.calls) {
        for (const std::size_t output : call.outputs) {
            const auto alias = items[output].find("aliases");
            if (!alias || alias->is_null()) {
                continue;
            }
            const std::size_t source = tensor(*alias);
            Tensor& made = manifest.tensors[output];
            const Tensor& shared = manifest.tensors[source];
            if (!exists[source]) {  // also rules out cycles
                alias->fail(quote(shared.name) + " does not exist before the call that makes " + quote(made.name));
            }
            if (shared.dtype != made.dtype || shared.data_dependent() || made.data_dependent()) {
                alias->fail("two tensors that share a buffer need the same dtype and no data-dependent dimension");
            }
            made.aliases = source;
            made.buffer = shared.buffer;
        }
        for (const std::size_t output : call.outputs) {
            exists[output] = true;
        }
    }
}

}  // namespace

bool Tensor::data_dependent() const {
    return std::any_of(shape.begin(), shape.end(), [](const Extent& extent) { return extent.size_tensor.has_value(); });
}

std::optional<std::size_t> Manifest::find_input(std::string_view tensor_name) const {
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        if (tensors[i].role == Role::input && tensors[i].name == tensor_name) {
            return i;
        }
    }
    return std::nullopt;
}

std::vector<std::string> Manifest::input_names() const {
    std::vector<std::string> names;
    for (const Tensor& tensor : tensors) {
        if (tensor.role == Role::input) {
            names.push_back(tensor.name);
        }
    }
    return names;
}

Manifest parse_manifest(std::string_view text) {
    if (text.size() > limits::manifest_bytes) {
        throw Error(Exit::damaged, "manifest.json: larger than " + std::to_string(limits::manifest_bytes) + " bytes");
    }
    const Json document = parse_json(text, "manifest.json");
    const JsonNode root(document, "manifest.json");
    if (const auto schema = root.at("schema").text(64); schema != "aotfactory.bundle/1") {
        root.at("schema").fail("this launcher reads aotfactory.bundle/1, not " + quote(schema));
    }
    Parser parser;
    parser.manifest.name = root.at("name").text(limits::bundle_name_bytes);
    parser.manifest.target = root.at("target").text(limits::target_bytes);
    if (const auto road = root.find("road")) {
        parser.manifest.for_library = road->text(16) == "library";
        if (!parser.manifest.for_library) {
            road->fail("is not library, the only road that is said");
        }
    }
    parser.read_symbols(root.at("symbols"));
    parser.read_tensors(root.at("tensors"));
    parser.read_calls(root.at("calls"));
    parser.read_aliases(root.at("tensors"));
    parse_variants(root.at("variants"), parser.symbols, parser.manifest);
    return std::move(parser.manifest);
}

}  // namespace aot
