// SPDX-License-Identifier: Apache-2.0
// The options that launcher and runner share.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "common/arguments.h"
#include "cuda/device_time.h"

namespace aot {

struct RunOptions {
    std::vector<std::string> inputs, shapes;  // NAME=FILE.npy and NAME=1x3x32x32, see Inputs
    ProfilePoint point = ProfilePoint::opt;   // for dimensions that no input fixes
    std::uint64_t seed = 0;
    std::string output_dir;
    int device = 0;
    bool save_inputs = false, tight = false, timing = false;
    TimingOptions timing_options;
};

// `unit` is what is repeated and timed, as "passes".
void add_run_options(CLI::App& app, RunOptions& options, const std::string& unit);

// False if the text asked for was printed (--help, --version); throws Error(usage).
bool parse(CLI::App& app, int argc, char** argv, const RunOptions& options);

}  // namespace aot
