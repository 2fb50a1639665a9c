// SPDX-License-Identifier: Apache-2.0
#include "plugin/attribute.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <optional>

#include "common/error.h"
#include "common/limits.h"

namespace aot::plugin {

namespace {

using Type = nvinfer1::PluginFieldType;

const std::map<std::string, Type>& field_types() {
    static const std::map<std::string, Type> types = {
        {"int", Type::kINT64},        {"float", Type::kFLOAT64},     {"bool", Type::kINT8},
        {"str", Type::kCHAR},         {"bytes", Type::kUNKNOWN},     {"int8[]", Type::kINT8},
        {"int16[]", Type::kINT16},    {"int32[]", Type::kINT32},     {"int64[]", Type::kINT64},
        {"bool[]", Type::kINT8},      {"float16[]", Type::kFLOAT16}, {"float32[]", Type::kFLOAT32},
        {"float64[]", Type::kFLOAT64}};
    return types;
}

double from_half(std::uint16_t bits) {
    const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
    const double magnitude = exponent == 31  ? (fraction == 0 ? std::numeric_limits<double>::infinity()
                                                              : std::numeric_limits<double>::quiet_NaN())
                             : exponent == 0 ? std::ldexp(fraction, -24)
                                             : std::ldexp(fraction + 1024, exponent - 25);
    return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

template <typename Element, typename Value, typename Convert>
std::vector<Value> elements(const void* data, std::size_t count, Convert convert) {
    std::vector<Value> values(count);
    for (std::size_t i = 0; i < count; ++i) {
        Element element;  // fields need not be aligned
        std::memcpy(&element, static_cast<const char*>(data) + i * sizeof(Element), sizeof(Element));
        values[i] = convert(element);
    }
    return values;
}

template <typename Element, typename Value>
std::vector<Value> elements(const void* data, std::size_t count) {
    return elements<Element, Value>(data, count, [](Element element) { return static_cast<Value>(element); });
}

std::optional<std::vector<std::int64_t>> integers(Type type, const void* data, std::size_t count) {
    switch (type) {
        case Type::kINT8: return elements<std::int8_t, std::int64_t>(data, count);
        case Type::kINT16: return elements<std::int16_t, std::int64_t>(data, count);
        case Type::kINT32: return elements<std::int32_t, std::int64_t>(data, count);
        case Type::kINT64: return elements<std::int64_t, std::int64_t>(data, count);
        default: return std::nullopt;
    }
}

std::optional<std::vector<double>> floats(Type type, const void* data, std::size_t count) {
    switch (type) {
        case Type::kUNKNOWN: return elements<std::uint16_t, double>(data, count / 2, from_half);  // float16, as bytes
        case Type::kFLOAT16: return elements<std::uint16_t, double>(data, count, from_half);
        case Type::kFLOAT32: return elements<float, double>(data, count);
        case Type::kFLOAT64: return elements<double, double>(data, count);
        default: return std::nullopt;
    }
}

bool arrives_as(double sent, double received) {
    return sent == received || static_cast<double>(static_cast<float>(sent)) == received ||
           (std::isnan(sent) && std::isnan(received));
}

// Calls `visit` with each number or text in a list, whatever its depth, or with the value itself.
template <typename Visit>
void each(const Json& value, Visit visit) {
    if (value.is_array()) {
        for (const Json& item : value) {
            each(item, visit);
        }
    } else {
        visit(value);
    }
}

double number(const Json& item, const std::string& where) {
    static const std::map<std::string, double> others = {{"nan", std::numeric_limits<double>::quiet_NaN()},
                                                         {"inf", std::numeric_limits<double>::infinity()},
                                                         {"-inf", -std::numeric_limits<double>::infinity()}};
    if (item.is_number()) {
        return item.get<double>();
    }
    const auto found = item.is_string() ? others.find(item.get<std::string>()) : others.end();
    if (found == others.end()) {
        throw Error(Exit::definition, where + ": not a number");
    }
    return found->second;
}

std::string from_hex(const std::string& text, const std::string& where) {
    std::string bytes;
    for (std::size_t i = 0; i + 1 < text.size() + text.size() % 2; i += 2) {
        const std::string pair = text.substr(i, 2);
        if (pair.size() != 2 || pair.find_first_not_of("0123456789abcdef") != std::string::npos) {
            throw Error(Exit::definition, where + ": not bytes in hexadecimal");
        }
        bytes.push_back(static_cast<char>(std::stoi(pair, nullptr, 16)));
    }
    return bytes;
}

}  // namespace

Attribute::Attribute(std::string name, const JsonNode& node) : name_(std::move(name)) {
    const std::string kind = node.at("type").text(32), where = node.where();
    const auto known = field_types().find(kind);
    if (known == field_types().end()) {
        node.fail("an attribute of the unknown type " + quote(kind));
    }
    field_type_ = known->second;
    const JsonNode checked = node.at("value");
    const Json& value = checked.value();
    shown_ = name_ + "=" + quote(value.dump());
    if (kind == "str" || kind == "bytes") {
        if (!value.is_string()) {
            checked.fail("must be a text");
        }
        value_ = kind == "str" ? value.get<std::string>() : from_hex(value.get<std::string>(), where);
    } else if (kind.compare(0, 5, "float") == 0) {
        Floats numbers;
        each(value, [&](const Json& item) { numbers.push_back(number(item, where)); });
        value_ = std::move(numbers);
    } else {
        Integers numbers;
        each(value, [&](const Json& item) {
            if (!item.is_boolean() && !item.is_number_integer()) {
                checked.fail("not an integer");
            }
            numbers.push_back(item.is_boolean() ? static_cast<std::int64_t>(item.get<bool>())
                                                : item.get<std::int64_t>());
        });
        value_ = std::move(numbers);
    }
}

bool Attribute::matches(const nvinfer1::PluginField& field) const {
    if (field.length < 0 || (field.data == nullptr && field.length > 0)) {
        return false;
    }
    const auto count = static_cast<std::size_t>(field.length);
    if (const auto* expected = std::get_if<Integers>(&value_)) {
        return integers(field.type, field.data, count) == *expected;
    }
    if (const auto* expected = std::get_if<Floats>(&value_)) {
        const auto found = floats(field.type, field.data, count);
        return found && found->size() == expected->size() &&
               std::equal(expected->begin(), expected->end(), found->begin(), arrives_as);
    }
    if (field.type != Type::kCHAR && field.type != Type::kUNKNOWN) {
        return false;
    }
    const auto& expected = std::get<std::string>(value_);
    const std::string found(static_cast<const char*>(field.data), count);
    return found == expected || found == expected + '\0';
}

std::string Attribute::describe() const { return shown_; }

}  // namespace aot::plugin
