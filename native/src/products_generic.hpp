// The micro-kernel in plain C++: the reference for the others. Included by an instruction set's own file only.

inline constexpr int kRows = 4;
inline constexpr int kPanels = 1;
inline constexpr int kPairDepth = 2;  // depths of bf16 products are multiples of it
inline constexpr int kGroupRows = 128;

inline void begin_products() {}
inline void end_products() {}

inline std::int32_t times(std::uint8_t activation, std::uint8_t weight) {
    return std::int32_t{activation} * static_cast<std::int8_t>(weight);
}
inline float times(Bf16Bits activation, Bf16Bits weight) { return to_float(activation) * to_float(weight); }

// sums[row_count][16 · panel_count] = rows[row_count][depth] · panels, for up to kRows and kPanels of them.
template <class Element, class Sum>
void multiply(const Element* rows, std::size_t stride, int row_count, const Element* panels, int panel_count, int depth,
              Sum* sums, std::size_t sums_stride) {
    constexpr int kGroup = 4 / static_cast<int>(sizeof(Element));
    for (int r = 0; r < row_count; ++r) {
        for (int p = 0; p < panel_count; ++p) {
            const Element* panel = panels + static_cast<std::size_t>(p) * static_cast<std::size_t>(depth) * kPanel;
            Sum totals[kPanel] = {};
            for (int k = 0; k < depth; ++k) {
                const Element activation = rows[static_cast<std::size_t>(r) * stride + static_cast<std::size_t>(k)];
                const Element* weights = panel + k / kGroup * kGroup * kPanel + k % kGroup;
                for (int c = 0; c < kPanel; ++c) totals[c] += times(activation, weights[c * kGroup]);
            }
            for (int c = 0; c < kPanel; ++c) {
                sums[static_cast<std::size_t>(r) * sums_stride + static_cast<std::size_t>(p * kPanel + c)] = totals[c];
            }
        }
    }
}
