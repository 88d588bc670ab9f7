// Check mode: how barriers, __syncwarp, and fences with atomic operations bring threads into order.
#ifdef EMULATOR_CHECK
#include "order.h"

#include <algorithm>

namespace emulator {

void Order::begin_block(const Multiprocessor& machine)
{
    block = uint32_t(machine.block_number);
    block_began = last_barrier = ++now;
    count = machine.count;
    lanes_seen.assign(size_t(count) * 32, 0);
    fenced.assign(count, 0);
    learnt.clear();
    block_learnt = {};
}

bool Order::seen(const Stamp& stamp, const Thread& by) const
{
    const uint32_t me = block << 10 | by.number;
    if (stamp.time == 0 || stamp.thread == me) return true;
    if (stamp.thread >> 10 == (block & 0x3fffff)) {
        if (stamp.time < last_barrier) return true;
        const unsigned other = stamp.thread & 1023;
        if (other / 32 == by.warp() && stamp.time < lanes_seen[by.number * 32 + other % 32]) return true;
    }
    if (!fences) return false;
    if (block_learnt.holds(stamp)) return true;
    const auto mine = learnt.find(by.number);
    return mine != learnt.end() && mine->second.holds(stamp);
}

void Order::barrier()
{
    last_barrier = ++now;
    for (const auto& [thread, knowledge] : learnt) block_learnt.join(knowledge);
    learnt.clear();
}

// Each lane learns what any of them had seen, and all that they have done themselves.
void Order::warp_barrier(unsigned first_thread, unsigned present)
{
    uint32_t together[32] = {};
    for (unsigned lane = 0; lane < 32; lane++) {
        if (!(present >> lane & 1)) continue;
        const uint32_t* its = &lanes_seen[(first_thread + lane) * 32];
        for (unsigned other = 0; other < 32; other++) together[other] = std::max(together[other], its[other]);
    }
    now++;
    for (unsigned lane = 0; lane < 32; lane++)
        if (present >> lane & 1) together[lane] = now;
    for (unsigned lane = 0; lane < 32; lane++)
        if (present >> lane & 1) std::copy(together, together + 32, &lanes_seen[(first_thread + lane) * 32]);
    if (learnt.empty()) return;
    Knowledge shared;
    for (unsigned lane = 0; lane < 32; lane++)
        if (const auto its = learnt.find(first_thread + lane); (present >> lane & 1) && its != learnt.end())
            shared.join(its->second);
    for (unsigned lane = 0; lane < 32 && !shared.empty(); lane++)
        if (present >> lane & 1) learnt[first_thread + lane].join(shared);
}

void Order::fence(const Thread& thread)
{
    fences = true;
    fenced[thread.number] = ++now;
}

// Who does an atomic operation learns what others had published there, and publishes what it knew at its last fence.
void Order::atomic(const Thread& thread, const void* address)
{
    if (!fences) return;
    const auto there = published.find(address);
    if (there != published.end()) learnt[thread.number].join(there->second);
    if (!fenced[thread.number]) return;
    Knowledge& all = published[address];
    all.threads[block << 10 | thread.number] = fenced[thread.number];
    uint32_t& of_block = all.blocks[block & 0x3fffff];
    of_block = std::max(of_block, last_barrier);
    for (unsigned lane = 0; lane < 32; lane++)
        if (const uint32_t time = lanes_seen[thread.number * 32 + lane]) {
            uint32_t& of_lane = all.threads[block << 10 | ((thread.number & ~31u) + lane)];
            of_lane = std::max(of_lane, time);
        }
    all.join(block_learnt);
    if (const auto mine = learnt.find(thread.number); mine != learnt.end()) all.join(mine->second);
}

void Order::Knowledge::join(const Knowledge& other)
{
    for (const auto& [thread, time] : other.threads) threads[thread] = std::max(threads[thread], time);
    for (const auto& [block, time] : other.blocks) blocks[block] = std::max(blocks[block], time);
}

bool Order::Knowledge::holds(const Stamp& stamp) const
{
    const auto block = blocks.find(stamp.thread >> 10);
    if (block != blocks.end() && stamp.time < block->second) return true;
    const auto thread = threads.find(stamp.thread);
    return thread != threads.end() && stamp.time < thread->second;
}

}  // namespace emulator
#endif
