// SPDX-License-Identifier: Apache-2.0
// A plan in TensorRT's runtime, full or lean, whose library is opened at run time.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/dtype.h"
#include "common/shape.h"

namespace aot {

// Keeps TensorRT's errors, and prints them and its warnings on stderr. TensorRT calls it from any of its threads.
class Logger : public nvinfer1::ILogger {
public:
    void log(Severity severity, const char* message) noexcept override;
    std::string errors() const;  // all of them, "; " between

private:
    mutable std::mutex mutex_;
    std::vector<std::string> errors_;
};

struct PlanTensor {
    std::string name;
    bool input;
    DType dtype;
    std::string aliases;  // the input whose memory an output shares; empty: none
    Shape shape;          // -1: only known when the plan has run
    bool data_dependent() const;
    std::uint64_t bytes() const;  // of a shape without -1
};

enum class ProfileEnd { min, opt, max };

class Plan {
public:
    // `library`: a path, or empty for libnvinfer, or libnvinfer_lean if `lean`. `host_code`: allow the plan to bring
    // its own lean runtime, which is machine code. Errors: missing (library), check (TensorRT refuses the plan, with
    // its words).
    Plan(const std::string& data, const std::string& library, bool lean, bool host_code);
    ~Plan();
    Plan(const Plan&) = delete;
    Plan& operator=(const Plan&) = delete;

    // Sets every input's shape: from `shapes`, else the profile's. Errors: usage.
    void set_shapes(const std::map<std::string, Shape>& shapes, ProfileEnd end);

    const std::vector<PlanTensor>& tensors() const { return tensors_; }
    nvinfer1::IExecutionContext& context() { return *context_; }
    const std::string& library() const { return library_; }
    std::string version() const;  // of the library, as 11.4.0
    std::string errors() const { return logger_.errors(); }

private:
    void* handle_ = nullptr;
    Logger logger_;
    std::string library_;
    int version_ = 0;
    std::unique_ptr<nvinfer1::IRuntime> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    std::unique_ptr<nvinfer1::IExecutionContext> context_;
    std::vector<PlanTensor> tensors_;
};

}  // namespace aot
