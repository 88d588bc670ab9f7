// CUDA's functions of numbers that the C library does not have: bits, conversions, fast approximations, roundings.
// The approximations (__expf and the like) are computed exactly here.
#pragma once
#include <cmath>
#include <cstdint>
#include <type_traits>

// The operands' common type decides, as with the overloads of CUDA.
template <class A, class B, class = std::enable_if_t<std::is_arithmetic_v<A> && std::is_arithmetic_v<B>>>
constexpr std::common_type_t<A, B> min(A a, B b)
{
    using Common = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point_v<Common>) return std::fmin(Common(a), Common(b));
    return Common(b) < Common(a) ? Common(b) : Common(a);
}
template <class A, class B, class = std::enable_if_t<std::is_arithmetic_v<A> && std::is_arithmetic_v<B>>>
constexpr std::common_type_t<A, B> max(A a, B b)
{
    using Common = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point_v<Common>) return std::fmax(Common(a), Common(b));
    return Common(a) < Common(b) ? Common(b) : Common(a);
}
using std::abs;
using std::isfinite;
using std::isinf;
using std::isnan;
using std::signbit;

template <class Value>
__attribute__((always_inline)) inline Value __ldg(const Value* address) { return *address; }
template <class Value>
__attribute__((always_inline)) inline Value __ldcs(const Value* address) { return *address; }
template <class Value>
__attribute__((always_inline)) inline Value __ldcg(const Value* address) { return *address; }
template <class Value>
__attribute__((always_inline)) inline void __stcs(Value* address, Value value) { *address = value; }
template <class Value>
__attribute__((always_inline)) inline void __stcg(Value* address, Value value) { *address = value; }

// ------------------------------------------------------------------------------------------------------- the same bits

namespace emulator {
template <class To, class From>
inline To same_bits(From value)
{
    To result;
    __builtin_memcpy(&result, &value, sizeof(To));
    return result;
}
// Keeps the compiler from fusing a rounded operation with the next one.
inline float rounded(float value)
{
    volatile float kept = value;
    return kept;
}
}  // namespace emulator

inline unsigned __float_as_uint(float value) { return emulator::same_bits<unsigned>(value); }
inline int __float_as_int(float value) { return emulator::same_bits<int>(value); }
inline float __uint_as_float(unsigned bits) { return emulator::same_bits<float>(bits); }
inline float __int_as_float(int bits) { return emulator::same_bits<float>(bits); }
inline long long __double_as_longlong(double value) { return emulator::same_bits<long long>(value); }
inline double __longlong_as_double(long long bits) { return emulator::same_bits<double>(bits); }

// --------------------------------------------------------------------------------------------------------------- bits

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __popcll(unsigned long long bits) { return __builtin_popcountll(bits); }
inline int __clz(int bits) { return bits ? __builtin_clz(unsigned(bits)) : 32; }
inline int __clzll(long long bits) { return bits ? __builtin_clzll((unsigned long long)bits) : 64; }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __ffsll(long long bits) { return __builtin_ffsll(bits); }
inline unsigned __brev(unsigned bits)
{
    unsigned reversed = 0;
    for (int i = 0; i < 32; i++) reversed |= (bits >> i & 1) << (31 - i);
    return reversed;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift)
{
    return unsigned(((uint64_t(high) << 32 | low) << (shift & 31)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift)
{
    return unsigned((uint64_t(high) << 32 | low) >> (shift & 31));
}
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector)
{
    const uint64_t bytes = uint64_t(high) << 32 | low;
    unsigned result = 0;
    for (int i = 0; i < 4; i++) {
        const unsigned choice = selector >> (4 * i) & 0xf;
        const unsigned byte = unsigned(bytes >> (8 * (choice & 7))) & 0xff;
        result |= (choice & 8 ? (byte & 0x80 ? 0xffu : 0u) : byte) << (8 * i);
    }
    return result;
}
inline int __mulhi(int a, int b) { return int(int64_t(a) * b >> 32); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }
inline int __mul24(int a, int b) { return int(unsigned(a << 8 >> 8) * unsigned(b << 8 >> 8)); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}

// -------------------------------------------------------------------------------------- single operations, one rounding

inline float __fadd_rn(float a, float b) { return emulator::rounded(a + b); }
inline float __fsub_rn(float a, float b) { return emulator::rounded(a - b); }
inline float __fmul_rn(float a, float b) { return emulator::rounded(a * b); }
inline float __fdiv_rn(float a, float b) { return emulator::rounded(a / b); }
inline float __frcp_rn(float value) { return emulator::rounded(1.0f / value); }
inline float __fsqrt_rn(float value) { return std::sqrt(value); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }

// ------------------------------------------------------------------------------------------------- fast approximations

inline float rsqrtf(float value) { return 1.0f / std::sqrt(value); }
inline double rsqrt(double value) { return 1.0 / std::sqrt(value); }
inline float __frsqrt_rn(float value) { return rsqrtf(value); }
inline float __expf(float value) { return std::exp(value); }
inline float __exp10f(float value) { return std::pow(10.0f, value); }
inline float __logf(float value) { return std::log(value); }
inline float __log2f(float value) { return std::log2(value); }
inline float __log10f(float value) { return std::log10(value); }
inline float __powf(float base, float exponent) { return std::pow(base, exponent); }
inline float __sinf(float angle) { return std::sin(angle); }
inline float __cosf(float angle) { return std::cos(angle); }
inline float __tanf(float angle) { return std::tan(angle); }
inline float __fdividef(float a, float b) { return a / b; }
inline float fdividef(float a, float b) { return a / b; }
inline float __saturatef(float value) { return value > 0.0f ? (value < 1.0f ? value : 1.0f) : 0.0f; }   // NaN becomes 0
inline float sinpif(float value) { return float(std::sin(3.14159265358979323846 * value)); }
inline float cospif(float value) { return float(std::cos(3.14159265358979323846 * value)); }
inline void __sincosf(float angle, float* sine, float* cosine)
{
    *sine = std::sin(angle);
    *cosine = std::cos(angle);
}

// --------------------------------------------------------------------------------------------------------- conversions
// To integers: the nearest that the type has, and 0 for NaN. rn to the nearest (a tie to even), rd down, ru up, rz to zero.

namespace emulator {
template <class Integer>
inline Integer saturated(float value, Integer lowest, Integer highest)
{
    if (value != value) return 0;
    if (value <= float(lowest)) return lowest;
    return value >= float(highest) ? highest : Integer(value);
}
inline int to_int(float value) { return saturated<int>(value, INT32_MIN, INT32_MAX); }
inline unsigned to_unsigned(float value) { return saturated<unsigned>(value, 0, UINT32_MAX); }
}  // namespace emulator

inline int __float2int_rn(float value) { return emulator::to_int(std::nearbyint(value)); }
inline int __float2int_rd(float value) { return emulator::to_int(std::floor(value)); }
inline int __float2int_ru(float value) { return emulator::to_int(std::ceil(value)); }
inline int __float2int_rz(float value) { return emulator::to_int(std::trunc(value)); }
inline unsigned __float2uint_rn(float value) { return emulator::to_unsigned(std::nearbyint(value)); }
inline unsigned __float2uint_rd(float value) { return emulator::to_unsigned(std::floor(value)); }
inline unsigned __float2uint_ru(float value) { return emulator::to_unsigned(std::ceil(value)); }
inline unsigned __float2uint_rz(float value) { return emulator::to_unsigned(std::trunc(value)); }
inline float __int2float_rn(int value) { return float(value); }
inline float __uint2float_rn(unsigned value) { return float(value); }
