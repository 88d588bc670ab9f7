// A fibre: a stack of its own and the place where its code stands, so that a CUDA thread can wait and be gone on with.
#pragma once
#include <cstddef>

#if !defined(__x86_64__) || defined(EMULATOR_UCONTEXT)
#define EMULATOR_SWITCH_BY_UCONTEXT
#include <ucontext.h>
#endif

namespace emulator {

class Fibre {
public:
    Fibre() = default;                                           // the one that is running already, on its own stack
    Fibre(void (*start)(), int number);                          // stands at the start of a function that never returns
    ~Fibre();
    Fibre(const Fibre&) = delete;

    void switch_to(Fibre& other);                                // returns when somebody switches back
    void restart();                                              // whatever it was doing, it stands at its start again

    bool owns(const void* address) const { return address >= lowest && address < stack + SIZE; }
    bool overflowed(const void* address) const { return address >= stack && address < lowest; }

    static constexpr size_t USABLE = 96 << 10;                   // for a CUDA thread's local variables and calls

private:
    static constexpr size_t PAGE = 16 << 10;                     // of the machines at hand, the largest; none may touch it
    static constexpr size_t SPREAD = 16 << 10;
    static constexpr size_t SIZE = PAGE + USABLE + SPREAD;

    void (*start)() = nullptr;
    char *stack = nullptr, *lowest = nullptr, *top = nullptr;
#ifdef EMULATOR_SWITCH_BY_UCONTEXT
    ucontext_t state;
#else
    void* stack_pointer = nullptr;
#endif
};

}  // namespace emulator
