// Sixteen floats in a register, with AVX-512, and the few conversions that the layers need.
//
// Conversions are intrinsics because compilers turn them into scalar code: that alone once cost int8 half of its speed.
// Included by vector.hpp only, inside the namespace of one instruction set.

struct Floats {
    __m512 v;
};

inline Floats splat(float value) { return {_mm512_set1_ps(value)}; }
inline Floats load(const float* from) { return {_mm512_loadu_ps(from)}; }
inline void store(float* to, Floats a) { _mm512_storeu_ps(to, a.v); }

inline Floats operator+(Floats a, Floats b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Floats operator-(Floats a, Floats b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Floats operator*(Floats a, Floats b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Floats fma(Floats a, Floats b, Floats c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline Floats min(Floats a, Floats b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Floats max(Floats a, Floats b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Floats divide(Floats a, Floats b) { return {_mm512_div_ps(a.v, b.v)}; }

inline Floats nearest(Floats a) {
    return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline Floats times_power_of_two(Floats a, Floats exponent) { return {_mm512_scalef_ps(a.v, exponent.v)}; }

inline float sum(Floats a) { return _mm512_reduce_add_ps(a.v); }
inline float maximum(Floats a) { return _mm512_reduce_max_ps(a.v); }

// The first `count` lanes of a, `other` in the rest.
inline Floats first_lanes(Floats a, int count, float other) {
    const auto mask = static_cast<__mmask16>((1u << count) - 1u);
    return {_mm512_mask_blend_ps(mask, _mm512_set1_ps(other), a.v)};
}

inline Floats load(const std::int32_t* from) { return {_mm512_cvtepi32_ps(_mm512_loadu_si512(from))}; }

inline Floats load(const std::int8_t* from) {
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))))};
}

// Rounds to even, as vcvtneps2bf16 does, which not every CPU with AVX-512 has; NaN does not occur.
inline __m256i to_bf16(Floats a) {
    const __m512i bits = _mm512_castps_si512(a.v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}

inline void store(Bf16Bits* to, Floats a) {
#ifdef __AVX512BF16__
    const __m256bh half = _mm512_cvtneps_pbh(a.v);
    __builtin_memcpy(to, &half, sizeof half);
#else
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), to_bf16(a));
#endif
}

// Nearest whole numbers, 0 below and for NaN, 255 above: what is beyond 2^32 becomes the largest of all.
inline void store(std::uint8_t* to, Floats a) {
    const __m512i whole = _mm512_cvtps_epu32(_mm512_max_ps(a.v, _mm512_setzero_ps()));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtusepi32_epi8(whole));
}

// 16 × 16 pairs of bf16, transposed: row j of the source becomes column j. `rows` of them exist, the rest are zero.
inline void transpose_pairs(const Bf16Bits* from, std::size_t stride, int rows, Bf16Bits* to) {
    __m512i r[16], t[16];
    for (int j = 0; j < 16; ++j) r[j] = j < rows ? _mm512_loadu_si512(from + j * stride) : _mm512_setzero_si512();
    for (int j = 0; j < 16; j += 2) {
        t[j] = _mm512_unpacklo_epi32(r[j], r[j + 1]);
        t[j + 1] = _mm512_unpackhi_epi32(r[j], r[j + 1]);
    }
    for (int j = 0; j < 16; j += 4) {
        r[j] = _mm512_unpacklo_epi64(t[j], t[j + 2]);
        r[j + 1] = _mm512_unpackhi_epi64(t[j], t[j + 2]);
        r[j + 2] = _mm512_unpacklo_epi64(t[j + 1], t[j + 3]);
        r[j + 3] = _mm512_unpackhi_epi64(t[j + 1], t[j + 3]);
    }
    for (int j = 0; j < 4; ++j) {
        t[j] = _mm512_shuffle_i32x4(r[j], r[j + 4], 0x88);
        t[j + 4] = _mm512_shuffle_i32x4(r[j + 8], r[j + 12], 0x88);
        t[j + 8] = _mm512_shuffle_i32x4(r[j], r[j + 4], 0xdd);
        t[j + 12] = _mm512_shuffle_i32x4(r[j + 8], r[j + 12], 0xdd);
    }
    for (int j = 0; j < 4; ++j) {
        _mm512_storeu_si512(to + 32 * j, _mm512_shuffle_i32x4(t[j], t[j + 4], 0x88));
        _mm512_storeu_si512(to + 32 * (j + 8), _mm512_shuffle_i32x4(t[j], t[j + 4], 0xdd));
        _mm512_storeu_si512(to + 32 * (j + 4), _mm512_shuffle_i32x4(t[j + 8], t[j + 12], 0x88));
        _mm512_storeu_si512(to + 32 * (j + 12), _mm512_shuffle_i32x4(t[j + 8], t[j + 12], 0xdd));
    }
}

// Two rows of 16 bf16 as 16 pairs; `second` may be missing.
inline void interleave(const Bf16Bits* first, const Bf16Bits* second, Bf16Bits* to) {
    const __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(first)));
    __m512i pairs = low;
    if (second != nullptr) {
        const __m512i high = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(second)));
        pairs = _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
    }
    _mm512_storeu_si512(to, pairs);
}
