// SPDX-License-Identifier: Apache-2.0
// What the plugin driver does with memory of a GPU, or of the fake driver: runs, graphs, threads, shape changes, costs.
#pragma once

#include <NvInferRuntime.h>
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "bundle/evaluate.h"
#include "cuda/cuda_driver.h"
#include "cuda/launch.h"
#include "plugin/part.h"
#include "plugin/tensors.h"
#include "tensorrt_side.h"

using side::Json;

struct Gpu {  // a stream and the primary context, current in the thread that makes it
    explicit Gpu(int ordinal = 0) : session(api, ordinal) { api.cuCtxGetCurrent(&context); }
    void make_current() const { api.check(api.cuCtxSetCurrent(context), "cuCtxSetCurrent"); }
    aot::cuda::Api api;
    aot::cuda::Session session;
    aot::cuda::Context context = nullptr;
    static inline std::size_t guard = 256;  // bytes around each tensor; 0 leaves it to compute-sanitizer

    static std::unique_ptr<Gpu> open() {
        try {
            return std::make_unique<Gpu>();
        } catch (const aot::Error&) {
            return nullptr;
        }
    }
    cudaStream_t stream() const { return reinterpret_cast<cudaStream_t>(session.stream()); }
};

// Modules that are loaded, where the driver is the tests' own; -1 elsewhere.
inline int loaded_modules() {
    void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    const auto count = library == nullptr ? nullptr : reinterpret_cast<int (*)()>(dlsym(library, "fake_cuda_modules"));
    return count == nullptr ? -1 : count();
}

