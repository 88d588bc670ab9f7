// CUDA's built-in vector types: float4 and its kin with their alignment, and dim3.
#pragma once

// In check mode a vector is copied by a constructor, as one value of its whole size: so reading a float4 is seen as one
// request for 16 bytes, also where it is on its way into a function's argument. Assigned it is whole, too: g++, where it
// optimises, is told so by an option (compiler.py). In fast mode the compiler may do as it likes.
#if defined(EMULATOR_CHECK)
#if defined(__clang__) || !defined(__OPTIMIZE__)
#define EMULATOR_ASSIGNED_WHOLE(Name)                                                                       \
    __attribute__((always_inline)) Name& operator=(const Name& other)                                       \
    {                                                                                                       \
        *reinterpret_cast<Whole*>(this) = *reinterpret_cast<const Whole*>(&other);                          \
        return *this;                                                                                       \
    }
#else
#define EMULATOR_ASSIGNED_WHOLE(Name) Name& operator=(const Name&) = default;
#endif
#define EMULATOR_COPIED_WHOLE(Name, bytes)                                                                  \
    typedef unsigned char Whole __attribute__((vector_size(bytes), may_alias));                             \
    Name() = default;                                                                                       \
    __attribute__((always_inline)) Name(const Name& other) { *this = other; }                               \
    EMULATOR_ASSIGNED_WHOLE(Name)
#define EMULATOR_COPIED_WHOLE_2(Name, Type)                                                                 \
    EMULATOR_COPIED_WHOLE(Name, 2 * sizeof(Type))                                                           \
    Name(Type x, Type y = 0) : x(x), y(y) {}
#define EMULATOR_COPIED_WHOLE_4(Name, Type)                                                                 \
    EMULATOR_COPIED_WHOLE(Name, 4 * sizeof(Type))                                                           \
    Name(Type x, Type y = 0, Type z = 0, Type w = 0) : x(x), y(y), z(z), w(w) {}
#else
#define EMULATOR_COPIED_WHOLE_2(Name, Type)
#define EMULATOR_COPIED_WHOLE_4(Name, Type)
#endif

#define EMULATOR_VECTORS(name, Type)                                                                        \
    struct name##1 {                                                                                        \
        Type x;                                                                                             \
    };                                                                                                      \
    struct alignas(2 * sizeof(Type)) name##2 {                                                              \
        Type x, y;                                                                                          \
        EMULATOR_COPIED_WHOLE_2(name##2, Type)                                                              \
    };                                                                                                      \
    struct name##3 {                                                                                        \
        Type x, y, z;                                                                                       \
    };                                                                                                      \
    struct alignas(4 * sizeof(Type) < 16 ? 4 * sizeof(Type) : 16) name##4 {                                 \
        Type x, y, z, w;                                                                                    \
        EMULATOR_COPIED_WHOLE_4(name##4, Type)                                                              \
    };                                                                                                      \
    inline name##1 make_##name##1(Type x) { return {x}; }                                                   \
    inline name##2 make_##name##2(Type x, Type y) { return {x, y}; }                                        \
    inline name##3 make_##name##3(Type x, Type y, Type z) { return {x, y, z}; }                             \
    inline name##4 make_##name##4(Type x, Type y, Type z, Type w) { return {x, y, z, w}; }

EMULATOR_VECTORS(char, signed char)
EMULATOR_VECTORS(uchar, unsigned char)
EMULATOR_VECTORS(short, short)
EMULATOR_VECTORS(ushort, unsigned short)
EMULATOR_VECTORS(int, int)
EMULATOR_VECTORS(uint, unsigned)
EMULATOR_VECTORS(float, float)

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

#undef EMULATOR_VECTORS
#undef EMULATOR_ASSIGNED_WHOLE
#undef EMULATOR_COPIED_WHOLE
#undef EMULATOR_COPIED_WHOLE_2
#undef EMULATOR_COPIED_WHOLE_4
