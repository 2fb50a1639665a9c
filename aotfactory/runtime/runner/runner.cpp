// SPDX-License-Identifier: Apache-2.0
// aotfactory-runner: runs a plan with TensorRT's runtime, full or lean, without Python.
#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <iterator>
#include <new>

#include "common/arguments.h"
#include "common/error.h"
#include "common/npy.h"
#include "common/random.h"
#include "common/report.h"
#include "common/sha256.h"
#include "cuda/device_time.h"
#include "runner/plan.h"
#include "runner/run.h"

namespace {

using namespace aot;

struct Options {
    std::string plan, library, output_dir;
    std::vector<std::string> inputs, shapes, in_place;
    ProfileEnd end = ProfileEnd::opt;
    std::uint64_t seed = 0;
    int device = 0;
    bool lean = false, host_code = false, tight = false, timing = false, save_inputs = false;
    TimingOptions timing_options;
};

void print(const Json& json) { std::cout << json.dump(2, ' ', false, Json::error_handler_t::replace) << std::endl; }

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string data{std::istreambuf_iterator<char>(file), {}};
    if (!file.good() && !file.eof()) {
        throw Error(Exit::usage, "cannot read " + path);
    }
    return data;
}

// Each input's bytes, from its file or random; describes them in the report.
std::map<std::string, Bytes> make_inputs(const Plan& plan, const Options& options,
                                         const std::map<std::string, std::string>& files, Json& report) {
    std::map<std::string, Bytes> inputs;
    for (const auto& tensor : plan.tensors()) {
        if (!tensor.input) {
            continue;
        }
        const auto file = files.find(tensor.name);
        Bytes& data = inputs[tensor.name];
        if (file != files.end()) {
            data = read_npy(file->second, tensor.dtype);
        } else {
            data.resize(static_cast<std::size_t>(tensor.bytes()));
            fill_random(tensor.dtype, options.seed, inputs.size() - 1, data.data(),
                        data.size() / info(tensor.dtype).bytes);
        }
        if (data.size() != tensor.bytes()) {
            throw Error(Exit::usage, quote(tensor.name) + " has " + std::to_string(data.size()) +
                                         " bytes of data for a shape of " + std::to_string(tensor.bytes()));
        }
        Json description = {{"name", tensor.name}, {"source", file == files.end() ? "random" : file->second}};
        if (options.save_inputs) {
            description.update(write_tensor(options.output_dir, tensor.name, tensor.dtype, tensor.shape, data));
        }
        report["inputs"].push_back(description);
    }
    return inputs;
}

Exit run(const Options& options) {
    const std::string data = read_file(options.plan);
    Json report = {{"schema", "aotfactory.run/1"},
                   {"plan", {{"path", options.plan}, {"sha256", sha256_hex(data)}, {"bytes", data.size()}}},
                   {"inputs", Json::array()},
                   {"outputs", Json::array()},
                   {"tensors", Json::array()}};
    const cuda::Api api;
    const cuda::Session session(api, options.device);
    report["device"] = {
        {"index", session.ordinal}, {"name", session.name}, {"arch", session.arch}, {"driver", session.driver}};
    Plan plan(data, options.library, options.lean, options.host_code);
    report["runtime"] = {{"library", plan.library()}, {"version", plan.version()}};
    std::vector<std::string> names;
    for (const auto& tensor : plan.tensors()) {
        if (tensor.input) {
            names.push_back(tensor.name);
        }
    }
    const auto inputs = parse_inputs(options.inputs, options.shapes, names);
    auto shapes = inputs.shapes;
    for (const auto& [name, path] : inputs.files) {
        shapes[name] = read_npy_header(path).shape;
    }
    plan.set_shapes(shapes, options.end);
    for (const auto& tensor : plan.tensors()) {
        report["tensors"].push_back({{"name", tensor.name},
                                     {"role", tensor.input ? "input" : "output"},
                                     {"dtype", info(tensor.dtype).name},
                                     {"shape", tensor.shape},
                                     {"aliases", tensor.aliases.empty() ? Json() : Json(tensor.aliases)}});
    }
    PlanRun runs(session, plan, make_inputs(plan, options, inputs.files, report),
                 {options.in_place.begin(), options.in_place.end()}, options.tight ? 0 : guard_bytes);
    const auto checks = runs.check();
    report["checks"] = checks_json(checks);
    for (const auto& output : runs.outputs()) {
        report["outputs"].push_back(
            options.output_dir.empty()
                ? Json{{"name", output.name}, {"dtype", info(output.dtype).name}, {"shape", output.shape}}
                : write_tensor(options.output_dir, output.name, output.dtype, output.shape, output.data));
    }
    const bool passed = all_passed(checks);
    if (options.timing && passed) {
        auto timing = options.timing_options;
        timing.graph = timing.graph && !runs.data_dependent();  // there TensorRT waits for the size in every run
        report["timing"] = device_json(time_passes(session, timing, [&](std::size_t) { runs.enqueue(); }),
                                       static_cast<double>(runs.bytes()));
    }
    report["libraries"] = mapped_libraries();
    report["status"] = passed ? "passed" : "failed";
    print(report);
    return passed ? Exit::done : Exit::check;
}

