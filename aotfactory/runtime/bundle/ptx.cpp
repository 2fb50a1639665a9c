// SPDX-License-Identifier: Apache-2.0
#include "bundle/ptx.h"

#include <algorithm>
#include <cctype>

#include "common/error.h"

namespace aot {

namespace {

// Words (directives, names, numbers) and single characters; comments and white space between them are dropped.
class Lexer {
public:
    explicit Lexer(std::string_view text) : text_(text) {}

    std::string_view next() {  // empty at the end
        skip();
        std::size_t length = 0;
        while (length < text_.size() && is_word(text_[length])) {
            ++length;
        }
        length = length == 0 && !text_.empty() ? 1 : length;
        const std::string_view token = text_.substr(0, length);
        text_.remove_prefix(length);
        return token;
    }

private:
    static bool is_word(char letter) {
        const auto byte = static_cast<unsigned char>(letter);
        return byte < 0x80 && (std::isalnum(byte) != 0 || byte == '_' || byte == '$' || byte == '%' || byte == '.');
    }
    void skip() {
        while (!text_.empty()) {
            if (std::isspace(static_cast<unsigned char>(text_[0])) != 0) {
                text_.remove_prefix(1);
            } else if (text_.substr(0, 2) == "//") {
                drop_past("\n");
            } else if (text_.substr(0, 2) == "/*") {
                drop_past("*/");
            } else {
                return;
            }
        }
    }
    void drop_past(std::string_view end) {
        const std::size_t found = text_.find(end, end.size());
        text_.remove_prefix(found == std::string_view::npos ? text_.size() : found + end.size());
    }

    std::string_view text_;
};

}  // namespace

std::optional<std::vector<std::string>> ptx_parameters(std::string_view ptx, std::string_view entry) {
    Lexer lexer(ptx);
    std::string_view token = lexer.next();
    while (!token.empty()) {
        if (token != ".entry") {
            token = lexer.next();
            continue;
        }
        if (lexer.next() != entry) {
            token = lexer.next();
            continue;
        }
        std::vector<std::string> result;
        bool array = false;
        token = lexer.next();
        if (token != "(") {
            return result;  // an entry without parameters needs no parentheses
        }
        while (!token.empty() && token != ")" && result.size() < 16384) {
            token = lexer.next();
            if (token == ".param") {
                const std::string_view type = lexer.next();
                const bool pointer = type == ".u64" || type == ".b64" || type == ".s64";
                const bool integer = type == ".u32" || type == ".b32" || type == ".s32";
                result.emplace_back(pointer                           ? "ptr"
                                    : integer                         ? "i32"
                                    : !type.empty() && type[0] == '.' ? type.substr(0, 16)
                                                                      : "?");
                array = false;
            } else if (token == "[" && !array && !result.empty()) {
                array = true;
                result.back() += "[]";
            }
        }
        return result;
    }
    return std::nullopt;
}

bool takes(const std::vector<std::string>& found, const std::vector<std::string>& listed) {
    return std::equal(found.begin(), found.end(), listed.begin(), listed.end(),
                      [](const std::string& is, const std::string& wanted) {
                          return is == wanted || (wanted == "i64" && is == "ptr") ||
                                 (wanted == "fp32" && (is == ".f32" || is == "i32"));
                      });
}

std::string describe(const std::vector<std::string>& parameters) {
    std::string text = std::to_string(parameters.size()) + " parameters (";
    for (std::size_t i = 0, end = 0; i < parameters.size(); i = end) {
        while (end < parameters.size() && parameters[end] == parameters[i]) {
            ++end;
        }
        text += (i == 0 ? "" : ", ") + (end - i > 1 ? std::to_string(end - i) + " x " : "") + parameters[i];
    }
    return text + ")";
}

}  // namespace aot
