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

// The sum of the symbols' multiples and a constant. No multiple is 0.
struct LinearForm {
    std::map<std::size_t, std::int64_t> multiples;  // by the symbol's index
    std::int64_t constant = 0;
};

// An int, a symbol's name, or [op, a, b]. Never a size tensor: those are whole dimensions only (see Manifest).
class Expression {
public:
    enum class Op : std::uint8_t { constant, symbol, sum, prod, max, min, sub, equal, less, floor_div, ceil_div };

    // Throws Error(definition) for an unknown operation or symbol, a wrong type, or one too deep or too large.
    static Expression parse(const JsonNode& node, const SymbolIndex& symbols);

    // Throws Error(definition) for a division by zero and for any value outside int64.
    std::int64_t evaluate(const std::vector<std::int64_t>& symbols) const;

    // Nothing for an expression that is more than sums, differences and constant multiples of symbols (an operation on
    // constants is a constant), or has a number outside int64 in it.
    std::optional<LinearForm> linear() const;
    const std::string& where() const { return where_; }

    // The expression in another algebra: of `leaf(Op::constant, value)`, `leaf(Op::symbol, index)` and
    // `apply(op, left, right)`, operands first.
    template <typename Value, typename Leaf, typename Apply>
    Value build(Leaf leaf, Apply apply) const {
        std::vector<Value> values;
        for (const Term& term : terms_) {
            const bool is_leaf = term.op == Op::constant || term.op == Op::symbol;
            values.push_back(is_leaf ? leaf(term.op, term.value)
                                     : apply(term.op, values[term.left], values[term.right]));
        }
        return values.back();
    }

private:
    struct Term {
        Op op;
        std::int64_t value;       // of a constant; the index of a symbol
        std::size_t left, right;  // the operands' positions in terms_, both before this one
    };

    std::size_t append(const JsonNode& node, const SymbolIndex& symbols, std::size_t depth);
    std::int64_t apply(Op op, std::int64_t a, std::int64_t b) const;
    std::optional<LinearForm> combine(Op op, LinearForm left, LinearForm right) const;

    std::vector<Term> terms_;  // operands before operations, the whole expression last
    std::string where_;
};

}  // namespace aot
