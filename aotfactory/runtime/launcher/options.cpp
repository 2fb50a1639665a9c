// SPDX-License-Identifier: Apache-2.0
#include "launcher/options.h"

#include "bundle/architecture.h"

namespace aot {

std::optional<Options> parse_options(int argc, char** argv) {
    Options options;
    std::string tactic;
    CLI::App app(
        "Runs a bundle of compiled kernels with the CUDA driver alone and prints one JSON object "
        "(aotfactory.launch/1).\n"
        "Exit codes: 0 done, 1 a check failed, 2 usage, 3 something is missing here, 4 the bundle is wrong.");
    app.add_option("bundle", options.bundle, "the bundle's directory")->required();
    app.add_option("--arch", options.arch,
                   "take variants for this architecture: sm_90 or portable (default: the GPU's)");
    app.add_option("--tactic", tactic, "a tactic's number, or all (outputs in tactic_N/); default: the first listed");
    app.add_flag("--dry-run", options.dry_run, "evaluate everything, without a GPU");
    app.add_flag("--unchecked-profile", options.unchecked_profile, "allow shapes outside of the profile");
    add_run_options(app, options, "passes");
    auto& timing = options.timing_options;
    app.add_option("--input-sets", timing.input_sets,
                   "sets of tensors that the passes use in turn; 0: more than the L2 cache holds")
        ->check(CLI::Range(0, 1024));
    app.add_flag("--copy-baseline", timing.copy_baseline, "also time a device copy that moves as many bytes");
    app.set_version_flag("--version", std::string("aotfactory-launcher " AOT_VERSION));
    if (!parse(app, argc, argv, options)) {
        return std::nullopt;
    }
    if (!options.arch.empty() && options.arch != "portable") {
        const auto capability = capability_of(options.arch);
        if (!capability) {
            throw Error(Exit::usage,
                        "--arch: " + quote(options.arch) + " is not an architecture, as sm_90 or portable");
        }
        options.arch = "sm_" + std::to_string(*capability);
    }
    options.all_tactics = tactic == "all";
    if (!tactic.empty() && !options.all_tactics) {
        options.tactic = parse_integer<std::int64_t>(tactic, "--tactic");
    }
    return options;
}

}  // namespace aot
