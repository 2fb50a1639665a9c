// SPDX-License-Identifier: Apache-2.0
// The library's two exports, which TensorRT looks up by name, and the bundle that is linked into it.
#include <NvInferRuntime.h>

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "plugin/creator.h"
#include "plugin/host.h"
#include "plugin/log.h"

// Around the library's document: aotfactory/api/library.py has the assembler place it there.
extern "C" const char aotfactory_library_begin[];
extern "C" const char aotfactory_library_end[];

namespace {

using namespace aot::plugin;

struct Library {
    std::vector<std::unique_ptr<Creator>> creators;
    std::vector<nvinfer1::IPluginCreatorInterface*> pointers;

    Library() {
        const auto size = static_cast<std::size_t>(aotfactory_library_end - aotfactory_library_begin);
        std::map<std::string, Parts> by_plugin;
        for (auto& part : parse_parts({aotfactory_library_begin, size})) {
            by_plugin[part->call().plugin].push_back(std::move(part));
        }
        const auto kernels = std::make_shared<Kernels>();
        for (auto& [plugin, parts] : by_plugin) {
            creators.push_back(std::make_unique<Creator>(std::move(parts), kernels));
            pointers.push_back(creators.back().get());
        }
    }
};

const Library& library() {
    static const Library made;
    return made;
}

// Hosts that open plugin libraries with dlopen alone (DeepStream, Triton's server, ONNX Runtime) expect them to
// register themselves. TensorRT's own loadLibrary() registers what getCreators() gives: then this takes back what it
// did.
class Registration {
public:
    Registration() {
        guarded("library", 0, [&] {
            registry_ = host_registry();
            if (registry_ != nullptr) {
                for (auto* creator : library().pointers) {
                    registered_.push_back(creator);
                    if (!registry_->registerCreator(*creator, static_cast<Creator*>(creator)->getPluginNamespace())) {
                        registered_.pop_back();  // another library has this plugin
                    }
                }
            }
            return 0;
        });
    }
    ~Registration() { withdraw(); }
    Registration(const Registration&) = delete;
    Registration& operator=(const Registration&) = delete;

    void withdraw() noexcept {
        for (auto* creator : registered_) {
            registry_->deregisterCreator(*creator);
        }
        registered_.clear();
    }

private:
    nvinfer1::IPluginRegistry* registry_ = nullptr;
    std::vector<nvinfer1::IPluginCreatorInterface*> registered_;
};

Registration registration;

}  // namespace

extern "C" __attribute__((visibility("default"))) nvinfer1::IPluginCreatorInterface* const* getCreators(
    std::int32_t& count) {
    count = 0;
    return guarded<nvinfer1::IPluginCreatorInterface* const*>("library", nullptr, [&] {
        registration.withdraw();
        count = static_cast<std::int32_t>(library().pointers.size());
        return library().pointers.data();
    });
}

extern "C" __attribute__((visibility("default"))) void setLoggerFinder(nvinfer1::ILoggerFinder* finder) {
    set_logger_finder(finder);
}
