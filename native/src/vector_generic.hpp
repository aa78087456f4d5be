// Sixteen floats in plain C++: what vector_avx512.hpp has, for any CPU and for the tests.
// Included by vector.hpp only, inside the namespace of one instruction set.

struct Floats {
    float v[16];
};

template <class F>
inline Floats each(F value) {
    Floats a;
    for (int i = 0; i < 16; ++i) a.v[i] = value(i);
    return a;
}

inline Floats splat(float value) {
    return each([=](int) { return value; });
}
inline Floats load(const float* from) {
    return each([=](int i) { return from[i]; });
}
inline Floats load(const std::int32_t* from) {
    return each([=](int i) { return static_cast<float>(from[i]); });
}
inline Floats load(const std::int8_t* from) {
    return each([=](int i) { return static_cast<float>(from[i]); });
}
inline void store(float* to, Floats a) { __builtin_memcpy(to, a.v, sizeof a.v); }

inline Floats operator+(Floats a, Floats b) {
    return each([=](int i) { return a.v[i] + b.v[i]; });
}
inline Floats operator-(Floats a, Floats b) {
    return each([=](int i) { return a.v[i] - b.v[i]; });
}
inline Floats operator*(Floats a, Floats b) {
    return each([=](int i) { return a.v[i] * b.v[i]; });
}
inline Floats fma(Floats a, Floats b, Floats c) {
    return each([=](int i) { return a.v[i] * b.v[i] + c.v[i]; });
}
inline Floats min(Floats a, Floats b) {
    return each([=](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline Floats max(Floats a, Floats b) {
    return each([=](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline Floats divide(Floats a, Floats b) {
    return each([=](int i) { return a.v[i] / b.v[i]; });
}

inline Floats nearest(Floats a) {
    return each([=](int i) { return __builtin_nearbyintf(a.v[i]); });
}
inline Floats times_power_of_two(Floats a, Floats exponent) {
    return each([=](int i) {
        const float bounded = exponent.v[i] < -1000 ? -1000 : exponent.v[i];
        return __builtin_ldexpf(a.v[i], static_cast<int>(bounded));
    });
}

inline float sum(Floats a) {
    float total = 0;
    for (float value : a.v) total += value;
    return total;
}
inline float maximum(Floats a) {
    float largest = a.v[0];
    for (float value : a.v) largest = value > largest ? value : largest;
    return largest;
}

inline Floats first_lanes(Floats a, int count, float other) {
    return each([=](int i) { return i < count ? a.v[i] : other; });
}

inline void store(Bf16Bits* to, Floats a) {
    for (int i = 0; i < 16; ++i) to[i] = to_bf16(a.v[i]);
}

inline void store(std::uint8_t* to, Floats a) {
    for (int i = 0; i < 16; ++i) {
        const float whole = __builtin_nearbyintf(a.v[i]);
        to[i] = static_cast<std::uint8_t>(whole > 255 ? 255 : whole > 0 ? whole : 0);  // NaN: 0
    }
}

inline void transpose_pairs(const Bf16Bits* from, std::size_t stride, int rows, Bf16Bits* to) {
    for (int j = 0; j < 16; ++j) {
        for (int pair = 0; pair < 16; ++pair) {
            for (int i = 0; i < 2; ++i) {
                to[32 * pair + 2 * j + i] = j < rows ? from[j * stride + 2 * pair + i] : Bf16Bits{0};
            }
        }
    }
}

inline void interleave(const Bf16Bits* first, const Bf16Bits* second, Bf16Bits* to) {
    for (int i = 0; i < 16; ++i) {
        to[2 * i] = first[i];
        to[2 * i + 1] = second != nullptr ? second[i] : Bf16Bits{0};
    }
}
