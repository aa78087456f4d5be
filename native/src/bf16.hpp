// bfloat16: the upper half of a float, as bits. Knows no vectors.
//
// Everything is `static`, and built-in rather than from std: translation units for different CPUs include this, and the
// linker must not choose between their versions.
#pragma once

#include <cstdint>

namespace disco {

enum class Bf16Bits : std::uint16_t {};

static inline Bf16Bits to_bf16(float value) {  // nearest, ties to even; NaN does not occur
    const auto bits = __builtin_bit_cast(std::uint32_t, value);
    return static_cast<Bf16Bits>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

static inline float to_float(Bf16Bits half) {
    return __builtin_bit_cast(float, static_cast<std::uint32_t>(half) << 16);
}

}  // namespace disco
