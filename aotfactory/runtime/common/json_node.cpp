// SPDX-License-Identifier: Apache-2.0
#include "common/json_node.h"

#include <algorithm>
#include <limits>

#include "common/error.h"
#include "common/limits.h"

namespace aot {

Json parse_json(std::string_view text, const std::string& where) {
    const auto bounded = [&](int depth, Json::parse_event_t event, Json&) {  // the document itself has depth 0
        const bool opens = event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
        if (opens && depth >= static_cast<int>(limits::json_depth)) {
            throw Error(Exit::damaged, where + ": nested deeper than " + std::to_string(limits::json_depth));
        }
        return true;
    };
    try {
        return Json::parse(text.begin(), text.end(), bounded);
    } catch (const Json::exception& error) {
        throw Error(Exit::damaged, where + ": not JSON: " + quote(error.what()));
    }
}

void JsonNode::fail(const std::string& message) const { throw Error(Exit::damaged, where_ + ": " + message); }

std::optional<JsonNode> JsonNode::find(const char* key) const {
    if (!value_->is_object()) {
        fail(std::string("must be an object, is ") + value_->type_name());
    }
    const auto found = value_->find(key);
    if (found == value_->end()) {
        return std::nullopt;
    }
    return JsonNode(*found, where_ + "." + key);
}

JsonNode JsonNode::at(const char* key) const {
    auto found = find(key);
    if (!found) {
        fail(std::string("lacks ") + quote(key));
    }
    return *std::move(found);
}

std::vector<std::pair<std::string, JsonNode>> JsonNode::members(std::size_t limit) const {
    if (!value_->is_object()) {
        fail(std::string("must be an object, is ") + value_->type_name());
    }
    if (value_->size() > limit) {
        fail("has more than " + std::to_string(limit) + " members");
    }
    std::vector<std::pair<std::string, JsonNode>> result;
    for (const auto& [key, value] : value_->items()) {
        result.emplace_back(key, JsonNode(value, where_ + "[" + quote(key) + "]"));
    }
    return result;
}

std::vector<JsonNode> JsonNode::items(std::size_t limit) const {
    if (!value_->is_array()) {
        fail(std::string("must be a list, is ") + value_->type_name());
    }
    if (value_->size() > limit) {
        fail("has more than " + std::to_string(limit) + " items");
    }
    std::vector<JsonNode> result;
    result.reserve(value_->size());
    for (const Json& value : *value_) {
        result.emplace_back(value, where_ + "[" + std::to_string(result.size()) + "]");
    }
    return result;
}

std::int64_t JsonNode::integer(std::int64_t least, std::int64_t most) const {
    if (!value_->is_number_integer()) {
        fail(std::string("must be an integer, is ") + value_->type_name());
    }
    const bool fits =
        !value_->is_number_unsigned() ||
        value_->get<std::uint64_t>() <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    const auto number = fits ? value_->get<std::int64_t>() : 0;
    if (!fits || number < least || number > most) {
        fail(value_->dump() + " is not within " + std::to_string(least) + " and " + std::to_string(most));
    }
    return number;
}

std::string JsonNode::text(std::size_t limit) const {
    if (!value_->is_string()) {
        fail(std::string("must be a string, is ") + value_->type_name());
    }
    const auto& text = value_->get_ref<const std::string&>();
    if (text.empty() || text.size() > limit) {
        fail("must have 1 to " + std::to_string(limit) + " bytes, has " + std::to_string(text.size()));
    }
    if (std::any_of(text.begin(), text.end(), [](unsigned char byte) { return byte < 0x20 || byte == 0x7f; })) {
        fail(quote(text) + " has a control character");
    }
    return text;
}

std::vector<std::string> JsonNode::texts(std::size_t limit, std::size_t text_limit) const {
    std::vector<std::string> result;
    for (const JsonNode& item : items(limit)) {
        result.push_back(item.text(text_limit));
    }
    return result;
}

}  // namespace aot
