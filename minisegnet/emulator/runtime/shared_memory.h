// What a __shared__ declaration becomes: a reference to where the block has that array.
#pragma once
#include <type_traits>

#include "entry.h"
#include "machine_interface.h"

namespace emulator {

template <class Type>
constexpr SharedArray describe(const char* name, Place place, size_t alignment)
{
    using Element = std::remove_all_extents_t<Type>;
    return {name, place, sizeof(Type), sizeof(Element), alignment > alignof(Type) ? alignment : alignof(Type),
            int(std::rank_v<Type>),
            {std::extent_v<Type, 0>, std::extent_v<Type, 1>, std::extent_v<Type, 2>, std::extent_v<Type, 3>},
            kind<Element>()};
}

template <class Type>
EMULATOR_UNCHECKED Type& shared(const SharedArray& array)
{
    return *static_cast<Type*>(shared_array(array));
}

template <class Type>
EMULATOR_UNCHECKED Type* dynamic_shared(const SharedArray& array)
{
    return static_cast<Type*>(dynamic_shared_array(array));
}

// An `extern __shared__` array that is declared outside of any function.
template <class Type>
struct DynamicArray {
    const SharedArray& array;
    operator Type*() const { return dynamic_shared<Type>(array); }
};

}  // namespace emulator
