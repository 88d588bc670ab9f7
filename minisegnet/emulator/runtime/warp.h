// What the lanes of a warp say to each other without memory: shuffles, votes, reductions. These order no memory.
#pragma once
#include "machine_interface.h"

namespace emulator {

[[noreturn]] void absent_lane(unsigned lane, unsigned from);       // defined by the machine

template <class Value>
struct Shuffled {
    Value value;
    unsigned from;                                                  // the lane whose value is asked for
};

template <class Value>
EMULATOR_UNCHECKED void exchange(void** parcels, unsigned present)
{
    Value before[32];
    for (int lane = 0; lane < 32; lane++)
        if (present >> lane & 1) before[lane] = static_cast<Shuffled<Value>*>(parcels[lane])->value;
    for (int lane = 0; lane < 32; lane++) {
        if (!(present >> lane & 1)) continue;
        auto& parcel = *static_cast<Shuffled<Value>*>(parcels[lane]);
        if (!(present >> parcel.from & 1)) absent_lane(lane, parcel.from);
        parcel.value = before[parcel.from];
    }
}

template <class Value>
EMULATOR_UNCHECKED Value shuffle(unsigned mask, Value value, unsigned from, const char* name, Place place)
{
    static_assert(std::is_arithmetic_v<Value>, "a shuffle takes a number");
    Shuffled<Value> parcel{value, from};
    meet(mask, &parcel, exchange<Value>, name, place);
    return parcel.value;
}

struct Vote {
    unsigned in_favour;                                             // before: this lane's opinion; after: everybody's
};

EMULATOR_UNCHECKED inline void count_votes(void** parcels, unsigned present)
{
    unsigned in_favour = 0;
    for (int lane = 0; lane < 32; lane++)
        if ((present >> lane & 1) && static_cast<Vote*>(parcels[lane])->in_favour) in_favour |= 1u << lane;
    for (int lane = 0; lane < 32; lane++)
        if (present >> lane & 1) static_cast<Vote*>(parcels[lane])->in_favour = in_favour;
}


EMULATOR_UNCHECKED inline unsigned vote(unsigned mask, bool opinion, const char* name, Place place)
{
    Vote parcel{opinion};
    meet(mask, &parcel, count_votes, name, place);
    return parcel.in_favour;
}

// The same number for all present: Combine is a function of two values.
template <class Value, Value (*combine)(Value, Value)>
EMULATOR_UNCHECKED void reduce_parcels(void** parcels, unsigned present)
{
    Value total{};
    bool first = true;
    for (int lane = 0; lane < 32; lane++) {
        if (!(present >> lane & 1)) continue;
        const Value value = *static_cast<Value*>(parcels[lane]);
        total = first ? value : combine(total, value);
        first = false;
    }
    for (int lane = 0; lane < 32; lane++)
        if (present >> lane & 1) *static_cast<Value*>(parcels[lane]) = total;
}

template <class Value, Value (*combine)(Value, Value)>
EMULATOR_UNCHECKED Value reduce(unsigned mask, Value value, const char* name, Place place)
{
    meet(mask, &value, reduce_parcels<Value, combine>, name, place);
    return value;
}

// Which lanes hold the same value as this one.
template <class Value>
EMULATOR_UNCHECKED void match_parcels(void** parcels, unsigned present)
{
    Value values[32];
    for (int lane = 0; lane < 32; lane++)
        if (present >> lane & 1) values[lane] = static_cast<Shuffled<Value>*>(parcels[lane])->value;
    for (int lane = 0; lane < 32; lane++) {
        if (!(present >> lane & 1)) continue;
        unsigned same = 0;
        for (int other = 0; other < 32; other++)
            if ((present >> other & 1) && values[other] == values[lane]) same |= 1u << other;
        static_cast<Shuffled<Value>*>(parcels[lane])->from = same;
    }
}

template <class Value> EMULATOR_UNCHECKED Value sum_of(Value a, Value b) { return a + b; }
template <class Value> EMULATOR_UNCHECKED Value least_of(Value a, Value b) { return b < a ? b : a; }
template <class Value> EMULATOR_UNCHECKED Value greatest_of(Value a, Value b) { return a < b ? b : a; }
EMULATOR_UNCHECKED inline unsigned and_of(unsigned a, unsigned b) { return a & b; }
EMULATOR_UNCHECKED inline unsigned or_of(unsigned a, unsigned b) { return a | b; }
EMULATOR_UNCHECKED inline unsigned xor_of(unsigned a, unsigned b) { return a ^ b; }

}  // namespace emulator

