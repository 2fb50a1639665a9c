// SPDX-License-Identifier: Apache-2.0
#include "cuda/run_options.h"

#include "common/error.h"

namespace aot {

void add_run_options(CLI::App& app, RunOptions& options, const std::string& unit) {
    static const std::map<std::string, ProfilePoint> points = {
        {"min", ProfilePoint::min}, {"opt", ProfilePoint::opt}, {"max", ProfilePoint::max}};
    const CLI::Range count(1, 1000000);
    app.add_option("--input", options.inputs, "NAME=FILE.npy: an input's data; seeded random data otherwise")
        ->allow_extra_args(false);
    app.add_option("--shape", options.shapes, "NAME=1x3x32x32: the shape of random data (scalar: no dimensions)")
        ->allow_extra_args(false);
    app.add_option("--at", options.point, "min, opt or max of the profile for dimensions that no input fixes")
        ->transform(CLI::CheckedTransformer(points));
    app.add_option("--seed", options.seed, "seed for the random data");
    app.add_option("--output-dir", options.output_dir, "write NAME.npy for every output there");
    app.add_flag("--save-inputs", options.save_inputs, "write the inputs there too");
    app.add_option("--device", options.device, "the GPU's number");
    app.add_flag("--tight", options.tight, "exact allocations without guards or poison, for compute-sanitizer");
    app.add_flag("--timing", options.timing, "time it, after the checked run");
    auto& timing = options.timing_options;
    app.add_option("--warmup", timing.warmup, unit + " before the first sample")->check(CLI::Range(0, 1000000));
    app.add_option("--iterations", timing.iterations, "samples")->check(count);
    app.add_option("--repeat", timing.repeat, unit + " in a sample")->check(count);
    app.add_flag("--graph", timing.graph, "also time a CUDA graph of one sample's " + unit);
}

bool parse(CLI::App& app, int argc, char** argv, const RunOptions& options) {
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& asked) {
        app.exit(asked);
        return false;
    } catch (const CLI::ParseError& error) {
        throw Error(Exit::usage, std::string(error.what()) + " (--help lists the options)");
    }
    if (options.save_inputs && options.output_dir.empty()) {
        throw Error(Exit::usage, "--save-inputs needs --output-dir");
    }
    return true;
}

}  // namespace aot
