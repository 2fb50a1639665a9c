// SPDX-License-Identifier: Apache-2.0
// aotfactory-launcher: runs a bundle with the CUDA driver alone, without Python or TensorRT.
#include <iostream>
#include <new>

#include "bundle/bundle.h"
#include "common/arguments.h"
#include "common/error.h"
#include "common/npy.h"
#include "common/random.h"
#include "common/report.h"
#include "launcher/execute.h"
#include "launcher/launch_report.h"
#include "launcher/options.h"
#include "launcher/timing.h"

namespace {

using namespace aot;

// Prints bytes that are no UTF-8 (a path may hold some) as U+FFFD instead of throwing.
void print(const Json& json) { std::cout << json.dump(2, ' ', false, Json::error_handler_t::replace) << std::endl; }

struct Job {
    Options options;
    InputOptions inputs;
    Bundle bundle;
    std::vector<std::int64_t> symbols;
    std::vector<TensorShape> shapes;
    Json report;
};

Job load(Options options) {
    Job job{std::move(options), {}, {}, {}, {}, {}};
    job.bundle = load_bundle(job.options.bundle);
    const Manifest& manifest = job.bundle.manifest;
    job.inputs = parse_inputs(job.options.inputs, job.options.shapes, manifest.input_names());
    auto shapes = job.inputs.shapes;
    for (const auto& [name, path] : job.inputs.files) {
        shapes[name] = read_npy_header(path).shape;
    }
    job.symbols = bind_symbols(manifest, shapes, job.options.point, job.options.unchecked_profile);
    job.shapes = evaluate_shapes(manifest, job.symbols);
    Json symbols = Json::object();
    for (std::size_t i = 0; i < job.symbols.size(); ++i) {
        symbols[manifest.symbols[i].name] = job.symbols[i];
    }
    job.report = {{"schema", "aotfactory.launch/1"},
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

// Each input's bytes: from its file, or random.
std::map<std::size_t, Bytes> make_inputs(Job& job, bool with_data) {
    std::map<std::size_t, Bytes> inputs;
    for (std::size_t i = 0, number = 0; i < job.shapes.size(); ++i) {
        const Tensor& tensor = job.bundle.manifest.tensors[i];
        if (tensor.role != Role::input) {
            continue;
        }
        const auto file = job.inputs.files.find(tensor.name);
        const bool random = file == job.inputs.files.end();
        Json description = {{"name", tensor.name}, {"source", random ? "random" : file->second}};
        if (!random) {
            inputs[i] = read_npy(file->second, tensor.dtype);
            if (inputs[i].size() != job.shapes[i].bytes) {  // replaced since its header was read
                throw Error(Exit::usage, file->second + ": changed while it was read");
            }
        } else if (with_data) {
            inputs[i] = Bytes(static_cast<std::size_t>(job.shapes[i].bytes));
            fill_random(tensor.dtype, job.options.seed, number, inputs[i].data(),
                        static_cast<std::size_t>(job.shapes[i].elements));
        }
        ++number;
        if (job.options.save_inputs) {
            description.update(
                write_tensor(job.options.output_dir, tensor.name, tensor.dtype, job.shapes[i].dims, inputs[i]));
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
    for (const auto tactic : wanted) {
        const auto variants = select_variants(manifest, arch, tactic);
        Json run = {{"tactic", tactic ? Json(*tactic) : Json(variants.front()->tactic)}, {"launches", Json::array()}};
        for (const Variant* variant : variants) {
            const Launch launch = evaluate_launch(*variant, job.symbols);
            Json description = launch_json(manifest.calls[variant->call], launch);
            if (launch.empty) {
                std::cerr << "note: call " << quote(manifest.calls[variant->call].name)
                          << " has an empty grid: not launched\n";
            }
            if (executor != nullptr) {
                const Kernel& kernel = executor->kernel(*variant);
                description.update({{"registers", kernel.registers},
                                    {"local_bytes", kernel.local_bytes},
                                    {"static_shared", kernel.static_shared}});
            }
            run["launches"].push_back(description);
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
            for (const Check& check : result.checks) {
                if (check.status == "failed") {
                    std::cerr << "failed: " << check.name << " of " << quote(check.subject) << ": " << check.detail
                              << '\n';
                }
            }
            if (job.options.timing && !result.outputs.empty()) {
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

int fail(Exit exit, const std::string& message) {
    std::cerr << "error: " << message << std::endl;
    print({{"schema", "aotfactory.launch/1"},
           {"status", "error"},
           {"error", message},
           {"exit_code", static_cast<int>(exit)}});
    return static_cast<int>(exit);
}

}  // namespace

int main(int argc, char** argv) {
    try {
        const auto options = parse_options(argc, argv);
        return options ? static_cast<int>(launch(*options)) : 0;
    } catch (const Error& error) {
        return fail(error.exit(), error.what());
    } catch (const std::bad_alloc&) {
        return fail(Exit::missing, "not enough memory on this machine for tensors of this size");
    } catch (const std::length_error&) {
        return fail(Exit::missing, "not enough memory on this machine for tensors of this size");
    } catch (const std::exception& error) {
        return fail(Exit::definition, error.what());
    }
}
