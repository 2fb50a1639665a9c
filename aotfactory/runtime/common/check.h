// SPDX-License-Identifier: Apache-2.0
// A program's findings about a run: its checks, as the report lists them.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

namespace aot {

struct Check {
    std::string name, subject, status, detail;  // status: passed, failed or skipped
};

// Passed without a `failure`, else failed with it as the detail.
inline Check verdict(std::string name, std::string subject, std::string failure) {
    const char* status = failure.empty() ? "passed" : "failed";
    return {std::move(name), std::move(subject), status, std::move(failure)};
}

inline bool all_passed(const std::vector<Check>& checks) {
    return std::none_of(checks.begin(), checks.end(), [](const Check& check) { return check.status == "failed"; });
}

}  // namespace aot
