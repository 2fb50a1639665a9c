// SPDX-License-Identifier: Apache-2.0
// Calls a plugin library as TensorRT does: creator, build interface, serialization, runtime interface. The registry is
// NVIDIA's, of the lean runtime that is named, or none. argv[1] is a JSON file, and the answer goes to stdout:
//
//   {"library": "lib.so", "registry": "libnvinfer_lean.so.11" or null, "tight": false, "cases": [CASE...]}
//   CASE   {"plugin": "ns::name", "fields": [...], "inputs": [{"dtype", "dims", "min", "opt", "max"}],
//           "types": ["fp32"...], "formats": [0...], "runs": [RUN...]}
//   RUN    {"types": [...], "shapes": [[...]...], "inputs": ["file"...], "outputs": "prefix", "tactics": [...] or null}
//
// tests/api/test_plugin_library.py and scripts/road_gpu.py write them. What a run does with GPU memory is in
// plugin_driver_gpu.h.
#include <dlfcn.h>

#include <fstream>
#include <iostream>
#include <optional>
#include <sstream>

#include "plugin_driver_gpu.h"
#include "tensorrt_side.h"

namespace {

using namespace nvinfer1;
using side::Json;

class Registry {
public:
    Registry(const std::string& library, const Json& lean) {
        if (!lean.is_null()) {
            void* runtime = dlopen(lean.get<std::string>().c_str(), RTLD_NOW | RTLD_GLOBAL);
            const auto get = runtime == nullptr
                                 ? nullptr
                                 : reinterpret_cast<IPluginRegistry* (*)()>(dlsym(runtime, "getPluginRegistry"));
            if (get == nullptr) {
                throw std::runtime_error(std::string("no registry: ") + dlerror());
            }
            registry_ = get();
            handle_ = registry_->loadLibrary(library.c_str());
            if (handle_ == nullptr) {
                throw std::runtime_error("the registry does not load " + library);
            }
            return;
        }
        void* opened = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (opened == nullptr) {
            throw std::runtime_error(dlerror());
        }
        const auto get =
            reinterpret_cast<IPluginCreatorInterface* const* (*)(std::int32_t&)>(dlsym(opened, "getCreators"));
        creators_ = get(count_);
    }
    ~Registry() {
        if (handle_ != nullptr) {
            registry_->deregisterLibrary(handle_);
        }
    }
    Registry(const Registry&) = delete;

    IPluginCreatorV3One* find(const std::string& space, const std::string& name) const {
        if (registry_ != nullptr) {
            return static_cast<IPluginCreatorV3One*>(registry_->getCreator(name.c_str(), "1", space.c_str()));
        }
        for (std::int32_t i = 0; i < count_; ++i) {
            auto* creator = static_cast<IPluginCreatorV3One*>(creators_[i]);
            if (name == creator->getPluginName() && space == creator->getPluginNamespace()) {
                return creator;
            }
        }
        return nullptr;
    }

private:
    IPluginRegistry* registry_ = nullptr;
    IPluginRegistry::PluginLibraryHandle handle_ = nullptr;
    IPluginCreatorInterface* const* creators_ = nullptr;
    std::int32_t count_ = 0;
};

#if NV_TENSORRT_MAJOR * 100 + NV_TENSORRT_MINOR >= 1003
using Build = IPluginV3OneBuildV2;
std::int32_t aliased_input(Build& build, std::int32_t output) { return build.getAliasedInput(output); }
#else
using Build = IPluginV3OneBuild;
std::int32_t aliased_input(Build&, std::int32_t) { return -1; }
#endif

template <typename Interface>
Interface& interface_of(IPluginV3& plugin, PluginCapabilityType type, const char* kind) {
    auto* found = plugin.getCapabilityInterface(type);
    if (found == nullptr || std::string(found->getInterfaceInfo().kind) != kind) {
        throw std::runtime_error(std::string("no interface ") + kind);
    }
    return *static_cast<Interface*>(found);
}

class Case {
public:
    Case(const Registry& registry, const Json& json, Gpu* gpu) : json_(json), gpu_(gpu) {
        const std::string plugin = json["plugin"];
        const std::size_t colons = plugin.find("::");
        creator_ = registry.find(plugin.substr(0, colons), plugin.substr(colons + 2));
        if (creator_ == nullptr) {
            throw std::runtime_error("no creator " + plugin);
        }
    }

