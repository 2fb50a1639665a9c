// SPDX-License-Identifier: Apache-2.0
// TensorRT's half of a plugin's interface, for tests: expressions as it hands them out, and names of its enumerators.
#pragma once

#include <NvInferRuntime.h>

#include <algorithm>
#include <array>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace side {

using Json = nlohmann::json;

inline constexpr std::array<const char*, 9> type_names = {"fp32",  "fp16", "int8", "int32", "bool",
                                                          "uint8", "fp8",  "bf16", "int64"};

inline nvinfer1::DataType type_of(const std::string& name) {
    const auto found = std::find(type_names.begin(), type_names.end(), name);
    if (found == type_names.end()) {
        throw std::runtime_error("no data type " + name);
    }
    return static_cast<nvinfer1::DataType>(found - type_names.begin());
}

inline std::size_t bytes_of(nvinfer1::DataType type) {
    static constexpr std::array<std::size_t, 9> bytes = {4, 2, 1, 4, 1, 1, 1, 2, 8};
    return bytes.at(static_cast<std::size_t>(type));
}

// A dimension expression. TensorRT folds constants; so does this.
class Dim final : public nvinfer1::IDimensionExpr, public nvinfer1::apiv::VDimensionExpr {
public:
    Dim(Json json, const Dim* left, const Dim* right) : json_(std::move(json)), left_(left), right_(right) {
        mImpl = this;
    }
    ~Dim() noexcept override = default;

    bool isConstant() const override { return json_.is_number_integer(); }
    std::int64_t getConstantValue() const override {
        return isConstant() ? json_.get<std::int64_t>() : std::numeric_limits<std::int64_t>::min();
    }
    bool isSizeTensor() const override { return json_.is_array() && json_[0] == "size_tensor"; }

    // An int, a symbol's name, [operation, a, b] or ["size_tensor", output, opt, upper], as in a bundle's manifest.
    const Json& json() const { return json_; }

    // A size tensor is its upper bound.
    std::int64_t evaluate(const std::map<std::string, std::int64_t>& symbols) const {
        if (isConstant()) {
            return getConstantValue();
        }
        if (json_.is_string()) {
            return symbols.at(json_.get<std::string>());
        }
        return isSizeTensor() ? right_->evaluate(symbols)
                              : apply(json_[0], left_->evaluate(symbols), right_->evaluate(symbols));
    }

    static std::int64_t apply(const std::string& op, std::int64_t a, std::int64_t b) {
        const auto floor_div = [](std::int64_t x, std::int64_t y) {
            return x / y - (x % y != 0 && (x < 0) != (y < 0));
        };
        if (op == "sum")
            return a + b;
        if (op == "prod")
            return a * b;
        if (op == "max")
            return std::max(a, b);
        if (op == "min")
            return std::min(a, b);
        if (op == "sub")
            return a - b;
        if (op == "equal")
            return a == b;
        if (op == "less")
            return a < b;
        return op == "floor_div" ? floor_div(a, b) : -floor_div(-a, b);
    }

private:
    Json json_;
    const Dim *left_, *right_;
};

class ExprBuilder final : public nvinfer1::IExprBuilder, public nvinfer1::apiv::VExprBuilder {
public:
    ExprBuilder() { mImpl = this; }
    ~ExprBuilder() noexcept override = default;

    const Dim* symbol(const std::string& name) { return keep(name, nullptr, nullptr); }
    const nvinfer1::IDimensionExpr* constant(std::int64_t value) override { return keep(value, nullptr, nullptr); }
    const nvinfer1::IDimensionExpr* operation(nvinfer1::DimensionOperation op, const nvinfer1::IDimensionExpr& first,
                                              const nvinfer1::IDimensionExpr& second) override {
        static constexpr std::array<const char*, 9> names = {"sum",   "prod", "max",       "min",     "sub",
                                                             "equal", "less", "floor_div", "ceil_div"};
        const auto &a = static_cast<const Dim&>(first), &b = static_cast<const Dim&>(second);
        const std::string name = names.at(static_cast<std::size_t>(op));
        if (a.Dim::isConstant() && b.Dim::isConstant()) {
            return keep(Dim::apply(name, a.Dim::getConstantValue(), b.Dim::getConstantValue()), nullptr, nullptr);
        }
        return keep(Json::array({name, a.json(), b.json()}), &a, &b);
    }
    const nvinfer1::IDimensionExpr* declareSizeTensor(std::int32_t index, const nvinfer1::IDimensionExpr& opt,
                                                      const nvinfer1::IDimensionExpr& upper) override {
        const auto &a = static_cast<const Dim&>(opt), &b = static_cast<const Dim&>(upper);
        return keep(Json::array({"size_tensor", index, a.json(), b.json()}), &a, &b);
    }

private:
    const Dim* keep(Json json, const Dim* left, const Dim* right) {
        made_.push_back(std::make_unique<Dim>(std::move(json), left, right));
        return made_.back().get();
    }
    std::deque<std::unique_ptr<Dim>> made_;
};

// A plugin's fields from JSON: [{"name": ..., "type": 5, "values": [...]}]; texts are CHAR.
class Fields {
public:
    explicit Fields(const Json& list) {
        for (const Json& item : list) {
            using Type = nvinfer1::PluginFieldType;
            const auto type = static_cast<Type>(item["type"].get<int>());
            std::string& bytes = data_.emplace_back();
            const Json& values = item["values"];
            if (values.is_string()) {
                bytes = values.get<std::string>();
            } else {
                for (const Json& value : values) {
                    append(type, value, bytes);
                }
            }
            const auto length = static_cast<std::int32_t>(values.is_string() ? bytes.size() : values.size());
            names_.push_back(item["name"].get<std::string>());
            fields_.emplace_back(names_.back().c_str(), bytes.data(), type, length);
        }
        collection_ = {static_cast<std::int32_t>(fields_.size()), fields_.data()};
    }
    Fields(const Fields&) = delete;
    const nvinfer1::PluginFieldCollection* get() const { return &collection_; }

private:
    template <typename T>
    static void put(T value, std::string& bytes) {
        bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
    }
    static void append(nvinfer1::PluginFieldType type, const Json& value, std::string& bytes) {
        using Type = nvinfer1::PluginFieldType;
        switch (type) {
            case Type::kFLOAT32: return put(value.get<float>(), bytes);
            case Type::kFLOAT64: return put(value.get<double>(), bytes);
            case Type::kINT8: return put(static_cast<std::int8_t>(value.get<int>()), bytes);
            case Type::kINT16: return put(static_cast<std::int16_t>(value.get<int>()), bytes);
            case Type::kFLOAT16: return put(static_cast<std::uint16_t>(value.get<int>()), bytes);  // as bits
            case Type::kINT32: return put(value.get<std::int32_t>(), bytes);
            default: return put(value.get<std::int64_t>(), bytes);
        }
    }
    std::deque<std::string> data_, names_;
    std::vector<nvinfer1::PluginField> fields_;
    nvinfer1::PluginFieldCollection collection_{};
};

}  // namespace side
