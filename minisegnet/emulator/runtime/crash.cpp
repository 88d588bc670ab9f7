// Faults of the processor inside a kernel (a wild pointer, a division by zero) end that launch, not the whole program; and
// so does Ctrl-C: the first time at the next block or barrier, the second time wherever the kernel is.
#include <sys/mman.h>

#include <mutex>

#include "machine.h"

namespace emulator {

static constexpr int SIGNALS[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGINT};
static constexpr size_t STACK = 64 << 10, MOST_RUNNING = 1024;
static struct sigaction previous[5];
static int guards = 0;
static std::mutex lock;
static volatile sig_atomic_t interruptions = 0;
static std::atomic<Multiprocessor*> running[MOST_RUNNING];

bool interrupted() { return interruptions > 0; }

void now_running(Multiprocessor* machine, bool runs)
{
    machine->processor = pthread_self();
    for (auto& place : running) {
        Multiprocessor* expected = runs ? nullptr : machine;
        if (place.compare_exchange_strong(expected, runs ? machine : nullptr)) return;
    }
}

static void on_fault(int signal, siginfo_t* information, void*)
{
    if (at_work) at_work->crashed(signal, information->si_addr);
    for (int i = 0; i < 5; i++)                                  // not ours: happens again, and then to whom it belongs
        if (SIGNALS[i] == signal) sigaction(signal, &previous[i], nullptr);
}

static void on_interruption(int signal, siginfo_t* information, void* state)
{
    const struct sigaction& theirs = previous[4];
    if (theirs.sa_flags & SA_SIGINFO) {
        theirs.sa_sigaction(signal, information, state);
    } else if (theirs.sa_handler != SIG_DFL && theirs.sa_handler != SIG_IGN) {
        theirs.sa_handler(signal);                               // Python's: raises KeyboardInterrupt when we return
    }
    interruptions = interruptions + 1;
    if (interruptions < 2) return;
    for (auto& place : running) {
        Multiprocessor* machine = place;
        if (machine && !pthread_equal(machine->processor, pthread_self())) pthread_kill(machine->processor, SIGILL);
    }
    if (at_work) at_work->crashed(signal, nullptr);
}

CrashGuard::CrashGuard()
{
    const std::lock_guard<std::mutex> hold(lock);
    if (guards++) return;
    interruptions = 0;
    struct sigaction ours {};
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&ours.sa_mask);
    for (int i = 0; i < 5; i++) {
        ours.sa_sigaction = SIGNALS[i] == SIGINT ? on_interruption : on_fault;
        sigaction(SIGNALS[i], &ours, &previous[i]);
    }
}

CrashGuard::~CrashGuard()
{
    const std::lock_guard<std::mutex> hold(lock);
    if (--guards) return;
    for (int i = 0; i < 5; i++) sigaction(SIGNALS[i], &previous[i], nullptr);
}

// The handler needs a stack of its own, since a fibre's may be what has run out.
SignalStack::SignalStack()
{
    stack_t now{};
    if (sigaltstack(nullptr, &now) != 0 || !(now.ss_flags & SS_DISABLE)) return;
    memory = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        memory = nullptr;
        return;
    }
    stack_t ours{};
    ours.ss_sp = memory;
    ours.ss_size = STACK;
    sigaltstack(&ours, nullptr);
}

SignalStack::~SignalStack()
{
    if (!memory) return;
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    sigaltstack(&none, nullptr);
    munmap(memory, STACK);
}

}  // namespace emulator
