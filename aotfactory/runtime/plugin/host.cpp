// SPDX-License-Identifier: Apache-2.0
#include "plugin/host.h"

#include <dlfcn.h>

#include <string>

namespace aot::plugin {

namespace {

// The result of the function of that name, from the first library that gives one. Libraries are found by their names
// among those that are loaded, for a host may have loaded TensorRT such that others do not see its symbols.
template <typename Result>
Result* ask(const char* name) {
    const auto call = [](void* symbol) {
        return symbol != nullptr ? reinterpret_cast<Result* (*)()>(symbol)() : nullptr;
    };
    for (const char* library : {"libnvinfer", "libnvinfer_lean", "libnvinfer_dispatch"}) {
        const std::string file = std::string(library) + ".so." + std::to_string(NV_TENSORRT_MAJOR);
        if (void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_NOLOAD)) {
            Result* found = call(dlsym(handle, name));
            dlclose(handle);  // it stays loaded: only its count had grown
            if (found != nullptr) {
                return found;
            }
        }
    }
    return call(dlsym(RTLD_DEFAULT, name));
}

}  // namespace

nvinfer1::IPluginRegistry* host_registry() { return ask<nvinfer1::IPluginRegistry>("getPluginRegistry"); }

nvinfer1::ILogger* host_logger() { return ask<nvinfer1::ILogger>("getLogger"); }

}  // namespace aot::plugin
