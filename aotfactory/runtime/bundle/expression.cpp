// SPDX-License-Identifier: Apache-2.0
#include "bundle/expression.h"

#include <algorithm>
#include <array>
#include <limits>

#include "common/error.h"
#include "common/limits.h"

namespace aot {

Expression Expression::parse(const JsonNode& node, const SymbolIndex& symbols) {
    Expression result;
    result.where_ = node.where();
    result.append(node, symbols, 1);
    return result;
}

std::size_t Expression::append(const JsonNode& node, const SymbolIndex& symbols, std::size_t depth) {
    static const std::map<std::string, Op> operations = {
        {"sum", Op::sum},           {"prod", Op::prod},   {"max", Op::max},   {"min", Op::min},
        {"sub", Op::sub},           {"equal", Op::equal}, {"less", Op::less}, {"floor_div", Op::floor_div},
        {"ceil_div", Op::ceil_div},
    };
    if (depth > limits::expression_depth || terms_.size() >= limits::expression_size) {
        throw Error(Exit::damaged, where_ + ": an expression deeper than " + std::to_string(limits::expression_depth) +
                                       " or larger than " + std::to_string(limits::expression_size) + " terms");
    }
    Term term{Op::constant, 0, 0, 0};
    if (node.is_integer()) {
        term.value = node.integer(std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max());
    } else if (node.is_string()) {
        const auto found = symbols.find(node.text(limits::symbol_characters));
        if (found == symbols.end()) {
            node.fail("unknown symbol " + quote(node.text(limits::symbol_characters)));
        }
        term = {Op::symbol, static_cast<std::int64_t>(found->second), 0, 0};
    } else if (node.is_array()) {
        const auto items = node.items(4);
        if (items.empty() || !items[0].is_string()) {
            node.fail("an expression's list must begin with an operation's name");
        }
        const auto name = items[0].text(64);
        const auto found = operations.find(name);
        if (found == operations.end()) {
            node.fail(name == "size_tensor" ? "a size tensor can only be a whole dimension of an output"
                                            : "unknown operation " + quote(name));
        }
        if (items.size() != 3) {
            node.fail(name + " takes two operands");
        }
        term.op = found->second;
        term.left = append(items[1], symbols, depth + 1);
        term.right = append(items[2], symbols, depth + 1);
        if (terms_.size() >= limits::expression_size) {
            node.fail("an expression larger than " + std::to_string(limits::expression_size) + " terms");
        }
    } else {
        node.fail("an expression is an integer, a symbol or [operation, a, b]");
    }
    terms_.push_back(term);
    return terms_.size() - 1;
}

std::int64_t Expression::evaluate(const std::vector<std::int64_t>& symbols) const {
    std::array<std::int64_t, limits::expression_size> values;  // left uninitialised: each is set before it is read
    for (std::size_t i = 0; i < terms_.size(); ++i) {
        const Term& term = terms_[i];
        switch (term.op) {
            case Op::constant: values[i] = term.value; break;
            case Op::symbol: values[i] = symbols.at(static_cast<std::size_t>(term.value)); break;
            default: values[i] = apply(term.op, values[term.left], values[term.right]);
        }
    }
    return values[terms_.size() - 1];
}

std::int64_t Expression::apply(Op op, std::int64_t a, std::int64_t b) const {
    std::int64_t result = 0;
    bool overflow = false;
    switch (op) {
        case Op::sum: overflow = __builtin_add_overflow(a, b, &result); break;
        case Op::sub: overflow = __builtin_sub_overflow(a, b, &result); break;
        case Op::prod: overflow = __builtin_mul_overflow(a, b, &result); break;
        case Op::max: result = std::max(a, b); break;
        case Op::min: result = std::min(a, b); break;
        case Op::equal: result = a == b; break;
        case Op::less: result = a < b; break;
        case Op::floor_div:
        case Op::ceil_div: {
            if (b == 0) {
                throw Error(Exit::definition, where_ + ": division by zero");
            }
            overflow = a == std::numeric_limits<std::int64_t>::min() && b == -1;
            if (!overflow) {
                // C++ rounds to zero: step down (floor) for an inexact negative quotient, up (ceil) for a positive one
                const bool inexact = a % b != 0, negative = (a < 0) != (b < 0);
                result = a / b;
                result -= op == Op::floor_div && inexact && negative;
                result += op == Op::ceil_div && inexact && !negative;
            }
            break;
        }
        case Op::constant:
        case Op::symbol: break;
    }
    if (overflow) {
        throw Error(Exit::definition, where_ + ": a value outside int64");
    }
    return result;
}

std::optional<LinearForm> Expression::linear() const {
    std::vector<std::optional<LinearForm>> forms;
    for (const Term& term : terms_) {
        LinearForm form;
        switch (term.op) {
            case Op::constant: form.constant = term.value; break;
            case Op::symbol: form.multiples[static_cast<std::size_t>(term.value)] = 1; break;
            default: {
                auto &left = forms[term.left], &right = forms[term.right];  // no other operation has these operands
                forms.push_back(left && right ? combine(term.op, std::move(*left), std::move(*right)) : std::nullopt);
                continue;
            }
        }
        forms.push_back(std::move(form));
    }
    return forms.back();
}

std::optional<LinearForm> Expression::combine(Op op, LinearForm left, LinearForm right) const {
    try {
        if (left.multiples.empty() && right.multiples.empty()) {
            return LinearForm{{}, apply(op, left.constant, right.constant)};
        }
        const std::int64_t constant = apply(op, left.constant, right.constant);
        LinearForm result = std::move(left);
        if (op == Op::prod && (result.multiples.empty() || right.multiples.empty())) {
            if (result.multiples.empty()) {
                std::swap(result, right);
            }
            for (auto& [symbol, multiple] : result.multiples) {
                multiple = apply(op, multiple, right.constant);
            }
        } else if (op == Op::sum || op == Op::sub) {
            for (const auto& [symbol, multiple] : right.multiples) {
                result.multiples[symbol] = apply(op, result.multiples[symbol], multiple);
            }
        } else {
            return std::nullopt;
        }
        result.constant = constant;
        for (auto each = result.multiples.begin(); each != result.multiples.end();) {
            each = each->second == 0 ? result.multiples.erase(each) : std::next(each);
        }
        return result;
    } catch (const Error&) {  // outside int64, or a division by zero
        return std::nullopt;
    }
}

}  // namespace aot
