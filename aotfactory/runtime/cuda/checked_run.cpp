// SPDX-License-Identifier: Apache-2.0
#include "cuda/checked_run.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "cuda/poison.h"

namespace aot {

namespace {

struct Count {  // of elements, and the first of them
    std::uint64_t number = 0, first = 0;
    void add(std::uint64_t element) { first = number++ == 0 ? element : first; }
    std::string text() const {
        return std::to_string(number) + " elements, the first at flat index " + std::to_string(first);
    }
};

// Calls visit(number, element before, element now) for the elements that differ from `before`.
void differences(const Memory& memory, const Bytes& before,
                 const std::function<void(std::uint64_t, const unsigned char*, const unsigned char*)>& visit) {
    const std::size_t element = info(memory.dtype).bytes;
    memory.buffer->read(before.size(), [&](std::uint64_t offset, const unsigned char* now, std::size_t bytes) {
        const unsigned char* old = before.data() + offset;
        if (std::memcmp(now, old, bytes) == 0) {
            return;
        }
        for (std::size_t i = 0; i < bytes; i += element) {
            if (std::memcmp(now + i, old + i, element) != 0) {
                visit((offset + i) / element, old + i, now + i);
            }
        }
    });
}

Count count_differences(const Memory& memory, const Bytes& before) {
    Count count;
    differences(memory, before, [&](std::uint64_t number, const auto*, const auto*) { count.add(number); });
    return count;
}

std::vector<Memory> written_ones(std::vector<Memory> memories) {
    memories.erase(
        std::remove_if(memories.begin(), memories.end(), [](const Memory& memory) { return !memory.written; }),
        memories.end());
    return memories;
}

bool has_guard_check(const std::vector<Check>& checks, const std::string* subject) {
    return std::any_of(checks.begin(), checks.end(), [&](const Check& check) {
        return check.name == "guard" && (subject == nullptr || check.subject == *subject);
    });
}

}  // namespace

bool CheckedRun::pass(std::optional<unsigned char> poison, std::vector<Check>& checks) {
    prepare(poison);
    const auto before = memories();
    for (std::size_t i = 0; i < before.size(); ++i) {
        if (before[i].buffer != nullptr && poison) {
            before[i].buffer->fill_guards(guard_pattern(*poison, i));
            before[i].buffer->fill(*poison);
        }
        if (before[i].data != nullptr) {
            before[i].buffer->upload(*before[i].data);
        }
    }
    if (auto failure = run_once()) {
        checks.push_back(std::move(*failure));
        return false;
    }
    const auto after = memories();
    for (std::size_t i = 0; poison && i < after.size(); ++i) {
        const std::string damage = after[i].buffer->guard_damage(guard_pattern(*poison, i));
        if (!damage.empty() && !has_guard_check(checks, &after[i].name)) {
            checks.push_back({"guard", after[i].name, "failed", damage});
        }
    }
    return true;
}

bool CheckedRun::check_poison(const std::vector<Bytes>& first, std::vector<Check>& checks) {
    if (!pass(second_poison, checks)) {
        return false;
    }
    auto memories_now = written_ones(memories());
    std::vector<std::string> changed(first.size());  // what differs, and not for lack of a store
    for (std::size_t i = 0; i < first.size(); ++i) {
        const Memory& memory = memories_now[i];
        if (memory.bytes != first[i].size()) {
            changed[i] = "its size";
            continue;
        }
        const std::size_t element = info(memory.dtype).bytes;
        Count unwritten, other;
        differences(memory, first[i], [&](std::uint64_t number, const unsigned char* old, const unsigned char* now) {
            const bool kept =
                memory.data == nullptr && holds(old, element, first_poison) && holds(now, element, second_poison);
            (kept ? unwritten : other).add(number);
        });
        if (memory.data == nullptr) {
            checks.push_back(
                verdict("written", memory.name, unwritten.number == 0 ? "" : "never written: " + unwritten.text()));
        }
        changed[i] = other.number == 0 ? "" : other.text();
    }
    const bool differs = std::any_of(changed.begin(), changed.end(), [](const auto& text) { return !text.empty(); });
    if (differs) {  // by the patterns, or by chance: a third pass like the first tells
        if (!pass(first_poison, checks)) {
            return false;
        }
        memories_now = written_ones(memories());
    }
    for (std::size_t i = 0; i < first.size(); ++i) {
        const Memory& memory = memories_now[i];
        const bool chance =
            !changed[i].empty() && (memory.bytes != first[i].size() || count_differences(memory, first[i]).number != 0);
        checks.push_back(
            chance ? Check{"repeatable", memory.name, "skipped", "results vary from run to run"}
                   : verdict("repeatable", memory.name,
                             changed[i].empty() ? "" : "depends on memory that holds no input: " + changed[i]));
    }
    return true;
}

std::optional<std::vector<Bytes>> CheckedRun::check(const std::string& subject, bool tight,
                                                    std::vector<Check>& checks) {
    if (!pass(tight ? std::nullopt : std::optional(first_poison), checks)) {
        return std::nullopt;
    }
    look(checks);
    std::vector<Bytes> first;
    for (const Memory& memory : memories()) {
        if (memory.written) {
            first.emplace_back(static_cast<std::size_t>(memory.bytes));
            memory.buffer->download(0, first.back().size(), first.back().data());
        } else if (memory.data != nullptr) {
            const Count changed = count_differences(memory, *memory.data);
            checks.push_back(
                verdict("input", memory.name, changed.number == 0 ? "" : "the run changed " + changed.text()));
        }
    }
    if (tight) {
        for (const char* name : {"guard", "written", "repeatable"}) {
            checks.push_back({name, subject, "skipped", "--tight leaves it to compute-sanitizer"});
        }
    } else if (!check_poison(first, checks)) {
        return std::nullopt;
    }
    checks.push_back(verdict("launch", subject, ""));
    if (!has_guard_check(checks, nullptr)) {
        checks.push_back(verdict("guard", subject, ""));
    }
    return first;
}

}  // namespace aot
