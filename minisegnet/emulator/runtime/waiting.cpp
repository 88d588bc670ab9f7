// Barriers of a block and meetings of a warp's lanes, and what is said when nobody can go on.
#include <algorithm>
#include <cstring>

#include "observer.h"

namespace emulator {

static bool same(Place a, Place b) { return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0); }

// Most of the time goes into switching, and there into fetching a stack that was put aside long ago. So what waits ends in
// the switch itself, with nothing left to do when it goes on; and what happens rarely, and needs room for words, is put into
// functions of its own, marked EMULATOR_RARE.

// ----------------------------------------------------------------------------------------------------- __syncthreads

void Multiprocessor::sync_block(int predicate, Place place)
{
    Thread& me = *current;
    if (arrived == 0) {
        first_arrived = &me;
        if (interrupted()) stop_interrupted();
    } else if (!same(first_arrived->place, place)) {
        other_barrier(place);
    }
    me.place = place;
    me.waits_for = "__syncthreads";
    observe_waiting(me, me.waits_for, place);
    Warp& warp = warps[me.warp()];
    warp.ready &= ~(1u << me.lane());
    arrived++;
    in_favour += predicate != 0;
    if (arrived + gone < count) return wait();
    release_barrier();
    if (schedule > REVERSE) let_others_go_on();
}

void Multiprocessor::other_barrier(Place place)
{
    fault("divergent barrier",
          text("%s is at the barrier of line %d, while %s waits at that of line %d", name_of(*current).c_str(), place.line,
               name_of(*first_arrived).c_str(), first_arrived->place.line),
          first_arrived, first_arrived->place, current, place);
}

void Multiprocessor::barrier_without_all()
{
    const auto warp = std::find_if(warps.begin(), warps.end(), [](const Warp& warp) { return warp.gone; });
    const Thread& left = threads[32 * unsigned(warp - warps.begin()) + __builtin_ctz(warp->gone)];
    observe_fault("divergent barrier",
                  text("%u of the block's %u threads wait at a barrier to which the others will not come: they have "
                       "left the kernel", arrived, count),
                  first_arrived, first_arrived->place, &left, left.place);
}

// The threads that have left are not waited for, as on devices since sm_70.
void Multiprocessor::release_barrier()
{
    votes = {in_favour, int(arrived)};
    if (gone) barrier_without_all();
    arrived = 0;
    in_favour = 0;
    observe_barrier();
    for (Warp& warp : warps) warp.ready = warp.exists & ~warp.gone;
}

// ------------------------------------------------------------------------------------------------ meetings of a warp

void Multiprocessor::meet(unsigned mask, void* parcel, Work work, const char* name, Place place, bool of_all)
{
    Thread& me = *current;
    Warp& warp = warps[me.warp()];
    const unsigned my_bit = 1u << me.lane();
    if (!(mask & my_bit)) wrong_mask(mask, place);
    auto meeting = std::find_if(warp.meetings.begin(), warp.meetings.end(),
                                [mask](const Meeting& open) { return open.mask == mask; });
    if (meeting == warp.meetings.end()) {
        warp.meetings.push_back({mask, 0, work, name, place, of_all});
        meeting = warp.meetings.end() - 1;
    } else if (meeting->work != work || (work && !same(meeting->place, place))) {
        other_meeting(*meeting, name, place);
    }
    meeting->present |= my_bit;
    warp.parcels[me.lane()] = parcel;
    me.place = place;
    me.waits_for = name;
    observe_waiting(me, name, place);
    warp.ready &= ~my_bit;
    hold_if_complete(warp, *meeting);
    if (!(warp.ready & my_bit)) return wait();
    if (schedule > REVERSE) let_others_go_on();
}

void Multiprocessor::wrong_mask(unsigned mask, Place place)
{
    fault("wrong mask",
          text("%s is lane %u, which its mask 0x%08x does not name", name_of(*current).c_str(), current->lane(), mask), current,
          place);
}

