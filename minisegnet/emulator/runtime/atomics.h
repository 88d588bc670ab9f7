// Atomic operations, by the processor's own: blocks run on several cores. Each returns the value from before.
#pragma once
#include <type_traits>

#include "machine_interface.h"

namespace emulator {

template <class Type>
struct Same {
    using type = Type;
};
template <class Type>
using Given = typename Same<Type>::type;                           // keeps an argument from deciding a template's type

template <size_t bytes>
using Bits = std::conditional_t<bytes == 2, uint16_t, std::conditional_t<bytes == 4, uint32_t, uint64_t>>;

template <class To, class From>
EMULATOR_UNCHECKED To bits_as(From value)
{
    static_assert(sizeof(To) == sizeof(From), "the same bits, read as another type");
    To result;
    __builtin_memcpy(&result, &value, sizeof(To));
    return result;
}

template <class Value, class Change>
EMULATOR_UNCHECKED Value update(Value* address, Change change, Access access, Place place)
{
    using Word = Bits<sizeof(Value)>;
    breathe();
    note(address, sizeof(Value), access, place);
    Word* word = reinterpret_cast<Word*>(address);
    Word before = __atomic_load_n(word, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(word, &before, bits_as<Word>(change(bits_as<Value>(before))), true,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
    }
    return bits_as<Value>(before);
}

// A change is a struct rather than a lambda, so that it too can be marked as the machine's own code.
template <class Value> struct Add { Value by; EMULATOR_UNCHECKED Value operator()(Value old) const { return old + by; } };
template <class Value> struct Min { Value by; EMULATOR_UNCHECKED Value operator()(Value old) const { return by < old ? by : old; } };
template <class Value> struct Max { Value by; EMULATOR_UNCHECKED Value operator()(Value old) const { return old < by ? by : old; } };
template <class Value> struct And { Value by; EMULATOR_UNCHECKED Value operator()(Value old) const { return old & by; } };
template <class Value> struct Or { Value by; EMULATOR_UNCHECKED Value operator()(Value old) const { return old | by; } };
template <class Value> struct Xor { Value by; EMULATOR_UNCHECKED Value operator()(Value old) const { return old ^ by; } };
template <class Value> struct Put { Value by; EMULATOR_UNCHECKED Value operator()(Value) const { return by; } };
struct Increment { unsigned top; EMULATOR_UNCHECKED unsigned operator()(unsigned old) const { return old >= top ? 0 : old + 1; } };
struct Decrement { unsigned top; EMULATOR_UNCHECKED unsigned operator()(unsigned old) const { return old == 0 || old > top ? top : old - 1; } };
template <class Value>
struct PutIf {
    Value wanted, by;
    EMULATOR_UNCHECKED Value operator()(Value old) const
    {
        using Word = Bits<sizeof(Value)>;
        return bits_as<Word>(old) == bits_as<Word>(wanted) ? by : old;
    }
};

}  // namespace emulator

#define EMULATOR_ATOMIC(name, Change, access)                                                                          \
    template <class Value>                                                                                            \
    Value name(Value* address, emulator::Given<Value> operand, EMULATOR_CALLER)                                        \
    {                                                                                                                 \
        return emulator::update(address, emulator::Change<Value>{operand}, emulator::Access::access, {file, line});   \
    }

EMULATOR_ATOMIC(atomicAdd, Add, atomic)
EMULATOR_ATOMIC(atomicMin, Min, atomic)
EMULATOR_ATOMIC(atomicMax, Max, atomic)
EMULATOR_ATOMIC(atomicAnd, And, atomic)
EMULATOR_ATOMIC(atomicOr, Or, atomic)
EMULATOR_ATOMIC(atomicXor, Xor, atomic)
EMULATOR_ATOMIC(atomicExch, Put, atomic_write)
#undef EMULATOR_ATOMIC

template <class Value>
Value atomicSub(Value* address, emulator::Given<Value> operand, EMULATOR_CALLER)
{
    return emulator::update(address, emulator::Add<Value>{Value(0) - operand}, emulator::Access::atomic, {file, line});
}
inline unsigned atomicInc(unsigned* address, unsigned top, EMULATOR_CALLER)
{
    return emulator::update(address, emulator::Increment{top}, emulator::Access::atomic, {file, line});
}
inline unsigned atomicDec(unsigned* address, unsigned top, EMULATOR_CALLER)
{
    return emulator::update(address, emulator::Decrement{top}, emulator::Access::atomic, {file, line});
}
template <class Value>
Value atomicCAS(Value* address, emulator::Given<Value> wanted, emulator::Given<Value> operand, EMULATOR_CALLER)
{
    return emulator::update(address, emulator::PutIf<Value>{wanted, operand}, emulator::Access::atomic, {file, line});
}
