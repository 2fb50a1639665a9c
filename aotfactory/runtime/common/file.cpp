// SPDX-License-Identifier: Apache-2.0
#include "common/file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace aot {

FileDescriptor::~FileDescriptor() {
    if (value_ >= 0) {
        close(value_);
    }
}

// O_NONBLOCK: opening a pipe must not wait for a writer
RegularFile::RegularFile(std::string path, Exit exit, int directory)
    : path_(std::move(path)), exit_(exit), file_(openat(directory, path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (file_.value() < 0) {
        fail(std::strerror(errno));
    }
    struct stat status{};
    if (fstat(file_.value(), &status) != 0 || !S_ISREG(status.st_mode)) {
        fail("not a regular file");
    }
    size_ = static_cast<std::uint64_t>(status.st_size);
}

void RegularFile::read(std::uint64_t offset, std::size_t count, void* target) const {
    for (std::size_t done = 0; done < count;) {
        const ssize_t got =
            pread(file_.value(), static_cast<char*>(target) + done, count - done, static_cast<off_t>(offset + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            fail(got < 0 ? std::strerror(errno) : "became shorter while it was read");
        }
        done += static_cast<std::size_t>(got);
    }
}

std::string RegularFile::text(std::size_t limit) const {
    if (size_ > limit) {
        fail("larger than " + std::to_string(limit) + " bytes");
    }
    std::string content(static_cast<std::size_t>(size_), '\0');
    read(0, content.size(), content.data());
    return content;
}

}  // namespace aot
