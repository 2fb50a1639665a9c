// SPDX-License-Identifier: Apache-2.0
#include "launcher/timing.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <set>

namespace aot {

namespace {

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
DeviceTimes time_copy(const cuda::Session& session, const TimingOptions& options, std::uint64_t bytes,
                      std::size_t sets) {
    std::vector<cuda::Memory> from, to;
    for (std::size_t i = 0; i < sets; ++i) {
        from.emplace_back(session.api, bytes / 2);
        to.emplace_back(session.api, bytes / 2);
        session.api.check(session.api.cuMemsetD8Async(from[i].address(), 1, bytes / 2, session.stream()),
                          "cuMemsetD8Async");
    }
    return time_passes(session, options, [&](std::size_t number) {
        const std::size_t set = number % sets;
        session.api.check(
            session.api.cuMemcpyDtoDAsync_v2(to[set].address(), from[set].address(), bytes / 2, session.stream()),
            "cuMemcpyDtoDAsync");
    });
}

Json time_host(Executor& executor, Sets& sets, double pass_us) {
    const auto& session = executor.session;
    const auto& api = session.api;
    auto& launches = sets.launches.front();
    const auto count = static_cast<double>(std::count_if(
        launches.begin(), launches.end(), [](const PreparedLaunch& launch) { return !launch.launch().empty; }));
    // few enough launches that the driver's queue never fills, and 1 ms of GPU time a batch
    const int passes = std::max(1, static_cast<int>(std::min(256 / count, 1000 / std::max(pass_us, 1.0))));
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
                launch.update(evaluate_launch(*launch.launch().variant, *launch.launch().kernel, executor.symbols));
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
    Json result = {{"bytes_moved", moved},
                   {"launches", launched},
                   {"input_sets", count},
                   {"warmup", options.warmup},
                   {"repeat", options.repeat},
                   {"iterations", options.iterations},
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
