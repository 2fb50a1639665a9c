// SPDX-License-Identifier: Apache-2.0
// aotfactory-runner: runs a plan with TensorRT's runtime, full or lean, without Python.
#include "common/error.h"
#include "common/file.h"
#include "common/inputs.h"
#include "common/limits.h"
#include "common/program.h"
#include "common/random.h"
#include "common/report.h"
#include "common/sha256.h"
#include "cuda/run_options.h"
#include "runner/plan.h"
#include "runner/run.h"

namespace {

using namespace aot;

constexpr const char* schema = "aotfactory.run/1";

struct Options : RunOptions {
    std::string plan, library;
    std::vector<std::string> in_place, plugins;
    bool lean = false, host_code = false;
};

std::optional<Options> parse_options(int argc, char** argv) {
    Options options;
    CLI::App app(
        "Runs a plan with TensorRT's runtime and prints one JSON object (aotfactory.run/1).\n"
        "Exit codes: 0 done, 1 a check failed or TensorRT refused the plan, 2 usage, 3 something is missing here.");
    app.add_option("plan", options.plan, "the plan")->required();
    app.add_flag("--lean", options.lean, "take the lean runtime, libnvinfer_lean: for version-compatible plans");
    app.add_option("--library", options.library, "path of TensorRT's library");
    app.add_flag("--host-code", options.host_code,
                 "allow the plan to bring its own lean runtime, which is machine code");
    app.add_option("--plugin-library", options.plugins, "path of a plugin library that the plan takes")
        ->allow_extra_args(false);
    app.add_option("--in-place", options.in_place, "NAME: an input that the plan may change")->allow_extra_args(false);
    add_run_options(app, options, "inferences");
    app.set_version_flag("--version", std::string("aotfactory-runner " AOT_VERSION));
    return parse(app, argc, argv, options) ? std::optional(std::move(options)) : std::nullopt;
}

// Each input's bytes, from its file or random; describes them in the report.
std::map<std::string, Bytes> make_inputs(const Plan& plan, const Options& options, const Inputs& given, Json& report) {
    std::map<std::string, Bytes> inputs;
    std::vector<Shape> shapes;
    for (const auto& tensor : plan.tensors()) {
        shapes.push_back(tensor.shape);
    }
    const std::uint64_t indices = index_bound(shapes);
    for (const auto& tensor : plan.tensors()) {
        if (!tensor.input) {
            continue;
        }
        const std::size_t number = inputs.size();
        Bytes& data = inputs[tensor.name] =
            given.data(tensor.name, tensor.dtype, tensor.shape, options.seed, number, indices);
        Json description = given.describe(tensor.name);
        if (options.save_inputs) {
            description.update(write_tensor(options.output_dir, tensor.name, tensor.dtype, tensor.shape, data));
        }
        report["inputs"].push_back(description);
    }
    return inputs;
}

Json tensors_json(const Plan& plan) {
    Json result = Json::array();
    for (const auto& tensor : plan.tensors()) {
        result.push_back({{"name", tensor.name},
                          {"role", tensor.input ? "input" : "output"},
                          {"dtype", info(tensor.dtype).name},
                          {"shape", tensor.shape},
                          {"aliases", tensor.aliases.empty() ? Json() : Json(tensor.aliases)}});
    }
    return result;
}

Exit run(const Options& options) {
    const std::string data = RegularFile(options.plan, Exit::usage).text(limits::plan_bytes);
    Json report = {{"schema", schema},
                   {"plan", {{"path", options.plan}, {"sha256", sha256_hex(data)}, {"bytes", data.size()}}},
                   {"inputs", Json::array()},
                   {"outputs", Json::array()}};
    const cuda::Api api;
    const cuda::Session session(api, options.device);
    report["device"] = {
        {"index", session.ordinal}, {"name", session.name}, {"arch", session.arch}, {"driver", session.driver}};
    Plan plan(data, options.library, options.lean, options.host_code, options.plugins);
    report["runtime"] = {{"library", plan.library()}, {"version", plan.version()}};
    const Inputs inputs(options.inputs, options.shapes, plan.input_names());
    plan.set_shapes(inputs.shapes(), options.point);
    report["tensors"] = tensors_json(plan);
    PlanRun runs(session, plan, make_inputs(plan, options, inputs, report),
                 {options.in_place.begin(), options.in_place.end()}, options.tight);
    std::vector<Check> checks;
    runs.check(checks);
    report["checks"] = checks_json(checks);
    print_failures(checks);
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

}  // namespace

int main(int argc, char** argv) {
    return run_program(schema, [&] {
        const auto options = parse_options(argc, argv);
        return options ? run(*options) : Exit::done;
    });
}
