// The micro-kernel with tiles: 32 rows × 2 panels of sums in four tiles, two of rows, two of weights.
// Included by an instruction set's own file only, after tiles.hpp.

inline constexpr int kRows = 32;
inline constexpr int kPanels = 2;
inline constexpr int kPairDepth = 32;  // depths of bf16 products are multiples of it
inline constexpr int kGroupRows = 256;

// Tiles are named by constants, so each of the four sums has its line.
#define DISCO_TIMES(sums, rows, columns)                                                          \
    do {                                                                                          \
        if constexpr (sizeof(Element) == 1) TILE_MULTIPLY_BYTES(sums, rows, columns);             \
        else TILE_MULTIPLY_HALVES(sums, rows, columns);                                           \
    } while (false)

// `Tall`: more than 16 rows; `Broad`: two panels. Rows that do not exist are multiplied too, and not looked at.
template <bool Tall, bool Broad, class Element, class Sum>
void multiply_block(const Element* rows, std::size_t stride, const Element* panels, int depth, Sum* sums,
                    std::size_t sums_stride) {
    constexpr int kStep = 64 / static_cast<int>(sizeof(Element));  // depth of a tile
    const std::size_t row_bytes = stride * sizeof(Element);
    const Element* low_rows = rows + 16 * stride;
    const Element* right = panels + static_cast<std::size_t>(depth) * kPanel;
    // GCC before 12.4 and 13.3 is not told that a tile's load reads memory: what was written before has to be there.
    asm volatile("" ::: "memory");
    TILE_ZERO(0);
    if constexpr (Broad) TILE_ZERO(1);
    if constexpr (Tall) TILE_ZERO(2);
    if constexpr (Tall && Broad) TILE_ZERO(3);
    for (int k = 0; k < depth; k += kStep) {
        TILE_LOAD(4, rows + k, row_bytes);
        TILE_LOAD(6, panels + k * kPanel, 64);
        DISCO_TIMES(0, 4, 6);
        if constexpr (Broad) {
            TILE_LOAD(7, right + k * kPanel, 64);
            DISCO_TIMES(1, 4, 7);
        }
        if constexpr (Tall) {
            TILE_LOAD(5, low_rows + k, row_bytes);
            DISCO_TIMES(2, 5, 6);
        }
        if constexpr (Tall && Broad) DISCO_TIMES(3, 5, 7);
    }
    const std::size_t sum_bytes = sums_stride * sizeof(Sum);
    TILE_STORE(0, sums, sum_bytes);
    if constexpr (Broad) TILE_STORE(1, sums + kPanel, sum_bytes);
    if constexpr (Tall) TILE_STORE(2, sums + 16 * sums_stride, sum_bytes);
    if constexpr (Tall && Broad) TILE_STORE(3, sums + 16 * sums_stride + kPanel, sum_bytes);
}

// sums[row_count][16 · panel_count] = rows[row_count][depth] · panels, for up to kRows and kPanels of them.
template <class Element, class Sum>
void multiply(const Element* rows, std::size_t stride, int row_count, const Element* panels, int panel_count, int depth,
              Sum* sums, std::size_t sums_stride) {
    const bool tall = row_count > 16;
    if (tall && panel_count > 1) return multiply_block<true, true>(rows, stride, panels, depth, sums, sums_stride);
    if (tall) return multiply_block<true, false>(rows, stride, panels, depth, sums, sums_stride);
    if (panel_count > 1) return multiply_block<false, true>(rows, stride, panels, depth, sums, sums_stride);
    return multiply_block<false, false>(rows, stride, panels, depth, sums, sums_stride);
}

#undef DISCO_TIMES
