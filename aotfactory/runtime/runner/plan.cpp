// SPDX-License-Identifier: Apache-2.0
#include "runner/plan.h"

#include <dlfcn.h>

#include <algorithm>
#include <iostream>

#include "common/error.h"

namespace aot {

namespace {

DType dtype_of(nvinfer1::DataType type, const std::string& name) {
    switch (type) {
        case nvinfer1::DataType::kFLOAT: return DType::fp32;
        case nvinfer1::DataType::kHALF: return DType::fp16;
        case nvinfer1::DataType::kBF16: return DType::bf16;
        case nvinfer1::DataType::kFP8: return DType::fp8;
        case nvinfer1::DataType::kINT8: return DType::int8;
        case nvinfer1::DataType::kUINT8: return DType::uint8;
        case nvinfer1::DataType::kINT32: return DType::int32;
        case nvinfer1::DataType::kINT64: return DType::int64;
        case nvinfer1::DataType::kBOOL: return DType::boolean;
        default: throw Error(Exit::usage, quote(name) + " has a data type that the runner does not know");
    }
}

Shape shape_of(const nvinfer1::Dims& dims) { return {dims.d, dims.d + std::max(dims.nbDims, 0)}; }

nvinfer1::Dims dims_of(const Shape& shape) {
    nvinfer1::Dims dims{};
    if (shape.size() > static_cast<std::size_t>(nvinfer1::Dims::MAX_DIMS)) {
        throw Error(Exit::usage, describe(shape) + " has more dimensions than TensorRT takes");
    }
    dims.nbDims = static_cast<std::int32_t>(shape.size());
    std::copy(shape.begin(), shape.end(), dims.d);
    return dims;
}

void* open(const std::string& library) {
    void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
        // The message of the library loader names the library that is missing, which may be another one.
        throw Error(Exit::missing, std::string(dlerror()) + " (set LD_LIBRARY_PATH, or give --library PATH)");
    }
    return handle;
}

template <typename Function>
Function* find(void* handle, const char* name, const std::string& library) {
    void* symbol = dlsym(handle, name);
    if (symbol == nullptr) {
        throw Error(Exit::missing, library + " has no " + name + ": it is not a TensorRT runtime");
    }
    return reinterpret_cast<Function*>(symbol);
}

std::string default_library(bool lean) {
    const std::string name =
        std::string(lean ? "libnvinfer_lean.so." : "libnvinfer.so.") + std::to_string(NV_TENSORRT_MAJOR);
    const std::string built_with = std::string(TENSORRT_LIBRARIES) + "/" + name;
    if (void* handle = dlopen(built_with.c_str(), RTLD_NOW | RTLD_LOCAL)) {
        dlclose(handle);
        return built_with;
    }
    return name;
}

class Allocator : public nvinfer1::IOutputAllocator {
public:
    explicit Allocator(OutputMemory& memory) : memory_(memory) {}

    void* reallocateOutputAsync(char const*, void*, std::uint64_t size, std::uint64_t, cudaStream_t) override {
        return memory_.resize(size);
    }
    void notifyShape(char const*, nvinfer1::Dims const& dims) noexcept override { memory_.set_shape(shape_of(dims)); }

private:
    OutputMemory& memory_;
};

// The input that an output shares its memory with; TensorRT does not tell before 10.15.
const char* aliased_input([[maybe_unused]] const nvinfer1::ICudaEngine& engine, [[maybe_unused]] const char* name) {
#if NV_TENSORRT_MAJOR > 10 || NV_TENSORRT_MINOR >= 15
    return engine.getAliasedInputTensor(name);
#else
    return nullptr;
#endif
}

}  // namespace

void Logger::log(Severity severity, const char* message) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (severity <= Severity::kWARNING) {
        std::cerr << "TensorRT: " << message << '\n';
    }
    if (severity <= Severity::kERROR) {
        errors_.emplace_back(message);
    }
}

std::string Logger::errors() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::string text;
    for (const auto& error : errors_) {
        text += (text.empty() ? "" : "; ") + error;
    }
    return text;
}

