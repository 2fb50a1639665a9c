// SPDX-License-Identifier: Apache-2.0
#include "cuda/device_time.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace aot {

namespace {

double percentile(const std::vector<double>& sorted, double fraction) {
    const double position = fraction * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<std::size_t>(position);
    const std::size_t above = std::min(below + 1, sorted.size() - 1);
    return sorted[below] + (sorted[above] - sorted[below]) * (position - static_cast<double>(below));
}

double gigabytes_per_second(double bytes, double microseconds) { return rounded(bytes / microseconds / 1000); }

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
std::vector<double> device_samples(const cuda::Session& session, int iterations,
                                   const std::function<void(int)>& sample) {
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

}  // namespace

double DeviceTimes::best() const { return graph.empty() ? median(stream) : std::min(median(stream), median(graph)); }

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

Json statistics(std::vector<double> samples) {
    std::sort(samples.begin(), samples.end());
    return {{"min", rounded(samples.front())},
            {"p5", rounded(percentile(samples, 0.05))},
            {"p25", rounded(percentile(samples, 0.25))},
            {"median", rounded(percentile(samples, 0.5))},
            {"p75", rounded(percentile(samples, 0.75))},
            {"p95", rounded(percentile(samples, 0.95))},
            {"max", rounded(samples.back())}};
}

double median(std::vector<double> samples) {
    std::sort(samples.begin(), samples.end());
    return percentile(samples, 0.5);
}

double rounded(double value) { return std::round(value * 1000) / 1000; }

double host_nanoseconds(const std::function<void()>& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace aot
