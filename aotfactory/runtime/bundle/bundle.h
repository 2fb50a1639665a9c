// SPDX-License-Identifier: Apache-2.0
// A bundle on disk, read and verified.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>

#include "bundle/manifest.h"

namespace aot {

struct Bundle {
    Manifest manifest;
    std::map<std::string, std::string> ptx;  // file name -> text whose size and SHA-256 are the manifest's
};

// Gives the bytes of a file of the bundle, or throws if it is missing or larger than the limit.
using FileReader = std::function<std::string(const std::string& name, std::size_t limit)>;

// Throws Error(definition) for anything that is missing, damaged or inconsistent.
Bundle load_bundle(const FileReader& read);

// The same for a directory. Files are opened relative to it, by plain names; where one is a link, what it leads to
// counts.
Bundle load_bundle(const std::string& directory);

}  // namespace aot
