// Check mode: what one thread, or one warp, does step by step.
#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "machine.h"

namespace emulator {

enum class StepKind : int32_t { read, write, atomic, builtin, value, waiting, leaving };

// Its twin is in results.py.
struct Step {
    uint32_t site;
    int32_t kind;                                                // a StepKind
    int32_t thread;                                              // in its block
    int32_t bytes;
    int64_t array, offset;                                       // of memory; of a built-in variable the offset alone
    const char* name;                                            // of a local variable, or of what is waited in
    char number;                                                 // its kind, as in entry.h; 0 where the array knows it
    unsigned char value[16];                                     // what was read, or written
};

class Trace {
public:
    void begin(int64_t block, int first_thread, int last_thread);
    bool follows(const Multiprocessor& machine, const Thread& thread) const;
    void add(Step step, const void* value);                      // the value is there now
    void add_write(Step step, const void* value);                // it will be there when the thread does its next step
    void finish_write(int thread);

    std::vector<Step> steps;

private:
    static constexpr size_t MOST = 1000000;                      // steps kept
    int64_t block = -1;
    int first = 0, last = -1;
    struct Unfinished {
        size_t step;
        const void* value;
    };
    std::vector<Unfinished> unfinished = std::vector<Unfinished>(1024, Unfinished{0, nullptr});
};

}  // namespace emulator
