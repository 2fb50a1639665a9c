// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "bundle/architecture.h"
#include "bundle/evaluate.h"
#include "common/error.h"

namespace aot {

namespace {

bool fits(const Manifest& manifest, const Variant& variant) {
    const Call& call = manifest.calls[variant.call];
    auto tensors = call.inputs;
    tensors.insert(tensors.end(), call.outputs.begin(), call.outputs.end());
    return variant.linear &&
           std::equal(tensors.begin(), tensors.end(), variant.dtypes.begin(), variant.dtypes.end(),
                      [&](std::size_t tensor, DType dtype) { return manifest.tensors[tensor].dtype == dtype; });
}

// The call's usable variants that fit the tensors.
std::vector<const Variant*> candidates(const Manifest& manifest, std::size_t call, const std::string& arch) {
    return usable_variants(manifest, call, arch, [&](const Variant& variant) { return fits(manifest, variant); });
}

}  // namespace

std::vector<const Variant*> usable_variants(const Manifest& manifest, std::size_t call, const std::string& arch,
                                            const std::function<bool(const Variant&)>& wanted) {
    std::vector<const Variant*> own, older;
    int newest = 0;
    for (const Variant& variant : manifest.variants) {
        const PtxTarget target = *parse_target(variant.ptx_target);
        if (variant.call != call || !wanted(variant) || !runs(target, arch)) {
            continue;
        }
        if (variant.arch == arch) {
            own.push_back(&variant);
        } else if (target.suffix == 0 && target.capability > newest) {
            newest = target.capability;
            older = {&variant};
        } else if (target.suffix == 0 && target.capability == newest && older.front()->arch == variant.arch) {
            older.push_back(&variant);
        }
    }
    return own.empty() ? older : own;
}

std::vector<std::string> architectures(const Manifest& manifest) {
    std::vector<std::string> result;
    for (const Variant& variant : manifest.variants) {
        if (std::find(result.begin(), result.end(), variant.arch) == result.end()) {
            result.push_back(variant.arch);
        }
    }
    return result;
}

std::vector<std::int64_t> tactics(const Manifest& manifest, const std::string& arch) {
    std::vector<std::int64_t> result;
    for (std::size_t call = 0; call < manifest.calls.size(); ++call) {
        for (const Variant* variant : candidates(manifest, call, arch)) {
            if (variant->tactic != 0 && std::find(result.begin(), result.end(), variant->tactic) == result.end()) {
                result.push_back(variant->tactic);
            }
        }
    }
    return result.empty() ? std::vector<std::int64_t>{0} : result;
}

std::vector<const Variant*> select_variants(const Manifest& manifest, const std::string& arch,
                                            std::optional<std::int64_t> tactic) {
    std::vector<const Variant*> result;
    bool used = !tactic;
    for (std::size_t call = 0; call < manifest.calls.size(); ++call) {
        const auto found = candidates(manifest, call, arch);
        if (found.empty()) {
            throw Error(Exit::missing, "the bundle has no variant of call " + quote(manifest.calls[call].name) +
                                           " for " + arch +
                                           ", nor for an older one, with its tensors' dtypes and linear formats");
        }
        const auto match =
            std::find_if(found.begin(), found.end(), [&](const Variant* variant) { return variant->tactic == tactic; });
        used = used || match != found.end();
        result.push_back(match != found.end() ? *match : found.front());
    }
    if (!used) {
        throw Error(Exit::usage, "no call has the tactic " + std::to_string(*tactic) + " for " + arch);
    }
    return result;
}

}  // namespace aot
