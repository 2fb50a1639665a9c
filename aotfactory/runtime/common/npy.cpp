// SPDX-License-Identifier: Apache-2.0
#include "common/npy.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string_view>

#include "common/error.h"
#include "common/limits.h"

namespace aot {

namespace {

constexpr std::string_view magic("\x93NUMPY", 6);

// Reads the header's Python dictionary: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
class HeaderReader {
public:
    HeaderReader(std::string_view text, std::string where) : text_(text), where_(std::move(where)) {}

    [[noreturn]] void fail(const std::string& what) const { throw Error(Exit::usage, where_ + ": " + what); }

    bool take(std::string_view token) {
        text_.remove_prefix(std::min(text_.find_first_not_of(" \n"), text_.size()));
        const bool found = text_.substr(0, token.size()) == token;
        text_.remove_prefix(found ? token.size() : 0);
        return found;
    }
    void expect(std::string_view token) {
        if (!take(token)) {
            fail("not the header of a plain NumPy array (" + quote(token) + " expected)");
        }
    }
    std::string string() {
        expect("'");
        const std::size_t end = text_.find('\'');
        if (end == std::string_view::npos) {
            fail("a string without an end in its header");
        }
        const std::string result(text_.substr(0, end));
        text_.remove_prefix(end + 1);
        return result;
    }
    Shape shape() {
        Shape result;
        expect("(");
        while (!take(")")) {
            std::size_t digits = 0;
            std::int64_t value = 0;
            for (; digits < text_.size() && text_[digits] >= '0' && text_[digits] <= '9'; ++digits) {
                value = std::min<std::int64_t>(value * 10 + (text_[digits] - '0'), limits::extent + 1);
            }
            if (digits == 0 || value > limits::extent || result.size() == limits::rank) {
                fail("a shape that is not at most " + std::to_string(limits::rank) + " dimensions below 2^31");
            }
            text_.remove_prefix(digits);
            result.push_back(value);
            if (!take(",")) {
                expect(")");
                break;
            }
        }
        return result;
    }

private:
    std::string_view text_;
    std::string where_;
};

}  // namespace

NpyHeader parse_npy_header(std::string_view start, const std::string& where) {
    const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(start[i])); };
    if (start.size() < 12 || start.substr(0, 6) != magic || byte(6) < 1 || byte(6) > 3) {
        throw Error(Exit::usage, where + ": not a .npy file");
    }
    const std::size_t prefix = byte(6) == 1 ? 10 : 12;
    const std::size_t length = byte(8) | byte(9) << 8 | (prefix == 12 ? byte(10) << 16 | byte(11) << 24 : 0);
    if (length > limits::npy_header_bytes || start.size() < prefix + length) {
        throw Error(Exit::usage, where + ": a header of " + std::to_string(length) + " bytes, or cut off");
    }
    HeaderReader reader(start.substr(prefix, length), where);
    NpyHeader header{{}, false, {}, prefix + length};
    bool descr = false, order = false, shape = false;
    reader.expect("{");
    while (!reader.take("}")) {
        const std::string key = reader.string();
        reader.expect(":");
        if (key == "descr" && !descr) {
            header.descr = reader.string();
            descr = true;
        } else if (key == "fortran_order" && !order) {
            header.fortran_order = reader.take("True");
            if (!header.fortran_order) {
                reader.expect("False");
            }
            order = true;
        } else if (key == "shape" && !shape) {
            header.shape = reader.shape();
            shape = true;
        } else {
            reader.fail("unexpected " + quote(key) + " in its header");
        }
        if (!reader.take(",")) {
            reader.expect("}");
            break;
        }
    }
    if (!descr || !order || !shape) {
        reader.fail("its header lacks descr, fortran_order or shape");
    }
    return header;
}

NpyFile::NpyFile(const std::string& path) : file_(path, Exit::usage) {
    std::string start(static_cast<std::size_t>(std::min<std::uint64_t>(file_.size(), limits::npy_header_bytes + 12)),
                      '\0');
    file_.read(0, start.size(), start.data());
    header_ = parse_npy_header(start, path);
}

Bytes NpyFile::read(DType dtype) const {
    const DTypeInfo& type = info(dtype);
    if (std::none_of(type.descrs.begin(), type.descrs.end(), [&](const char* name) { return header_.descr == name; })) {
        file_.fail("of NumPy type " + quote(header_.descr) + ", the input is " + type.name + " (" +
                   quote(type.descrs.front()) + ")");
    }
    if (header_.fortran_order && header_.shape.size() > 1) {
        file_.fail("in Fortran order; save numpy.ascontiguousarray(array)");
    }
    const auto bytes = tensor_bytes(dtype, header_.shape);
    if (!bytes) {
        file_.fail("larger than " + std::to_string(limits::tensor_bytes) + " bytes");
    }
    if (file_.size() != header_.data_offset + *bytes) {
        file_.fail("the file's size does not fit its header: cut off or damaged");
    }
    Bytes data(static_cast<std::size_t>(*bytes));
    file_.read(header_.data_offset, data.size(), data.data());
    return data;
}

void write_npy(const std::string& path, DType dtype, const Shape& shape, const unsigned char* data) {
    std::string dims;
    std::size_t bytes = info(dtype).bytes;
    for (const std::int64_t extent : shape) {
        dims += std::to_string(extent) + ", ";
        bytes *= static_cast<std::size_t>(extent);
    }
    if (shape.size() > 1) {
        dims.resize(dims.size() - 2);
    }
    std::string header = std::string("{'descr': '") + info(dtype).descrs.front() +
                         "', 'fortran_order': False, 'shape': (" + dims + "), }";
    header.append(63 - (10 + header.size()) % 64, ' ');  // the data begin at a multiple of 64
    header += '\n';
    const std::string part = path + ".part";
    std::ofstream file(part, std::ios::binary | std::ios::trunc);
    file << magic << '\x01' << '\0' << static_cast<char>(header.size() & 255) << static_cast<char>(header.size() >> 8)
         << header;
    file.write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(bytes));
    file.close();
    if (!file || std::rename(part.c_str(), path.c_str()) != 0) {
        std::remove(part.c_str());
        throw Error(Exit::missing, path + ": can't be written");
    }
}

}  // namespace aot
