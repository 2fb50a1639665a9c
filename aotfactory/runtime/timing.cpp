// SPDX-License-Identifier: Apache-2.0
#include "timing.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <set>

namespace aot {

namespace {

double percentile(const std::vector<double>& sorted, double fraction) {
    const double position = fraction * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<std::size_t>(position);
    const std::size_t above = std::min(below + 1, sorted.size() - 1);
    return sorted[below] + (sorted[above] - sorted[below]) * (position - static_cast<double>(below));
}

double median(std::vector<double> samples) {
    std::sort(samples.begin(), samples.end());
    return percentile(samples, 0.5);
}

double rounded(double value) { return std::round(value * 1000) / 1000; }

double gigabytes_per_second(double bytes, double microseconds) { return rounded(bytes / microseconds / 1000); }

double host_nanoseconds(const std::function<void()>& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
}

using Pass = std::function<void(std::size_t)>;  // enqueues pass number n

// A graph of `passes` passes; it is made by capturing the stream, so that it launches what the stream would.
cuda::Owner<cuda::GraphExec> capture(const cuda::Session& session, const Pass& pass, int passes) {
    const auto& api = session.api;
    api.check(api.cuStreamBeginCapture_v2(session.stream(), cuda::capture_thread_local), "cuStreamBeginCapture");
    for (int i = 0; i < passes; ++i) {
        pass(static_cast<std::size_t>(i));
    }
    cuda::Graph graph = nullptr;
    api.check(api.cuStreamEndCapture(session.stream(), &graph), "cuStreamEndCapture");
    cuda::GraphExec executable = nullptr;
    const cuda::Result result = api.cuGraphInstantiateWithFlags(&executable, graph, 0);
    api.cuGraphDestroy(graph);
    api.check(result, "cuGraphInstantiate");
    return {executable, [&api](cuda::GraphExec handle) { api.cuGraphExecDestroy(handle); }};
}

// Microseconds of each sample. Nothing waits between the samples, so that the GPU never idles for the host.
std::vector<double> device_samples(const cuda::Session& session, int iterations, const std::function<void(int)>& sample) {
    const auto& api = session.api;
    std::vector<cuda::Owner<cuda::Event>> events;
    for (int i = 0; i <= iterations; ++i) {
        events.push_back(cuda::make_event(session));
    }
    api.check(api.cuEventRecord(events[0].get(), session.stream()), "cuEventRecord");
    for (int i = 0; i < iterations; ++i) {
        sample(i);
        api.check(api.cuEventRecord(events[static_cast<std::size_t>(i) + 1].get(), session.stream()), "cuEventRecord");
    }
    session.synchronize("timing");
    std::vector<double> samples;
    for (std::size_t i = 1; i < events.size(); ++i) {
        float milliseconds = 0;
        api.check(api.cuEventElapsedTime(&milliseconds, events[i - 1].get(), events[i].get()), "cuEventElapsedTime");
        samples.push_back(static_cast<double>(milliseconds) * 1000);
    }
    return samples;
}

struct DeviceTimes {  // microseconds of a pass
    std::vector<double> stream, graph;
    double graph_launch_ns = 0;  // host time of cuGraphLaunch, divided by the passes in the graph
    double best() const { return graph.empty() ? median(stream) : std::min(median(stream), median(graph)); }
};

DeviceTimes time_passes(const cuda::Session& session, const TimingOptions& options, const Pass& pass) {
    const auto divide = [&](std::vector<double> samples) {
        for (double& sample : samples) {
            sample /= options.repeat;
        }
        return samples;
    };
    DeviceTimes times;
    std::size_t number = 0;
    for (int i = 0; i < options.warmup; ++i) {
        pass(number++);
    }
    times.stream = divide(device_samples(session, options.iterations, [&](int) {
        for (int i = 0; i < options.repeat; ++i) {
            pass(number++);
        }
    }));
    if (options.graph) {
        const auto& api = session.api;
        const auto graph = capture(session, pass, options.repeat);
        const auto launch = [&] { api.check(api.cuGraphLaunch(graph.get(), session.stream()), "cuGraphLaunch"); };
        launch();  // the first launch uploads the graph
        times.graph = divide(device_samples(session, options.iterations, [&](int) { launch(); }));
        std::vector<double> host;
        for (int i = 0; i < 20; ++i) {
            host.push_back(host_nanoseconds(launch) / options.repeat);
            session.synchronize("timing");
        }
        times.graph_launch_ns = median(host);
    }
    return times;
}

Json device_json(const DeviceTimes& times, double bytes) {
    Json result = {{"us", statistics(times.stream)}, {"gb_per_s", gigabytes_per_second(bytes, median(times.stream))}};
    if (!times.graph.empty()) {
        result["graph_us"] = statistics(times.graph);
        result["graph_gb_per_s"] = gigabytes_per_second(bytes, median(times.graph));
    }
    return result;
}

// Passes take the sets in turn.
struct Sets {
    std::vector<std::unique_ptr<BufferSet>> extra;
    std::vector<std::vector<PreparedLaunch>> launches;
};

Sets make_sets(Executor& executor, const std::vector<const Variant*>& variants, int wanted) {
    Sets sets;
    BufferSet& original = executor.buffers();
    executor.upload_inputs(original);
    const auto& session = executor.session;
    if (wanted == 0) {
        const std::uint64_t bytes = std::max<std::uint64_t>(original.bytes(), 1), available = session.free_bytes() / 2;
        const std::uint64_t enough = 1 + 4 * static_cast<std::uint64_t>(session.l2_bytes) / bytes;
        wanted = static_cast<int>(std::clamp<std::uint64_t>(std::min(enough, available / bytes), 1, 64));
    }
    sets.launches.push_back(executor.prepare(variants, original));
    for (int i = 1; i < wanted; ++i) {
        sets.extra.push_back(std::make_unique<BufferSet>(session, executor.bundle.manifest, executor.shapes, 0));
        for (const std::size_t owner : original.owners()) {
            sets.extra.back()->of(owner).copy_from(original.of(owner));
        }
        sets.launches.push_back(executor.prepare(variants, *sets.extra.back()));
    }
    session.synchronize("copying the inputs");
    return sets;
}

std::uint64_t moved_bytes(const Executor& executor, const std::vector<Output>& outputs) {
    std::vector<std::uint64_t> bytes;
    for (const TensorShape& shape : executor.shapes) {
        bytes.push_back(shape.bytes);
    }
    for (const Output& output : outputs) {
        bytes[output.tensor] = output.data.size();
    }
    std::uint64_t total = 0;
    for (const Call& call : executor.bundle.manifest.calls) {
        std::set<std::size_t> inputs(call.inputs.begin(), call.inputs.end());
        for (const std::size_t tensor : inputs) {
            total += bytes[tensor];
        }
        for (const std::size_t tensor : call.outputs) {
            total += bytes[tensor];
        }
    }
    return total;
}

// Copies half of `bytes`, which reads and writes `bytes` in all; rotates like the passes.
DeviceTimes time_copy(const cuda::Session& session, const TimingOptions& options, std::uint64_t bytes, std::size_t sets) {
    std::vector<cuda::Memory> from, to;
    for (std::size_t i = 0; i < sets; ++i) {
        from.emplace_back(session.api, bytes / 2);
        to.emplace_back(session.api, bytes / 2);
        session.api.check(session.api.cuMemsetD8Async(from[i].address(), 1, bytes / 2, session.stream()), "cuMemsetD8Async");
    }
    return time_passes(session, options, [&](std::size_t number) {
        const std::size_t set = number % sets;
        session.api.check(session.api.cuMemcpyDtoDAsync_v2(to[set].address(), from[set].address(), bytes / 2, session.stream()),
                          "cuMemcpyDtoDAsync");
    });
}

Json time_host(Executor& executor, Sets& sets, double pass_us) {
    const auto& session = executor.session;
    const auto& api = session.api;
    auto& launches = sets.launches.front();
    const auto count = static_cast<double>(std::count_if(launches.begin(), launches.end(),
                                                         [](const PreparedLaunch& launch) { return !launch.launch().empty; }));
    // few enough launches that the driver's queue never fills, and 5 ms of GPU time a batch
    const int passes = std::max(1, static_cast<int>(std::min(256 / count, 5000 / std::max(pass_us, 1.0))));
    std::vector<PreparedLaunch*> bare;
    for (PreparedLaunch& launch : launches) {
        if (!launch.launch().empty) {
            bare.push_back(&launch);
        }
    }
    const auto launcher_pass = [&] {
        for (PreparedLaunch& launch : launches) {
            if (!launch.launch().empty) {
                api.check(launch.enqueue(api, session.stream()), "cuLaunchKernel");
            }
        }
    };
    const std::vector<std::function<void()>> loops = {
        [&] {
            for (PreparedLaunch* launch : bare) {
                launch->enqueue(api, session.stream());
            }
        },
        launcher_pass,
        [&] {
            for (PreparedLaunch& launch : launches) {
                launch.update(evaluate_launch(*launch.launch().variant, executor.symbols));
            }
            launcher_pass();
        }};
    std::vector<std::vector<double>> samples(loops.size());
    for (int batch = 0; batch < 30; ++batch) {
        for (std::size_t loop = 0; loop < loops.size(); ++loop) {
            const double time = host_nanoseconds([&] {
                for (int i = 0; i < passes; ++i) {
                    loops[loop]();
                }
            });
            session.synchronize("timing");
            samples[loop].push_back(time / passes / count);
        }
    }
    const double base = median(samples[0]), own = median(samples[1]), evaluating = median(samples[2]);
    return {{"launches_per_batch", passes * static_cast<int>(count)},
            {"bare_ns", rounded(base)},
            {"launcher_ns", rounded(own)},
            {"launcher_ratio", rounded(own / base)},
            {"evaluating_ns", rounded(evaluating)},
            {"evaluating_ratio", rounded(evaluating / base)}};
}

}  // namespace

Json statistics(std::vector<double> samples) {
    std::sort(samples.begin(), samples.end());
    return {{"min", rounded(samples.front())},           {"p5", rounded(percentile(samples, 0.05))},
            {"p25", rounded(percentile(samples, 0.25))}, {"median", rounded(percentile(samples, 0.5))},
            {"p75", rounded(percentile(samples, 0.75))}, {"p95", rounded(percentile(samples, 0.95))},
            {"max", rounded(samples.back())}};
}

Json measure(Executor& executor, const std::vector<const Variant*>& variants, const std::vector<Output>& outputs,
             const TimingOptions& wanted) {
    const auto& session = executor.session;
    TimingOptions options = wanted;
    Sets sets = make_sets(executor, variants, options.input_sets);
    const int count = static_cast<int>(sets.launches.size());
    options.repeat = (options.repeat + count - 1) / count * count;  // a graph, too, uses every set
    int launched = 0;
    for (const PreparedLaunch& launch : sets.launches.front()) {
        launched += launch.launch().empty ? 0 : 1;
    }
    if (launched == 0) {
        return {{"skipped", "every launch is empty"}};
    }
    const std::uint64_t moved = moved_bytes(executor, outputs);
    const auto bytes = static_cast<double>(moved);
    const DeviceTimes times = time_passes(session, options, [&](std::size_t number) {
        for (PreparedLaunch& launch : sets.launches[number % sets.launches.size()]) {
            if (!launch.launch().empty) {
                session.api.check(launch.enqueue(session.api, session.stream()), "cuLaunchKernel");
            }
        }
    });
    Json result = {{"bytes_moved", moved},       {"launches", launched},
                   {"input_sets", count},        {"warmup", options.warmup},
                   {"repeat", options.repeat},   {"iterations", options.iterations},
                   {"pass", device_json(times, bytes)}};
    result["host"] = time_host(executor, sets, median(times.stream));
    if (!times.graph.empty()) {
        const double bare = result["host"]["bare_ns"].get<double>();
        result["host"]["graph_ns"] = rounded(times.graph_launch_ns / launched);
        result["host"]["graph_ratio"] = rounded(times.graph_launch_ns / launched / bare);
        result["graph_us_per_launch"] = rounded(median(times.graph) / launched);
    }
    if (options.copy_baseline && moved >= 2) {
        const std::uint64_t copied = moved / 2 * 2;
        const DeviceTimes copy = time_copy(session, options, copied, sets.launches.size());
        result["copy"] = device_json(copy, static_cast<double>(copied));
        result["copy"]["bytes_moved"] = copied;
        // the faster of stream and graph on either side: for small tensors the stream's time is the host's
        result["ratio_to_copy"] = rounded(bytes / times.best() / (static_cast<double>(copied) / copy.best()));
    }
    return result;
}

}  // namespace aot
