// SPDX-License-Identifier: Apache-2.0
// TensorRT's dimension expressions, evaluated exactly in int64; their JSON form is that of the bundle's manifest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/json_node.h"

namespace aot {

using SymbolIndex = std::map<std::string, std::size_t>;  // name -> position in the values given to evaluate

// An int, a symbol's name, or [op, a, b]. Never a size tensor: those are whole dimensions only (see Manifest).
class Expression {
public:
    static constexpr std::size_t max_depth = 200;
    static constexpr std::size_t max_size = 4096;

    // Throws Error(definition) for an unknown operation or symbol, a wrong type, or one too deep or too large.
    static Expression parse(const JsonNode& node, const SymbolIndex& symbols);

    // Throws Error(definition) for a division by zero and for any value outside int64.
    std::int64_t evaluate(const std::vector<std::int64_t>& symbols) const;

    std::optional<std::int64_t> constant() const;
    std::optional<std::size_t> symbol() const;  // the symbol's index if the expression is just that symbol
    const std::string& where() const { return where_; }

private:
    enum class Op : std::uint8_t { constant, symbol, sum, prod, max, min, sub, equal, less, floor_div, ceil_div };
    struct Term {
        Op op;
        std::int64_t value;       // of a constant; the index of a symbol
        std::size_t left, right;  // the operands' positions in terms_, both before this one
    };

    std::size_t append(const JsonNode& node, const SymbolIndex& symbols, std::size_t depth);
    std::int64_t apply(Op op, std::int64_t a, std::int64_t b) const;

    std::vector<Term> terms_;  // operands before operations, the whole expression last
    std::string where_;
};

}  // namespace aot
