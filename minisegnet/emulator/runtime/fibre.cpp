// Switching between fibres: by hand on x86-64, which takes a few nanoseconds, by ucontext anywhere else.
#include "fibre.h"

#include <sys/mman.h>

#include <new>

#ifndef EMULATOR_SWITCH_BY_UCONTEXT
// Registers that a called function must leave alone are kept on the stack; where that stack then ends is all there is to
// know about a fibre that waits. It goes on by a jump rather than by a return, since the processor guesses that a function
// returns to who called it last, and that was another fibre.
extern "C" void emulator_switch(void** kept_stack_pointer, void* other_stack_pointer) __asm__("emulator_switch");
__asm__(R"(
    .text
    .globl emulator_switch
    .hidden emulator_switch
emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    popq %rcx
    jmp *%rcx
)");
#endif

namespace emulator {

// Memory that starts at a multiple of its size: out of twice as much, of which the rest is given back.
static char* stack_memory()
{
    void* memory = mmap(nullptr, 2 * STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    char* const start = static_cast<char*>(memory);
    const size_t before = -reinterpret_cast<uintptr_t>(start) % STACK_BYTES;
    if (before) munmap(start, before);
    munmap(start + before + STACK_BYTES, STACK_BYTES - before);
    return start + before;
}

Fibre::Fibre(void (*start)(), const void* context, int number) : start(start), stack(stack_memory()), lowest(stack + PAGE)
{
    mprotect(stack, PAGE, PROT_NONE);                            // an overflow ends in a fault rather than in a neighbour
    char* const end = stack + STACK_BYTES - STACK_RESERVED;
    *reinterpret_cast<const void**>(end) = context;
    // Stacks that ended at the same place in their pages would compete for the same few lines of the cache.
    top = end - number * 576 % SPREAD / 64 * 64;
    restart();
}

Fibre::~Fibre()
{
    if (stack) munmap(stack, STACK_BYTES);
}

#ifdef EMULATOR_SWITCH_BY_UCONTEXT

void Fibre::restart()
{
    getcontext(&state);
    state.uc_stack.ss_sp = lowest;
    state.uc_stack.ss_size = static_cast<size_t>(top - lowest);
    state.uc_link = nullptr;
    makecontext(&state, start, 0);
}

void Fibre::switch_to(Fibre& other) { swapcontext(&state, &other.state); }
void Fibre::fetch_into_cache() const {}

#else

void Fibre::restart()
{
    void** words = reinterpret_cast<void**>(top);
    *--words = nullptr;                                          // where start() would return to, and it keeps the stack
    *--words = reinterpret_cast<void*>(start);                   // aligned as at any function's first instruction
    for (int i = 0; i < 6; i++) *--words = nullptr;              // the six registers
    stack_pointer = words;
}

void Fibre::switch_to(Fibre& other) { emulator_switch(&stack_pointer, other.stack_pointer); }

void Fibre::fetch_into_cache() const
{
    for (int line = 0; line < 5; line++) __builtin_prefetch(static_cast<char*>(stack_pointer) + 64 * line);
}

#endif

}  // namespace emulator
