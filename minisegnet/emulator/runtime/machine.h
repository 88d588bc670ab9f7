// The machine's parts: a launch, the multiprocessor that runs its blocks one after another, a block's warps and threads.
#pragma once
#include <pthread.h>

#include <atomic>
#include <csetjmp>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "fibre.h"
#include "machine_interface.h"

#define EMULATOR_RARE __attribute__((noinline, cold))

namespace emulator {

enum Schedule : int { FORWARD, REVERSE, RANDOM, ADVERSARIAL };

// What Python asks for. Its twin is the ctypes structure in library.py: the same fields in the same order.
struct Request {
    void (*kernel)(void** arguments);
    void** arguments;
    unsigned grid[3], block[3];
    unsigned shared_bytes;                                       // of dynamic shared memory
    int processors;                                              // cores to use
    int poison;                                                  // shared memory starts as NaN, cp.async's target too
    int schedule;
    uint64_t seed;
};

class Launch {
public:
    explicit Launch(const Request& request);
    bool next_block(uint64_t& number);                           // false when all blocks are taken

    const Request& request;
    std::atomic<bool> stopped{false};

    void run();
    void stop(std::string why);                                  // the first reason counts
    void print(const std::string& words);

    std::string reason, printed;                                 // to be read when all is over

private:
    const uint64_t blocks;
    std::atomic<uint64_t> taken{0};
    std::vector<uint64_t> order;                                 // empty where blocks are taken as they come
    std::mutex lock;
};

struct Copy {                                                    // of cp.async, on its way
    void* to;
    const void* from;
    int bytes, source_bytes, group;
    Place place;
};

struct alignas(64) Thread {                                      // what is needed at every switch lies on one cache line
    uint3 index;
    unsigned number;                                             // in its block
    Fibre* fibre = nullptr;                                      // none before its first step and after its last
    Place place{};                                               // where it waits, or did last, or from where it left
    const char* waits_for = nullptr;                             // or did last; null when it leaves by a return
    std::vector<Copy> copies;
    int committed = 0;                                           // groups of copies
    uint64_t steps = 0;                                          // in check mode
    unsigned lane() const { return number % 32; }
    unsigned warp() const { return number / 32; }
};

// Lanes that came together so far: see meet().
struct Meeting {
    unsigned mask, present;
    Work work;
    const char* name;
    Place place;
    bool of_all;                                                 // all 32 lanes, or it cannot be held
};

// Each set of lanes is a mask of 32 bits.
struct Warp {
    unsigned exists = 0, ready = 0, gone = 0;
    std::vector<Meeting> meetings;
    void* parcels[32];                                           // a lane is in one meeting at a time
};

// While it exists, a signal's handler has a stack to run on in this thread of the processor.
class SignalStack {
public:
    SignalStack();
    ~SignalStack();

private:
    void* memory = nullptr;
};

// Runs one block at a time on one thread of the processor. Threads are run in turn: each until it waits for others. The
// first goes on a fibre; as long as none waits, the next ones run there too, one after another like a plain loop.
class Multiprocessor : public Context {
public:
    void run(Launch& launch);                                    // blocks, until there are none left

    // What a kernel asks for (see machine_interface.h).
    void sync_block(int predicate, Place place);
    void meet(unsigned mask, void* parcel, Work work, const char* name, Place place, bool of_all = false);
    void* shared_array(const SharedArray& array);
    void* dynamic_shared_array(const SharedArray& array);
    [[noreturn]] void lane_is_absent(unsigned lane, unsigned from);
    void copy_async(const Copy& copy);
    void commit_copies();
    void wait_for_copies(int groups_left);
    void breathe();
    void let_others_go_on();
    [[noreturn]] void stop(std::string why);
    [[noreturn]] void failed(const std::string& what, Place place);

