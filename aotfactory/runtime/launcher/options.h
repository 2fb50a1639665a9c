// SPDX-License-Identifier: Apache-2.0
// The command line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bundle/evaluate.h"
#include "launcher/timing.h"

namespace aot {

struct Options {
    std::string bundle;
    std::string arch;                         // empty: the device's
    std::vector<std::string> inputs, shapes;  // NAME=FILE.npy and NAME=1x3x32x32, see parse_inputs
    ProfilePoint point = ProfilePoint::opt;
    std::uint64_t seed = 0;
    std::string output_dir;
    std::optional<std::int64_t> tactic;
    bool all_tactics = false;
    int device = 0;
    bool dry_run = false, tight = false, unchecked_profile = false, save_inputs = false, timing = false;
    TimingOptions timing_options;
};

// Nothing if the text asked for was printed (--help, --version); throws Error(usage).
std::optional<Options> parse_options(int argc, char** argv);

}  // namespace aot
