// Check mode: every access of memory is held against the rules, and counted.
#pragma once
#include <memory>
#include <vector>

#include "counters.h"
#include "findings.h"
#include "order.h"
#include "trace.h"

namespace emulator {

// Memory that a kernel may use: an argument, or a shared array.
struct Array {
    char* address;
    int64_t bytes;
    int32_t element_bytes;
    int32_t constant;                                            // the kernel may only read it
    const SharedArray* shared;                                   // null for an argument
    bool holds(const void* place) const
    {
        return static_cast<const char*>(place) >= address && static_cast<const char*>(place) < address + bytes;
    }
};

// The latest accesses of one kind to a cell: enough of them that whoever comes next and conflicts with any of them (since
// the last barrier) conflicts with one of these. Lanes of one warp may be ordered one by one, warps only by barriers.
struct Latest {
    Stamp last, same_warp, other_warp;
    void add(const Stamp& stamp);
};

// What has happened to a few bytes.
struct Cell {
    Stamp write;
    Latest reads, atomics;
    uint32_t copy = 0;                                           // site of the cp.async that is on its way here, or 0
};

// The cells of an array, as fine as the finest access to it: two threads may write neighbouring bytes.
class Shadow {
public:
    explicit Shadow(int64_t bytes) : bytes(bytes), cells(size_t((bytes + 3) / 4)) {}
    void refine(int64_t offset, size_t access_bytes);
    Cell* begin(int64_t offset) { return &cells[size_t(offset / cell_bytes)]; }
    Cell* end(int64_t offset) { return begin(offset - 1) + 1; }  // behind the cell of the byte before
    int64_t cell_bytes = 4;

private:
    int64_t bytes;
    std::vector<Cell> cells;
};

class Checker {
public:
    void begin(const Request& request, const Array* arguments, int count);
    void access(const Thread& thread, const void* address, size_t bytes, Access access, uint32_t site, bool vector);
    void copy_start(const Thread& thread, const Copy& copy);
    void copy_end(const Thread& thread, const Copy& copy);
    void add_shared(const SharedArray& array, char* address, size_t bytes);
    void add(const char* kind, const std::string& what, const Witness& first, const Witness& second, int64_t array = -1,
             int64_t offset = 0, int64_t bytes = 0);
    Witness witness(const Thread& thread, uint32_t site, int access) const;
    void preempt();
    void follow(const Thread& thread, Step step, const void* value);      // if the trace is of this thread

    Sites sites;
    Order order;
    Findings findings;
    Counters counters;
    Trace trace;
    std::vector<Array> arrays;

private:
    int64_t array_at(const void* address);
    [[noreturn]] void outside(const Thread& thread, const void* address, size_t bytes, Access access, uint32_t site);
    void conflict(const Thread& thread, const Stamp& before, Access its, Access mine, uint32_t site, int64_t array,
                  int64_t offset, size_t bytes);
    void conflicts(const Thread& thread, const Latest& before, Access its, Access mine, uint32_t site, int64_t array,
                   int64_t offset, size_t bytes);
    Witness witness(const Stamp& stamp, Access access) const;

    std::vector<Shadow> shadows;                                 // of each array
    int64_t last_array = 0;
    const Request* request = nullptr;
};

Checker& checker();

}  // namespace emulator
