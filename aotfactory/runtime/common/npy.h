// SPDX-License-Identifier: Apache-2.0
// NumPy's .npy files, versions 1 to 3: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "common/dtype.h"
#include "common/file.h"
#include "common/shape.h"

namespace aot {

using Bytes = std::vector<unsigned char>;

struct NpyHeader {
    std::string descr;  // NumPy's type, as "<f4"
    bool fortran_order;
    Shape shape;
    std::size_t data_offset;  // in bytes from the file's start
};

// `start` must hold the file's first bytes; Error(usage) if they are no header of a plain array. `where` names the
// file.
NpyHeader parse_npy_header(std::string_view start, const std::string& where);

class NpyFile {
public:
    explicit NpyFile(const std::string& path);  // reads the header; Error(usage)

    const std::string& path() const { return file_.path(); }
    const Shape& shape() const { return header_.shape; }

    // The array's bytes; Error(usage) if its type is not `dtype`, it is in Fortran order or the file has another size.
    Bytes read(DType dtype) const;

private:
    RegularFile file_;
    NpyHeader header_;
};

// Written under a temporary name and renamed. bf16 and fp8 become NumPy voids, as ml_dtypes writes them.
void write_npy(const std::string& path, DType dtype, const Shape& shape, const unsigned char* data);

}  // namespace aot
