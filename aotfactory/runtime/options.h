// SPDX-License-Identifier: Apache-2.0
// The command line.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "evaluate.h"
#include "timing.h"

namespace aot {

struct Options {
    std::string bundle;
    std::string arch;                          // empty: the device's
    std::map<std::string, std::string> files;  // input -> .npy file
    std::map<std::string, Shape> shapes;       // input -> shape of random data
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
