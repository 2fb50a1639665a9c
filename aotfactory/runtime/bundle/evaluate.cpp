// SPDX-License-Identifier: Apache-2.0
#include "bundle/evaluate.h"

#include <algorithm>
#include <limits>

#include "common/error.h"
#include "common/limits.h"

namespace aot {

std::vector<TensorShape> evaluate_shapes(const Manifest& manifest, const std::vector<std::int64_t>& symbols) {
    std::vector<TensorShape> result;
    for (const Tensor& tensor : manifest.tensors) {
        TensorShape shape{{}, 0, 0};
        for (const Extent& extent : tensor.shape) {
            shape.dims.push_back(extent.upper.evaluate(symbols));
            if (shape.dims.back() < 0 || shape.dims.back() > limits::extent) {
                throw Error(Exit::definition,
                            extent.upper.where() + ": dimension of " + std::to_string(shape.dims.back()));
            }
        }
        const auto bytes = tensor_bytes(tensor.dtype, shape.dims);
        if (!bytes) {
            throw Error(Exit::definition, "tensor " + quote(tensor.name) + " of shape " + describe(shape.dims) +
                                              " is larger than " + std::to_string(limits::tensor_bytes) + " bytes");
        }
        shape.bytes = *bytes;
        shape.elements = static_cast<std::int64_t>(*bytes / info(tensor.dtype).bytes);
        result.push_back(std::move(shape));
    }
    for (std::size_t i = 0; i < result.size(); ++i) {
        const std::size_t owner = manifest.tensors[i].buffer;
        if (result[i].dims != result[owner].dims) {
            throw Error(Exit::definition, quote(manifest.tensors[i].name) + " " + describe(result[i].dims) +
                                              " shares the buffer of " + quote(manifest.tensors[owner].name) + " " +
                                              describe(result[owner].dims) + ": the shapes differ");
        }
    }
    return result;
}

namespace {

Scalar evaluate_extra_arg(const ExtraArg& argument, const std::vector<std::int64_t>& symbols) {
    const std::int64_t value = argument.value.evaluate(symbols);
    if (argument.type == ScalarType::i64) {
        return Scalar(value);
    }
    if (argument.type == ScalarType::fp32) {  // core/arguments.py rounds in the same places
        const std::int64_t divisor = argument.divisor->evaluate(symbols);
        if (divisor == 0) {
            throw Error(Exit::definition, argument.divisor->where() + ": division by zero");
        }
        return Scalar(static_cast<float>(static_cast<double>(value) / static_cast<double>(divisor)));
    }
    if (value < std::numeric_limits<std::int32_t>::min() || value > std::numeric_limits<std::int32_t>::max()) {
        throw Error(Exit::definition,
                    argument.value.where() + ": extra argument " + std::to_string(value) + " does not fit an int32");
    }
    return Scalar(static_cast<std::int32_t>(value));
}

}  // namespace

void* Scalar::address() {
    switch (type_) {
        case ScalarType::i64: return &wide_;
        case ScalarType::fp32: return &real_;
        case ScalarType::i32: break;
    }
    return &narrow_;
}

Json Scalar::json() const {
    switch (type_) {
        case ScalarType::i64: return wide_;
        case ScalarType::fp32: return real_;
        case ScalarType::i32: break;
    }
    return narrow_;
}

Launch evaluate_launch(const Variant& variant, const LaunchedKernel& kernel, const std::vector<std::int64_t>& symbols) {
    // CUDA's limits for every compute capability since 3.0; shared memory's depends on the device, which checks it
    static constexpr std::array<std::int64_t, launch_fields> most = {
        limits::grid_x,  limits::grid_y,  limits::grid_z,      limits::block_x,
        limits::block_y, limits::block_z, limits::shared_bytes};
    std::array<unsigned, launch_fields> values{};
    for (std::size_t i = 0; i < launch_fields; ++i) {
        const std::int64_t value = kernel.launch[i].evaluate(symbols);
        const bool is_block = i >= block_x && i <= block_z;
        if (value < (is_block ? 1 : 0) || value > most[i]) {
            throw Error(Exit::definition, kernel.launch[i].where() + ": " + launch_field_names[i] + " = " +
                                              std::to_string(value) + " is not within " + (is_block ? "1" : "0") +
                                              " and " + std::to_string(most[i]));
        }
        values[i] = static_cast<unsigned>(value);
    }
    Launch launch{&variant,
                  &kernel,
                  {values[grid_x], values[grid_y], values[grid_z]},
                  {values[block_x], values[block_y], values[block_z]},
                  values[shared_mem],
                  {},
                  values[grid_x] == 0 || values[grid_y] == 0 || values[grid_z] == 0};
    if (launch.block[0] * launch.block[1] * launch.block[2] > limits::block_threads) {
        throw Error(Exit::definition, kernel.launch[block_x].where() + ": more than " +
                                          std::to_string(limits::block_threads) + " threads in a block");
    }
    for (const ExtraArg& argument : kernel.extra_args) {
        launch.extra_args.push_back(evaluate_extra_arg(argument, symbols));
    }
    for (std::size_t axis = 0; axis < 3; ++axis) {
        if (kernel.cluster[0] != 0 && launch.grid[axis] % kernel.cluster[axis] != 0) {
            throw Error(Exit::definition, kernel.launch[axis].where() + ": " + launch_field_names[axis] + " = " +
                                              std::to_string(launch.grid[axis]) +
                                              " is not a multiple of the cluster's " +
                                              std::to_string(kernel.cluster[axis]) + " blocks");
        }
    }
    return launch;
}

std::vector<Launch> evaluate_launches(const Variant& variant, const std::vector<std::int64_t>& symbols) {
    std::vector<Launch> launches;
    for (const LaunchedKernel* kernel : variant.kernels()) {
        launches.push_back(evaluate_launch(variant, *kernel, symbols));
    }
    return launches;
}

std::vector<std::uint64_t> evaluate_workspaces(const Variant& variant, const std::vector<std::int64_t>& symbols) {
    std::vector<std::uint64_t> result;
    for (const Workspace& workspace : variant.workspaces) {
        const std::int64_t bytes = workspace.bytes.evaluate(symbols);
        if (bytes < 0 || bytes > limits::tensor_bytes) {
            throw Error(Exit::definition,
                        workspace.bytes.where() + ": a workspace of " + std::to_string(bytes) + " bytes");
        }
        result.push_back(static_cast<std::uint64_t>(bytes));
    }
    return result;
}

}  // namespace aot
