// SPDX-License-Identifier: Apache-2.0
// A plan in TensorRT's runtime, full or lean, whose library is opened at run time.
#pragma once

#include <NvInferRuntime.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/arguments.h"
#include "runner/inference.h"

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

class Plan : public Inference {
public:
    // `library`: a path, or empty for libnvinfer, or libnvinfer_lean if `lean`. `host_code`: allow the plan to bring
    // its own lean runtime, which is machine code. `plugins`: paths of plugin libraries to load before. Errors: missing
    // (libraries), check (TensorRT refuses the plan, with its words).
    Plan(const std::string& data, const std::string& library, bool lean, bool host_code,
         const std::vector<std::string>& plugins);
    ~Plan() override;
    Plan(const Plan&) = delete;
    Plan& operator=(const Plan&) = delete;

    std::vector<std::string> input_names() const;

    // Sets every input's shape: from `shapes`, else the profile's. Errors: usage.
    void set_shapes(const std::map<std::string, Shape>& shapes, ProfilePoint point);

    const std::vector<PlanTensor>& tensors() const override { return tensors_; }
    bool bind(const std::string& name, void* address) override;
    bool bind(const std::string& name, OutputMemory& memory) override;
    bool enqueue(cuda::Stream stream) override;
    std::string errors() const override { return logger_.errors(); }

    const std::string& library() const { return library_; }
    std::string version() const;  // of the library, as 11.4.0

private:
    void* handle_ = nullptr;
    Logger logger_;
    std::string library_;
    int version_ = 0;
    std::unique_ptr<nvinfer1::IRuntime> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    std::vector<std::unique_ptr<nvinfer1::IOutputAllocator>> allocators_;  // the context has their addresses
    std::unique_ptr<nvinfer1::IExecutionContext> context_;
    std::vector<PlanTensor> tensors_;
};

}  // namespace aot
