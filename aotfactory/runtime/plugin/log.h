// SPDX-License-Identifier: Apache-2.0
// Errors go to TensorRT's logger, and no exception crosses its interface.
#pragma once

#include <NvInferRuntime.h>

#include <exception>
#include <string>

namespace aot::plugin {

using Severity = nvinfer1::ILogger::Severity;

// The logger is the one that this finder gives, else the one that the loaded TensorRT has for the whole process, else
// stderr (errors and warnings only).
void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept;

void log(Severity severity, const std::string& subject, const char* message) noexcept;

// Returns the result of `work`; if it throws, `failed`, and the error is logged as `subject`'s, the plugin's name.
template <typename Result, typename Work>
Result guarded(const std::string& subject, Result failed, Work work) noexcept {
    try {
        return work();
    } catch (const std::exception& error) {
        log(Severity::kERROR, subject, error.what());
    } catch (...) {
        log(Severity::kERROR, subject, "unknown exception");
    }
    return failed;
}

}  // namespace aot::plugin
