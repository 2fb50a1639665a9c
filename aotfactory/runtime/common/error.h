// SPDX-License-Identifier: Apache-2.0
// Errors for the user: what is wrong, where, and the exit code it stands for.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace aot {

// The exit codes of the program, those of the Python command line.
enum class Exit : int { done = 0, check = 1, usage = 2, missing = 3, definition = 4, damaged = 5 };

class Error : public std::runtime_error {
public:
    Error(Exit exit, const std::string& message) : std::runtime_error(message), exit_(exit) {}
    Exit exit() const { return exit_; }

private:
    Exit exit_;
};

// `text` in quotes, shortened, with everything escaped that a terminal might obey: names come from untrusted files.
std::string quote(std::string_view text);

}  // namespace aot
