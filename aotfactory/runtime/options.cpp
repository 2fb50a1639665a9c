// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <iostream>

#include "error.h"

namespace aot {

namespace {

template <typename Integer>
Integer parse_integer(std::string_view text, const std::string& option) {
    Integer value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
        throw Error(Exit::usage, option + ": " + quote(text) + " is no integer in its range");
    }
    return value;
}

// "1x3x32x32"; "scalar" has no dimensions.
Shape parse_shape(std::string_view text, const std::string& option) {
    Shape shape;
    if (text == "scalar") {
        return shape;
    }
    for (std::size_t start = 0; start <= text.size();) {
        const std::size_t end = std::min(text.find('x', start), text.size());
        shape.push_back(parse_integer<std::int64_t>(text.substr(start, end - start), option));
        if (shape.back() < 0 || shape.back() > max_extent || shape.size() > max_rank) {
            throw Error(Exit::usage, option + ": not a shape of at most " + std::to_string(max_rank) + " dimensions below 2^31");
        }
        start = end + 1;
    }
    return shape;
}

std::pair<std::string, std::string> split(const std::string& text, const std::string& option) {
    const std::size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos || equals + 1 == text.size()) {
        throw Error(Exit::usage, option + " takes NAME=VALUE, not " + quote(text));
    }
    return {text.substr(0, equals), text.substr(equals + 1)};
}

}  // namespace

std::optional<Options> parse_options(int argc, char** argv) {
    Options options;
    std::vector<std::string> inputs, shapes;
    std::string tactic, point = "opt";
    auto& timing = options.timing_options;
    CLI::App app("Runs a bundle of compiled kernels with the CUDA driver alone and prints one JSON object (aotfactory.launch/1).\n"
                 "Exit codes: 0 done, 1 a check failed, 2 usage, 3 something is missing here, 4 the bundle is wrong.");
    app.add_option("bundle", options.bundle, "the bundle's directory")->required();
    app.add_option("--arch", options.arch, "take variants of this architecture, as sm_90 or portable (default: the GPU's)");
    app.add_option("--input", inputs, "NAME=FILE.npy: an input's data; seeded random data otherwise")->allow_extra_args(false);
    app.add_option("--shape", shapes, "NAME=1x3x32x32: the shape of random data (scalar: no dimensions)")->allow_extra_args(false);
    app.add_option("--at", point, "min, opt or max of the profile for dimensions that no input fixes")->check(CLI::IsMember({"min", "opt", "max"}));
    app.add_option("--seed", options.seed, "of the random data");
    app.add_option("--output-dir", options.output_dir, "write NAME.npy for every output there (tactic_N/NAME.npy with --tactic all)");
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
    app.add_option("--input-sets", timing.input_sets, "sets of tensors that the passes use in turn; 0: more than the L2 cache holds")->check(CLI::Range(0, 1024));
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
    for (const std::string& text : inputs) {
        if (!options.files.insert(split(text, "--input")).second) {
            throw Error(Exit::usage, "--input: twice for " + quote(split(text, "--input").first));
        }
    }
    for (const std::string& text : shapes) {
        const auto [name, shape] = split(text, "--shape");
        if (options.files.count(name) != 0 || !options.shapes.emplace(name, parse_shape(shape, "--shape")).second) {
            throw Error(Exit::usage, "--shape: " + quote(name) + " already has a shape or a file");
        }
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
