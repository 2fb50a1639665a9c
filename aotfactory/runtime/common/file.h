// SPDX-License-Identifier: Apache-2.0
// Files from outside: only regular ones, opened without waiting and no larger than expected.
#pragma once

#include <fcntl.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "common/error.h"

namespace aot {

class FileDescriptor {
public:
    explicit FileDescriptor(int value) : value_(value) {}
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;
    ~FileDescriptor();
    int value() const { return value_; }

private:
    int value_;
};

// Links are followed to what they lead to; that must be a regular file, not a directory, pipe or device.
class RegularFile {
public:
    // `path` is relative to the open `directory`. Every failure, also those of reading, is an Error(exit) that names
    // it.
    RegularFile(std::string path, Exit exit, int directory = AT_FDCWD);

    const std::string& path() const { return path_; }
    std::uint64_t size() const { return size_; }  // when it was opened

    void read(std::uint64_t offset, std::size_t count, void* target) const;
    std::string text(std::size_t limit) const;  // all of it, unless it is larger

    [[noreturn]] void fail(const std::string& message) const { throw Error(exit_, path_ + ": " + message); }

private:
    std::string path_;
    Exit exit_;
    FileDescriptor file_;
    std::uint64_t size_ = 0;
};

}  // namespace aot