// A shuffle within groups of `width` lanes: one that would leave its group gets its own value back.

template <class Value>
Value __shfl_sync(unsigned mask, Value value, int source, int width = 32, EMULATOR_CALLER)
{
    const unsigned lane = emulator::here().lane;
    const unsigned from = (lane & ~(width - 1)) | (source & (width - 1));
    return emulator::shuffle(mask, value, from, "__shfl_sync", {file, line});
}

template <class Value>
Value __shfl_up_sync(unsigned mask, Value value, unsigned delta, int width = 32, EMULATOR_CALLER)
{
    const unsigned lane = emulator::here().lane;
    const unsigned from = (lane & (width - 1)) >= delta ? lane - delta : lane;
    return emulator::shuffle(mask, value, from, "__shfl_up_sync", {file, line});
}

template <class Value>
Value __shfl_down_sync(unsigned mask, Value value, unsigned delta, int width = 32, EMULATOR_CALLER)
{
    const unsigned lane = emulator::here().lane;
    const unsigned from = (lane & (width - 1)) + delta < unsigned(width) ? lane + delta : lane;
    return emulator::shuffle(mask, value, from, "__shfl_down_sync", {file, line});
}

template <class Value>
Value __shfl_xor_sync(unsigned mask, Value value, int lane_mask, int width = 32, EMULATOR_CALLER)
{
    const unsigned lane = emulator::here().lane;
    const unsigned target = lane ^ lane_mask, group_end = (lane | (width - 1)) + 1;
    return emulator::shuffle(mask, value, target < group_end ? target : lane, "__shfl_xor_sync", {file, line});
}

inline unsigned __ballot_sync(unsigned mask, int predicate, EMULATOR_CALLER)
{
    return emulator::vote(mask, predicate, "__ballot_sync", {file, line});
}
inline int __any_sync(unsigned mask, int predicate, EMULATOR_CALLER)
{
    return emulator::vote(mask, predicate, "__any_sync", {file, line}) != 0;
}
inline int __all_sync(unsigned mask, int predicate, EMULATOR_CALLER)
{
    return emulator::vote(mask, !predicate, "__all_sync", {file, line}) == 0;
}
template <class Value>
unsigned __match_any_sync(unsigned mask, Value value, EMULATOR_CALLER)
{
    emulator::Shuffled<Value> parcel{value, 0};
    emulator::meet(mask, &parcel, emulator::match_parcels<Value>, "__match_any_sync", {file, line});
    return parcel.from;
}

template <class Value>
Value __reduce_add_sync(unsigned mask, Value value, EMULATOR_CALLER)
{
    return emulator::reduce<Value, emulator::sum_of<Value>>(mask, value, "__reduce_add_sync", {file, line});
}
template <class Value>
Value __reduce_min_sync(unsigned mask, Value value, EMULATOR_CALLER)
{
    return emulator::reduce<Value, emulator::least_of<Value>>(mask, value, "__reduce_min_sync", {file, line});
}
template <class Value>
Value __reduce_max_sync(unsigned mask, Value value, EMULATOR_CALLER)
{
    return emulator::reduce<Value, emulator::greatest_of<Value>>(mask, value, "__reduce_max_sync", {file, line});
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value, EMULATOR_CALLER)
{
    return emulator::reduce<unsigned, emulator::and_of>(mask, value, "__reduce_and_sync", {file, line});
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value, EMULATOR_CALLER)
{
    return emulator::reduce<unsigned, emulator::or_of>(mask, value, "__reduce_or_sync", {file, line});
}
inline unsigned __reduce_xor_sync(unsigned mask, unsigned value, EMULATOR_CALLER)
{
    return emulator::reduce<unsigned, emulator::xor_of>(mask, value, "__reduce_xor_sync", {file, line});
}

// Who is awake with this lane. Lanes run one at a time here, so each sees itself alone, which CUDA allows.
inline unsigned __activemask() { return 1u << emulator::here().lane; }
