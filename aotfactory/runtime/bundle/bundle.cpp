// SPDX-License-Identifier: Apache-2.0
#include "bundle/bundle.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>

#include "bundle/ptx.h"
#include "common/file.h"
#include "common/limits.h"
#include "common/sha256.h"

namespace aot {

namespace {

// A kernel's PTX, which another may have read already; `total` counts the bytes of all.
void load_kernel(const FileReader& read, const LaunchedKernel& kernel, const std::vector<std::string>& expected,
                 Bundle& bundle, std::size_t& total) {
    auto found = bundle.ptx.find(kernel.ptx);
    if (found == bundle.ptx.end()) {
        found = bundle.ptx.emplace(kernel.ptx, read(kernel.ptx, limits::ptx_bytes)).first;
        total += found->second.size();
        if (total > limits::total_ptx_bytes) {
            throw Error(Exit::damaged, "more than " + std::to_string(limits::total_ptx_bytes) + " bytes of PTX");
        }
        if (found->second.find('\0') != std::string::npos) {  // the driver takes a zero-terminated text
            throw Error(Exit::damaged, kernel.ptx + ": holds a zero byte, so it is not PTX");
        }
        if (sha256_hex(found->second) != kernel.sha256) {
            throw Error(Exit::damaged, kernel.ptx + ": its SHA-256 is not the manifest's: damaged or changed");
        }
    } else if (sha256_hex(found->second) != kernel.sha256) {
        throw Error(Exit::damaged, kernel.ptx + ": two variants give it different SHA-256");
    }
    if (found->second.size() != kernel.ptx_bytes) {
        throw Error(Exit::damaged, kernel.ptx + ": has " + std::to_string(found->second.size()) +
                                       " bytes, the manifest says " + std::to_string(kernel.ptx_bytes));
    }
    const auto parameters = ptx_parameters(found->second, kernel.kernel);
    if (!parameters || !takes(*parameters, expected)) {
        const std::string entry = kernel.ptx + ": entry " + quote(kernel.kernel);
        throw Error(Exit::damaged,
                    parameters ? entry + " takes " + describe(*parameters) + ", the call passes " + describe(expected)
                               : entry + " is not in it");
    }
}

}  // namespace

Bundle load_bundle(const FileReader& read) {
    Bundle bundle;
    bundle.manifest = parse_manifest(read("manifest.json", limits::manifest_bytes));
    std::size_t total = 0;
    for (const Variant& variant : bundle.manifest.variants) {
        for (const LaunchedKernel* kernel : variant.kernels()) {
            load_kernel(read, *kernel, expected_parameters(bundle.manifest, variant, *kernel), bundle, total);
        }
    }
    return bundle;
}

Bundle load_bundle(const std::string& directory) {
    const FileDescriptor opened(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (opened.value() < 0) {
        const std::string reason = std::strerror(errno);
        throw Error(Exit::usage, quote(directory) + " is not a bundle: " + reason);
    }
    return load_bundle([&](const std::string& name, std::size_t limit) {
        return RegularFile(name, Exit::damaged, opened.value()).text(limit);
    });
}

}  // namespace aot