    Json run() {
        Json answer = {{"fields", Json::object()}};
        const auto* names = creator_->getFieldNames();
        for (std::int32_t i = 0; i < names->nbFields; ++i) {
            answer["fields"][names->fields[i].name] = static_cast<int>(names->fields[i].type);
        }
        const side::Fields fields(json_["fields"]);
        plugin_.reset(creator_->createPlugin("layer", fields.get(), TensorRTPhase::kBUILD));
        if (!plugin_) {
            return {{"refused", true}, {"fields", answer["fields"]}};
        }
        const auto& core = interface_of<IPluginV3OneCore>(*plugin_, PluginCapabilityType::kCORE, "PLUGIN_V3ONE_CORE");
        answer["name"] = std::string(core.getPluginNamespace()) + "::" + core.getPluginName();
        build_ = &interface_of<Build>(*plugin_, PluginCapabilityType::kBUILD, "PLUGIN_V3ONE_BUILD");
        inputs_ = static_cast<std::int32_t>(json_["inputs"].size());
        outputs_ = build_->getNbOutputs();
        ask_types_and_shapes(answer);
        ask_combinations(answer);
        answer["runs"] = Json::array();
        for (const Json& run : json_.value("runs", Json::array())) {
            answer["runs"].push_back(execute(run));
        }
        return answer;
    }

private:
    static Dims dims_of(const Json& extents) {
        Dims dims{};
        dims.nbDims = static_cast<std::int32_t>(extents.size());
        std::copy(extents.begin(), extents.end(), dims.d);
        return dims;
    }

    static void fill(DimsExprs& target, const Json& extents, std::size_t input, side::ExprBuilder& builder) {
        target.nbDims = static_cast<std::int32_t>(extents.size());
        for (std::size_t axis = 0; axis < extents.size(); ++axis) {
            const auto extent = extents[axis].get<std::int64_t>();
            target.d[axis] = extent != -1
                                 ? builder.constant(extent)
                                 : builder.symbol("input" + std::to_string(input) + "_" + std::to_string(axis));
        }
    }

    void ask_types_and_shapes(Json& answer) {
        std::vector<DataType> types, made(static_cast<std::size_t>(outputs_));
        shapes_.assign(made.size(), {});
        std::vector<DimsExprs> given(json_["inputs"].size());
        for (std::size_t i = 0; i < given.size(); ++i) {
            types.push_back(side::type_of(json_["inputs"][i]["dtype"]));
            fill(given[i], json_["inputs"][i]["dims"], i, builder_);
        }
        answer["types_result"] = build_->getOutputDataTypes(made.data(), outputs_, types.data(), inputs_);
        answer["shapes_result"] =
            build_->getOutputShapes(given.data(), inputs_, nullptr, 0, shapes_.data(), outputs_, builder_);
        for (std::size_t i = 0; i < made.size(); ++i) {
            answer["output_types"].push_back(side::type_names.at(static_cast<std::size_t>(made[i])));
            answer["aliased"].push_back(aliased_input(*build_, static_cast<std::int32_t>(i)));
            Json shape = Json::array();
            for (std::int32_t axis = 0; answer["shapes_result"] == 0 && axis < shapes_[i].nbDims; ++axis) {
                shape.push_back(static_cast<const side::Dim*>(shapes_[i].d[axis])->json());
            }
            answer["output_shapes"].push_back(shape);
        }
        answer["timing_cache_id"] = build_->getTimingCacheID();
        answer["metadata"] = build_->getMetadataString();
    }

    std::vector<DynamicPluginTensorDesc> descriptions() const {
        std::vector<DynamicPluginTensorDesc> found(static_cast<std::size_t>(inputs_ + outputs_));
        for (std::size_t i = 0; i < json_["inputs"].size(); ++i) {
            const Json& input = json_["inputs"][i];
            found[i].desc.dims = dims_of(input["dims"]);
            found[i].min = dims_of(input["min"]);
            found[i].opt = dims_of(input["opt"]);
            found[i].max = dims_of(input["max"]);
        }
        return found;
    }

