// SPDX-License-Identifier: Apache-2.0
// Reads from a PTX text all that the launcher must know: the parameters of its entries. A launch that passes fewer than
// the kernel has (a compiler's hidden ones, say) makes the driver read past the argument array.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace aot {

// "ptr" (64-bit), "i32", or the PTX type of any other parameter; nothing if the text has no such entry.
std::optional<std::vector<std::string>> ptx_parameters(std::string_view ptx, std::string_view entry);

// Whether an entry with the parameters `found` takes what a manifest lists: a text does not tell 64-bit integers from
// pointers, nor always 32-bit integers from fp32.
bool takes(const std::vector<std::string>& found, const std::vector<std::string>& listed);

std::string describe(const std::vector<std::string>& parameters);  // as "15 parameters (ptr, 13 x i32, ptr)"

}  // namespace aot
