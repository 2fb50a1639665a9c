// SPDX-License-Identifier: Apache-2.0
// Runs the runner's checks over a plan made up here, on the fake driver, without TensorRT: argv[1] says what goes
// wrong. Prints a line for each check and output: "name, subject, status, detail", tabs between.
//   x (4, 8) -> y = x, and the positive elements of x; z, if argv[1] is in_place, is x + 1 in x's memory
#include <cstring>
#include <functional>
#include <iostream>

#include "common/error.h"
#include "runner/run.h"

namespace {

using namespace aot;

constexpr std::size_t count = 32;

class FakePlan : public Inference {
public:
    explicit FakePlan(std::string fault) : fault_(std::move(fault)) {
        tensors_ = {{"x", true, DType::fp32, "", {4, 8}},
                    {"y", false, DType::fp32, "", {4, 8}},
                    {"p", false, DType::fp32, "", {-1}}};
        if (fault_ == "in_place") {
            tensors_.push_back({"z", false, DType::fp32, "x", {4, 8}});
        }
        if (fault_ == "too_large") {
            tensors_[1].shape = {1 << 20, 1 << 20, 1 << 10};
        }
    }

    const std::vector<PlanTensor>& tensors() const override { return tensors_; }
    bool bind(const std::string& name, void* address) override {
        addresses_[name] = static_cast<float*>(address);
        return fault_ != "unbound";
    }
    bool bind(const std::string&, OutputMemory& memory) override {
        output_ = &memory;
        return true;
    }
    std::string errors() const override { return "words of TensorRT"; }

    bool enqueue(cuda::Stream) override {
        ++runs_;
        float *x = addresses_["x"], *y = addresses_["y"];
        const float first = y[1];  // poison, unless it was written
        std::memcpy(y, x, count * sizeof(float));
        const std::map<std::string, std::function<void()>> faults = {
            {"store_behind", [&] { y[count] = 1; }},
            {"store_before", [&] { y[-1] = 1; }},
            {"change_input", [&] { x[3] += 1; }},
            {"read_poison", [&] { y[0] = first == 0 ? 1.0f : 2.0f; }},
            {"vary", [&] { y[0] = static_cast<float>(runs_); }},
            {"in_place", [&] { x[0] += 1; }},
        };
        if (const auto found = faults.find(fault_); found != faults.end()) {
            found->second();
        }
        return fault_ != "refused" && !(fault_ == "refused_later" && runs_ > 1) && give_positive(x);
    }

private:
    bool give_positive(const float* x) {
        std::vector<float> positive;
        for (std::size_t i = 0; i < count; ++i) {
            if (x[i] > 0) {
                positive.push_back(x[i]);
            }
        }
        if (fault_ == "vary_size" && runs_ > 1) {
            positive.pop_back();
        }
        if (fault_ == "no_memory") {
            return true;
        }
        const std::size_t bytes = positive.size() * sizeof(float);
        auto* p = static_cast<float*>(output_->resize(fault_ == "huge" ? std::uint64_t{1} << 62 : bytes));
        if (p == nullptr) {
            return false;
        }
        std::memcpy(p, positive.data(), bytes - (fault_ == "unwritten" ? 2 * sizeof(float) : 0));
        if (fault_ == "grown_behind") {
            p[positive.size()] = 1;
        }
        output_->set_shape({static_cast<std::int64_t>(positive.size() + (fault_ == "wrong_shape" ? 100 : 0))});
        return true;
    }

    std::string fault_;
    std::vector<PlanTensor> tensors_;
    std::map<std::string, float*> addresses_;
    OutputMemory* output_ = nullptr;
    int runs_ = 0;
};

}  // namespace

int main(int, char** argv) {
    try {
        const std::string fault = argv[1];
        const cuda::Api api;
        const cuda::Session session(api, 0);
        FakePlan plan(fault);
        Bytes data(count * sizeof(float));
        for (std::size_t i = 0; i < count; ++i) {
            const float value = static_cast<float>(i) - 7.5f;
            std::memcpy(data.data() + i * sizeof value, &value, sizeof value);
        }
        std::vector<Check> checks;
        PlanRun run(session, plan, {{"x", data}}, {}, fault == "tight");
        run.check(checks);
        for (const Check& check : checks) {
            std::cout << check.name << '\t' << check.subject << '\t' << check.status << '\t' << check.detail << '\n';
        }
        for (const PlanOutput& output : run.outputs()) {
            float last = 0;
            std::memcpy(&last, output.data.data() + output.data.size() - sizeof last, sizeof last);
            std::cout << "output\t" << output.name << '\t' << describe(output.shape) << '\t' << last << '\n';
        }
        return 0;
    } catch (const Error& error) {
        std::cout << "error\t" << static_cast<int>(error.exit()) << '\t' << error.what() << "\t\n";
        return static_cast<int>(error.exit());
    }
}