inline std::size_t resident_bytes() {
    std::ifstream file("/proc/self/statm");
    std::size_t total = 0, resident = 0;
    file >> total >> resident;
    return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

// The tensors of one call, each between guard bands.
class Tensors {
public:
    static constexpr unsigned char guard_byte = 0xa5;

    Tensors(const Gpu& gpu, const std::vector<nvinfer1::PluginTensorDesc>& descs, std::size_t inputs,
            const std::vector<std::int32_t>& aliased, const Json& files, std::size_t workspace)
        : Tensors(gpu, descs, inputs, aliased, read(files), workspace) {}

    Tensors(const Gpu& gpu, const std::vector<nvinfer1::PluginTensorDesc>& descs, std::size_t inputs,
            const std::vector<std::int32_t>& aliased, std::vector<std::string> data, std::size_t workspace)
        : descs_(descs),
          input_count_(inputs),
          aliased_(aliased),
          data_(std::move(data)),
          workspace_bytes_(workspace),
          workspace_(gpu.api, workspace + 2 * guard_) {
        for (std::size_t i = 0; i < descs.size(); ++i) {
            std::size_t bytes = side::bytes_of(descs[i].type);
            for (std::int32_t axis = 0; axis < descs[i].dims.nbDims; ++axis) {
                bytes *= static_cast<std::size_t>(descs[i].dims.d[axis]);
            }
            if (i < inputs && data_[i].size() != bytes) {
                throw std::runtime_error("an input file has " + std::to_string(data_[i].size()) + " bytes, not " +
                                         std::to_string(bytes));
            }
            bytes_.push_back(bytes);
            const std::int32_t shared = i < inputs ? -1 : aliased[i - inputs];
            const std::size_t owner = shared < 0 ? memory_.size() : owners_[static_cast<std::size_t>(shared)];
            if (shared < 0) {
                memory_.emplace_back(gpu.api, bytes + 2 * guard_);
                owned_.push_back(i);
            }
            owners_.push_back(owner);
            (i < inputs ? input_pointers_ : output_pointers_)
                .push_back(reinterpret_cast<void*>(memory_[owner].address() + guard_));
        }
    }

    // Inputs as they were, poison in the outputs.
    void reset(const Gpu& gpu) {
        const auto stream = gpu.session.stream();
        for (std::size_t place = 0; place < memory_.size(); ++place) {
            const std::size_t i = owned_[place];
            const auto address = memory_[place].address();
            gpu.api.check(gpu.api.cuMemsetD8Async(address, guard_byte, bytes_[i] + 2 * guard_, stream), "memset");
            if (bytes_[i] > 0 && i < input_count_) {
                gpu.api.check(gpu.api.cuMemcpyHtoDAsync_v2(address + guard_, data_[i].data(), bytes_[i], stream),
                              "upload");
            } else if (bytes_[i] > 0) {
                gpu.api.check(gpu.api.cuMemsetD8Async(address + guard_, 0xff, bytes_[i], stream), "poison");
            }
        }
        const auto address = workspace_.address();
        gpu.api.check(gpu.api.cuMemsetD8Async(address, guard_byte, workspace_bytes_ + 2 * guard_, stream), "memset");
        if (workspace_bytes_ > 0) {
            gpu.api.check(gpu.api.cuMemsetD8Async(address + guard_, 0xff, workspace_bytes_, stream), "poison");
        }
        gpu.session.synchronize("reset");
    }

    // The outputs' bytes; throws if anything lies outside, or an input was changed that no output shares.
    std::vector<std::string> outputs(const Gpu& gpu) const {
        std::vector<std::string> found;
        guarded(gpu, workspace_, workspace_bytes_, "the workspace");
        for (std::size_t i = 0; i < descs_.size(); ++i) {
            const std::string own = guarded(gpu, memory_[owners_[i]], bytes_[i], "tensor " + std::to_string(i));
            const bool shared =
                std::find(aliased_.begin(), aliased_.end(), static_cast<std::int32_t>(i)) != aliased_.end();
            if (i >= input_count_) {
                found.push_back(own);
            } else if (!shared && own != data_[i]) {
                throw std::runtime_error("input " + std::to_string(i) + " was changed");
            }
        }
        return found;
    }

    void* workspace() const {
        return workspace_bytes_ == 0 ? nullptr : reinterpret_cast<void*>(workspace_.address() + guard_);
    }

    std::int32_t change_shape(nvinfer1::IPluginV3OneRuntime& runtime) const {
        return runtime.onShapeChange(descs_.data(), static_cast<std::int32_t>(input_count_), &descs_[input_count_],
                                     static_cast<std::int32_t>(descs_.size() - input_count_));
    }
    std::int32_t enqueue(nvinfer1::IPluginV3OneRuntime& runtime, const Gpu& gpu) const {
        return runtime.enqueue(descs_.data(), &descs_[input_count_], input_pointers_.data(), output_pointers_.data(),
                               workspace(), gpu.stream());
    }

    Tensors copy(const Gpu& gpu) const { return Tensors(gpu, descs_, input_count_, aliased_, data_, workspace_bytes_); }
    const std::vector<nvinfer1::PluginTensorDesc>& descs() const { return descs_; }
    std::size_t input_count() const { return input_count_; }
    const std::vector<void*>& inputs() const { return input_pointers_; }
    const std::vector<void*>& outputs() const { return output_pointers_; }

private:
    // What lies between the guards; throws if they were changed.
    std::string guarded(const Gpu& gpu, const aot::cuda::Memory& memory, std::size_t bytes,
                        const std::string& what) const {
        std::string all(bytes + 2 * guard_, '\0');
        const auto stream = gpu.session.stream();
        gpu.api.check(gpu.api.cuMemcpyDtoHAsync_v2(all.data(), memory.address(), all.size(), stream), "download");
        gpu.session.synchronize("download");
        const std::string band(guard_, static_cast<char>(guard_byte));
        if (all.compare(0, guard_, band) != 0 || all.compare(all.size() - guard_, guard_, band) != 0) {
            throw std::runtime_error("memory outside of " + what + " was changed");
        }
        return all.substr(guard_, bytes);
    }

    static std::vector<std::string> read(const Json& files) {
        std::vector<std::string> found;
        for (const Json& name : files) {
            std::ifstream file(name.get<std::string>(), std::ios::binary);
            std::stringstream bytes;
            bytes << file.rdbuf();
            found.push_back(bytes.str());
        }
        return found;
    }

    std::size_t guard_ = Gpu::guard;
    std::vector<nvinfer1::PluginTensorDesc> descs_;
    std::size_t input_count_;
    std::vector<std::int32_t> aliased_;
    std::vector<std::string> data_;
    std::size_t workspace_bytes_;
    aot::cuda::Memory workspace_;
    std::vector<std::size_t> bytes_, owners_, owned_;
    std::vector<aot::cuda::Memory> memory_;
    std::vector<void*> input_pointers_, output_pointers_;
};

using Outputs = std::vector<std::string>;

inline Outputs run_once(const Gpu& gpu, nvinfer1::IPluginV3OneRuntime& runtime, Tensors& tensors) {
    tensors.reset(gpu);
    if (tensors.enqueue(runtime, gpu) != 0) {
        throw std::runtime_error("enqueue failed");
    }
    gpu.session.synchronize("enqueue");
    return tensors.outputs(gpu);
}

inline Outputs run_in_graph(const Gpu& gpu, nvinfer1::IPluginV3OneRuntime& runtime, Tensors& tensors) {
    const auto& api = gpu.api;
    tensors.reset(gpu);
    aot::cuda::Graph graph = nullptr;
    aot::cuda::GraphExec executable = nullptr;
    api.check(api.cuStreamBeginCapture_v2(gpu.session.stream(), aot::cuda::capture_thread_local), "capture");
    const std::int32_t result = tensors.enqueue(runtime, gpu);
    api.check(api.cuStreamEndCapture(gpu.session.stream(), &graph), "end of capture");
    if (result != 0) {
        throw std::runtime_error("enqueue failed in a graph");
    }
    api.check(api.cuGraphInstantiateWithFlags(&executable, graph, 0), "graph");
    api.check(api.cuGraphLaunch(executable, gpu.session.stream()), "graph launch");
    gpu.session.synchronize("graph");
    Outputs found = tensors.outputs(gpu);
    api.cuGraphExecDestroy(executable);
    api.cuGraphDestroy(graph);
    return found;
}

// Threads with contexts and streams of their own, each `rounds` times; how many results differ from `expected`.
inline int run_in_threads(nvinfer1::IPluginV3OneRuntime& loaded, std::int32_t tactic, const Tensors& tensors,
                          int threads, int rounds, const Outputs& expected) {
    std::atomic<int> wrong{0};
    std::vector<std::thread> running;
    for (int i = 0; i < threads; ++i) {
        running.emplace_back([&] {
            try {
                const Gpu gpu;
                Tensors own = tensors.copy(gpu);
                for (int round = 0; round < rounds; ++round) {
                    const std::unique_ptr<nvinfer1::IPluginV3> attached(loaded.attachToContext(nullptr));
                    auto* runtime = static_cast<nvinfer1::IPluginV3OneRuntime*>(
                        attached->getCapabilityInterface(nvinfer1::PluginCapabilityType::kRUNTIME));
                    runtime->setTactic(tactic);
                    wrong += own.change_shape(*runtime) != 0 || run_once(gpu, *runtime, own) != expected;
                }
            } catch (const std::exception&) {
                ++wrong;
            }
        });
    }
    for (std::thread& thread : running) {
        thread.join();
    }
    return wrong;
}

using Create = std::function<std::unique_ptr<nvinfer1::IPluginV3>()>;  // the plugin anew, from what a plan carries

// One plugin in a context of one GPU, as a TensorRT engine there would have it.
class OnDevice {
public:
    OnDevice(int ordinal, const Create& create, std::int32_t tactic, const Tensors& tensors)
        : gpu_(ordinal), tensors_(tensors.copy(gpu_)), loaded_(create()) {
        if (!loaded_) {
            throw std::runtime_error("the plugin is not created on GPU " + std::to_string(ordinal));
        }
        attached_.reset(runtime_of(*loaded_)->attachToContext(nullptr));
        runtime_ = runtime_of(*attached_);
        runtime_->setTactic(tactic);
    }
    ~OnDevice() { gpu_.make_current(); }
    OnDevice(const OnDevice&) = delete;

    Outputs run() {
        gpu_.make_current();
        if (tensors_.change_shape(*runtime_) != 0) {
            throw std::runtime_error("onShapeChange failed");
        }
        return run_once(gpu_, *runtime_, tensors_);
    }

private:
    static nvinfer1::IPluginV3OneRuntime* runtime_of(nvinfer1::IPluginV3& plugin) {
        return static_cast<nvinfer1::IPluginV3OneRuntime*>(
            plugin.getCapabilityInterface(nvinfer1::PluginCapabilityType::kRUNTIME));
    }
    Gpu gpu_;
    Tensors tensors_;
    std::unique_ptr<nvinfer1::IPluginV3> loaded_, attached_;
    nvinfer1::IPluginV3OneRuntime* runtime_ = nullptr;
};

// Every GPU of the machine at once, four threads each; and one thread that goes from GPU to GPU. "wrong": how many
// results differ from `expected`, which GPU 0 gave.
inline Json run_on_devices(const Gpu& gpu, const Create& create, std::int32_t tactic, const Tensors& tensors,
                           int rounds, const Outputs& expected) {
    int count = 0;
    gpu.api.check(gpu.api.cuDeviceGetCount(&count), "cuDeviceGetCount");
    std::atomic<int> wrong{0}, runs{0};
    std::mutex mutex;
    std::string error;
    const auto guarded = [&](const std::function<void()>& work) {
        try {
            work();
        } catch (const std::exception& caught) {
            const std::lock_guard<std::mutex> lock(mutex);
            error = caught.what();
            ++wrong;
        }
    };
    const auto judge = [&](OnDevice& one) {
        wrong += one.run() != expected;
        ++runs;
    };
    std::vector<std::thread> running;
    for (int i = 0; i < 4 * count; ++i) {
        running.emplace_back([&, i] {
            guarded([&] {
                OnDevice own(i % count, create, tactic, tensors);
                for (int round = 0; round < rounds; ++round) {
                    judge(own);
                }
            });
        });
    }
    running.emplace_back([&] {
        guarded([&] {
            std::vector<std::unique_ptr<OnDevice>> all;
            for (int device = 0; device < count; ++device) {
                all.push_back(std::make_unique<OnDevice>(device, create, tactic, tensors));
            }
            for (int round = 0; round < rounds; ++round) {
                for (auto& one : all) {
                    judge(*one);
                }
            }
        });
    });
    for (std::thread& thread : running) {
        thread.join();
    }
    gpu.make_current();
    return {{"count", count}, {"runs", runs.load()}, {"wrong", wrong.load()}, {"error", error}};
}

// Shapes changed back and forth, with a run every hundredth time: what memory of host and GPU grew by.
inline Json change_shapes(const Gpu& gpu, nvinfer1::IPluginV3OneRuntime& runtime, Tensors& one, Tensors& other,
                          int count) {
    const auto change = [&](int i) {
        Tensors& tensors = i % 2 == 0 ? other : one;
        const bool failed = tensors.change_shape(runtime) != 0 || (i % 100 < 2 && tensors.enqueue(runtime, gpu) != 0);
        if (failed) {
            throw std::runtime_error("a change of shape failed");
        }
    };
    for (int i = 0; i < 200; ++i) {
        change(i);
    }
    gpu.session.synchronize("shape changes");
    const std::size_t resident = resident_bytes(), available = gpu.session.free_bytes();
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < count; ++i) {
        change(i);
    }
    const auto spent = std::chrono::steady_clock::now() - begin;
    gpu.session.synchronize("shape changes");
    const auto grown = [](std::size_t now, std::size_t before) {
        return static_cast<std::int64_t>(now) - static_cast<std::int64_t>(before);
    };
    return {{"count", count},
            {"host_bytes", grown(resident_bytes(), resident)},
            {"gpu_bytes", grown(available, gpu.session.free_bytes())},
            {"ns_each", std::chrono::duration<double, std::nano>(spent).count() / count}};
}

