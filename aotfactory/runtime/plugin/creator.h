// SPDX-License-Identifier: Apache-2.0
// The creator of one plugin, with the name, namespace and attributes that the plugin has in Python.
#pragma once

#include <NvInferRuntime.h>

#include <memory>
#include <string>
#include <vector>

#include "plugin/kernels.h"
#include "plugin/part.h"

namespace aot::plugin {

class Creator final : public nvinfer1::IPluginCreatorV3One {
public:
    // `parts`: all calls of the plugin that the library has; at least one.
    Creator(Parts parts, std::shared_ptr<Kernels> kernels);

    // With attributes: the plugin of the parts that were compiled for their values. With what a plan carries of a
    // plugin (getFieldsToSerialize): the plugin of that.
    nvinfer1::IPluginV3* createPlugin(const char* name, const nvinfer1::PluginFieldCollection* fields,
                                      nvinfer1::TensorRTPhase phase) noexcept override;
    const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }
    const char* getPluginName() const noexcept override { return parts_.front()->plugin_name.c_str(); }
    const char* getPluginVersion() const noexcept override { return "1"; }
    const char* getPluginNamespace() const noexcept override { return parts_.front()->plugin_namespace.c_str(); }

private:
    Parts find(const nvinfer1::PluginFieldCollection& fields) const;

    Parts parts_;
    std::shared_ptr<Kernels> kernels_;
    std::vector<nvinfer1::PluginField> fields_;
    nvinfer1::PluginFieldCollection collection_{};
};

}  // namespace aot::plugin
