// SPDX-License-Identifier: Apache-2.0
#include "common/report.h"

#include <cctype>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <set>

#include "common/error.h"

namespace aot {

Json checks_json(const std::vector<Check>& checks) {
    Json result = Json::array();
    for (const Check& check : checks) {
        result.push_back(
            {{"name", check.name}, {"subject", check.subject}, {"status", check.status}, {"detail", check.detail}});
    }
    return result;
}

void print_failures(const std::vector<Check>& checks) {
    for (const Check& check : checks) {
        if (check.status == "failed") {
            std::cerr << "failed: " << check.name << " of " << quote(check.subject) << ": " << check.detail << '\n';
        }
    }
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
        const bool plain = byte < 0x80 && (std::isalnum(byte) != 0 || letter == '_' || letter == '-' ||
                                           (letter == '.' && !result.empty()));
        if (plain) {
            result += letter;
        } else {
            constexpr char digits[] = "0123456789ABCDEF";
            result += {'%', digits[byte >> 4], digits[byte & 15]};
        }
    }
    return result + ".npy";
}

Json write_tensor(const std::string& directory, const std::string& name, DType dtype, const Shape& shape,
                  const Bytes& data) {
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (error) {
        throw Error(Exit::missing, directory + ": can't be made: " + error.message());
    }
    const std::string file = (std::filesystem::path(directory) / file_name(name)).string();
    write_npy(file, dtype, shape, data.data());
    return {{"name", name}, {"dtype", info(dtype).name}, {"shape", shape}, {"file", file}};
}

}  // namespace aot
