// SPDX-License-Identifier: Apache-2.0
// Which PTX runs on which GPU, as aotfactory/core/arch.py has it.
#pragma once

#include <optional>
#include <string_view>

namespace aot {

struct PtxTarget {  // sm_90a is 90 and 'a'
    int capability;
    char suffix;  // 0 if there is none
};

std::optional<PtxTarget> parse_target(std::string_view name);

// The compute capability times ten of "sm_90"; that of "portable" is 80, as its PTX runs on sm_80 and every later GPU.
// "sm_90a" counts as "sm_90".
std::optional<int> capability_of(std::string_view arch);

// Whether PTX for the target runs on the architecture: plain targets on every later GPU, "f" targets on the later ones
// of the same major version, "a" targets on no other. For "portable" only plain ones do.
bool runs(const PtxTarget& target, std::string_view arch);

}  // namespace aot
