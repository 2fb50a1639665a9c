// SPDX-License-Identifier: Apache-2.0
// Loads damaged bundles and .npy headers in this process and evaluates what is accepted, as --dry-run does. Anything
// but an accepted file or an aot::Error ends the program: build it with sanitizers.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>

#include "bundle/bundle.h"
#include "bundle/dimensions.h"
#include "bundle/evaluate.h"
#include "common/error.h"
#include "common/npy.h"
#include "common/sha256.h"
#include "mutate.h"

namespace {

using namespace aot;
using fuzz::below;
using fuzz::Random;

struct Files {
    Json manifest;
    std::map<std::string, std::string> ptx;
};

// Two calls with a dynamic dimension, an aliased and a data-dependent output, two architectures and two tactics.
Files sample() {
    const std::string text =
        ".version 8.0\n.target sm_80\n.address_size 64\n// a kernel\n.visible .entry k(\n"
        "  .param .u64 .ptr .global .align 16 a, .param .u32 n, /* , */ .param .u64 b)\n{ ret; }\n"
        ".visible .entry two(.param .u64 a, .param .u64 b, .param .u64 c)\n{ ret; }\n";
    Files files;
    files.ptx["k.ptx"] = text;
    Json& manifest = files.manifest;
    manifest = Json::parse(R"({
      "schema": "aotfactory.bundle/1", "name": "sample", "target": "sample", "versions": {"triton": "3.9.0"},
      "symbols": {"N": {"min": 0, "opt": 2, "max": 8}, "M": {"min": 1, "opt": 64, "max": 70000},
                  "K": {"min": 0, "opt": 3, "max": 9}},
      "tensors": [
        {"name": "x", "role": "input", "dtype": "fp32", "shape": ["N", 3, "M"]},
        {"name": "w", "role": "input", "dtype": "int8", "shape": [["sum", ["prod", 2, "K"], ["sub", 5, "N"]], ["max", "K", 1]]},
        {"name": "t", "role": "internal", "dtype": "fp32", "shape": ["N", 3, "M"], "aliases": "x"},
        {"name": "y", "role": "output", "dtype": "bf16", "aliases": null,
         "shape": [["size_tensor", 1, ["floor_div", "N", 2], ["prod", "N", ["max", "M", 4]]], 2]},
        {"name": "s", "role": "output", "dtype": "int32", "shape": [], "aliases": null}],
      "calls": [
        {"name": "first", "plugin": "a::b", "attributes": {}, "inputs": ["x"], "outputs": ["t"]},
        {"name": "second", "plugin": "a::c", "attributes": {}, "inputs": ["t"], "outputs": ["y", "s"]}],
      "variants": []})");
    const Json launch = Json::parse(R"({"grid_x": ["ceil_div", ["prod", "N", ["sum", "M", 2]], 256], "grid_y": 1,
      "grid_z": 1, "block_x": 128, "block_y": 1, "block_z": 1, "shared_mem": ["min", 1024, ["prod", "N", 4]]})");
    for (const char* arch : {"sm_90", "portable"}) {
        for (int tactic = 1; tactic <= 2; ++tactic) {
            const std::string id = std::string(arch) + std::to_string(tactic);
            manifest["variants"].push_back({{"id", "first." + id},
                                            {"call", "first"},
                                            {"plugin", "a::b"},
                                            {"arch", arch},
                                            {"dtypes", {"fp32", "fp32"}},
                                            {"formats", {"linear", "linear"}},
                                            {"tactic", tactic},
                                            {"kernel", "k"},
                                            {"ptx", "k.ptx"},
                                            {"ptx_bytes", text.size()},
                                            {"sha256", sha256_hex(text)},
                                            {"ptx_isa", "8.0"},
                                            {"ptx_target", "sm_80"},
                                            {"parameters", {"ptr", "i32", "ptr"}},
                                            {"launch", launch},
                                            {"extra_args", Json::array({Json::array({"prod", "N", "M"})})},
                                            {"registers", 8},
                                            {"spills", 0}});
        }
    }
    Json second = manifest["variants"][2];
    second["id"] = "second.portable";
    second["call"] = "second";
    second["dtypes"] = {"fp32", "bf16", "int32"};
    second["formats"] = {"linear", "linear", "linear"};
    second["tactic"] = 0;
    second["kernel"] = "two";
    second["parameters"] = {"ptr", "ptr", "ptr"};
    second["extra_args"] = Json::array();
    manifest["variants"].push_back(second);
    return files;
}

