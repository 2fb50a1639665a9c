// SPDX-License-Identifier: Apache-2.0
#include "launcher/options.h"

#include <CLI/CLI.hpp>
#include <iostream>

#include "common/arguments.h"

namespace aot {

std::optional<Options> parse_options(int argc, char** argv) {
    Options options;
    std::string tactic, point = "opt";
    auto& timing = options.timing_options;
    CLI::App app(
        "Runs a bundle of compiled kernels with the CUDA driver alone and prints one JSON object "
        "(aotfactory.launch/1).\n"
        "Exit codes: 0 done, 1 a check failed, 2 usage, 3 something is missing here, 4 the bundle is wrong.");
    app.add_option("bundle", options.bundle, "the bundle's directory")->required();
    app.add_option("--arch", options.arch,
                   "take variants of this architecture, as sm_90 or portable (default: the GPU's)");
    app.add_option("--input", options.inputs, "NAME=FILE.npy: an input's data; seeded random data otherwise")
        ->allow_extra_args(false);
    app.add_option("--shape", options.shapes, "NAME=1x3x32x32: the shape of random data (scalar: no dimensions)")
        ->allow_extra_args(false);
    app.add_option("--at", point, "min, opt or max of the profile for dimensions that no input fixes")
        ->check(CLI::IsMember({"min", "opt", "max"}));
    app.add_option("--seed", options.seed, "of the random data");
    app.add_option("--output-dir", options.output_dir,
                   "write NAME.npy for every output there (tactic_N/NAME.npy with --tactic all)");
    app.add_flag("--save-inputs", options.save_inputs, "write the inputs there, too");
    app.add_option("--tactic", tactic, "a tactic's number, or all; default: the first listed");
    app.add_option("--device", options.device, "the GPU's number");
    app.add_flag("--dry-run", options.dry_run, "evaluate everything, without a GPU");
    app.add_flag("--tight", options.tight, "exact allocations without guards or poison, for compute-sanitizer");
    app.add_flag("--unchecked-profile", options.unchecked_profile, "allow shapes outside of the profile");
    app.add_flag("--timing", options.timing, "time it, after the checked run");
    app.add_option("--warmup", timing.warmup, "passes before the first sample")->check(CLI::Range(0, 1000000));
    app.add_option("--iterations", timing.iterations, "samples")->check(CLI::Range(1, 100000));
    app.add_option("--repeat", timing.repeat, "passes in a sample")->check(CLI::Range(1, 100000));
    app.add_option("--input-sets", timing.input_sets,
                   "sets of tensors that the passes use in turn; 0: more than the L2 cache holds")
        ->check(CLI::Range(0, 1024));
    app.add_flag("--graph", timing.graph, "also time a CUDA graph of one sample's passes");
    app.add_flag("--copy-baseline", timing.copy_baseline, "also time a device copy that moves as many bytes");
    app.set_version_flag("--version", std::string("aotfactory-launcher " AOT_VERSION));
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& asked) {
        app.exit(asked);
        return std::nullopt;
    } catch (const CLI::ParseError& error) {
        throw Error(Exit::usage, std::string(error.what()) + " (--help lists the options)");
    }
    options.point = point == "min" ? ProfilePoint::min : point == "opt" ? ProfilePoint::opt : ProfilePoint::max;
    options.all_tactics = tactic == "all";
    if (!tactic.empty() && !options.all_tactics) {
        options.tactic = parse_integer<std::int64_t>(tactic, "--tactic");
    }
    if (options.save_inputs && options.output_dir.empty()) {
        throw Error(Exit::usage, "--save-inputs needs --output-dir");
    }
    return options;
}

}  // namespace aot
