// SPDX-License-Identifier: Apache-2.0
// Typed access to untrusted JSON: every mismatch is an Error that says where.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/limits.h"

namespace aot {

using Json = nlohmann::json;

// Parses `text` (UTF-8, nested at most limits::json_depth deep); throws Error(definition).
Json parse_json(std::string_view text, const std::string& where);

// A value of a JSON document and the path that leads to it. The document must outlive it.
class JsonNode {
public:
    JsonNode(const Json& value, std::string where) : value_(&value), where_(std::move(where)) {}

    const std::string& where() const { return where_; }
    const Json& value() const { return *value_; }
    bool is_null() const { return value_->is_null(); }
    bool is_string() const { return value_->is_string(); }
    bool is_integer() const { return value_->is_number_integer(); }
    bool is_array() const { return value_->is_array(); }

    JsonNode at(const char* key) const;                   // a member that must exist
    std::optional<JsonNode> find(const char* key) const;  // a member that may be missing
    std::vector<std::pair<std::string, JsonNode>> members(std::size_t limit) const;
    std::vector<JsonNode> items(std::size_t limit) const;
    std::int64_t integer(std::int64_t least, std::int64_t most) const;
    std::string text(std::size_t limit) const;  // not empty, without control characters
    std::vector<std::string> texts(std::size_t limit, std::size_t text_limit) const;

    [[noreturn]] void fail(const std::string& message) const;

private:
    const Json* value_;
    std::string where_;
};

}  // namespace aot
