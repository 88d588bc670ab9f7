// How a kernel is called with arguments that are known only by address, and how types of numbers are told.
#pragma once
#include <type_traits>
#include <utility>

#include "machine_interface.h"

namespace emulator {

template <class... Parameters, size_t... I>
EMULATOR_UNCHECKED inline void call(void (*kernel)(Parameters...), void** arguments, std::index_sequence<I...>)
{
    kernel(*static_cast<std::remove_const_t<Parameters>*>(arguments[I])...);
}

template <class... Parameters>
EMULATOR_UNCHECKED inline void call(void (*kernel)(Parameters...), void** arguments)
{
    call(kernel, arguments, std::index_sequence_for<Parameters...>{});
}

// One letter a kind of number, and its size: f4 is float, i1 signed char, u2 unsigned short.
template <class Number>
constexpr char kind()
{
    return std::is_floating_point_v<Number> ? 'f' : !std::is_integral_v<Number> ? '?' : std::is_signed_v<Number> ? 'i' : 'u';
}

// Tells a trace the value of a local variable that is a number.
template <class Number>
EMULATOR_UNCHECKED void show(const char* name, const Number& value, Place place)
{
    constexpr char number = kind<std::remove_cv_t<Number>>();
    if constexpr (number != '?') show(name, number, const_cast<const std::remove_cv_t<Number>*>(&value), sizeof(Number), place);
}

// Tells a trace what a function returns.
template <class Value>
EMULATOR_UNCHECKED Value&& returned(Value&& value, Place place)
{
    show("returned", value, place);
    return static_cast<Value&&>(value);
}

// Tells a trace whether the condition of an if holds.
EMULATOR_UNCHECKED inline bool decided(bool condition, Place place)
{
    show(nullptr, 'i', &condition, sizeof condition, place);
    return condition;
}

template <class Parameter>
struct Type {
    using Pointee = std::remove_pointer_t<std::remove_cv_t<Parameter>>;
    using Number = std::remove_cv_t<Pointee>;
    static constexpr bool pointer = std::is_pointer_v<std::remove_cv_t<Parameter>>;
    static constexpr char text[] = {pointer ? (std::is_const_v<Pointee> ? 'c' : 'p') : 's', kind<Number>(),
                                    char('0' + (sizeof(Number) > 9 ? 0 : sizeof(Number))), 0};
};

// For each parameter three characters: s a number, p a pointer, c a pointer to const; then the number's kind and size.
template <class... Parameters>
const char* parameter_types(void (*)(Parameters...))
{
    static const char types[] = {Type<Parameters>::text[0]..., '/', Type<Parameters>::text[1]..., '/',
                                 Type<Parameters>::text[2]..., 0};
    return types;
}

}  // namespace emulator
