// SPDX-License-Identifier: Apache-2.0
// A libcuda.so.1 without a GPU, for tests of the launcher itself: memory is the host's, streams run at once, and
// kernels are the C++ functions below, found by entry name. FAKE_CUDA sets what goes wrong: "no-device", "old-ptx",
// "bad-ptx"; with "two-gpus" there are two, and a function of one is refused on the other.
//   g++ -std=c++17 -shared -fPIC -I aotfactory/runtime -o libcuda.so.1 tests/cpp/fake_cuda.cpp
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "cuda/cuda_api.h"

using namespace aot::cuda;

namespace {

struct Threads {
    unsigned grid, block, shared, cluster = 1;
    unsigned count() const { return grid * block; }
};
using Work = std::function<void()>;
using KernelCode = std::function<Result(const Threads&, void** arguments)>;

float* tensor(void* argument) { return reinterpret_cast<float*>(*static_cast<DevicePointer*>(argument)); }
int number(void* argument) { return *static_cast<int*>(argument); }

constexpr Result illegal_address = 700, invalid_handle = 400, invalid_cluster_size = 912;
thread_local Context current = nullptr;  // of device 0 or 1: where the device's number lies
Device devices[] = {0, 1};

struct Loaded {  // a function in a module of a context
    const KernelCode* code;
    Context context;
    bool large_clusters = false;
};
std::mutex loading;
std::map<std::pair<Context, std::string>, Loaded> functions;
Result sticky = success;  // a fault makes every later call fail, as in the driver
int atomics = 0;
std::atomic<int> modules{0};

// (x, n, y): y = x by the first `threads` threads, with a change that some kernels make
KernelCode copy(std::function<void(float* x, float* y, int n)> change = nullptr) {
    return [change](const Threads& threads, void** arguments) {
        float *x = tensor(arguments[0]), *y = tensor(arguments[2]);
        const int n = number(arguments[1]);
        for (int i = 0; i < n && static_cast<unsigned>(i) < threads.count(); ++i) {
            y[i] = x[i];
        }
        if (change) {
            change(x, y, n);
        }
        return success;
    };
}

const std::map<std::string, KernelCode>& kernels() {
    static const std::map<std::string, KernelCode> all = {
        {"copy", copy()},
        {"store_behind", copy([](float*, float* y, int n) { y[n] = 1; })},
        {"store_before", copy([](float*, float* y, int) { y[-2] = 1; })},
        {"change_input", copy([](float* x, float*, int) { x[1] += 1; })},
        {"read_behind", copy([](float* x, float* y, int n) { y[n - 1] = x[n]; })},
        {"vary", copy([](float*, float* y, int) { y[0] = static_cast<float>(++atomics); })},
        {"add_one",
         [](const Threads&, void** arguments) {  // (x, n, y) in place
             for (int i = 0; i < number(arguments[1]); ++i) {
                 tensor(arguments[0])[i] += 1;
             }
             return success;
         }},
        {"positive",
         [](const Threads&, void** arguments) {  // (x, n, y, size): the positive elements
             int count = 0;
             for (int i = 0; i < number(arguments[1]); ++i) {
                 if (const float value = tensor(arguments[0])[i]; value > 0) {
                     tensor(arguments[2])[count++] = value;
                 }
             }
             *reinterpret_cast<int*>(tensor(arguments[3])) = count;
             return success;
         }},
        {"wrong_size",
         [](const Threads&, void** arguments) {
             *reinterpret_cast<int*>(tensor(arguments[3])) = 1 << 20;
             return success;
         }},
        {"sums",
         [](const Threads&, void** arguments) {  // (x, n, y, sums): of each eight
             for (int i = 0; i < number(arguments[1]); i += 8) {
                 float sum = 0;
                 for (int j = i; j < i + 8; ++j) {
                     sum += tensor(arguments[0])[j];
                 }
                 tensor(arguments[3])[i / 8] = sum;
             }
             return success;
         }},
        {"minus_mean",
         [](const Threads&, void** arguments) {  // (x, n as int64, 1/8, y, sums): y = x - the mean of its eight
             const auto count = *static_cast<std::int64_t*>(arguments[1]);
             for (std::int64_t i = 0; i < count; ++i) {
                 const float scale = *static_cast<float*>(arguments[2]);
                 tensor(arguments[3])[i] = tensor(arguments[0])[i] - tensor(arguments[4])[i / 8] * scale;
             }
             return success;
         }},
        {"nothing", [](const Threads&, void**) { return success; }},
        {"behind_workspace",
         [](const Threads&, void** arguments) {  // (x, n, y, sums): one sum too many
             tensor(arguments[3])[number(arguments[1]) / 8] = 1;
             return success;
         }},
        {"cluster_of",
         [](const Threads& threads, void** arguments) {  // (x, n, y): y = the blocks of a cluster
             for (int i = 0; i < number(arguments[1]); ++i) {
                 tensor(arguments[2])[i] = static_cast<float>(threads.cluster);
             }
             return success;
         }},
        {"fault",
         [](const Threads&, void**) {
             sticky = illegal_address;
             return success;
         }},
    };
    return all;
}

std::vector<Work>* capturing = nullptr;

void enqueue(Work work) { capturing != nullptr ? capturing->push_back(std::move(work)) : work(); }

bool fails(const char* how) {
    const char* wanted = std::getenv("FAKE_CUDA");
    return wanted != nullptr && std::string(wanted) == how;
}

}  // namespace

