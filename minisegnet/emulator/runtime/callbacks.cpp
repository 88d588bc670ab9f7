// Check mode: what the compiler's instrumentation calls, under the names that the sanitizers' own libraries would have.
#ifdef EMULATOR_CHECK
#include <cstring>

#include "checker.h"

namespace emulator {

static constexpr uint64_t MOST_STEPS = 20'000'000;               // of a thread: a second or two

// Called before every access that the compiler did not put on hold in a register.
static void accessed(const void* address, size_t bytes, Access access, const void* instruction, bool aligned = true)
{
    if (!at_work) return;                                        // while the library is loaded
    Multiprocessor& machine = *at_work;
    Checker& checks = checker();
    if (machine.is_private(address)) {
        const int64_t offset = static_cast<const char*>(address) - reinterpret_cast<const char*>(static_cast<Context*>(at_work));
        if (offset >= 0 && offset < int64_t(sizeof(Context)))
            checks.follow(*machine.current, {checks.sites.of_code(instruction), int32_t(StepKind::builtin), 0, int32_t(bytes),
                                             -1, offset, nullptr, 'u', {}}, address);
        return;
    }
    checks.preempt();
    checks.access(*machine.current, address, bytes, access, checks.sites.of_code(instruction), aligned);
}

// Of any number of bytes: a device takes them word by word.
static void range_accessed(const void* address, size_t bytes, Access access, const void* instruction)
{
    const char* const start = static_cast<const char*>(address);
    const size_t each = (reinterpret_cast<uintptr_t>(address) | bytes) % 4 ? 1 : 4;
    for (size_t done = 0; done < bytes; done += each) accessed(start + done, each, access, instruction, false);
}

static void stepped(const void* instruction)
{
    if (!at_work) return;
    Multiprocessor& machine = *at_work;
    if (machine.meeting_is_held) return;
    Thread& thread = *machine.current;
    Checker& checks = checker();
    if (++thread.steps % 1024 == 0) machine.let_others_go_on();  // it may be waiting for what another will write
    if (thread.steps < MOST_STEPS) return;
    checks.add("endless", text("%s has taken %llu steps", machine.name_of(thread).c_str(), (unsigned long long)MOST_STEPS),
               checks.witness(thread, checks.sites.of_code(instruction), -1), {});
    machine.stop("endless");
}

// As the sanitizer for undefined behaviour describes a place in the source, and a type.
struct SourceLocation {
    const char* file;
    uint32_t line, column;
};
struct TypeDescriptor {
    uint16_t kind, details;
    char name[1];
};
struct OutOfBounds {
    SourceLocation location;
    const TypeDescriptor *array, *index;
};

[[noreturn]] static void broken(const char* kind, const SourceLocation& location, const std::string& what)
{
    Multiprocessor& machine = multiprocessor();
    Checker& checks = checker();
    checks.add(kind, what, checks.witness(*machine.current, checks.sites.of_place({location.file, int(location.line)}), -1),
               {});
    machine.stop(what);
}

}  // namespace emulator

using emulator::Access;
using emulator::accessed;
using emulator::range_accessed;

extern "C" {

#define CALLER __builtin_return_address(0)
#define ACCESSES(bytes)                                                                                                   \
    void __tsan_read##bytes(void* address) { accessed(address, bytes, Access::read, CALLER); }                             \
    void __tsan_write##bytes(void* address) { accessed(address, bytes, Access::write, CALLER); }                           \
    void __tsan_volatile_read##bytes(void* address) { accessed(address, bytes, Access::read, CALLER); }                    \
    void __tsan_volatile_write##bytes(void* address) { accessed(address, bytes, Access::write, CALLER); }                  \
    void __tsan_unaligned_read##bytes(void* address) { accessed(address, bytes, Access::read, CALLER, false); }            \
    void __tsan_unaligned_write##bytes(void* address) { accessed(address, bytes, Access::write, CALLER, false); }          \
    void __tsan_unaligned_volatile_read##bytes(void* address) { accessed(address, bytes, Access::read, CALLER, false); }   \
    void __tsan_unaligned_volatile_write##bytes(void* address) { accessed(address, bytes, Access::write, CALLER, false); } \
    void __tsan_read_write##bytes(void* address)                                                                          \
    {                                                                                                                     \
        accessed(address, bytes, Access::read, CALLER);                                                                   \
        accessed(address, bytes, Access::write, CALLER);                                                                  \
    }                                                                                                                     \
    void __tsan_unaligned_read_write##bytes(void* address)                                                                \
    {                                                                                                                     \
        accessed(address, bytes, Access::read, CALLER, false);                                                            \
        accessed(address, bytes, Access::write, CALLER, false);                                                           \
    }
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)

void __tsan_read_range(void* address, size_t bytes) { range_accessed(address, bytes, Access::read, CALLER); }
void __tsan_write_range(void* address, size_t bytes) { range_accessed(address, bytes, Access::write, CALLER); }
void* __tsan_memcpy(void* to, const void* from, size_t bytes)
{
    range_accessed(from, bytes, Access::read, CALLER);
    range_accessed(to, bytes, Access::write, CALLER);
    return std::memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, size_t bytes)
{
    range_accessed(from, bytes, Access::read, CALLER);
    range_accessed(to, bytes, Access::write, CALLER);
    return std::memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int value, size_t bytes)
{
    range_accessed(to, bytes, Access::write, CALLER);
    return std::memset(to, value, bytes);
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

void __sanitizer_cov_trace_pc() { emulator::stepped(CALLER); }

void __ubsan_handle_out_of_bounds(emulator::OutOfBounds* where, void* index)
{
    emulator::broken("out of bounds", where->location,
                     emulator::text("%s uses the index %lld of an array of type %s",
                                    emulator::multiprocessor().name_of(*emulator::multiprocessor().current).c_str(),
                                    (long long)(intptr_t)index, where->array->name));
}

void __ubsan_handle_divrem_overflow(emulator::SourceLocation* where, void*, void*)
{
    emulator::broken("division by zero", *where,
                     emulator::text("%s divides an integer by zero",
                                    emulator::multiprocessor().name_of(*emulator::multiprocessor().current).c_str()));
}
}
#endif
