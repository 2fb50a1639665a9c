// SPDX-License-Identifier: Apache-2.0
#include "plugin/log.h"

#include <atomic>
#include <iostream>

#include "plugin/host.h"

namespace aot::plugin {

namespace {

std::atomic<nvinfer1::ILoggerFinder*> logger_finder{nullptr};

nvinfer1::ILogger* find_logger() {
    if (nvinfer1::ILoggerFinder* finder = logger_finder) {
        if (nvinfer1::ILogger* found = finder->findLogger()) {
            return found;
        }
    }
    return host_logger();
}

}  // namespace

void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept { logger_finder = finder; }

void log(Severity severity, const std::string& subject, const char* message) noexcept {
    try {
        const std::string text = "[aotfactory] " + subject + ": " + message;
        if (nvinfer1::ILogger* logger = find_logger()) {
            logger->log(severity, text.c_str());
        } else if (severity <= Severity::kWARNING) {
            std::cerr << text << '\n';
        }
    } catch (...) {  // a logger that throws, or no memory: nobody is left to be told
    }
}

}  // namespace aot::plugin
