// Runs the machine code of the tiles on CPUs without any: what they call an illegal instruction is done here, after
// Intel's Software Developer's Manual, volume 2, and the thread goes on behind it. For the tests of a build with
// DISCO_TRAP_TILES; some microseconds an instruction. Knows nothing of the kernels: what the compiler made of them is
// decoded from its bytes, so that operands, configuration and order are the real ones. Of the instructions there are it
// knows those that intrinsics can make of src/tiles.hpp; any other illegal instruction stays what it was.
#include "tile_trap.hpp"

#include <pmmintrin.h>
#include <signal.h>
#include <ucontext.h>
#include <xmmintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>

namespace disco {
namespace {

struct Tiles {
    bool configured = false;
    unsigned rows[8] = {};
    unsigned bytes_a_row[8] = {};
    alignas(64) std::uint8_t bytes[8][16][64] = {};
};

thread_local Tiles tiles;

// An instruction of map 0F38 behind a three-byte VEX prefix, and its parts.
struct Instruction {
    unsigned opcode, prefix, length;  // prefix: 0 none, 1 66, 2 F3, 3 F2
    unsigned reg, rm, third;          // tiles
    bool in_memory;
    std::uint8_t* base;  // the address without the index
    std::int64_t stride;
};

template <class Number>
Number read(const std::uint8_t* from) {
    Number number;
    std::memcpy(&number, from, sizeof number);
    return number;
}

std::uint64_t general(const ucontext_t& context, unsigned number) {
    static constexpr int kPlaces[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                        REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return static_cast<std::uint64_t>(context.uc_mcontext.gregs[kPlaces[number]]);
}

// SDM 2.1.5 and 2.3: ModR/M, SIB and displacement.
void decode_memory(const ucontext_t& context, const std::uint8_t* code, unsigned mode, bool x, bool b,
                   Instruction& found) {
    const std::uint8_t* at = code + 5;
    std::uint64_t address = 0;
    bool relative = false;
    if (found.rm == 4) {
        const unsigned sib = *at++;
        const unsigned index = (sib >> 3 & 7) | (x ? 8 : 0), base = (sib & 7) | (b ? 8 : 0);
        if (index != 4) found.stride = static_cast<std::int64_t>(general(context, index) << (sib >> 6));
        if ((sib & 7) == 5 && mode == 0) {
            address = static_cast<std::uint64_t>(std::int64_t{read<std::int32_t>(at)});
            at += 4;
        } else {
            address = general(context, base);
        }
    } else if (found.rm == 5 && mode == 0) {
        relative = true;
        address = static_cast<std::uint64_t>(std::int64_t{read<std::int32_t>(at)});
        at += 4;
    } else {
        address = general(context, found.rm | (b ? 8 : 0));
    }
    if (mode == 1) {
        address += static_cast<std::uint64_t>(std::int64_t{read<std::int8_t>(at)});
        at += 1;
    } else if (mode == 2) {
        address += static_cast<std::uint64_t>(std::int64_t{read<std::int32_t>(at)});
        at += 4;
    }
    if (relative) address += reinterpret_cast<std::uint64_t>(at);
    found.base = reinterpret_cast<std::uint8_t*>(address);
    found.length = static_cast<unsigned>(at - code);
}

bool decode(const ucontext_t& context, const std::uint8_t* code, Instruction& found) {
    constexpr unsigned kVex = 0xC4, kMap = 2;
    if (code[0] != kVex || (code[1] & 0x1F) != kMap) return false;
    if ((code[2] & 0x84) != 0) return false;  // W0 and 128 bits
    const bool r = (code[1] & 0x80) == 0, x = (code[1] & 0x40) == 0, b = (code[1] & 0x20) == 0;
    const unsigned mode = code[4] >> 6;
    found = {.opcode = code[3],
             .prefix = code[2] & 3u,
             .length = 5,
             .reg = code[4] >> 3 & 7u,
             .rm = code[4] & 7u,
             .third = ~code[2] >> 3 & 15u,
             .in_memory = mode != 3,
             .base = nullptr,
             .stride = 0};
    if (r || found.third > 7) return false;  // there are eight tiles
    if (found.in_memory) decode_memory(context, code, mode, x, b, found);
    return true;
}

// LDTILECFG: SDM's checks of palette 1; false where the instruction would fault.
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
    fresh.configured = true;
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

// Whether the three shapes fit, as the products want it.
bool fits(const Instruction& one) {
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

// False where a CPU with tiles would fault as well, or the instruction is none of theirs.
bool execute(const Instruction& one) {
    enum : unsigned { kNone, k66, kF3, kF2 };
    switch (one.opcode << 4 | one.prefix) {
        case 0x49 << 4 | kNone:
            if (one.in_memory) return configure(one.base);  // LDTILECFG
            tiles = Tiles{};                                // TILERELEASE
            return true;
        case 0x49 << 4 | kF2:  // TILEZERO
            if (!tiles.configured || one.in_memory) return false;
            std::memset(tiles.bytes[one.reg], 0, sizeof tiles.bytes[one.reg]);
            return true;
        case 0x4B << 4 | kF2:  // TILELOADD
        case 0x4B << 4 | k66:  // TILELOADDT1
            if (!tiles.configured || !one.in_memory) return false;
            load(one);
            return true;
        case 0x4B << 4 | kF3:  // TILESTORED
            if (!tiles.configured || !one.in_memory) return false;
            store(one);
            return true;
        case 0x5E << 4 | k66:  // TDPBUSD
            if (!tiles.configured || one.in_memory || !fits(one)) return false;
            multiply_bytes(one);
            return true;
        case 0x5C << 4 | kF3:  // TDPBF16PS
            if (!tiles.configured || one.in_memory || !fits(one)) return false;
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
    signal(SIGILL, SIG_DFL);  // met again at once, and then by the system
}

}  // namespace

void trap_tiles() {
    struct sigaction action = {};
    action.sa_sigaction = on_illegal_instruction;
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    sigaction(SIGILL, &action, nullptr);
}

}  // namespace disco