extern "C" {

Result cuInit(unsigned) { return fails("no-device") ? 100 : success; }
Result cuDriverGetVersion(int* version) { return *version = 13000, success; }
Result cuGetErrorName(Result result, const char** text) {
    *text = result == illegal_address ? "CUDA_ERROR_ILLEGAL_ADDRESS"
            : result == 100           ? "CUDA_ERROR_NO_DEVICE"
                                      : "CUDA_ERROR";
    return success;
}
Result cuGetErrorString(Result, const char** text) { return *text = "a fake error", success; }
Result cuDeviceGetCount(int* count) { return *count = fails("two-gpus") ? 2 : 1, success; }
Result cuDeviceGet(Device* device, int ordinal) { return *device = ordinal, success; }
Result cuDeviceGetName(char* text, int length, Device) {
    return std::strncpy(text, "Fake", static_cast<std::size_t>(length)), success;
}
Result cuDeviceGetAttribute(int* value, DeviceAttribute attribute, Device) {
    *value = attribute == compute_major   ? 9
             : attribute == compute_minor ? 0
             : attribute == l2_cache_size ? 4096
                                          : 232448;
    return success;
}
Result cuDevicePrimaryCtxRetain(Context* context, Device device) {
    return *context = reinterpret_cast<Context>(&devices[device]), success;
}
Result cuDevicePrimaryCtxRelease_v2(Device) { return success; }
Result cuCtxSetCurrent(Context context) { return current = context, success; }
Result cuCtxGetCurrent(Context* context) { return *context = current, success; }
Result cuCtxGetDevice(Device* device) { return *device = *reinterpret_cast<Device*>(current), success; }
Result cuCtxPushCurrent_v2(Context context) { return current = context, success; }
Result cuCtxPopCurrent_v2(Context* context) { return *context = current, success; }
Result cuMemGetInfo_v2(std::size_t* available, std::size_t* total) { return *available = *total = 1u << 30, success; }
Result cuMemAlloc_v2(DevicePointer* address, std::size_t bytes) {
    *address = reinterpret_cast<DevicePointer>(std::malloc(bytes));
    return *address == 0 ? 2 : success;
}
Result cuMemFree_v2(DevicePointer address) { return std::free(reinterpret_cast<void*>(address)), sticky; }
Result cuMemcpyHtoDAsync_v2(DevicePointer to, const void* from, std::size_t bytes, Stream) {
    return std::memcpy(reinterpret_cast<void*>(to), from, bytes), sticky;
}
Result cuMemcpyDtoHAsync_v2(void* to, DevicePointer from, std::size_t bytes, Stream) {
    return std::memcpy(to, reinterpret_cast<void*>(from), bytes), sticky;
}
Result cuMemcpyDtoDAsync_v2(DevicePointer to, DevicePointer from, std::size_t bytes, Stream) {
    enqueue([=] { std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes); });
    return sticky;
}
Result cuMemsetD8Async(DevicePointer to, unsigned char value, std::size_t bytes, Stream) {
    return std::memset(reinterpret_cast<void*>(to), value, bytes), sticky;
}
Result cuStreamCreate(Stream* stream, unsigned) { return *stream = nullptr, success; }
Result cuStreamSynchronize(Stream) { return sticky; }
Result cuStreamDestroy_v2(Stream) { return success; }
Result cuStreamBeginCapture_v2(Stream, CaptureMode) { return capturing = new std::vector<Work>, success; }
Result cuStreamEndCapture(Stream, Graph* graph) {
    *graph = reinterpret_cast<Graph>(std::exchange(capturing, nullptr));
    return success;
}
Result cuGraphInstantiateWithFlags(GraphExec* executable, Graph graph, unsigned long long) {
    *executable = reinterpret_cast<GraphExec>(new std::vector<Work>(*reinterpret_cast<std::vector<Work>*>(graph)));
    return success;
}
Result cuGraphLaunch(GraphExec executable, Stream) {
    for (const Work& work : *reinterpret_cast<std::vector<Work>*>(executable)) {
        work();
    }
    return sticky;
}
Result cuGraphExecDestroy(GraphExec executable) {
    return delete reinterpret_cast<std::vector<Work>*>(executable), success;
}
Result cuGraphDestroy(Graph graph) { return delete reinterpret_cast<std::vector<Work>*>(graph), success; }
Result cuEventCreate(Event* event, unsigned) { return *event = reinterpret_cast<Event>(new double(0)), success; }
Result cuEventRecord(Event event, Stream) {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    *reinterpret_cast<double*>(event) = std::chrono::duration<double, std::milli>(now).count();
    return success;
}
Result cuEventElapsedTime(float* milliseconds, Event start, Event end) {
    *milliseconds = static_cast<float>(*reinterpret_cast<double*>(end) - *reinterpret_cast<double*>(start));
    return success;
}
Result cuEventDestroy_v2(Event event) { return delete reinterpret_cast<double*>(event), success; }
Result cuModuleLoadDataEx(Module* module, const void*, unsigned, JitOption* options, void** values) {
    *module = nullptr;
    if (fails("bad-ptx") && options[0] == error_log_buffer) {
        std::strcpy(static_cast<char*>(values[0]), "ptxas error: line 7");
        return 218;
    }
    if (fails("old-ptx")) {
        return unsupported_ptx_version;
    }
    *module = reinterpret_cast<Module>(current);
    return ++modules, success;
}
Result cuModuleGetFunction(Function* function, Module module, const char* name) {
    const auto found = kernels().find(name);
    if (found == kernels().end()) {
        return *function = nullptr, 500;
    }
    const std::lock_guard<std::mutex> lock(loading);
    const auto context = reinterpret_cast<Context>(module);
    Loaded& loaded = functions[{context, name}] = {&found->second, context};
    return *function = reinterpret_cast<Function>(&loaded), success;
}
Result cuModuleUnload(Module) { return --modules, success; }
int fake_cuda_modules() { return modules; }
Result cuFuncGetAttribute(int* value, FunctionAttribute, Function) { return *value = 0, success; }
Result cuFuncSetAttribute(Function function, FunctionAttribute which, int value) {
    if (which == large_clusters_allowed) {
        reinterpret_cast<Loaded*>(function)->large_clusters = value != 0;
    }
    return success;
}
Result cuLaunchKernelEx(const LaunchConfig* config, Function function, void** arguments, void**) {
    const auto* loaded = reinterpret_cast<const Loaded*>(function);
    const bool clusters = config->attribute_count == 1 && config->attributes->id == cluster_dimension;
    if (!clusters || loaded->context != current) {
        return invalid_handle;
    }
    const auto& extents = config->attributes->value.cluster;
    if (extents.x * extents.y * extents.z > 8 && !loaded->large_clusters) {
        return invalid_cluster_size;
    }
    const Threads threads{config->grid_x, config->block_x, config->shared_mem, extents.x * extents.y * extents.z};
    const KernelCode* code = loaded->code;
    enqueue([=] { (*code)(threads, arguments); });
    return success;
}
Result cuLaunchKernel(Function function, unsigned grid, unsigned, unsigned, unsigned block, unsigned, unsigned,
                      unsigned shared, Stream, void** arguments, void**) {
    const auto* loaded = reinterpret_cast<const Loaded*>(function);
    if (loaded->context != current) {
        return invalid_handle;
    }
    const KernelCode* code = loaded->code;
    enqueue([=] { (*code)(Threads{grid, block, shared}, arguments); });
    return success;
}

}  // extern "C"

// every function that the launcher looks up is here, with its signature
#define AOT_DEFINED(name, ...) static_assert(std::is_same_v<decltype(&::name), Result (*)(__VA_ARGS__)>);
AOT_CUDA_FUNCTIONS(AOT_DEFINED)
AOT_CUDA_NEWER_FUNCTIONS(AOT_DEFINED)
