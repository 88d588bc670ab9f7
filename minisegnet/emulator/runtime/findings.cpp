// Check mode: where in the code something was, and the list of what was found.
#ifdef EMULATOR_CHECK
#include "findings.h"

#include <dlfcn.h>

#include <algorithm>

namespace emulator {

void Sites::begin(const void* kernel)
{
    Dl_info library{};
    dladdr(kernel, &library);
    start = static_cast<const char*>(library.dli_fbase);
    places.clear();
    known.clear();
}

// A return address points behind the call that is meant.
uint32_t Sites::of_code(const void* instruction) const { return uint32_t(static_cast<const char*>(instruction) - start) - 1; }

uint32_t Sites::of_place(Place place)
{
    const auto [entry, is_new] = known.try_emplace({place.file, place.line}, 0x80000000u | uint32_t(places.size()));
    if (is_new) places.push_back(place);
    return entry->second;
}

bool Sites::in_library(const void* address) const
{
    Dl_info library{};
    return dladdr(address, &library) && library.dli_fbase == start;
}

void Findings::clear()
{
    all.clear();
    texts.clear();
    known.clear();
}

void Findings::add(const Finding& finding, const std::string& what)
{
    const auto [low, high] = std::minmax(finding.first.site, finding.second.site);
    const auto [entry, is_new] = known.try_emplace({finding.kind, low, high}, all.size());
    if (!is_new) {
        all[entry->second].times++;
        return;
    }
    texts.push_back(what);
    all.push_back(finding);
    all.back().what = texts.back().c_str();
    all.back().times = 1;
}

}  // namespace emulator
#endif
