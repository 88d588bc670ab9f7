// Check mode: which thread knows that which other has got how far ("happens before"), the ground on which races stand.
//
// A clock ticks whenever threads are brought into order. Every access is stamped with its thread and the time. A thread has
// seen another's accesses up to some time: those of its own block up to the last barrier, those of a lane of its warp up to
// the last __syncwarp with it, and those that reached it through fences and atomic operations. What it has not seen may
// happen at any moment from its point of view, and so races with what it does itself.
#pragma once
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "machine.h"

namespace emulator {

struct Stamp {
    uint32_t time = 0;                                           // 0: never
    uint32_t thread = 0;                                         // block << 10 | number in the block
    uint32_t site = 0;                                           // where in the code: see sites.h
};

class Order {
public:
    void begin_block(const Multiprocessor& machine);
    Stamp stamp(const Thread& thread, uint32_t site) const { return {now, block << 10 | thread.number, site}; }
    bool seen(const Stamp& stamp, const Thread& by) const;       // is what was done then over for this thread?
    bool of_this_block(const Stamp& stamp) const { return stamp.time >= block_began; }

    void barrier();
    void warp_barrier(unsigned first_thread, unsigned present);
    void fence(const Thread& thread);
    void atomic(const Thread& thread, const void* address);

private:
    using Times = std::unordered_map<uint32_t, uint32_t>;        // until when all of that thread, or block, is seen
    struct Knowledge {
        Times threads, blocks;
        void join(const Knowledge& other);
        bool holds(const Stamp& stamp) const;
        bool empty() const { return threads.empty() && blocks.empty(); }
    };

    uint32_t now = 1, block = 0, block_began = 1, last_barrier = 1;
    unsigned count = 0;
    std::vector<uint32_t> lanes_seen;                            // [thread][lane of its warp]
    bool fences = false;                                         // none yet: nothing passes between blocks
    std::vector<uint32_t> fenced;                                // [thread]: when it last called __threadfence
    std::unordered_map<uint32_t, Knowledge> learnt;              // by thread of this block, since the last barrier
    Knowledge block_learnt;
    std::unordered_map<const void*, Knowledge> published;        // at the address of an atomic operation
};

}  // namespace emulator
