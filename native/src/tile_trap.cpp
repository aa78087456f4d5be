// Runs the machine code of the tiles on CPUs without any: what they call an illegal instruction is done here, after
// Intel's Software Developer's Manual, volume 2, and the thread goes on behind it. For the tests of a build with
// DISCO_TRAP_TILES; some microseconds an instruction. Knows nothing of the kernels: operands, configuration and order are
// those that the compiler chose. Any other illegal instruction goes where it went before.
#include "tile_trap.hpp"

#include <pmmintrin.h>
#include <signal.h>
#include <ucontext.h>
#include <xmmintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#include "tile_instruction.hpp"

namespace disco {
namespace {

struct Tiles {
    unsigned rows[8] = {};
    unsigned bytes_a_row[8] = {};
    alignas(64) std::uint8_t bytes[8][16][64] = {};
};

thread_local Tiles tiles;
struct sigaction earlier;  // what was done about illegal instructions before

// LDTILECFG: SDM's checks of palette 1; false where the instruction would fault. A start_row, which only a kernel restores
// after an interruption, counts as a fault.
bool configure(const std::uint8_t* from) {
    if (from[0] == 0) {
        tiles = Tiles{};
        return true;
    }
    if (from[0] != 1 || from[1] != 0) return false;
    for (int i = 2; i < 16; ++i) {
        if (from[i] != 0) return false;
    }
    for (int i = 32; i < 48; ++i) {
        if (from[i] != 0) return false;
    }
    for (int i = 56; i < 64; ++i) {
        if (from[i] != 0) return false;
    }
    Tiles fresh;
    for (int tile = 0; tile < 8; ++tile) {
        fresh.bytes_a_row[tile] = read<std::uint16_t>(from + 16 + 2 * tile);
        fresh.rows[tile] = from[48 + tile];
        if (fresh.bytes_a_row[tile] > 64 || fresh.rows[tile] > 16) return false;
        if ((fresh.bytes_a_row[tile] == 0) != (fresh.rows[tile] == 0)) return false;
    }
    tiles = fresh;
    return true;
}

void load(const Instruction& one) {
    auto& tile = tiles.bytes[one.reg];
    std::memset(tile, 0, sizeof tile);
    for (unsigned row = 0; row < tiles.rows[one.reg]; ++row) {
        std::memcpy(tile[row], one.base + one.stride * row, tiles.bytes_a_row[one.reg]);
    }
}

void store(const Instruction& one) {
    for (unsigned row = 0; row < tiles.rows[one.reg]; ++row) {
        std::memcpy(one.base + one.stride * row, tiles.bytes[one.reg][row], tiles.bytes_a_row[one.reg]);
    }
}

bool is_configured(unsigned tile) { return tiles.rows[tile] != 0 && tiles.bytes_a_row[tile] % 4 == 0; }

// Whether an instruction that moves one tile may: only products name a third one.
bool moves(const Instruction& one) { return is_configured(one.reg) && one.third == 0; }

bool is_strided(const Instruction& one) { return one.in_memory && one.rm == kSib; }

// Whether the three shapes fit, as the products want it.
bool fits(const Instruction& one) {
    if (one.in_memory || !is_configured(one.reg) || !is_configured(one.rm) || !is_configured(one.third)) return false;
    return one.reg != one.rm && one.reg != one.third && one.rm != one.third &&
           tiles.bytes_a_row[one.reg] == tiles.bytes_a_row[one.third] && tiles.rows[one.reg] == tiles.rows[one.rm] &&
           tiles.bytes_a_row[one.rm] / 4 == tiles.rows[one.third];
}

// TDPBUSD: unsigned bytes of the second tile times signed ones of the third; sums wrap.
void multiply_bytes(const Instruction& one) {
    for (unsigned m = 0; m < tiles.rows[one.reg]; ++m) {
        for (unsigned k = 0; k < tiles.bytes_a_row[one.rm] / 4; ++k) {
            for (unsigned n = 0; n < tiles.bytes_a_row[one.reg] / 4; ++n) {
                std::uint8_t* sum = tiles.bytes[one.reg][m] + 4 * n;
                auto total = read<std::uint32_t>(sum);
                for (unsigned i = 0; i < 4; ++i) {
                    const int product = int{tiles.bytes[one.rm][m][4 * k + i]} *
                                        int{static_cast<std::int8_t>(tiles.bytes[one.third][k][4 * n + i])};
                    total += static_cast<std::uint32_t>(product);
                }
                std::memcpy(sum, &total, sizeof total);
            }
        }
    }
}

float half(const std::uint8_t* from) {
    const std::uint32_t bits = std::uint32_t{read<std::uint16_t>(from)} << 16;
    float number;
    std::memcpy(&number, &bits, sizeof number);
    return number;
}

// TDPBF16PS: even and odd halves are added up apart from each other, fused, and joined at the end.
[[gnu::noinline]] void multiply_halves(const Instruction& one) {
    for (unsigned m = 0; m < tiles.rows[one.reg]; ++m) {
        float even[16] = {}, odd[16] = {};
        for (unsigned k = 0; k < tiles.bytes_a_row[one.rm] / 4; ++k) {
            const std::uint8_t* left = tiles.bytes[one.rm][m] + 4 * k;
            for (unsigned n = 0; n < tiles.bytes_a_row[one.reg] / 4; ++n) {
                const std::uint8_t* right = tiles.bytes[one.third][k] + 4 * n;
                even[n] = std::fma(half(left), half(right), even[n]);
                odd[n] = std::fma(half(left + 2), half(right + 2), odd[n]);
            }
        }
        for (unsigned n = 0; n < tiles.bytes_a_row[one.reg] / 4; ++n) {
            std::uint8_t* sum = tiles.bytes[one.reg][m] + 4 * n;
            const float total = read<float>(sum) + (even[n] + odd[n]);
            std::memcpy(sum, &total, sizeof total);
        }
    }
}

// Rounds to nearest whatever the thread does, and takes denormals for zeros.
void multiply_halves_as_tiles_do(const Instruction& one) {
    const unsigned before = _mm_getcsr();
    _mm_setcsr(_MM_MASK_MASK | _MM_FLUSH_ZERO_ON | _MM_DENORMALS_ZERO_ON);
    multiply_halves(one);
    _mm_setcsr(before);
}

// False where the instruction is none of theirs, or a CPU with tiles would fault as well.
bool execute(const Instruction& one) {
    enum : unsigned { kNone, k66, kF3, kF2 };
    switch (one.opcode << 4 | one.prefix) {
        case 0x49 << 4 | kNone:
            if (one.in_memory) return configure(one.base + one.stride);  // LDTILECFG
            tiles = Tiles{};                                             // TILERELEASE
            return true;
        case 0x49 << 4 | kF2:  // TILEZERO
            if (one.in_memory || !moves(one)) return false;
            std::memset(tiles.bytes[one.reg], 0, sizeof tiles.bytes[one.reg]);
            return true;
        case 0x4B << 4 | kF2:  // TILELOADD
        case 0x4B << 4 | k66:  // TILELOADDT1
            if (!is_strided(one) || !moves(one)) return false;
            load(one);
            return true;
        case 0x4B << 4 | kF3:  // TILESTORED
            if (!is_strided(one) || !moves(one)) return false;
            store(one);
            return true;
        case 0x5E << 4 | k66:  // TDPBUSD
            if (!fits(one)) return false;
            multiply_bytes(one);
            return true;
        case 0x5C << 4 | kF3:  // TDPBF16PS
            if (!fits(one)) return false;
            multiply_halves_as_tiles_do(one);
            return true;
        default:
            return false;
    }
}

void on_illegal_instruction(int, siginfo_t* info, void* opaque) {
    auto& context = *static_cast<ucontext_t*>(opaque);
    Instruction one;
    if (decode(context, static_cast<const std::uint8_t*>(info->si_addr), one) && execute(one)) {
        context.uc_mcontext.gregs[REG_RIP] += one.length;
        return;
    }
    sigaction(SIGILL, &earlier, nullptr);  // the instruction is met again at once
}

}  // namespace

void trap_tiles() {
    struct sigaction action = {};
    action.sa_sigaction = on_illegal_instruction;
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    sigaction(SIGILL, &action, &earlier);
}

}  // namespace disco
