// SPDX-License-Identifier: Apache-2.0
// aotfactory-launcher: runs a bundle with the CUDA driver alone, without Python or TensorRT.
#include <iostream>
#include <set>

#include "bundle/bundle.h"
#include "bundle/dimensions.h"
#include "common/error.h"
#include "common/inputs.h"
#include "common/program.h"
#include "common/random.h"
#include "common/report.h"
#include "launcher/execute.h"
#include "launcher/launch_report.h"
#include "launcher/options.h"
#include "launcher/timing.h"

namespace {

using namespace aot;

constexpr const char* schema = "aotfactory.launch/1";

struct Job {
    Options options;
    Inputs inputs;
    Bundle bundle;
    std::vector<std::int64_t> symbols;
    std::vector<TensorShape> shapes;
    Json report;
};

Job load(Options options) {
    Bundle bundle = load_bundle(options.bundle);
    Inputs inputs(options.inputs, options.shapes, bundle.manifest.input_names());
    Job job{std::move(options), std::move(inputs), std::move(bundle), {}, {}, {}};
    const Manifest& manifest = job.bundle.manifest;
    job.symbols = bind_symbols(manifest, job.inputs.shapes(), job.options.point, job.options.unchecked_profile);
    job.shapes = evaluate_shapes(manifest, job.symbols);
    Json symbols = Json::object();
    for (std::size_t i = 0; i < job.symbols.size(); ++i) {
        symbols[manifest.symbols[i].name] = job.symbols[i];
    }
    job.report = {{"schema", schema},
                  {"bundle", {{"path", job.options.bundle}, {"name", manifest.name}, {"target", manifest.target}}},
                  {"dry_run", job.options.dry_run},
                  {"tight", job.options.tight},
                  {"seed", job.options.seed},
                  {"symbols", symbols},
                  {"tensors", tensors_json(manifest, job.shapes)},
                  {"device", nullptr},
                  {"inputs", Json::array()},
                  {"runs", Json::array()}};
    return job;
}

// Each input's bytes; random ones only `with_data`.
std::map<std::size_t, Bytes> make_inputs(Job& job, bool with_data) {
    std::map<std::size_t, Bytes> inputs;
    std::vector<Shape> shapes;
    for (const auto& known : job.shapes) {
        shapes.push_back(known.dims);
    }
    const std::uint64_t indices = index_bound(shapes);
    for (std::size_t i = 0, number = 0; i < job.shapes.size(); ++i) {
        const Tensor& tensor = job.bundle.manifest.tensors[i];
        if (tensor.role != Role::input) {
            continue;
        }
        const Shape& shape = job.shapes[i].dims;
        if (with_data || !job.inputs.random(tensor.name)) {
            inputs[i] = job.inputs.data(tensor.name, tensor.dtype, shape, job.options.seed, number, indices);
        }
        ++number;
        Json description = job.inputs.describe(tensor.name);
        if (job.options.save_inputs) {
            description.update(write_tensor(job.options.output_dir, tensor.name, tensor.dtype, shape, inputs[i]));
        }
        job.report["inputs"].push_back(description);
    }
    return inputs;
}

// Adds one entry to "runs" for every tactic asked for; false if a check failed. Without an executor nothing is run.
bool run_tactics(Job& job, const std::string& arch, Executor* executor) {
    const Manifest& manifest = job.bundle.manifest;
    std::vector<std::optional<std::int64_t>> wanted = {job.options.tactic};
    if (job.options.all_tactics) {
        const auto found = tactics(manifest, arch);
        wanted.assign(found.begin(), found.end());
    }
    bool passed = true;
    std::set<std::string> taken;  // other architectures
    for (const auto tactic : wanted) {
        const auto variants = select_variants(manifest, arch, tactic);
        Json run = {{"tactic", tactic ? Json(*tactic) : Json(variants.front()->tactic)}, {"launches", Json::array()}};
        for (const Variant* variant : variants) {
            if (variant->arch != arch && taken.insert(variant->arch).second) {
                std::cerr << "note: the bundle has nothing of its own for " << arch << ": its " << variant->arch
                          << " kernels (PTX of " << variant->ptx_target << ") run there too\n";
            }
            const auto workspaces = evaluate_workspaces(*variant, job.symbols);
            for (const Launch& launch : evaluate_launches(*variant, job.symbols)) {
                Json description = launch_json(manifest.calls[variant->call], launch);
                if (!workspaces.empty()) {
                    description["workspaces"] = workspaces;
                }
                if (launch.empty) {
                    std::cerr << "note: call " << quote(manifest.calls[variant->call].name)
                              << " has an empty grid: not launched\n";
                }
                if (executor != nullptr) {
                    const Kernel& kernel = executor->kernel(*launch.kernel);
                    description.update({{"registers", kernel.registers},
                                        {"local_bytes", kernel.local_bytes},
                                        {"static_shared", kernel.static_shared}});
                }
                run["launches"].push_back(description);
            }
        }
        bool broken = false;
        if (executor != nullptr) {
            const RunResult result = executor->run(variants);
            passed = passed && result.passed();
            broken = result.broken;
            run["checks"] = checks_json(result.checks);
            run["outputs"] = Json::array();
            const auto& root = job.options.output_dir;
            const std::string directory = !job.options.all_tactics ? root : root + "/tactic_" + std::to_string(*tactic);
            for (const Output& output : result.outputs) {
                const Tensor& tensor = manifest.tensors[output.tensor];
                run["outputs"].push_back(
                    root.empty() ? Json{{"name", tensor.name},
                                        {"dtype", info(tensor.dtype).name},
                                        {"shape", output.dims},
                                        {"file", nullptr}}
                                 : write_tensor(directory, tensor.name, tensor.dtype, output.dims, output.data));
            }
            print_failures(result.checks);
            if (job.options.timing && result.passed() && !result.outputs.empty()) {
                run["timing"] = measure(*executor, variants, result.outputs, job.options.timing_options);
            }
        }
        job.report["runs"].push_back(run);
        if (broken) {
            break;  // no later CUDA call can work
        }
    }
    return passed;
}

Exit launch(const Options& options) {
    Job job = load(options);
    bool passed = true;
    if (options.dry_run) {
        const auto available = architectures(job.bundle.manifest);
        const std::string arch = !options.arch.empty() ? options.arch
                                 : available.empty()   ? "portable"
                                                       : available.front();
        job.report["arch"] = arch;
        make_inputs(job, options.save_inputs);
        run_tactics(job, arch, nullptr);
    } else {
        const cuda::Api api;
        const cuda::Session session(api, options.device);
        const std::string arch = options.arch.empty() ? session.arch : options.arch;
        job.report["arch"] = arch;
        job.report["device"] = {{"index", session.ordinal},
                                {"name", session.name},
                                {"arch", session.arch},
                                {"driver", session.driver},
                                {"l2_bytes", session.l2_bytes}};
        Executor executor(session, job.bundle, job.symbols, make_inputs(job, true), options.tight);
        passed = run_tactics(job, arch, &executor);
    }
    job.report["libraries"] = mapped_libraries();  // a driver once loaded stays
    job.report["status"] = passed ? "passed" : "failed";
    print(job.report);
    return passed ? Exit::done : Exit::check;
}

}  // namespace

int main(int argc, char** argv) {
    return run_program(schema, [&] {
        const auto options = parse_options(argc, argv);
        return options ? launch(*options) : Exit::done;
    });
}
