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

Launch evaluate_launch(const Variant& variant, const std::vector<std::int64_t>& symbols) {
    // CUDA's limits for every compute capability since 3.0; shared memory's depends on the device, which checks it
    static constexpr std::array<std::int64_t, launch_fields> most = {
        limits::grid_x,  limits::grid_y,  limits::grid_z,      limits::block_x,
        limits::block_y, limits::block_z, limits::shared_bytes};
    std::array<unsigned, launch_fields> values{};
    for (std::size_t i = 0; i < launch_fields; ++i) {
        const std::int64_t value = variant.launch[i].evaluate(symbols);
        const bool is_block = i >= block_x && i <= block_z;
        if (value < (is_block ? 1 : 0) || value > most[i]) {
            throw Error(Exit::definition, variant.launch[i].where() + ": " + launch_field_names[i] + " = " +
                                              std::to_string(value) + " is not within " + (is_block ? "1" : "0") +
                                              " and " + std::to_string(most[i]));
        }
        values[i] = static_cast<unsigned>(value);
    }
    Launch launch{&variant,
                  {values[grid_x], values[grid_y], values[grid_z]},
                  {values[block_x], values[block_y], values[block_z]},
                  values[shared_mem],
                  {},
                  values[grid_x] == 0 || values[grid_y] == 0 || values[grid_z] == 0};
    if (launch.block[0] * launch.block[1] * launch.block[2] > limits::block_threads) {
        throw Error(Exit::definition, variant.launch[block_x].where() + ": more than " +
                                          std::to_string(limits::block_threads) + " threads in a block");
    }
    for (const Expression& argument : variant.extra_args) {
        const std::int64_t value = argument.evaluate(symbols);
        if (value < std::numeric_limits<std::int32_t>::min() || value > std::numeric_limits<std::int32_t>::max()) {
            throw Error(Exit::definition,
                        argument.where() + ": extra argument " + std::to_string(value) + " does not fit an int32");
        }
        launch.extra_args.push_back(static_cast<std::int32_t>(value));
    }
    return launch;
}

}  // namespace aot
