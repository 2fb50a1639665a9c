// SPDX-License-Identifier: Apache-2.0
// Runs something over poisoned, guarded memory, and checks what it did to that memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/check.h"
#include "common/dtype.h"
#include "cuda/buffers.h"

namespace aot {

// A tensor that owns memory.
struct Memory {
    std::string name;
    DType dtype;
    Buffer* buffer;       // null before the first pass if it is only made then
    std::uint64_t bytes;  // of the content, after a pass
    const Bytes* data;    // what it holds before a pass; null: poison
    bool written;         // the run may write to it
};

class CheckedRun {
public:
    virtual ~CheckedRun() = default;

    // Adds checks, each with a tensor or the whole as its subject:
    //   launch      the run ended without a fault
    //   guard       nothing was stored within guard_bytes around a tensor
    //   input       an input that the run may not write to was not written
    //   written     every element of an output was written: none keeps two different poisons in two passes
    //   repeatable  no element depends on poison or guards; skipped if results vary between equal passes anyway
    // Two passes, a third where those differ; with `tight` one without guards and poison, for compute-sanitizer. The
    // result is what the first pass left in each memory that is written, in the order of memories(), or nothing if a
    // pass failed.
    std::optional<std::vector<Bytes>> check(const std::string& subject, bool tight, std::vector<Check>& checks);

protected:
    // Runs once, and waits for the end. The result is a failed check, after which no CUDA call may work, or nothing.
    virtual std::optional<Check> run_once() = 0;

    // All tensors that own memory, in the same order each time.
    virtual std::vector<Memory> memories() = 0;

    // Called before each pass, for memory that is only made while it runs: with which poison, or none, to fill it.
    virtual void prepare(std::optional<unsigned char> poison) = 0;

    // Called after the first pass, for checks of its own.
    virtual void look(std::vector<Check>& checks) = 0;

private:
    bool pass(std::optional<unsigned char> poison, std::vector<Check>& checks);
    bool check_poison(const std::vector<Bytes>& first, std::vector<Check>& checks);
};

}  // namespace aot
