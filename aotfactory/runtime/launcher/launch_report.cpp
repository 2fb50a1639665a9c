// SPDX-License-Identifier: Apache-2.0
#include "launcher/launch_report.h"

namespace aot {

Json launch_json(const Call& call, const Launch& launch) {
    const Variant& variant = *launch.variant;
    Json extra_args = Json::array();
    for (const Scalar& argument : launch.extra_args) {
        extra_args.push_back(argument.json());
    }
    return {{"call", call.name},         {"plugin", call.plugin},
            {"variant", variant.id},     {"arch", variant.arch},
            {"tactic", variant.tactic},  {"kernel", launch.kernel->kernel},
            {"ptx", launch.kernel->ptx}, {"grid", launch.grid},
            {"block", launch.block},     {"shared_mem", launch.shared_mem},
            {"extra_args", extra_args},  {"skipped", launch.empty}};
}

Json tensors_json(const Manifest& manifest, const std::vector<TensorShape>& shapes) {
    static constexpr const char* roles[] = {"input", "output", "internal"};
    Json result = Json::array();
    for (std::size_t i = 0; i < shapes.size(); ++i) {
        const Tensor& tensor = manifest.tensors[i];
        result.push_back({{"name", tensor.name},
                          {"role", roles[static_cast<std::size_t>(tensor.role)]},
                          {"dtype", info(tensor.dtype).name},
                          {"shape", shapes[i].dims},
                          {"bytes", shapes[i].bytes},
                          {"data_dependent", tensor.data_dependent()},
                          {"aliases", tensor.aliases ? Json(manifest.tensors[*tensor.aliases].name) : Json()}});
    }
    return result;
}

}  // namespace aot