// Host nanoseconds of an enqueue, and of bare driver calls for the same launches; the best of several loops of each.
inline Json host_cost(const Gpu& gpu, nvinfer1::IPluginV3OneRuntime& runtime, std::int32_t tactic,
                      const Tensors& tensors, const std::string& carried, int count) {
    const aot::plugin::Parts parts = aot::plugin::parse_parts(carried);
    std::vector<aot::Shape> shapes;
    for (std::size_t i = 0; i < tensors.input_count(); ++i) {
        shapes.push_back(aot::plugin::to_shape(tensors.descs()[i].dims));
    }
    const aot::Variant* variant = nullptr;
    for (const aot::Variant& each : parts[0]->manifest().variants) {
        variant = variant == nullptr && (tactic == 0 || each.tactic == tactic) ? &each : variant;
    }
    struct Bare {
        aot::cuda::Owner<aot::cuda::Module> module;
        aot::Launch launch;
        aot::cuda::Function function = nullptr;
        std::vector<void*> arguments;
    };
    std::vector<Bare> launches;
    std::vector<void*> workspaces;
    for (const std::size_t offset : aot::plugin::workspace_offsets(*variant)) {
        workspaces.push_back(static_cast<char*>(tensors.workspace()) + offset);
    }
    workspaces.pop_back();  // the end
    for (aot::Launch& launch : aot::evaluate_launches(*variant, aot::plugin::symbols_at(*parts[0], shapes))) {
        const auto& kernel = *launch.kernel;
        auto module = aot::cuda::load_module(gpu.api, parts[0]->bundle.ptx.at(kernel.ptx), kernel.ptx);
        launches.push_back({std::move(module), std::move(launch)});
    }
    for (Bare& bare : launches) {
        gpu.api.check(
            gpu.api.cuModuleGetFunction(&bare.function, bare.module.get(), bare.launch.kernel->kernel.c_str()),
            "cuModuleGetFunction");
        for (void* const& pointer : tensors.inputs()) {
            bare.arguments.push_back(const_cast<void**>(&pointer));
        }
        for (aot::Scalar& extra : bare.launch.extra_args) {
            bare.arguments.push_back(extra.address());
        }
        for (void* const& pointer : tensors.outputs()) {
            bare.arguments.push_back(const_cast<void**>(&pointer));
        }
        for (void*& pointer : workspaces) {
            bare.arguments.push_back(&pointer);
        }
    }
    const auto best = [&](auto work) {
        double least = 1e300;
        for (int loop = 0; loop < 9; ++loop) {
            gpu.session.synchronize("timing");
            const auto begin = std::chrono::steady_clock::now();
            for (int i = 0; i < count; ++i) {
                work();
            }
            const auto spent = std::chrono::steady_clock::now() - begin;
            least = std::min(least, std::chrono::duration<double, std::nano>(spent).count() / count);
        }
        gpu.session.synchronize("timing");
        return least;
    };
    const double bare = best([&] {
        for (Bare& each : launches) {
            aot::cuda::enqueue(gpu.api, each.function, each.launch, gpu.session.stream(), each.arguments.data());
        }
    });
    const double enqueue = best([&] { tensors.enqueue(runtime, gpu); });
    return {{"bare_ns", bare}, {"enqueue_ns", enqueue}, {"ratio", enqueue / bare}};
}

