// Check mode: keeping the steps of the threads that are followed.
#ifdef EMULATOR_CHECK
#include "trace.h"

#include <algorithm>
#include <cstring>

namespace emulator {

void Trace::begin(int64_t its_block, int first_thread, int last_thread)
{
    steps.clear();
    block = its_block;
    first = first_thread;
    last = last_thread;
    std::fill(unfinished.begin(), unfinished.end(), Unfinished{0, nullptr});
}

bool Trace::follows(const Multiprocessor& machine, const Thread& thread) const
{
    return int64_t(machine.block_number) == block && int(thread.number) >= first && int(thread.number) <= last;
}

void Trace::add(Step step, const void* value)
{
    finish_write(step.thread);
    if (steps.size() >= MOST) return;
    if (value) std::memcpy(step.value, value, std::min<size_t>(size_t(step.bytes), sizeof step.value));
    steps.push_back(step);
}

void Trace::add_write(Step step, const void* value)
{
    add(step, nullptr);
    if (steps.size() < MOST) unfinished[size_t(step.thread)] = {steps.size() - 1, value};
}

void Trace::finish_write(int thread)
{
    Unfinished& write = unfinished[size_t(thread)];
    if (!write.value) return;
    Step& step = steps[write.step];
    std::memcpy(step.value, write.value, std::min<size_t>(size_t(step.bytes), sizeof step.value));
    write.value = nullptr;
}

}  // namespace emulator
#endif