void Multiprocessor::other_meeting(const Meeting& meeting, const char* name, Place place)
{
    const Thread& other = threads[current->warp() * 32 + __builtin_ctz(meeting.present)];
    fault("divergent warp",
          text("lanes of one warp meet in different instructions: %s in %s, %s in %s", name_of(other).c_str(), meeting.name,
               name_of(*current).c_str(), name),
          &other, meeting.place, current, place);
}

void Multiprocessor::lanes_missing(const Meeting& meeting)
{
    const Warp& warp = warps[current->warp()];
    const Thread& there = threads[(current->number & ~31u) + unsigned(__builtin_ctz(meeting.present))];
    const int missing = __builtin_ctz(~meeting.present);
    fault("divergent warp",
          text("%s takes all 32 lanes of a warp; lane %d of this one %s", meeting.name, missing,
               warp.exists >> missing & 1 ? "has left the kernel" : "does not exist"),
          &there, meeting.place);
}

// Lanes that have left the kernel are not waited for.
void Multiprocessor::hold_if_complete(Warp& warp, Meeting& meeting)
{
    if (meeting.present != (meeting.mask & warp.exists & ~warp.gone)) return;
    const Meeting held = meeting;
    if (held.of_all && held.present != ~0u) lanes_missing(held);
    meeting = warp.meetings.back();
    warp.meetings.pop_back();
    observe_meeting(current->number & ~31u, held.present, held.work == nullptr);
    meeting_is_held = true;
    if (held.work) held.work(warp.parcels, held.present);
    meeting_is_held = false;
    warp.ready |= held.present;
}

void absent_lane(unsigned lane, unsigned from)
{
    multiprocessor().lane_is_absent(lane, from);
}

void Multiprocessor::lane_is_absent(unsigned lane, unsigned from)
{
    const unsigned first = current->number & ~31u;
    const Thread& asking = threads[first + lane];
    const Warp& warp = warps[current->warp()];
    const Thread* left = warp.gone >> from & 1 ? &threads[first + from] : nullptr;
    const char* why = !(warp.exists >> from & 1) ? "the block has no such thread"
                      : left                     ? "which has left the kernel"
                                                 : "which does not take part";
    fault("absent lane",
          text("%s, lane %u, asks for the value of lane %u: %s", name_of(asking).c_str(), lane, from, why), &asking,
          asking.place, left, left ? left->place : Place{});
}

// ------------------------------------------------------------------------------------------------------ nobody can go on

void Multiprocessor::stuck()
{
    const Thread *first = nullptr, *second = nullptr;
    for (const Thread& thread : threads) {
        if (!thread.waits_for || has_left(thread)) continue;
        if (!first) {
            first = &thread;
        } else if (!second && (thread.waits_for != first->waits_for || !same(thread.place, first->place) ||
                               thread.warp() != first->warp())) {
            second = &thread;
        }
    }
    std::string what = text("nobody can go on: %s waits in %s at line %d", name_of(*first).c_str(), first->waits_for,
                            first->place.line);
    if (second) what += text(", %s in %s at line %d", name_of(*second).c_str(), second->waits_for, second->place.line);
    if (gone) what += text("; %u of the block's %u threads have left the kernel", gone, count);
    fault("deadlock", what, first, first->place, second, second ? second->place : Place{});
}

// --------------------------------------------------------------------------------------------- what a kernel calls

void sync_block(int predicate, Place place) { multiprocessor().sync_block(predicate, place); }
void meet(unsigned mask, void* parcel, Work work, const char* name, Place place)
{
    multiprocessor().meet(mask, parcel, work, name, place);
}
void meet_all(void* parcel, Work work, const char* name, Place place)
{
    multiprocessor().meet(~0u, parcel, work, name, place, true);
}
void sync_warp(unsigned mask, Place place) { multiprocessor().meet(mask, nullptr, nullptr, "__syncwarp", place); }
void breathe() { multiprocessor().breathe(); }
void fence()
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    observe_fence();
    breathe();
}
void leave(Place place)
{
    multiprocessor().current->place = place;
    multiprocessor().current->waits_for = nullptr;
    observe_leaving(*multiprocessor().current, place);
}

#ifndef EMULATOR_CHECK
void show(const char*, char, const void*, size_t, Place) {}
#endif

}  // namespace emulator
