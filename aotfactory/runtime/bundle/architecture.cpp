// SPDX-License-Identifier: Apache-2.0
#include "bundle/architecture.h"

#include <charconv>

namespace aot {

namespace {
constexpr std::string_view portable = "portable";
}

std::optional<PtxTarget> parse_target(std::string_view name) {
    PtxTarget target{0, 0};
    if (name.substr(0, 3) != "sm_") {
        return std::nullopt;
    }
    name.remove_prefix(3);
    if (!name.empty() && (name.back() == 'a' || name.back() == 'f')) {
        target.suffix = name.back();
        name.remove_suffix(1);
    }
    const char* end = name.data() + name.size();
    if (name.size() < 2 || name.size() > 3 || name.find_first_not_of("0123456789") != std::string_view::npos ||
        std::from_chars(name.data(), end, target.capability).ptr != end) {
        return std::nullopt;
    }
    return target;
}

std::optional<int> capability_of(std::string_view arch) {
    const auto target = parse_target(arch == portable ? "sm_80" : arch);
    return target ? std::optional(target->capability) : std::nullopt;
}

bool runs(const PtxTarget& target, std::string_view arch) {
    const auto capability = capability_of(arch);
    if (!capability || (arch == portable && target.suffix != 0)) {
        return false;
    }
    if (target.suffix == 'a') {
        return target.capability == *capability;
    }
    const bool family = target.suffix == 0 || target.capability / 10 == *capability / 10;
    return family && target.capability <= *capability;
}

}  // namespace aot
