// SPDX-License-Identifier: Apache-2.0
#include "bundle/dimensions.h"

#include <limits>
#include <optional>

#include "common/error.h"
#include "common/limits.h"

namespace aot {

namespace {

struct Equation {  // left = extent, a dimension of an input
    LinearForm left;
    std::int64_t extent;
    const Tensor* input;
    std::size_t axis;
};

using Values = std::vector<std::optional<std::int64_t>>;

// The only symbol of the equation without a value; nothing if there are none or several.
template <typename Known>
std::optional<std::size_t> only_unknown(const LinearForm& left, Known known) {
    std::optional<std::size_t> found;
    for (const auto& [symbol, multiple] : left.multiples) {
        if (!known(symbol)) {
            if (found) {
                return std::nullopt;
            }
            found = symbol;
        }
    }
    return found;
}

[[noreturn]] void refuse(const Equation& equation, const std::string& why) {
    throw Error(Exit::usage, "dimension " + std::to_string(equation.axis) + " of input " + quote(equation.input->name) +
                                 " can't be " + std::to_string(equation.extent) + ": " + why);
}

// The symbol's value that the equation asks for, the other symbols being known.
std::int64_t solve(const Equation& equation, std::size_t symbol, const Values& values) {
    std::int64_t rest = equation.extent, product = 0, divisor = 0;
    bool overflow = __builtin_sub_overflow(rest, equation.left.constant, &rest);
    for (const auto& [other, multiple] : equation.left.multiples) {
        if (other == symbol) {
            divisor = multiple;
            continue;
        }
        overflow |= __builtin_mul_overflow(multiple, *values[other], &product);
        overflow |= __builtin_sub_overflow(rest, product, &rest);
    }
    if (overflow || (divisor == -1 && rest == std::numeric_limits<std::int64_t>::min())) {
        refuse(equation, "a value outside int64");
    }
    if (rest % divisor != 0) {
        refuse(equation, "that leaves a fraction of a symbol");
    }
    return rest / divisor;
}

class Solver {
public:
    Solver(const Manifest& manifest, bool unchecked)
        : manifest_(manifest), unchecked_(unchecked), values_(manifest.symbols.size()) {}

    void add(const Tensor& input, const Shape& shape) {
        for (std::size_t axis = 0; axis < shape.size(); ++axis) {
            if (auto left = input.shape[axis].upper.linear()) {
                equations_.push_back({std::move(*left), shape[axis], &input, axis});
            }
        }
    }

    std::vector<std::int64_t> run(ProfilePoint point) {
        solve_all();
        for (std::size_t i = 0; i < values_.size(); ++i) {
            if (!values_[i]) {
                const Symbol& symbol = manifest_.symbols[i];
                values_[i] = point == ProfilePoint::min   ? symbol.min
                             : point == ProfilePoint::opt ? symbol.opt
                                                          : symbol.max;
                solve_all();
            }
        }
        std::vector<std::int64_t> result;
        for (const auto& value : values_) {
            result.push_back(*value);
        }
        return result;
    }

private:
    void solve_all() {
        for (bool progress = true; progress;) {
            progress = false;
            for (const Equation& equation : equations_) {
                const auto symbol = only_unknown(equation.left, [&](std::size_t i) { return values_[i].has_value(); });
                if (symbol) {
                    values_[*symbol] = solve(equation, *symbol, values_);
                    check_range(equation, manifest_.symbols[*symbol], *values_[*symbol]);
                    progress = true;
                } else {
                    check_symbol(equation);
                }
            }
        }
    }

    void check_range(const Equation& equation, const Symbol& symbol, std::int64_t value) const {
        const bool inside = value >= symbol.min && value <= symbol.max;
        if (value < 0 || value > limits::extent || (!unchecked_ && !inside)) {
            throw Error(Exit::usage, "dimension " + symbol.name + " = " + std::to_string(value) + " of input " +
                                         quote(equation.input->name) + " is not within " +
                                         (unchecked_ ? "0 to " + std::to_string(limits::extent)
                                                     : "the profile's " + std::to_string(symbol.min) + " to " +
                                                           std::to_string(symbol.max)));
        }
    }

    // A symbol that is a whole dimension, twice with different extents: the clearest of contradictions.
    void check_symbol(const Equation& equation) const {
        const auto& multiples = equation.left.multiples;
        if (multiples.size() == 1 && multiples.begin()->second == 1 && equation.left.constant == 0) {
            const std::size_t symbol = multiples.begin()->first;
            if (values_[symbol] != equation.extent) {
                throw Error(Exit::usage, "dimension " + manifest_.symbols[symbol].name + " is " +
                                             std::to_string(*values_[symbol]) + " in one input and " +
                                             std::to_string(equation.extent) + " in " + quote(equation.input->name));
            }
        }
    }

    const Manifest& manifest_;
    bool unchecked_;
    Values values_;
    std::vector<Equation> equations_;
};

}  // namespace

std::vector<std::size_t> unsolved_symbols(const Manifest& manifest) {
    std::vector<LinearForm> forms;
    for (const Tensor& tensor : manifest.tensors) {
        for (std::size_t axis = 0; tensor.role == Role::input && axis < tensor.shape.size(); ++axis) {
            if (auto form = tensor.shape[axis].upper.linear()) {
                forms.push_back(std::move(*form));
            }
        }
    }
    std::vector<bool> known(manifest.symbols.size());
    for (bool progress = true; progress;) {
        progress = false;
        for (const LinearForm& form : forms) {
            if (const auto symbol = only_unknown(form, [&](std::size_t i) -> bool { return known[i]; })) {
                known[*symbol] = progress = true;
            }
        }
    }
    std::vector<std::size_t> result;
    for (std::size_t i = 0; i < known.size(); ++i) {
        if (!known[i]) {
            result.push_back(i);
        }
    }
    return result;
}

std::vector<std::int64_t> bind_symbols(const Manifest& manifest, const std::map<std::string, Shape>& shapes,
                                       ProfilePoint point, bool unchecked) {
    Solver solver(manifest, unchecked);
    std::size_t used = 0;
    for (const Tensor& tensor : manifest.tensors) {
        const auto given = shapes.find(tensor.name);
        if (tensor.role != Role::input || given == shapes.end()) {
            continue;
        }
        ++used;
        if (given->second.size() != tensor.shape.size()) {
            throw Error(Exit::usage, "input " + quote(tensor.name) + " has " + std::to_string(tensor.shape.size()) +
                                         " dimensions, not those of " + describe(given->second));
        }
        solver.add(tensor, given->second);
    }
    if (used != shapes.size()) {
        throw Error(Exit::usage, "a shape for what is not an input of the bundle");
    }
    const auto values = solver.run(point);
    for (const auto& [name, shape] : shapes) {  // fixed dimensions, and those that fixed no symbol
        Shape expected;
        for (const Extent& extent : manifest.tensors[*manifest.find_input(name)].shape) {
            expected.push_back(extent.upper.evaluate(values));
        }
        if (shape != expected) {
            throw Error(Exit::usage,
                        "input " + quote(name) + " must have shape " + describe(expected) + ", not " + describe(shape));
        }
    }
    return values;
}

}  // namespace aot
