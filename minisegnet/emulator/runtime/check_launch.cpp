// Check mode: what the machine tells the checker, and how Python starts a checked launch and fetches its results.
#ifdef EMULATOR_CHECK
#include <sys/mman.h>

#include "checker.h"
#include "observer.h"

namespace emulator {

// ------------------------------------------------------------------------------------------- told by the machine

void observe_block_begin(Multiprocessor& machine)
{
    checker().order.begin_block(machine);
    checker().counters.begin_block(machine);
}

void observe_block_end() { checker().counters.flush(); }

void observe_thread_end(const Thread& thread) { checker().trace.finish_write(int(thread.number)); }

void observe_barrier()
{
    checker().order.barrier();
    checker().counters.flush();
    checker().counters.barriers++;
}

void observe_meeting(unsigned first_thread, unsigned present, bool orders_memory)
{
    if (!orders_memory) {
        checker().counters.meetings++;
        return;
    }
    checker().order.warp_barrier(first_thread, present);
    checker().counters.warp_barriers++;
}

void observe_shared_array(const SharedArray& array, char* address, size_t bytes)
{
    checker().add_shared(array, address, bytes);
}

void observe_waiting(const Thread& thread, const char* name, Place place)
{
    checker().follow(thread, {checker().sites.of_place(place), int32_t(StepKind::waiting), 0, 0, -1, 0, name, 0, {}}, nullptr);
}

void observe_leaving(const Thread& thread, Place place)
{
    checker().follow(thread, {checker().sites.of_place(place), int32_t(StepKind::leaving), 0, 0, -1, 0, nullptr, 0, {}}, nullptr);
}

void observe_fence() { checker().order.fence(*multiprocessor().current); }
void observe_copy_start(const Copy& copy) { checker().copy_start(*multiprocessor().current, copy); }
void observe_copy_end(const Copy& copy) { checker().copy_end(*multiprocessor().current, copy); }

void observe_fault(const char* kind, const std::string& what, const Thread* first, Place first_place, const Thread* second,
                   Place second_place)
{
    const auto witness = [](const Thread* thread, Place place) {
        if (!thread) return Witness{};
        return checker().witness(*thread, place.file ? checker().sites.of_place(place) : 0,
                                 multiprocessor().has_left(*thread) ? Witness::LEFT : Witness::STOOD);
    };
    checker().add(kind, what, witness(first, first_place), witness(second, second_place));
}

// --------------------------------------------------------------------------------------------- told by the kernel

void note(const void* address, size_t bytes, Access access, Place place)
{
    Checker& checks = checker();
    checks.preempt();
    checks.access(*multiprocessor().current, address, bytes, access, checks.sites.of_place(place), true);
}

void note_lane(unsigned lane, const void* address, size_t bytes, Access access, Place place)
{
    Multiprocessor& machine = multiprocessor();
    checker().access(machine.thread((machine.current->number & ~31u) + lane), address, bytes, access,
                     checker().sites.of_place(place), true);
}

void show(const char* name, char kind, const void* value, size_t bytes, Place place)
{
    checker().follow(*multiprocessor().current,
                     {checker().sites.of_place(place), int32_t(StepKind::value), 0, int32_t(bytes), -1, 0, name, kind, {}},
                     value);
}

}  // namespace emulator

// ------------------------------------------------------------------------------------------------ asked by Python

#define FOR_PYTHON extern "C" __attribute__((visibility("default")))

// Address space for the arguments, of which only the pages that are used take memory; null if there is none.
FOR_PYTHON void* emulator_reserve(size_t bytes)
{
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? nullptr : memory;
}
FOR_PYTHON void emulator_release(void* memory, size_t bytes) { munmap(memory, bytes); }

FOR_PYTHON void emulator_check(const emulator::Request* request, const emulator::Array* arguments, int count,
                               int64_t traced_block, int first_thread, int last_thread, char** reason, char** printed)
{
    emulator::checker().begin(*request, arguments, count);
    emulator::checker().trace.begin(traced_block, first_thread, last_thread);
    emulator_launch(request, reason, printed);
    emulator::checker().counters.flush();
}

FOR_PYTHON const emulator::Finding* emulator_findings(int64_t* count)
{
    *count = int64_t(emulator::checker().findings.all.size());
    return emulator::checker().findings.all.data();
}

FOR_PYTHON const emulator::Traffic* emulator_traffic(int64_t* count, int64_t* barriers, int64_t* warp_barriers,
                                                     int64_t* meetings)
{
    const emulator::Counters& counters = emulator::checker().counters;
    *barriers = counters.barriers;
    *warp_barriers = counters.warp_barriers;
    *meetings = counters.meetings;
    *count = int64_t(counters.traffic.size());
    return counters.traffic.data();
}

FOR_PYTHON const emulator::Step* emulator_steps(int64_t* count)
{
    *count = int64_t(emulator::checker().trace.steps.size());
    return emulator::checker().trace.steps.data();
}

FOR_PYTHON const emulator::Array* emulator_arrays(int64_t* count)
{
    *count = int64_t(emulator::checker().arrays.size());
    return emulator::checker().arrays.data();
}

FOR_PYTHON const emulator::Place* emulator_places(int64_t* count)
{
    *count = int64_t(emulator::checker().sites.places.size());
    return emulator::checker().sites.places.data();
}

#endif
