// SPDX-License-Identifier: Apache-2.0
// SHA-256 (FIPS 180-4). Own code, because the program must run on bare machines: OpenSSL would tie it to one SONAME of
// libcrypto for an integrity check of a few kilobytes. The tests compare it with Python's hashlib.
#pragma once

#include <string>
#include <string_view>

namespace aot {

std::string sha256_hex(std::string_view data);  // 64 lower-case hexadecimal digits

}  // namespace aot
