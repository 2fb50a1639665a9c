// SPDX-License-Identifier: Apache-2.0
#include "common/program.h"

#include <iostream>
#include <new>
#include <stdexcept>

#include "common/report.h"

namespace aot {

namespace {

int fail(const char* schema, Exit exit, const std::string& message) {
    std::cerr << "error: " << message << std::endl;
    print({{"schema", schema},
           {"status", "error"},
           {"error", message},
           {"exit_code", static_cast<int>(exit)},
           {"libraries", mapped_libraries()}});
    return static_cast<int>(exit);
}

}  // namespace

void print(const Json& json) { std::cout << json.dump(2, ' ', false, Json::error_handler_t::replace) << std::endl; }

int run_program(const char* schema, const std::function<Exit()>& work) {
    constexpr const char* no_memory = "not enough memory on this machine for tensors of this size";
    try {
        return static_cast<int>(work());
    } catch (const Error& error) {
        return fail(schema, error.exit(), error.what());
    } catch (const std::bad_alloc&) {
        return fail(schema, Exit::missing, no_memory);
    } catch (const std::length_error&) {
        return fail(schema, Exit::missing, no_memory);
    } catch (const std::exception& error) {
        return fail(schema, Exit::definition, error.what());
    }
}

}  // namespace aot