Plan::Plan(const std::string& data, const std::string& library, bool lean, bool host_code,
           const std::vector<std::string>& plugins)
    : library_(library.empty() ? default_library(lean) : library) {
    handle_ = open(library_);
    version_ = find<std::int32_t() noexcept>(handle_, "getInferLibVersion", library_)();
    if (version_ / 10000 != NV_TENSORRT_MAJOR) {
        throw Error(Exit::missing, library_ + " is TensorRT " + version() +
                                       ", but the runner was built with the headers of " +
                                       std::to_string(NV_TENSORRT_MAJOR));
    }
    auto* create = find<void*(void*, std::int32_t) noexcept>(handle_, "createInferRuntime_INTERNAL", library_);
    runtime_.reset(
        static_cast<nvinfer1::IRuntime*>(create(static_cast<nvinfer1::ILogger*>(&logger_), NV_TENSORRT_VERSION)));
    if (!runtime_) {
        throw Error(Exit::missing, "TensorRT's runtime did not start: " + logger_.errors());
    }
    runtime_->setEngineHostCodeAllowed(host_code);
    for (const std::string& plugin : plugins) {
        if (runtime_->getPluginRegistry().loadLibrary(plugin.c_str()) == nullptr) {
            throw Error(Exit::missing, "TensorRT does not load the plugin library " + plugin + ": " + logger_.errors());
        }
    }
    engine_.reset(runtime_->deserializeCudaEngine(data.data(), data.size()));
    if (!engine_) {
        throw Error(Exit::check, "TensorRT cannot load the plan: " + logger_.errors());
    }
    context_.reset(engine_->createExecutionContext());
    if (!context_) {
        throw Error(Exit::check, "TensorRT cannot run the plan: " + logger_.errors());
    }
    for (std::int32_t i = 0; i < engine_->getNbIOTensors(); ++i) {
        const char* name = engine_->getIOTensorName(i);
        if (engine_->getTensorFormat(name) != nvinfer1::TensorFormat::kLINEAR) {
            throw Error(Exit::usage, quote(name) + " is not in the linear format, the only one that the runner knows");
        }
        if (engine_->getTensorLocation(name) != nvinfer1::TensorLocation::kDEVICE) {
            throw Error(Exit::usage, quote(name) + " is in host memory, which the runner does not do");
        }
        const char* aliased = aliased_input(*engine_, name);
        tensors_.push_back({name,
                            engine_->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT,
                            dtype_of(engine_->getTensorDataType(name), name),
                            aliased == nullptr ? "" : aliased,
                            {}});
    }
    // An output may share its memory with an input, whose memory must be there first.
    std::stable_partition(tensors_.begin(), tensors_.end(), [](const PlanTensor& tensor) { return tensor.input; });
}

Plan::~Plan() {
    context_.reset();
    engine_.reset();
    runtime_.reset();
    // The library stays open: TensorRT's own threads may outlive its objects.
}

std::string Plan::version() const {
    return std::to_string(version_ / 10000) + "." + std::to_string(version_ / 100 % 100) + "." +
           std::to_string(version_ % 100);
}

std::vector<std::string> Plan::input_names() const {
    std::vector<std::string> names;
    for (const auto& tensor : tensors_) {
        if (tensor.input) {
            names.push_back(tensor.name);
        }
    }
    return names;
}

bool Plan::bind(const std::string& name, void* address) { return context_->setTensorAddress(name.c_str(), address); }

bool Plan::bind(const std::string& name, OutputMemory& memory) {
    allocators_.push_back(std::make_unique<Allocator>(memory));
    return context_->setOutputAllocator(name.c_str(), allocators_.back().get());
}

bool Plan::enqueue(cuda::Stream stream) {
    // CUstream and cudaStream_t are one type in CUDA's headers; the launcher's declarations have their own.
    return context_->enqueueV3(reinterpret_cast<cudaStream_t>(stream));
}

void Plan::set_shapes(const std::map<std::string, Shape>& shapes, ProfilePoint point) {
    using Selector = nvinfer1::OptProfileSelector;
    const Selector selector = point == ProfilePoint::min   ? Selector::kMIN
                              : point == ProfilePoint::max ? Selector::kMAX
                                                           : Selector::kOPT;
    for (auto& tensor : tensors_) {
        if (tensor.input) {
            const auto given = shapes.find(tensor.name);
            tensor.shape = given != shapes.end() ? given->second
                                                 : shape_of(engine_->getProfileShape(tensor.name.c_str(), 0, selector));
            if (!context_->setInputShape(tensor.name.c_str(), dims_of(tensor.shape))) {
                throw Error(Exit::usage, "the plan does not take the shape " + describe(tensor.shape) + " for " +
                                             quote(tensor.name) + ": " + logger_.errors());
            }
        }
    }
    if (context_->inferShapes(0, nullptr) != 0) {
        throw Error(Exit::check, "TensorRT cannot work out the outputs' shapes: " + logger_.errors());
    }
    for (auto& tensor : tensors_) {
        if (!tensor.input) {
            tensor.shape = shape_of(context_->getTensorShape(tensor.name.c_str()));
        }
    }
}

}  // namespace aot
