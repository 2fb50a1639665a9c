// SPDX-License-Identifier: Apache-2.0
#include "report.h"

#include <cctype>
#include <filesystem>
#include <fstream>
#include <set>

#include "npy.h"

namespace aot {

Json launch_json(const Call& call, const Launch& launch) {
    const Variant& variant = *launch.variant;
    return {{"call", call.name},        {"plugin", call.plugin},          {"variant", variant.id},
            {"arch", variant.arch},     {"tactic", variant.tactic},       {"kernel", variant.kernel},
            {"ptx", variant.ptx},       {"grid", launch.grid},            {"block", launch.block},
            {"shared_mem", launch.shared_mem}, {"extra_args", launch.extra_args}, {"skipped", launch.empty}};
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

Json checks_json(const std::vector<Check>& checks) {
    Json result = Json::array();
    for (const Check& check : checks) {
        result.push_back({{"name", check.name}, {"subject", check.subject}, {"status", check.status}, {"detail", check.detail}});
    }
    return result;
}

std::vector<std::string> mapped_libraries() {
    std::set<std::string> names;
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
        const std::size_t slash = line.rfind('/');
        if (slash != std::string::npos && line.find(".so", slash) != std::string::npos) {
            names.insert(line.substr(slash + 1));
        }
    }
    return {names.begin(), names.end()};
}

std::string file_name(const std::string& tensor_name) {
    std::string result;
    for (const char letter : tensor_name) {
        const auto byte = static_cast<unsigned char>(letter);
        const bool plain = byte < 0x80 && (std::isalnum(byte) != 0 || letter == '_' || letter == '-' || (letter == '.' && !result.empty()));
        if (plain) {
            result += letter;
        } else {
            constexpr char digits[] = "0123456789ABCDEF";
            result += {'%', digits[byte >> 4], digits[byte & 15]};
        }
    }
    return result + ".npy";
}

Json write_tensor(const std::string& directory, const Tensor& tensor, const Shape& dims, const Bytes& data) {
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (error) {
        throw Error(Exit::missing, directory + ": can't be made: " + error.message());
    }
    const std::string file = (std::filesystem::path(directory) / file_name(tensor.name)).string();
    write_npy(file, tensor.dtype, dims, data.data());
    return {{"name", tensor.name}, {"dtype", info(tensor.dtype).name}, {"shape", dims}, {"file", file}};
}

}  // namespace aot