// GPU microseconds of an enqueue: the median of `count` samples of five.
inline double device_time(const Gpu& gpu, nvinfer1::IPluginV3OneRuntime& runtime, const Tensors& tensors, int count) {
    constexpr int repeat = 5;
    const auto& api = gpu.api;
    const auto stream = gpu.session.stream();
    const auto begin = aot::cuda::make_event(gpu.session), end = aot::cuda::make_event(gpu.session);
    std::vector<double> samples;
    for (int sample = -2; sample < count; ++sample) {  // two to warm up
        api.check(api.cuEventRecord(begin.get(), stream), "cuEventRecord");
        for (int i = 0; i < repeat; ++i) {
            tensors.enqueue(runtime, gpu);
        }
        api.check(api.cuEventRecord(end.get(), stream), "cuEventRecord");
        gpu.session.synchronize("timing");
        float milliseconds = 0;
        api.check(api.cuEventElapsedTime(&milliseconds, begin.get(), end.get()), "cuEventElapsedTime");
        if (sample >= 0) {
            samples.push_back(1000.0 * milliseconds / repeat);
        }
    }
    std::sort(samples.begin(), samples.end());
    return samples[samples.size() / 2];
}

inline void write_outputs(const std::string& prefix, const Outputs& outputs) {
    for (std::size_t i = 0; i < outputs.size(); ++i) {
        std::ofstream(prefix + "." + std::to_string(i), std::ios::binary) << outputs[i];
    }
}

