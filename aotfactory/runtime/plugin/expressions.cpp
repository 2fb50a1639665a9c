// SPDX-License-Identifier: Apache-2.0
// Output shapes as TensorRT's expressions over the dimensions of the inputs.
#include <optional>

#include "common/error.h"
#include "plugin/tensors.h"

namespace aot::plugin {

namespace {

using nvinfer1::DimensionOperation;
using Dimension = const nvinfer1::IDimensionExpr*;

DimensionOperation to_tensorrt(Expression::Op op) {
    switch (op) {
        case Expression::Op::sum: return DimensionOperation::kSUM;
        case Expression::Op::prod: return DimensionOperation::kPROD;
        case Expression::Op::max: return DimensionOperation::kMAX;
        case Expression::Op::min: return DimensionOperation::kMIN;
        case Expression::Op::sub: return DimensionOperation::kSUB;
        case Expression::Op::equal: return DimensionOperation::kEQUAL;
        case Expression::Op::less: return DimensionOperation::kLESS;
        case Expression::Op::floor_div: return DimensionOperation::kFLOOR_DIV;
        default: return DimensionOperation::kCEIL_DIV;
    }
}

// The symbols of a part, solved for the dimensions of its inputs.
class Symbols {
public:
    Symbols(const Part& part, const nvinfer1::DimsExprs* inputs, nvinfer1::IExprBuilder& builder)
        : part_(part), inputs_(inputs), builder_(builder), values_(part.manifest().symbols.size()) {
        for (bool progress = true; progress;) {
            progress = false;
            each_dimension([&](const Expression& known, Dimension given, const std::string&) {
                const auto form = known.linear();
                if (const auto symbol = form ? only_unknown(*form) : std::nullopt) {
                    values_[*symbol] = solve(*form, *symbol, given);
                    progress = true;
                }
            });
        }
        each_dimension([&](const Expression& known, Dimension given, const std::string& where) {
            const Dimension expected = build(known);
            const bool fixed = expected->isConstant(), same = fixed == given->isConstant();
            if (fixed && (!same || expected->getConstantValue() != given->getConstantValue())) {
                throw Error(Exit::usage, where + " is " +
                                             (same ? std::to_string(given->getConstantValue()) : "dynamic") +
                                             ", the kernels are for " + std::to_string(expected->getConstantValue()));
            }
        });
        for (std::size_t i = 0; i < values_.size(); ++i) {
            const Symbol& symbol = part.manifest().symbols[i];
            const std::int64_t value = values_[i]->isConstant() ? values_[i]->getConstantValue() : symbol.opt;
            if (value < symbol.min || value > symbol.max) {
                throw Error(Exit::usage, "dimension " + symbol.name + " = " + std::to_string(value) +
                                             ", the kernels are for " + std::to_string(symbol.min) + " to " +
                                             std::to_string(symbol.max));
            }
        }
    }

    Dimension build(const Expression& expression) const {
        const auto leaf = [&](Expression::Op op, std::int64_t value) {
            return op == Expression::Op::symbol ? values_[static_cast<std::size_t>(value)] : constant(value);
        };
        const auto apply = [&](Expression::Op op, Dimension a, Dimension b) {
            return operation(to_tensorrt(op), a, b);
        };
        return expression.build<Dimension>(leaf, apply);
    }

private:
    template <typename Visit>
    void each_dimension(Visit visit) const {
        for (std::size_t i = 0; i < part_.call().inputs.size(); ++i) {
            const Tensor& input = part_.input(i);
            if (static_cast<std::size_t>(inputs_[i].nbDims) != input.shape.size()) {
                throw Error(Exit::usage, "input " + std::to_string(i) + " has " + std::to_string(inputs_[i].nbDims) +
                                             " dimensions, the kernels are for " + std::to_string(input.shape.size()));
            }
            for (std::size_t axis = 0; axis < input.shape.size(); ++axis) {
                visit(input.shape[axis].upper, inputs_[i].d[axis],
                      "dimension " + std::to_string(axis) + " of input " + std::to_string(i));
            }
        }
    }

    std::optional<std::size_t> only_unknown(const LinearForm& form) const {
        std::optional<std::size_t> found;
        for (const auto& [symbol, multiple] : form.multiples) {
            if (values_[symbol] == nullptr) {
                if (found) {
                    return std::nullopt;
                }
                found = symbol;
            }
        }
        return found;
    }

    // The symbol where `form` equals `given`, the others being known.
    Dimension solve(const LinearForm& form, std::size_t symbol, Dimension given) const {
        Dimension rest = constant(form.constant);
        for (const auto& [other, multiple] : form.multiples) {
            if (other != symbol) {
                const Dimension term = operation(DimensionOperation::kPROD, values_[other], constant(multiple));
                rest = operation(DimensionOperation::kSUM, term, rest);
            }
        }
        const std::int64_t divisor = form.multiples.at(symbol);
        if (form.multiples.size() == 1 && form.constant == 0 && divisor == 1) {
            return given;
        }
        const Dimension difference = divisor > 0 ? operation(DimensionOperation::kSUB, given, rest)
                                                 : operation(DimensionOperation::kSUB, rest, given);
        return operation(DimensionOperation::kFLOOR_DIV, difference, constant(divisor > 0 ? divisor : -divisor));
    }

    Dimension constant(std::int64_t value) const { return need(builder_.constant(value)); }
    Dimension operation(DimensionOperation op, Dimension a, Dimension b) const {
        return need(builder_.operation(op, *a, *b));
    }
    static Dimension need(Dimension made) {
        if (made == nullptr) {
            throw Error(Exit::check, "TensorRT's expression builder refused an expression");
        }
        return made;
    }

    const Part& part_;
    const nvinfer1::DimsExprs* inputs_;
    nvinfer1::IExprBuilder& builder_;
    std::vector<Dimension> values_;
};

}  // namespace

void build_output_shapes(const Part& part, const nvinfer1::DimsExprs* inputs, nvinfer1::DimsExprs* outputs,
                         nvinfer1::IExprBuilder& builder) {
    const Symbols symbols(part, inputs, builder);
    const auto& made = part.call().outputs;
    std::vector<Dimension> sizes(made.size());  // a size tensor is declared once, however many dimensions it is
    for (std::size_t i = 0; i < made.size(); ++i) {
        const auto& shape = part.output(i).shape;
        outputs[i].nbDims = static_cast<std::int32_t>(shape.size());
        for (std::size_t axis = 0; axis < shape.size(); ++axis) {
            const Extent& extent = shape[axis];
            Dimension dimension = nullptr;
            if (extent.size_tensor) {
                std::size_t index = 0;
                while (made[index] != *extent.size_tensor) {
                    ++index;
                }
                if (sizes[index] == nullptr) {
                    sizes[index] = builder.declareSizeTensor(static_cast<std::int32_t>(index),
                                                             *symbols.build(*extent.opt), *symbols.build(extent.upper));
                }
                dimension = sizes[index];
            } else {
                dimension = symbols.build(extent.upper);
            }
            outputs[i].d[axis] = dimension;
        }
    }
}

}  // namespace aot::plugin
