// Tile instructions in all their forms, not only those that the kernels' compiler chose: one case a run, named by the
// first argument; status 0 where it holds. For CPUs without tiles.
#include "tile_trap.hpp"

#include <signal.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>

namespace {

struct alignas(64) Shapes {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t bytes_a_row[16] = {};
    std::uint8_t rows[16] = {};

    Shapes& with(int tile, int row_count, int bytes) {
        rows[tile] = static_cast<std::uint8_t>(row_count);
        bytes_a_row[tile] = static_cast<std::uint16_t>(bytes);
        return *this;
    }
};

struct Matrix {
    std::uint8_t bytes[16][64] = {};
    bool operator==(const Matrix& other) const { return std::memcmp(bytes, other.bytes, sizeof bytes) == 0; }
};

void configure(const Shapes& shapes) { asm volatile("ldtilecfg %0" ::"m"(shapes)); }

Matrix counting() {
    Matrix matrix;
    for (int i = 0; i < 16 * 64; ++i) matrix.bytes[i / 64][i % 64] = static_cast<std::uint8_t>(7 * i + 1);
    return matrix;
}

// Of what is stored, only what the tile holds is written.
Matrix part(const Matrix& whole, int rows, int bytes) {
    Matrix found;
    for (int row = 0; row < rows; ++row) std::memcpy(found.bytes[row], whole.bytes[row], static_cast<std::size_t>(bytes));
    return found;
}

Matrix stored() {
    Matrix found;
    asm volatile("tilestored %%tmm1, (%0,%1,1)" ::"r"(found.bytes), "r"(64L) : "memory");
    return found;
}

bool loads_by_every_form_of_address() {
    const Matrix whole = counting(), wanted = part(whole, 5, 36);
    const std::uint8_t* const start = whole.bytes[0];
    configure(Shapes().with(1, 5, 36));
    bool right = true;
    asm volatile("tileloadd (%0,%1,1), %%tmm1" ::"r"(start), "r"(64L) : "memory");
    right &= stored() == wanted;
    asm volatile("tilezero %tmm1");
    right &= stored() == Matrix{};
    asm volatile("tileloaddt1 (%0,%1,2), %%tmm1" ::"r"(start), "r"(32L) : "memory");
    right &= stored() == wanted;
    asm volatile("tileloadd -8(%0,%1,8), %%tmm1" ::"r"(start + 8), "r"(8L) : "memory");
    right &= stored() == wanted;
    asm volatile("tileloadd 4096(%0,%1,4), %%tmm1" ::"r"(start - 4096), "r"(16L) : "memory");
    right &= stored() == wanted;
    asm volatile("movq %0, %%r13\n\tmovq %1, %%r12\n\ttileloadd (%%r13,%%r12,1), %%tmm1" ::"r"(start), "r"(64L)
                 : "r12", "r13", "memory");
    right &= stored() == wanted;
    asm volatile("tileloadd (%0,%1,1), %%tmm1" ::"r"(whole.bytes[4]), "r"(-64L) : "memory");
    Matrix backwards;
    for (int row = 0; row < 5; ++row) std::memcpy(backwards.bytes[row], whole.bytes[4 - row], 36);
    right &= stored() == backwards;
    asm volatile("tileloadd (%0), %%tmm1" ::"r"(start) : "memory");  // no index, so no stride
    Matrix repeated;
    for (int row = 0; row < 5; ++row) std::memcpy(repeated.bytes[row], start, 36);
    return right && stored() == repeated;
}

bool configures_by_base_and_index() {
    const Shapes two[2] = {Shapes().with(1, 1, 4), Shapes().with(1, 5, 36)};
    const Matrix whole = counting();
    asm volatile("ldtilecfg (%0,%1,8)" ::"r"(two), "r"(8L) : "memory");
    asm volatile("tileloadd (%0,%1,1), %%tmm1" ::"r"(whole.bytes), "r"(64L) : "memory");
    return stored() == part(whole, 5, 36);
}

bool a_new_configuration_clears() {
    const Matrix whole = counting();
    configure(Shapes().with(1, 16, 64));
    asm volatile("tileloadd (%0,%1,1), %%tmm1" ::"r"(whole.bytes), "r"(64L) : "memory");
    configure(Shapes().with(1, 16, 64));
    return stored() == Matrix{};
}

bool multiplies_bytes() {
    const Matrix rows = counting(), columns = counting();
    configure(Shapes().with(1, 3, 20).with(2, 3, 8).with(3, 2, 20));
    asm volatile("tilezero %%tmm1\n\ttileloadd (%0,%2,1), %%tmm2\n\ttileloadd (%1,%2,1), %%tmm3" ::"r"(rows.bytes),
                 "r"(columns.bytes), "r"(64L)
                 : "memory");
    asm volatile("tdpbusd %tmm3, %tmm2, %tmm1\n\ttdpbusd %tmm3, %tmm2, %tmm1");
    Matrix wanted;
    for (int m = 0; m < 3; ++m) {
        for (int n = 0; n < 5; ++n) {
            std::int32_t sum = 0;
            for (int k = 0; k < 8; ++k) {
                sum += 2 * rows.bytes[m][k] * static_cast<std::int8_t>(columns.bytes[k / 4][4 * n + k % 4]);
            }
            std::memcpy(wanted.bytes[m] + 4 * n, &sum, 4);
        }
    }
    return stored() == wanted;
}

// 2^24 and many 1s: added one by one to it they would all be lost.
bool adds_first_and_second_halves_apart() {
    const std::uint16_t one = 0x3F80, large = 0x4B80;
    Matrix rows, columns;
    for (int i = 0; i < 32; ++i) {
        std::memcpy(rows.bytes[0] + 2 * i, i == 0 ? &large : &one, 2);
        std::memcpy(columns.bytes[i / 2] + 2 * (i % 2), &one, 2);
    }
    configure(Shapes().with(1, 1, 4).with(2, 1, 64).with(3, 16, 4));
    asm volatile("tileloadd (%0,%2,1), %%tmm2\n\ttileloadd (%1,%2,1), %%tmm3" ::"r"(rows.bytes), "r"(columns.bytes),
                 "r"(64L)
                 : "memory");
    asm volatile("tilezero %tmm1\n\ttdpbf16ps %tmm3, %tmm2, %tmm1");
    float sum;
    std::memcpy(&sum, stored().bytes, sizeof sum);
    return sum == 16777216.0f + 16;  // the first halves' own 15 are lost, the second halves' 16 are not
}

void leave(int) { _Exit(42); }

// Each ends the process with 42, by the handler that was there before.
const std::map<std::string, std::function<void()>> kRefused = {
    {"ud2", [] { asm volatile("ud2"); }},
    {"tilezero before ldtilecfg", [] { asm volatile("tilezero %tmm1"); }},
    {"tilezero after tilerelease",
     [] {
         configure(Shapes().with(1, 16, 64));
         asm volatile("tilerelease\n\ttilezero %tmm1");
     }},
    {"tilezero of a tile without rows",
     [] {
         configure(Shapes().with(2, 16, 64));
         asm volatile("tilezero %tmm1");
     }},
    {"rows of no whole numbers",
     [] {
         configure(Shapes().with(1, 16, 62));
         asm volatile("tilezero %tmm1");
     }},
    {"too many rows", [] { configure(Shapes().with(1, 17, 64)); }},
    {"shapes that do not fit",
     [] {
         configure(Shapes().with(1, 3, 20).with(2, 3, 8).with(3, 4, 20));
         asm volatile("tdpbusd %tmm3, %tmm2, %tmm1");
     }},
    {"one tile twice",
     [] {
         configure(Shapes().with(1, 16, 64).with(2, 16, 64));
         asm volatile(".byte 0xC4, 0xE2, 0x69, 0x5E, 0xCA");  // tdpbusd %tmm2, %tmm2, %tmm1: no assembler takes it
     }},
};

const std::map<std::string, bool (*)()> kDone = {
    {"loads by every form of address", loads_by_every_form_of_address},
    {"configures by base and index", configures_by_base_and_index},
    {"a new configuration clears", a_new_configuration_clears},
    {"multiplies bytes", multiplies_bytes},
    {"adds first and second halves apart", adds_first_and_second_halves_apart},
};

}  // namespace

int main(int count, char** arguments) {
    signal(SIGILL, leave);
    disco::trap_tiles();
    const std::string name = count > 1 ? arguments[1] : "";
    if (const auto done = kDone.find(name); done != kDone.end()) return done->second() ? 0 : 1;
    if (const auto refused = kRefused.find(name); refused != kRefused.end()) refused->second();
    return 2;
}
