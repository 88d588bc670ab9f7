// A fibre: a stack of its own and the place where its code stands, so that a CUDA thread can wait and be gone on with.
#pragma once
#include <cstddef>

#include "machine_interface.h"

#if !defined(__x86_64__) || defined(EMULATOR_UCONTEXT)
#define EMULATOR_SWITCH_BY_UCONTEXT
#include <ucontext.h>
#endif

namespace emulator {

class Fibre {
public:
    Fibre() = default;                                           // the one that is running already, on its own stack
    Fibre(void (*start)(), const void* context, int number);     // stands at the start of a function that never returns
    ~Fibre();
    Fibre(const Fibre&) = delete;

    void switch_to(Fibre& other);                                // returns when somebody switches back
    void fetch_into_cache() const;                               // what it will need first when it goes on
    void restart();                                              // whatever it was doing, it stands at its start again

    bool owns(const void* address) const { return address >= lowest && address < stack + STACK_BYTES; }
    bool overflowed(const void* address) const { return address >= stack && address < lowest; }

private:
    static constexpr size_t PAGE = 16 << 10;                     // of the machines at hand, the largest; none may touch it
    static constexpr size_t SPREAD = 16 << 10;

public:
    static constexpr size_t USABLE = STACK_BYTES - PAGE - SPREAD;    // for a CUDA thread's local variables and calls

private:

    void (*start)() = nullptr;
    char *stack = nullptr, *lowest = nullptr, *top = nullptr;
#ifdef EMULATOR_SWITCH_BY_UCONTEXT
    ucontext_t state;
#else
    void* stack_pointer = nullptr;
#endif
};

}  // namespace emulator