    Thread& thread(unsigned number) { return threads[number]; }
    std::string name_of(const Thread& thread) const;
    bool has_left(const Thread& thread) const { return warps[thread.warp()].gone >> thread.lane() & 1; }
    void crashed(int signal, void* address);                     // called by the signal's handler
    pthread_t processor;                                         // the thread of the processor that it runs on

    // A thread's own variables, and those of the machine.
    bool is_private(const void* address) const
    {
        return running->owns(address) || (address >= this && address < this + 1);
    }
    unsigned random_number();

    Launch* launch = nullptr;
    Thread* current = nullptr;
    int schedule = FORWARD;
    unsigned count = 0;                                          // threads in a block
    uint64_t block_number = 0;
    bool meeting_is_held = false;                                // no other thread may go on just now

private:
    static void fibre_main();
    void prepare(Launch& launch);
    void run_block(uint64_t number);
    void become(Thread& thread);
    void go_on_with(Thread& thread);
    void switch_to(Fibre& fibre);
    void thread_ended();
    void wait();                                                 // until somebody makes the current thread ready
    Thread* next_ready();
    Thread* ready_after(unsigned number);
    Thread* ready_before(unsigned number);
    void hold_if_complete(Warp& warp, Meeting& meeting);
    void release_barrier();
    [[noreturn]] EMULATOR_RARE void stop_interrupted();
    EMULATOR_RARE void barrier_without_all();
    [[noreturn]] EMULATOR_RARE void other_barrier(Place place);
    [[noreturn]] EMULATOR_RARE void wrong_mask(unsigned mask, Place place);
    [[noreturn]] EMULATOR_RARE void other_meeting(const Meeting& meeting, const char* name, Place place);
    [[noreturn]] EMULATOR_RARE void lanes_missing(const Meeting& meeting);
    [[noreturn]] EMULATOR_RARE void stuck();
    [[noreturn]] void fault(const char* kind, const std::string& what, const Thread* first, Place first_place,
                            const Thread* second = nullptr, Place second_place = {});
    char* place_shared(const SharedArray& array, size_t bytes);
    void clear_shared_arrays();
    std::string crash_reason() const;
    Fibre* free_fibre();
    void reclaim_fibres();

    std::vector<Thread> threads;
    std::vector<Warp> warps;
    std::deque<Fibre> fibres;                                    // which never moves them
    std::vector<Fibre*> free_fibres;
    Fibre main;
    Fibre* running = &main;

    // The block barrier.
    unsigned arrived = 0, gone = 0;
    int in_favour = 0;
    Thread* first_arrived = nullptr;

    struct Placed {
        const SharedArray* array;
        char* address;
        size_t bytes;
    };
    std::vector<Placed> shared_arrays;
    char *shared_memory = nullptr, *dynamic_array = nullptr;
    size_t shared_used = 0;

    uint64_t random = 0;
    unsigned breaths = 0;
    SignalStack signal_stack;
    sigjmp_buf escape;
    volatile int crash_signal = 0;
    void* volatile crash_address = nullptr;
};

// For what a kernel calls: the one that runs it.
inline Multiprocessor& multiprocessor()
{
    return static_cast<Multiprocessor&>(const_cast<Context&>(here()));
}

// For what may be called from anywhere: the one that this thread of the processor stands for just now, or null.
extern __thread Multiprocessor* at_work;

bool interrupted();                                              // by Ctrl-C
void now_running(Multiprocessor* machine, bool running);         // tells whom Ctrl-C has to stop

// While one exists, faults of the processor inside a kernel become errors of that launch, and Ctrl-C stops it.
class CrashGuard {
public:
    CrashGuard();
    ~CrashGuard();
};

// Calls work() on this thread and on so many others, and returns when all are done.
void side_by_side(int others, void (*work)(void* subject), void* subject);

std::string text(const char* format, ...) __attribute__((format(printf, 1, 2)));
std::string text(const char* format, va_list arguments);

}  // namespace emulator

extern "C" void emulator_launch(const emulator::Request* request, char** reason, char** printed);