int fail(Exit exit, const std::string& message) {
    std::cerr << "error: " << message << std::endl;
    print({{"schema", "aotfactory.run/1"},
           {"status", "error"},
           {"error", message},
           {"exit_code", static_cast<int>(exit)},
           {"libraries", mapped_libraries()}});
    return static_cast<int>(exit);
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app(
        "Runs a plan with TensorRT's runtime and prints one JSON object (aotfactory.run/1).\n"
        "Exit codes: 0 done, 1 a check failed or TensorRT refused the plan, 2 usage, 3 something is missing here.");
    app.add_option("plan", options.plan, "the plan")->required()->check(CLI::ExistingFile);
    app.add_flag("--lean", options.lean, "take the lean runtime, libnvinfer_lean: for version-compatible plans");
    app.add_option("--library", options.library, "path of TensorRT's library");
    app.add_flag("--host-code", options.host_code,
                 "allow the plan to bring its own lean runtime, which is machine code");
    app.add_option("--input", options.inputs, "NAME=FILE.npy: an input's data; seeded random data otherwise")
        ->allow_extra_args(false);
    app.add_option("--shape", options.shapes, "NAME=1x3x32x32: an input's shape; the profile's otherwise")
        ->allow_extra_args(false);
    app.add_option("--in-place", options.in_place, "NAME: an input that the plan may change")->allow_extra_args(false);
    const std::map<std::string, ProfileEnd> ends = {
        {"min", ProfileEnd::min}, {"opt", ProfileEnd::opt}, {"max", ProfileEnd::max}};
    app.add_option("--at", options.end, "which of the profile's shapes")->transform(CLI::CheckedTransformer(ends));
    app.add_option("--seed", options.seed, "of the random data");
    app.add_option("--device", options.device, "which GPU");
    app.add_option("--output-dir", options.output_dir, "write the outputs there as NAME.npy");
    app.add_flag("--save-inputs", options.save_inputs, "write the inputs there too");
    app.add_flag("--tight", options.tight, "no guard bands, no poison: for compute-sanitizer");
    app.add_flag("--timing", options.timing, "time it");
    auto& timing = options.timing_options;
    app.add_option("--warmup", timing.warmup, "inferences before the first sample")->check(CLI::Range(0, 1000000));
    app.add_option("--iterations", timing.iterations, "samples")->check(CLI::Range(1, 1000000));
    app.add_option("--repeat", timing.repeat, "inferences in a sample")->check(CLI::Range(1, 1000000));
    app.add_flag("--graph", timing.graph, "also a CUDA graph");
    app.set_version_flag("--version", AOT_VERSION);
    try {
        app.parse(argc, argv);
        if (options.save_inputs && options.output_dir.empty()) {
            return fail(Exit::usage, "--save-inputs needs --output-dir");
        }
        return static_cast<int>(run(options));
    } catch (const CLI::ParseError& error) {
        return error.get_exit_code() == 0 ? app.exit(error) : fail(Exit::usage, error.what());
    } catch (const Error& error) {
        return fail(error.exit(), error.what());
    } catch (const std::bad_alloc&) {
        return fail(Exit::missing, "not enough memory on this machine for tensors of this size");
    } catch (const std::exception& error) {
        return fail(Exit::definition, error.what());
    }
}
