// How a multiprocessor runs the threads of a block in turn.
#include <algorithm>

#include "observer.h"

namespace emulator {

__thread Multiprocessor* at_work = nullptr;

void Multiprocessor::run(Launch& its_launch)
{
    prepare(its_launch);
    at_work = this;
    if (sigsetjmp(escape, 1) == 0) {
        now_running(this, true);
        uint64_t number;
        while (launch->next_block(number)) run_block(number);
    } else {
        launch->stop(crash_reason());                            // a signal's handler has jumped here
    }
    now_running(this, false);
    if (launch->stopped) reclaim_fibres();
    at_work = nullptr;
}

void Multiprocessor::prepare(Launch& its_launch)
{
    launch = &its_launch;
    schedule = launch->request.schedule;
    const Request& request = launch->request;
    grid_size = {request.grid[0], request.grid[1], request.grid[2]};
    block_size = {request.block[0], request.block[1], request.block[2]};
    random = request.seed * 0x9e3779b97f4a7c15u + 1;
    count = block_size.x * block_size.y * block_size.z;
    threads.resize(count);
    unsigned number = 0;
    for (unsigned z = 0; z < block_size.z; z++)
        for (unsigned y = 0; y < block_size.y; y++)
            for (unsigned x = 0; x < block_size.x; x++, number++) {
                threads[number].index = {x, y, z};
                threads[number].number = number;
            }
    warps.resize((count + 31) / 32);
    for (Warp& warp : warps) warp.exists = ~0u;
    if (count % 32) warps.back().exists = (1u << count % 32) - 1;
    shared_arrays.clear();
    shared_used = 0;
    dynamic_array = nullptr;
    crash_signal = 0;
    meeting_is_held = false;
}

void Multiprocessor::run_block(uint64_t number)
{
    block_number = number;
    block_index = {unsigned(number % grid_size.x), unsigned(number / grid_size.x % grid_size.y),
                   unsigned(number / grid_size.x / grid_size.y)};
    for (Warp& warp : warps) {
        warp.ready = warp.exists;
        warp.gone = 0;
        warp.meetings.clear();
    }
    arrived = gone = 0;
    in_favour = 0;
    clear_shared_arrays();
    observe_block_begin(*this);
    current = &threads[schedule == REVERSE ? 0 : count - 1];
    go_on_with(*next_ready());                                   // returns when the last thread has ended, or all must stop
    if (!launch->stopped) observe_block_end();
}

void Multiprocessor::fibre_main()
{
    for (;;) {
        Multiprocessor& machine = multiprocessor();
        Thread& thread = *machine.current;
        thread.place = {};
        thread.waits_for = nullptr;
        thread.copies.clear();
        thread.committed = 0;
        thread.steps = 0;
        machine.launch->request.kernel(machine.launch->request.arguments);
        machine.thread_ended();
    }
}

// Goes on with another thread: on this same fibre if that has not begun. Returns to begin a thread.
void Multiprocessor::thread_ended()
{
    Thread& ended = *current;
    if (ended.waits_for) ended.place = {};                       // where it last waited, and not from where it left
    observe_thread_end(ended);
    Fibre* fibre = ended.fibre;
    ended.fibre = nullptr;
    Warp& warp = warps[ended.warp()];
    warp.ready &= ~(1u << ended.lane());
    warp.gone |= 1u << ended.lane();
    gone++;
    for (size_t i = warp.meetings.size(); i-- > 0;) hold_if_complete(warp, warp.meetings[i]);
    if (arrived && arrived + gone == count) release_barrier();
    Thread* next = gone == count ? nullptr : next_ready();
    if (gone < count && !next) stuck();
    if (next && !next->fibre) {
        next->fibre = fibre;
        become(*next);
        return;
    }
    free_fibres.push_back(fibre);
    if (next) become(*next);
    switch_to(next ? *next->fibre : main);
}

void Multiprocessor::become(Thread& thread)
{
    current = &thread;
    thread_index = thread.index;
    lane = thread.lane();
    breaths = 0;
}

void Multiprocessor::go_on_with(Thread& thread)
{
    become(thread);
    if (!thread.fibre) thread.fibre = free_fibre();
    switch_to(*thread.fibre);
}

void Multiprocessor::switch_to(Fibre& fibre)
{
    Fibre* from = running;
    running = &fibre;
    from->switch_to(fibre);
}

void Multiprocessor::wait()
{
    Thread* next = next_ready();
    if (!next) stuck();
    if (const unsigned then = next->number + 1; then < count && threads[then].fibre) threads[then].fibre->fetch_into_cache();
    go_on_with(*next);
}

void Multiprocessor::let_others_go_on()
{
    Thread* next = next_ready();
    if (next && next != current) go_on_with(*next);
}

void Multiprocessor::breathe()
{
    if (++breaths % 64) return;
    if (interrupted()) stop_interrupted();
    let_others_go_on();
}

void Multiprocessor::stop_interrupted() { stop("interrupted"); }

// ------------------------------------------------------------------------------------------------------ whose turn it is

Thread* Multiprocessor::next_ready()
{
    if (schedule == FORWARD) return ready_after(current->number);
    return schedule == REVERSE ? ready_before(current->number) : ready_after(random_number() % count);
}

// The first ready thread after that number, round the block.
Thread* Multiprocessor::ready_after(unsigned number)
{
    const unsigned size = unsigned(warps.size()), start = number / 32, after = ~1u << number % 32;
    if (const unsigned ready = warps[start].ready & after) return &threads[start * 32 + __builtin_ctz(ready)];
    for (unsigned step = 1, warp = start; step <= size; step++) {
        warp = warp + 1 == size ? 0 : warp + 1;
        if (warps[warp].ready) return &threads[warp * 32 + __builtin_ctz(warps[warp].ready)];
    }
    return nullptr;
}

Thread* Multiprocessor::ready_before(unsigned number)
{
    const unsigned size = unsigned(warps.size()), start = number / 32;
    const unsigned before = (1u << number % 32) - 1;
    if (const unsigned ready = warps[start].ready & before) return &threads[start * 32 + 31 - __builtin_clz(ready)];
    for (unsigned step = 1, warp = start; step <= size; step++) {
        warp = warp ? warp - 1 : size - 1;
        if (warps[warp].ready) return &threads[warp * 32 + 31 - __builtin_clz(warps[warp].ready)];
    }
    return nullptr;
}

unsigned Multiprocessor::random_number()                         // xorshift
{
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return unsigned(random >> 32);
}

// ---------------------------------------------------------------------------------------------------- fibres and the end

Fibre* Multiprocessor::free_fibre()
{
    if (free_fibres.empty()) {
        fibres.emplace_back(fibre_main, static_cast<Context*>(this), int(fibres.size()));
        return &fibres.back();
    }
    Fibre* fibre = free_fibres.back();
    free_fibres.pop_back();
    return fibre;
}

void Multiprocessor::reclaim_fibres()
{
    free_fibres.clear();
    for (Fibre& fibre : fibres) {
        fibre.restart();
        free_fibres.push_back(&fibre);
    }
    for (Thread& thread : threads) thread.fibre = nullptr;
    running = &main;
}

void Multiprocessor::stop(std::string why)
{
    launch->stop(std::move(why));
    switch_to(main);
    __builtin_unreachable();                                     // its fibre is restarted before it runs again
}

void Multiprocessor::fault(const char* kind, const std::string& what, const Thread* first, Place first_place,
                           const Thread* second, Place second_place)
{
    observe_fault(kind, what, first, first_place, second, second_place);
    stop(what);
}

void Multiprocessor::failed(const std::string& what, Place place)
{
    fault("failed", text("%s, line %d: %s", name_of(*current).c_str(), place.line, what.c_str()), current, place);
}

std::string Multiprocessor::name_of(const Thread& thread) const
{
    return text("thread (%u, %u, %u) of block (%u, %u, %u)", thread.index.x, thread.index.y, thread.index.z, block_index.x,
                block_index.y, block_index.z);
}

void Multiprocessor::crashed(int signal, void* address)
{
    crash_signal = signal;
    crash_address = address;
    siglongjmp(escape, 1);
}

std::string Multiprocessor::crash_reason() const
{
    if (interrupted()) return "interrupted";
    const std::string who = name_of(*current);
    if (current->fibre && current->fibre->overflowed(crash_address))
        return text("%s ran out of stack: its local variables and calls take more than %zu KiB", who.c_str(),
                    Fibre::USABLE >> 10);
    switch (crash_signal) {
    case SIGFPE: return text("%s divided an integer by zero", who.c_str());
    case SIGILL: return text("%s came to an instruction that this processor does not have", who.c_str());
    default:
        return text("%s accessed memory at %p, which belongs to none of the arrays, or a vector off its boundary; "
                    "emulator.check() tells which line did", who.c_str(), crash_address);
    }
}

}  // namespace emulator
