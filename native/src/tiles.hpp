// Tiles: eight registers of 16 rows × 64 bytes, and products of two of them. Intrinsics where the compiler has AMX, plain
// C++ where DISCO_EMULATE_TILES asks for it, so that everything built on them is tested on any CPU. Products of bytes are
// the same in both. Those of halves are not, bit for bit: TDPBF16PS adds up the first halves of all pairs apart from the
// second ones and takes denormals for zero (tile_trap.cpp does so); here they are added in order, denormals and all.
// Included by an instruction set's own file only, inside its namespace.

#ifndef DISCO_EMULATE_TILES

// The shape of all tiles, as ldtilecfg reads it.
struct alignas(64) TileShapes {
    std::uint8_t palette = 1;
    std::uint8_t start_row = 0;
    std::uint8_t reserved[14] = {};
    std::uint16_t bytes_a_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// A constant in the file: GCC before 12.4 and 13.3 tells its optimiser that ldtilecfg reads the first 8 of these 64
// bytes, and what is only written to the stack may then be left out.
inline constexpr TileShapes kTileShapes;

inline void begin_products() { _tile_loadconfig(&kTileShapes); }
inline void end_products() { _tile_release(); }

#define TILE_ZERO(tile) _tile_zero(tile)
#define TILE_LOAD(tile, from, stride) _tile_loadd(tile, from, stride)
#define TILE_STORE(tile, to, stride) _tile_stored(tile, to, stride)
#define TILE_MULTIPLY_BYTES(sums, rows, columns) _tile_dpbusd(sums, rows, columns)
#define TILE_MULTIPLY_HALVES(sums, rows, columns) _tile_dpbf16ps(sums, rows, columns)

#else

struct Tile {
    alignas(64) std::uint8_t bytes[16][64];
};

inline thread_local Tile emulated_tiles[8];

inline void begin_products() {}
inline void end_products() {}

inline void emulate_load(int tile, const void* from, std::size_t stride) {
    for (std::size_t row = 0; row < 16; ++row) {
        __builtin_memcpy(emulated_tiles[tile].bytes[row], static_cast<const char*>(from) + row * stride, 64);
    }
}

inline void emulate_store(int tile, void* to, std::size_t stride) {
    for (std::size_t row = 0; row < 16; ++row) {
        __builtin_memcpy(static_cast<char*>(to) + row * stride, emulated_tiles[tile].bytes[row], 64);
    }
}

template <class Element, class Sum, class Times>
void emulate_multiply(int sums, int rows, int columns, Times times) {
    constexpr int kGroup = 4 / static_cast<int>(sizeof(Element));
    for (int r = 0; r < 16; ++r) {
        Sum totals[16];
        Element a[64 / sizeof(Element)];
        __builtin_memcpy(totals, emulated_tiles[sums].bytes[r], 64);
        __builtin_memcpy(a, emulated_tiles[rows].bytes[r], 64);
        for (int k = 0; k < 16; ++k) {
            Element b[64 / sizeof(Element)];
            __builtin_memcpy(b, emulated_tiles[columns].bytes[k], 64);
            for (int c = 0; c < 16; ++c) {
                for (int i = 0; i < kGroup; ++i) totals[c] += times(a[k * kGroup + i], b[c * kGroup + i]);
            }
        }
        __builtin_memcpy(emulated_tiles[sums].bytes[r], totals, 64);
    }
}

inline void emulate_multiply_bytes(int sums, int rows, int columns) {
    emulate_multiply<std::uint8_t, std::int32_t>(sums, rows, columns, [](std::uint8_t a, std::uint8_t b) {
        return std::int32_t{a} * static_cast<std::int8_t>(b);
    });
}

inline void emulate_multiply_halves(int sums, int rows, int columns) {
    emulate_multiply<Bf16Bits, float>(sums, rows, columns,
                                      [](Bf16Bits a, Bf16Bits b) { return to_float(a) * to_float(b); });
}

#define TILE_ZERO(tile) (emulated_tiles[tile] = Tile{})
#define TILE_LOAD(tile, from, stride) emulate_load(tile, from, stride)
#define TILE_STORE(tile, to, stride) emulate_store(tile, to, stride)
#define TILE_MULTIPLY_BYTES(sums, rows, columns) emulate_multiply_bytes(sums, rows, columns)
#define TILE_MULTIPLY_HALVES(sums, rows, columns) emulate_multiply_halves(sums, rows, columns)

#endif
