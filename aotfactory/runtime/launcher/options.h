// SPDX-License-Identifier: Apache-2.0
// The command line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cuda/run_options.h"

namespace aot {

struct Options : RunOptions {
    std::string bundle;
    std::string arch;  // empty: the device's
    std::optional<std::int64_t> tactic;
    bool all_tactics = false, dry_run = false, unchecked_profile = false;
};

// Nothing if the text asked for was printed (--help, --version); throws Error(usage).
std::optional<Options> parse_options(int argc, char** argv);

}  // namespace aot
