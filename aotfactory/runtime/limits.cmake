# SPDX-License-Identifier: Apache-2.0
# Writes the header common/limits.h from aotfactory/core/limits.json, which the Python side reads. As a script:
#   cmake -DJSON=aotfactory/core/limits.json -DHEADER=common/limits.h -P limits.cmake
cmake_minimum_required(VERSION 3.19)  # for string(JSON)

function(write_limits json header)
  file(READ ${json} text)
  string(JSON count LENGTH ${text})
  math(EXPR last "${count} - 1")
  set(lines "")
  foreach(index RANGE ${last})
    string(JSON name MEMBER ${text} ${index})
    string(JSON value GET ${text} ${name})
    string(APPEND lines "inline constexpr std::int64_t ${name} = ${value};\n")
  endforeach()
  file(CONFIGURE OUTPUT ${header} @ONLY CONTENT
"// Made from aotfactory/core/limits.json; aotfactory/core/limits.py says what each limits.
#pragma once

#include <cstdint>

namespace aot::limits {

@lines@
}  // namespace aot::limits
")
endfunction()

if(CMAKE_SCRIPT_MODE_FILE)
  write_limits(${JSON} ${HEADER})
endif()