Files read_files(const std::string& directory) {
    const auto read = [&](const std::string& name) {
        std::ifstream file(directory + "/" + name, std::ios::binary);
        return std::string(std::istreambuf_iterator<char>(file), {});
    };
    Files files;
    files.manifest = Json::parse(read("manifest.json"));
    for (const Json& variant : files.manifest.at("variants")) {
        files.ptx[variant.at("ptx")] = read(variant.at("ptx"));
    }
    return files;
}

void evaluate_all(const Bundle& bundle, Random& random) {
    const Manifest& manifest = bundle.manifest;
    std::map<std::string, Shape> shapes;
    for (const Tensor& tensor : manifest.tensors) {
        if (tensor.role == Role::input && below(random, 4) == 0) {
            for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
                shapes[tensor.name].push_back(static_cast<std::int64_t>(random() >> (33 + below(random, 31))));
            }
        }
    }
    for (const ProfilePoint point : {ProfilePoint::min, ProfilePoint::opt, ProfilePoint::max}) {
        const auto symbols = bind_symbols(manifest, shapes, point, below(random, 2) == 0);
        evaluate_shapes(manifest, symbols);
        for (const std::string& arch : architectures(manifest)) {
            for (const std::int64_t tactic : tactics(manifest, arch)) {
                for (const Variant* variant : select_variants(manifest, arch, tactic)) {
                    evaluate_launch(*variant, symbols);
                }
            }
        }
    }
}

// A damaged copy of `files`, loaded and evaluated.
void bundle_case(Files files, Random& random) {
    const std::size_t kind = below(random, 10);
    auto ptx = std::next(files.ptx.begin(), static_cast<std::ptrdiff_t>(below(random, files.ptx.size())));
    for (std::size_t i = kind < 7 ? 1 + below(random, 4) : 0; i > 0; --i) {
        fuzz::mutate_structure(files.manifest, random);
    }
    if (kind == 7) {
        fuzz::mutate_bytes(ptx->second, random);
        if (below(random, 4) != 0 && ptx->second.size() > 1) {  // so that the damage gets past the digest
            for (Json& variant : files.manifest["variants"]) {
                if (variant["ptx"] == ptx->first) {
                    variant["sha256"] = sha256_hex(ptx->second);
                    variant["ptx_bytes"] = ptx->second.size();
                }
            }
        }
    }
    std::string manifest = files.manifest.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (kind >= 8) {
        fuzz::mutate_bytes(manifest, random);
    }
    const Bundle bundle = load_bundle([&](const std::string& name, std::size_t limit) {
        const auto found = files.ptx.find(name);
        const std::string& content = name == "manifest.json"    ? manifest
                                     : found == files.ptx.end() ? std::string()
                                                                : found->second;
        if ((name != "manifest.json" && found == files.ptx.end()) || content.size() > limit) {
            throw Error(Exit::damaged, name + ": missing or too large");
        }
        return content;
    });
    evaluate_all(bundle, random);
}

void npy_case(Random& random) {
    std::string file(
        "\x93NUMPY\x01\x00\x46\x00{'descr': '<f4', 'fortran_order': False, 'shape': (3, 1, 32), }        \n", 80);
    fuzz::mutate_bytes(file, random);
    parse_npy_header(file, "x.npy");
}

}  // namespace

int main(int argc, char** argv) {
    std::uint64_t cases = 10000, seed = 0, accepted = 0, rejected = 0;
    std::vector<std::string> bundles;
    bool messages = false;
    CLI::App app("Fuzzes the launcher's bundle reader.");
    app.add_option("--cases", cases, "how many files to try");
    app.add_option("--seed", seed, "of the first case; the next ones follow");
    app.add_flag("--messages", messages, "print every rejection");
    app.add_option("bundle", bundles, "bundles to damage besides the built-in one");
    CLI11_PARSE(app, argc, argv);
    std::vector<Files> originals = {sample()};
    for (const std::string& directory : bundles) {
        originals.push_back(read_files(directory));
    }
    for (std::uint64_t i = 0; i < cases; ++i) {
        Random random(seed + i);
        try {
            if (below(random, 20) == 0) {
                npy_case(random);
            } else {
                bundle_case(originals[below(random, originals.size())], random);
            }
            ++accepted;
        } catch (const Error& error) {
            ++rejected;
            if (messages) {
                std::cout << "rejected " << seed + i << ": " << error.what() << '\n';
            }
        } catch (const std::exception& error) {
            std::cerr << "seed " << seed + i << ": uncaught " << error.what() << std::endl;
            std::abort();
        }
    }
    std::cout << Json{{"cases", cases}, {"rejected", rejected}, {"accepted", accepted}} << std::endl;
    return 0;
}
