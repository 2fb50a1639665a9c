// SPDX-License-Identifier: Apache-2.0
// How a program prints its result, and ends.
#pragma once

#include <functional>

#include "common/error.h"
#include "common/json_node.h"

namespace aot {

// On stdout. Bytes that are not UTF-8 (a path may hold some) become U+FFFD.
void print(const Json& json);

// The exit code of `work`. An exception becomes a line on stderr, the report {"schema", "status": "error", "error",
// "exit_code", "libraries"} on stdout, and its exit code.
int run_program(const char* schema, const std::function<Exit()>& work);

}  // namespace aot
