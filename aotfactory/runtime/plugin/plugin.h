// SPDX-License-Identifier: Apache-2.0
// A plugin of TensorRT's V3 interface whose kernels are a bundle's. Every method may be called by TensorRT alone, and
// none throws: see guarded().
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bundle/evaluate.h"
#include "plugin/kernels.h"
#include "plugin/part.h"

namespace aot::plugin {

#if NV_TENSORRT_MAJOR * 100 + NV_TENSORRT_MINOR >= 1003
using BuildInterface = nvinfer1::IPluginV3OneBuildV2;  // with aliased inputs
#define AOT_ALIASED override
#else
using BuildInterface = nvinfer1::IPluginV3OneBuild;
#define AOT_ALIASED
#endif

class Plugin final : public nvinfer1::IPluginV3,
                     public nvinfer1::IPluginV3OneCore,
                     public BuildInterface,
                     public nvinfer1::IPluginV3OneRuntime {
    using Desc = nvinfer1::PluginTensorDesc;
    using DynamicDesc = nvinfer1::DynamicPluginTensorDesc;

public:
    // `parts` are those of one plugin whose attributes have the values that this one was created with; at least one.
    Plugin(Parts parts, std::shared_ptr<Kernels> kernels);

    nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override;
    nvinfer1::IPluginV3* clone() noexcept override;

    const char* getPluginName() const noexcept override { return first().plugin_name.c_str(); }
    const char* getPluginVersion() const noexcept override { return "1"; }
    const char* getPluginNamespace() const noexcept override { return first().plugin_namespace.c_str(); }

    // Build: plugin_build.cpp
    std::int32_t getNbOutputs() const noexcept override;
    std::int32_t getOutputDataTypes(nvinfer1::DataType* outputs, std::int32_t output_count,
                                    const nvinfer1::DataType* inputs, std::int32_t input_count) const noexcept override;
    std::int32_t getOutputShapes(const nvinfer1::DimsExprs* inputs, std::int32_t input_count,
                                 const nvinfer1::DimsExprs* shape_inputs, std::int32_t shape_input_count,
                                 nvinfer1::DimsExprs* outputs, std::int32_t output_count,
                                 nvinfer1::IExprBuilder& builder) noexcept override;
    bool supportsFormatCombination(std::int32_t position, const DynamicDesc* tensors, std::int32_t input_count,
                                   std::int32_t output_count) noexcept override;
    std::int32_t configurePlugin(const DynamicDesc* inputs, std::int32_t input_count, const DynamicDesc* outputs,
                                 std::int32_t output_count) noexcept override;
    std::int32_t getNbTactics() noexcept override { return static_cast<std::int32_t>(tactics_.size()); }
    std::int32_t getValidTactics(std::int32_t* tactics, std::int32_t count) noexcept override;
    std::int32_t getAliasedInput(std::int32_t output) noexcept AOT_ALIASED;
    std::size_t getWorkspaceSize(const DynamicDesc* inputs, std::int32_t input_count, const DynamicDesc* outputs,
                                 std::int32_t output_count) const noexcept override;
    const char* getTimingCacheID() noexcept override { return digest_.c_str(); }
    const char* getMetadataString() noexcept override { return metadata_.c_str(); }

    // Runtime: plugin_runtime.cpp
    std::int32_t setTactic(std::int32_t tactic) noexcept override;
    std::int32_t onShapeChange(const Desc* inputs, std::int32_t input_count, const Desc* outputs,
                               std::int32_t output_count) noexcept override;

    // Allocates nothing after onShapeChange for the same shapes. Not for two threads at once: a context has its own.
    std::int32_t enqueue(const Desc* inputs, const Desc* outputs, const void* const* input_memory,
                         void* const* output_memory, void* workspace, cudaStream_t stream) noexcept override;
    nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept override { return clone(); }
    const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept override;

private:
    struct PreparedKernel {
        std::shared_ptr<const LoadedKernel> kernel;
        Launch launch;
        std::vector<void*> arguments;  // addresses of the parameters' values
    };
    struct Prepared {  // the launches at certain shapes
        std::vector<PreparedKernel> kernels;
        std::vector<nvinfer1::Dims> inputs;
        std::vector<std::size_t> offsets;  // of each workspace in TensorRT's
        std::vector<void*> workspaces;     // where they are, for the kernels' arguments
    };

    const Part& first() const { return *parts_.front(); }
    const std::string& subject() const { return first().call().plugin; }
    void require_counts(std::int32_t inputs, std::int32_t outputs) const;
    std::vector<const Variant*> usable(const Part& part) const;
    void prepare(const Desc* inputs, const Desc* outputs);
    void prepare(const Part& part, const Variant& variant, const std::vector<std::int64_t>& symbols,
                 const Desc* inputs);
    bool is_prepared_for(const Desc* inputs) const;

    Parts parts_;
    std::shared_ptr<Kernels> kernels_;
    std::string digest_, metadata_;

    std::shared_ptr<const Part> configured_;  // by configurePlugin, or by onShapeChange
    std::vector<DType> configured_types_;
    std::vector<std::int32_t> tactics_;  // for the configured combination
    std::int32_t tactic_ = 0;
    std::optional<Prepared> prepared_;

    std::string serialized_;
    nvinfer1::PluginField field_;
    nvinfer1::PluginFieldCollection fields_{};
};

inline constexpr const char* kernels_field = "aotfactory.kernels";  // what a plan carries of a plugin

}  // namespace aot::plugin
