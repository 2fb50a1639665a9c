// SPDX-License-Identifier: Apache-2.0
#include "mutate.h"

#include <algorithm>
#include <limits>
#include <vector>

namespace aot::fuzz {

namespace {

void collect(Json& value, std::vector<Json*>& all) {
    all.push_back(&value);
    if (value.is_structured()) {
        for (Json& item : value) {
            collect(item, all);
        }
    }
}

Json& any_value(Json& document, Random& random) {
    std::vector<Json*> all;
    collect(document, all);
    return *all[below(random, all.size())];
}

Json nested(std::size_t depth, bool expression, Json inner) {
    for (std::size_t i = 0; i < depth; ++i) {
        inner = expression ? Json::array({"sum", std::move(inner), 1}) : Json::array({std::move(inner)});
    }
    return inner;
}

Json hostile_value(Random& random) {
    const std::vector<Json> values = {nullptr,
                                      true,
                                      -1,
                                      0,
                                      1,
                                      65536,
                                      2147483647,
                                      2147483648,
                                      -2147483649,
                                      std::numeric_limits<std::int64_t>::max(),
                                      std::numeric_limits<std::int64_t>::min(),
                                      std::numeric_limits<std::uint64_t>::max(),
                                      1e308,
                                      0.5,
                                      "",
                                      "N",
                                      "x",
                                      std::string("a\0b", 3),
                                      "../../etc/passwd",
                                      "/etc/passwd",
                                      "k.ptx/..",
                                      ".",
                                      "portable",
                                      "sm_",
                                      "sm_90a",
                                      "sm_99999999999999999999",
                                      "bf16",
                                      "linear",
                                      "size_tensor",
                                      std::string(100000, 'A'),
                                      "\xf0\x9f\x98\x80",
                                      std::string(64, '0'),
                                      Json::array(),
                                      Json::object(),
                                      Json::array({"floor_div", 1, 0}),
                                      Json::array({"floor_div", std::numeric_limits<std::int64_t>::min(), -1}),
                                      Json::array({"sub", 0, "N"}),
                                      Json::array({"prod", std::numeric_limits<std::int64_t>::max(), "N"}),
                                      Json::array({"prod", "N"}),
                                      Json::array({"size_tensor", 1, 1, 1}),
                                      Json::array({"size_tensor", -1, "N", "N"}),
                                      Json::array({"size_tensor", 0, Json::array({"size_tensor", 0, 1, 1}), 1}),
                                      Json::array({1, 2, 3}),
                                      Json::array({"equal", "N", "N"}),
                                      Json::array({"ceil_div", "N", "N"})};
    return values[below(random, values.size())];
}

}  // namespace

void mutate_structure(Json& document, Random& random) {
    Json& value = any_value(document, random);
    switch (below(random, 8)) {
        case 0:  // delete a member
            if (!value.empty() && value.is_structured()) {
                value.erase(std::next(value.begin(), static_cast<std::ptrdiff_t>(below(random, value.size()))));
            }
            break;
        case 1:  // repeat one
            if (value.is_array() && !value.empty()) {
                const Json copy = value[below(random, value.size())];
                value.insert(value.begin() + static_cast<std::ptrdiff_t>(below(random, value.size())), copy);
            }
            break;
        case 2: {  // exchange two values; a part must not end up inside itself, so copies are exchanged
            Json& other = any_value(document, random);
            Json first = value, second = other;
            if (!first.is_structured() && !second.is_structured()) {
                value = std::move(second);
                other = std::move(first);
            }
            break;
        }
        case 3: {  // one value takes the place of another
            const Json copy = any_value(document, random);
            value = copy;
            break;
        }
        case 4: value = nested(1 + below(random, 400), below(random, 2) == 0, value); break;
        case 5:
            if (value.is_number_integer()) {
                value = static_cast<std::int64_t>(random()) >> below(random, 64);
                break;
            }
            [[fallthrough]];
        default: value = hostile_value(random);
    }
}

void mutate_bytes(std::string& text, Random& random) {
    for (std::size_t count = 1 + below(random, 4); count > 0 && !text.empty(); --count) {
        const std::size_t place = below(random, text.size());
        switch (below(random, 6)) {
            case 0: text[place] = static_cast<char>(random()); break;
            case 1: text[place] = static_cast<char>(text[place] ^ 1 << below(random, 8)); break;
            case 2: text.erase(place, 1 + below(random, 16)); break;
            case 3: text.insert(place, 1 + below(random, 8), "{}[]()\"',:.-0\0\xff/"[below(random, 17)]); break;
            case 4: text.insert(place, std::string(text, below(random, text.size()), below(random, 64))); break;
            default: text.resize(below(random, 8) == 0 ? place : text.size());
        }
    }
}

}  // namespace aot::fuzz
