// The micro-kernel with AVX-512: 8 rows × 3 panels of sums in 24 registers, weights in 3, one activation broadcast.
// Included by an instruction set's own file only.

inline constexpr int kRows = 8;
inline constexpr int kPanels = 3;
inline constexpr int kPairDepth = 2;  // depths of bf16 products are multiples of it
// Rows that go through all layers together: their activations stay in 1 MB of second cache.
inline constexpr int kGroupRows = 128;

inline void begin_products() {}
inline void end_products() {}

inline __m512i dot(__m512i sums, __m512i activations, __m512i weights, std::uint8_t) {
    return _mm512_dpbusd_epi32(sums, activations, weights);
}

inline __m512 dot(__m512 sums, __m512i activations, __m512i weights, Bf16Bits) {
#ifdef __AVX512BF16__
    return _mm512_dpbf16_ps(sums, __builtin_bit_cast(__m512bh, activations), __builtin_bit_cast(__m512bh, weights));
#else
    // A bf16 is the upper half of a float: the odd ones of pairs are in place, the even ones are shifted there.
    const __m512i odd = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
    const auto upper = [=](__m512i pairs) { return _mm512_castsi512_ps(_mm512_and_si512(pairs, odd)); };
    const auto lower = [](__m512i pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); };
    return _mm512_fmadd_ps(upper(activations), upper(weights),
                           _mm512_fmadd_ps(lower(activations), lower(weights), sums));
#endif
}

inline void store_sums(std::int32_t* to, __m512i sums) { _mm512_storeu_si512(to, sums); }
inline void store_sums(float* to, __m512 sums) { _mm512_storeu_ps(to, sums); }

inline __m512i no_sums(std::int32_t) { return _mm512_setzero_si512(); }
inline __m512 no_sums(float) { return _mm512_setzero_ps(); }

template <int Rows, int Panels, class Element, class Sum>
void multiply_block(const Element* rows, std::size_t stride, const Element* panels, int depth, Sum* sums,
                    std::size_t sums_stride) {
    constexpr int kGroup = 4 / static_cast<int>(sizeof(Element));  // elements of depth that one step takes
    const std::size_t panel_size = static_cast<std::size_t>(depth) * kPanel;
    decltype(no_sums(Sum{})) totals[Rows][Panels];
    // Loops that are not unrolled before all else keep the sums in memory instead of in registers.
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 3
        for (int p = 0; p < Panels; ++p) totals[r][p] = no_sums(Sum{});
    }
    for (int k = 0; k < depth; k += kGroup) {
        __m512i weights[Panels];
#pragma GCC unroll 3
        for (int p = 0; p < Panels; ++p) {
            weights[p] = _mm512_loadu_si512(panels + static_cast<std::size_t>(p) * panel_size + k * kPanel);
        }
#pragma GCC unroll 8
        for (int r = 0; r < Rows; ++r) {
            std::int32_t group;
            __builtin_memcpy(&group, rows + static_cast<std::size_t>(r) * stride + k, sizeof group);
            const __m512i activations = _mm512_set1_epi32(group);
#pragma GCC unroll 3
            for (int p = 0; p < Panels; ++p) totals[r][p] = dot(totals[r][p], activations, weights[p], Element{});
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 3
        for (int p = 0; p < Panels; ++p) {
            store_sums(sums + static_cast<std::size_t>(r) * sums_stride + p * kPanel, totals[r][p]);
        }
    }
}

template <int Panels, class Element, class Sum>
void multiply_rows(const Element* rows, std::size_t stride, int row_count, const Element* panels, int depth, Sum* sums,
                   std::size_t sums_stride) {
    switch (row_count) {
        case 1: return multiply_block<1, Panels>(rows, stride, panels, depth, sums, sums_stride);
        case 2: return multiply_block<2, Panels>(rows, stride, panels, depth, sums, sums_stride);
        case 3: return multiply_block<3, Panels>(rows, stride, panels, depth, sums, sums_stride);
        case 4: return multiply_block<4, Panels>(rows, stride, panels, depth, sums, sums_stride);
        case 5: return multiply_block<5, Panels>(rows, stride, panels, depth, sums, sums_stride);
        case 6: return multiply_block<6, Panels>(rows, stride, panels, depth, sums, sums_stride);
        case 7: return multiply_block<7, Panels>(rows, stride, panels, depth, sums, sums_stride);
        default: return multiply_block<8, Panels>(rows, stride, panels, depth, sums, sums_stride);
    }
}

// sums[row_count][16 · panel_count] = rows[row_count][depth] · panels, for up to kRows and kPanels of them.
template <class Element, class Sum>
void multiply(const Element* rows, std::size_t stride, int row_count, const Element* panels, int panel_count, int depth,
              Sum* sums, std::size_t sums_stride) {
    switch (panel_count) {
        case 1: return multiply_rows<1>(rows, stride, row_count, panels, depth, sums, sums_stride);
        case 2: return multiply_rows<2>(rows, stride, row_count, panels, depth, sums, sums_stride);
        default: return multiply_rows<3>(rows, stride, row_count, panels, depth, sums, sums_stride);
    }
}