// "other": the same call at other shapes, for run["shape_changes"].
inline Json run_on_gpu(const Gpu& gpu, nvinfer1::IPluginV3OneRuntime& loaded, nvinfer1::IPluginV3OneRuntime& runtime,
                       std::int32_t tactic, Tensors& tensors, Tensors* other, const Json& run,
                       const std::string& carried, const Create& create) {
    try {
        const Outputs outputs = run_once(gpu, runtime, tensors);
        Json answer = {{"ran", true}};
        if (run.contains("outputs")) {
            write_outputs(run["outputs"].get<std::string>() + ".t" + std::to_string(tactic), outputs);
        }
        answer["graph_same"] = run_in_graph(gpu, runtime, tensors) == outputs;
        if (const int threads = run.value("threads", 0); threads > 0) {
            answer["threads_wrong"] = run_in_threads(loaded, tactic, tensors, threads, run.value("rounds", 4), outputs);
        }
        if (const int rounds = run.value("devices", 0); rounds > 0) {
            answer["devices"] = run_on_devices(gpu, create, tactic, tensors, rounds, outputs);
        }
        if (const int count = run.value("shape_changes", 0); count > 0 && other != nullptr) {
            answer["shape_changes"] = change_shapes(gpu, runtime, tensors, *other, count);
            tensors.change_shape(runtime);
            answer["same_afterwards"] = run_once(gpu, runtime, tensors) == outputs;
        }
        if (const int count = run.value("device_time", 0); count > 0) {
            answer["device_us"] = device_time(gpu, runtime, tensors, count);
        }
        if (const int count = run.value("host_cost", 0); count > 0) {
            answer["host_cost"] = host_cost(gpu, runtime, tactic, tensors, carried, count);
        }
        answer["modules"] = loaded_modules();
        return answer;
    } catch (const std::exception& error) {
        return {{"ran", false}, {"error", error.what()}};
    }
}