    // As TensorRT searches: a position's types and formats are tried where those before it are fixed.
    void search(std::vector<DynamicPluginTensorDesc>& descs, std::size_t position, Json& combinations) {
        if (position == descs.size()) {
            combinations.push_back(ask_tactics(descs));
            return;
        }
        for (const Json& type : json_["types"]) {
            for (const Json& format : json_["formats"]) {
                descs[position].desc.type = side::type_of(type);
                descs[position].desc.format = static_cast<TensorFormat>(format.get<int>());
                if (build_->supportsFormatCombination(static_cast<std::int32_t>(position), descs.data(), inputs_,
                                                      outputs_)) {
                    search(descs, position + 1, combinations);
                }
            }
        }
    }

    Json ask_tactics(const std::vector<DynamicPluginTensorDesc>& descs) {
        Json answer = {{"types", Json::array()}, {"formats", Json::array()}};
        for (const auto& desc : descs) {
            answer["types"].push_back(side::type_names.at(static_cast<std::size_t>(desc.desc.type)));
            answer["formats"].push_back(static_cast<int>(desc.desc.format));
        }
        answer["configured"] =
            build_->configurePlugin(descs.data(), inputs_, &descs[static_cast<std::size_t>(inputs_)], outputs_);
        std::vector<std::int32_t> tactics(static_cast<std::size_t>(build_->getNbTactics()));
        answer["result"] = build_->getValidTactics(tactics.data(), static_cast<std::int32_t>(tactics.size()));
        answer["tactics"] = tactics;
        workspace_ =
            build_->getWorkspaceSize(descs.data(), inputs_, &descs[static_cast<std::size_t>(inputs_)], outputs_);
        answer["workspace"] = workspace_;
        return answer;
    }

    void ask_combinations(Json& answer) {
        auto descs = descriptions();
        answer["combinations"] = Json::array();
        search(descs, 0, answer["combinations"]);
    }

    // Chosen combination, serialized, created anew and attached, then run at concrete shapes.
    Json execute(const Json& run) {
        auto descs = descriptions();
        for (std::size_t i = 0; i < descs.size(); ++i) {
            descs[i].desc.type = side::type_of(run["types"][i]);
            descs[i].desc.format = TensorFormat::kLINEAR;
        }
        Json answer = ask_tactics(descs);
        if (answer["configured"] != 0) {
            return answer;
        }
        Json tactics = run.value("tactics", Json());
        if (tactics.is_null()) {
            tactics = answer["tactics"].empty() ? Json::array({0}) : answer["tactics"];
        }
        const auto concrete = at_shapes(descs, run["shapes"]);
        const auto others = run.contains("other_shapes") ? at_shapes(descs, run["other_shapes"]) : concrete;
        answer["runs"] = Json::array();
        for (const Json& tactic : tactics) {
            answer["runs"].push_back(execute(run, tactic.get<std::int32_t>(), concrete, others));
        }
        return answer;
    }

    std::vector<PluginTensorDesc> at_shapes(const std::vector<DynamicPluginTensorDesc>& descs,
                                            const Json& shapes) const {
        std::vector<PluginTensorDesc> concrete;
        std::map<std::string, std::int64_t> symbols;
        for (std::size_t i = 0; i < descs.size(); ++i) {
            PluginTensorDesc desc = descs[i].desc;
            if (i < json_["inputs"].size()) {
                desc.dims = dims_of(shapes[i]);
                for (std::int32_t axis = 0; axis < desc.dims.nbDims; ++axis) {
                    symbols["input" + std::to_string(i) + "_" + std::to_string(axis)] = desc.dims.d[axis];
                }
            } else {
                const DimsExprs& shape = shapes_[i - json_["inputs"].size()];
                desc.dims.nbDims = shape.nbDims;
                for (std::int32_t axis = 0; axis < shape.nbDims; ++axis) {
                    desc.dims.d[axis] = static_cast<const side::Dim*>(shape.d[axis])->evaluate(symbols);
                }
            }
            concrete.push_back(desc);
        }
        return concrete;
    }

