// What a kernel's code and the machine that runs it say to each other.
#pragma once
#include <cstddef>
#include <cstdint>

#include "vector_types.h"

// Functions that take these two as their last parameters learn from which line they were called.
#define EMULATOR_CALLER const char *file = __builtin_FILE(), int line = __builtin_LINE()

// Code of the machine that lies in a kernel's library, and is not the kernel's: its memory accesses are not checked.
#if defined(__has_attribute) && __has_attribute(no_sanitize_coverage)
#define EMULATOR_UNCHECKED __attribute__((no_sanitize("thread"), no_sanitize_coverage))
#elif defined(__clang__)                                 // which puts calls around atomics unless all is disabled
#define EMULATOR_UNCHECKED __attribute__((no_sanitize("thread", "coverage"), disable_sanitizer_instrumentation))
#else
#define EMULATOR_UNCHECKED __attribute__((no_sanitize("thread")))
#endif

namespace emulator {

struct Place {
    const char* file;
    int line;
};

struct Votes {
    int in_favour, all;
};

// What a thread may ask about itself: threadIdx and the like.
struct Context {
    uint3 thread_index, block_index;
    dim3 block_size, grid_size;
    unsigned lane;
    Votes votes;                                         // at the block's latest barrier
};

// Each CUDA thread runs on a stack that starts at a multiple of its size and has, at its upper end, a pointer to the
// thread's context: so it is found from any address on the stack. A thread_local would be slower, and of those a process
// that has loaded many libraries runs out.
constexpr uintptr_t STACK_BYTES = 128 << 10;
constexpr uintptr_t STACK_RESERVED = 16;                 // bytes at its upper end, of which the pointer has the first

EMULATOR_UNCHECKED inline const Context& here()
{
    const uintptr_t upper_end = (reinterpret_cast<uintptr_t>(__builtin_frame_address(0)) | (STACK_BYTES - 1)) + 1;
    return **reinterpret_cast<const Context**>(upper_end - STACK_RESERVED);
}

// ------------------------------------------------------------------------------------------------------ waiting

// __syncthreads: returns when every thread of the block has come here; their votes are then in the context.
void sync_block(int predicate, Place place);

// A meeting of the lanes in `mask`: each brings a parcel, a pointer to something of its own. The last lane to arrive
// calls work(parcels, present) for all of them, and then all go on. `name` is what the kernel's author called it.
using Work = void (*)(void** parcels, unsigned present);
void meet(unsigned mask, void* parcel, Work work, const char* name, Place place);
void meet_all(void* parcel, Work work, const char* name, Place place);       // all 32 lanes, or it is an error
void sync_warp(unsigned mask, Place place);

// Between blocks and warps: what this thread wrote before is there for who sees its next atomic operation.
void fence();

// Lets other threads go on: called by atomic operations, so that a lock that is waited for can be released.
void breathe();

// ------------------------------------------------------------------------------------------------------- memory

// One __shared__ declaration.
struct SharedArray {
    const char* name;
    Place place;
    size_t bytes, element_bytes, alignment;
    int rank;
    size_t extents[4];                                   // of the outer dimensions first; 0 beyond the rank
    char kind;                                           // of number, as in entry.h; ? if it is none
};

// Where this block has it.
void* shared_array(const SharedArray& array);
void* dynamic_shared_array(const SharedArray& array);

enum class Access : unsigned char { read, write, atomic, atomic_write };

#ifdef EMULATOR_CHECK
void note(const void* address, size_t bytes, Access access, Place place);
void note_lane(unsigned lane, const void* address, size_t bytes, Access access, Place place);
#else
inline void note(const void*, size_t, Access, Place) {}
inline void note_lane(unsigned, const void*, size_t, Access, Place) {}
#endif

// cp.async: the copy is done when it is waited for, and not before.
void copy_async(void* shared, const void* global, int bytes, int source_bytes, Place place);
void commit_copies();
void wait_for_copies(int groups_left);

// ---------------------------------------------------------------------------------------------------- the end

// Ends the whole launch.
[[noreturn]] void fail(Place place, const char* format, ...) __attribute__((format(printf, 2, 3)));

// A kernel's printf: Python prints it when the launch is over.
int print(const char* format, ...) __attribute__((format(printf, 1, 2)));

// Trace: a local variable has this value now.
void show(const char* name, char kind, const void* value, size_t bytes, Place place);

// Remembers from which line the thread left the kernel.
void leave(Place place);

}  // namespace emulator
