// Sixteen floats at a time, whatever the instruction set, and the functions made of them.
//
// A translation unit defines DISCO_ISA before it includes this: all of its code lies in a namespace of that name, for
// the linker would otherwise keep one of several versions of an inline function, perhaps one this CPU cannot run.
#pragma once

#ifndef DISCO_ISA
#error "define DISCO_ISA, the name of the instruction set, first"
#endif

#include <cstddef>
#include <cstdint>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "bf16.hpp"

namespace disco::DISCO_ISA {

#ifdef __AVX512F__
#include "vector_avx512.hpp"
#else
#include "vector_generic.hpp"
#endif

// 2^x for x ≤ 127, by a polynomial of degree 4 on [-½, ½]: relative error below 3e-6; 0 below 2^-149.
inline Floats exp2(Floats x) {
    const Floats whole = nearest(x);
    const Floats f = x - whole;
    Floats p = splat(0x1.3997d0p-7f);
    p = fma(p, f, splat(0x1.ca1440p-5f));
    p = fma(p, f, splat(0x1.ec06dap-3f));
    p = fma(p, f, splat(0x1.62e0dcp-1f));
    p = fma(p, f, splat(0x1.ffffe8p-1f));
    return times_power_of_two(p, whole);
}

// x·Φ(x), Φ being the normal distribution's, as a polynomial of degree 8 in x² with Φ(-4.3) = 0 and Φ(4.3) = 1 exactly:
// absolute error below 5e-5 for |x| ≤ 4.3, of which rounding is the larger part, and below 1e-4 for |x| ≤ 12. Beyond, it
// grows by 4e-7 |x|, and by 1.7e-6 |x| where fma rounds twice.
inline Floats gelu_erf(Floats x) {
    const Floats y = max(min(x, splat(4.3f)), splat(-4.3f));
    const Floats t = y * y;
    Floats p = splat(0x1.d99098p-35f);
    p = fma(p, t, splat(-0x1.68f732p-28f));
    p = fma(p, t, splat(0x1.e4ae40p-23f));
    p = fma(p, t, splat(-0x1.7d75e6p-18f));
    p = fma(p, t, splat(0x1.8d2f86p-14f));
    p = fma(p, t, splat(-0x1.25f250p-10f));
    p = fma(p, t, splat(0x1.43c176p-7f));
    p = fma(p, t, splat(-0x1.105e9ep-4f));
    p = fma(p, t, splat(0x1.989a98p-2f));
    return x * fma(y, p, splat(0.5f));
}

// ½x(1 + tanh(√(2/π)(x + 0.044715x³))) = x / (1 + e^(-2…)): relative error that of exp2.
inline Floats gelu_tanh(Floats x) {
    const Floats inner = x * fma(x * x, splat(0.044715f), splat(1.0f));
    // -2·√(2/π)·log2(e); bounded, so that no quotient of infinities comes up.
    const Floats exponent = min(inner * splat(-2.302208198f), splat(126.0f));
    return divide(x, splat(1.0f) + exp2(exponent));
}

}  // namespace disco::DISCO_ISA