    Json execute(const Json& run, std::int32_t tactic, const std::vector<PluginTensorDesc>& descs,
                 const std::vector<PluginTensorDesc>& others) {
        auto& built =
            interface_of<IPluginV3OneRuntime>(*plugin_, PluginCapabilityType::kRUNTIME, "PLUGIN_V3ONE_RUNTIME");
        built.setTactic(tactic);
        const auto* fields = built.getFieldsToSerialize();
        std::string carried;  // through a plan
        std::vector<PluginField> copies(fields->fields, fields->fields + fields->nbFields);
        for (PluginField& field : copies) {
            carried.assign(static_cast<const char*>(field.data), static_cast<std::size_t>(field.length));
            field.data = carried.data();
        }
        const PluginFieldCollection copy{fields->nbFields, copies.data()};
        const Create create = [&] {
            return std::unique_ptr<IPluginV3>(creator_->createPlugin("layer", &copy, TensorRTPhase::kRUNTIME));
        };
        const std::unique_ptr<IPluginV3> loaded = create();
        Json answer = {{"tactic", tactic}, {"serialized", carried.size()}, {"created", loaded != nullptr}};
        if (!loaded) {
            return answer;
        }
        auto& loaded_runtime =
            interface_of<IPluginV3OneRuntime>(*loaded, PluginCapabilityType::kRUNTIME, "PLUGIN_V3ONE_RUNTIME");
        loaded_runtime.setTactic(tactic);
        IPluginV3* attached = kept_.emplace_back(loaded_runtime.attachToContext(nullptr)).get();
        auto& runtime =
            interface_of<IPluginV3OneRuntime>(*attached, PluginCapabilityType::kRUNTIME, "PLUGIN_V3ONE_RUNTIME");
        runtime.setTactic(tactic);
        const auto* outputs = &descs[static_cast<std::size_t>(inputs_)];
        if (gpu_ == nullptr) {
            return answer;
        }
        answer["shape_change"] = runtime.onShapeChange(descs.data(), inputs_, outputs, outputs_);
        if (answer["shape_change"] == 0 && run.contains("inputs")) {
            std::vector<std::int32_t> aliased;
            for (std::int32_t i = 0; i < outputs_; ++i) {
                aliased.push_back(aliased_input(*build_, i));
            }
            const auto count = static_cast<std::size_t>(inputs_);
            Tensors tensors(*gpu_, descs, count, aliased, run["inputs"], workspace_);
            std::optional<Tensors> other;
            if (run.contains("other_inputs")) {
                other.emplace(*gpu_, others, count, aliased, run["other_inputs"], workspace_);
            }
            Tensors* second = other ? &*other : nullptr;
            answer.update(run_on_gpu(*gpu_, loaded_runtime, runtime, tactic, tensors, second, run, carried, create));
        }
        return answer;
    }

    const Json& json_;
    Gpu* gpu_;
    IPluginCreatorV3One* creator_ = nullptr;
    std::unique_ptr<IPluginV3> plugin_;
    Build* build_ = nullptr;
    std::int32_t inputs_ = 0, outputs_ = 0;
    std::size_t workspace_ = 0;                     // as last configured
    std::vector<std::unique_ptr<IPluginV3>> kept_;  // so that kernels stay loaded for the next run
    side::ExprBuilder builder_;
    std::vector<DimsExprs> shapes_;
};

}  // namespace

int main(int argc, char** argv) {
    try {
        std::ifstream file(argc == 2 ? argv[1] : "");
        std::stringstream text;
        text << file.rdbuf();
        const Json document = Json::parse(text.str());
        const auto gpu = Gpu::open();
        Gpu::guard = document.value("tight", false) ? 0 : Gpu::guard;
        const Registry registry(document["library"].get<std::string>(), document["registry"]);
        Json answers = Json::array();
        for (const Json& item : document["cases"]) {
            answers.push_back(Case(registry, item, gpu.get()).run());
        }
        const int left = loaded_modules();  // all plugins are gone
        std::cout
            << Json{{"left_modules", left}, {"gpu", gpu ? Json(gpu->session.name) : Json()}, {"cases", answers}}.dump()
            << std::endl;
        return 0;
    } catch (const std::exception& error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
}
