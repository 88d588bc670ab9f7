// Check mode: broken rules, each told once for the pair of places in the code that it was seen at.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "machine.h"

namespace emulator {

// A place in the code as a number: a machine instruction's distance from the library's start, or, with the highest bit
// set, which of the places that were told by file and line.
class Sites {
public:
    void begin(const void* kernel);
    uint32_t of_code(const void* instruction) const;
    uint32_t of_place(Place place);
    bool in_library(const void* address) const;                  // the kernel's constants and static variables

    std::vector<Place> places;

private:
    const char* start = nullptr;
    std::map<std::pair<const void*, int>, uint32_t> known;
};

// One of the two sides of a finding. Its twin is in results.py, as are those of Finding and Array.
struct Witness {
    static constexpr int32_t STOOD = -1, LEFT = -2;              // instead of an access of memory
    uint32_t site = 0;
    int32_t access = STOOD;                                      // or an Access
    int64_t block = -1;                                          // -1: nobody
    int64_t thread = -1;
};

struct Finding {
    const char* kind;
    const char* what;                                            // the whole story where it is no access of memory
    Witness first, second;
    int64_t array;                                               // which of the memory's arrays; -1: none
    int64_t offset;                                              // from its start
    int64_t bytes;
    int64_t times;
};

class Findings {
public:
    void clear();
    void add(const Finding& finding, const std::string& what);
    std::vector<Finding> all;

private:
    std::deque<std::string> texts;                               // what the findings' `what` points to
    std::map<std::tuple<std::string, uint32_t, uint32_t>, size_t> known;
};

}  // namespace emulator
