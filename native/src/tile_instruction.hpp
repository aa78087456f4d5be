// What a tile instruction's bytes say: operation, tiles, memory. Knows what none of them does.
#pragma once

#include <ucontext.h>

#include <cstdint>
#include <cstring>

namespace disco {

// One of map 0F38 behind a three-byte VEX prefix.
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

inline std::uint64_t general(const ucontext_t& context, unsigned number) {
    static constexpr int kPlaces[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                        REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return static_cast<std::uint64_t>(context.uc_mcontext.gregs[kPlaces[number]]);
}

inline constexpr unsigned kSib = 4;  // in the place of a register's number: a SIB byte follows

// SDM 2.1.5 and 2.3: ModR/M, SIB and displacement.
inline void decode_memory(const ucontext_t& context, const std::uint8_t* code, unsigned mode, bool x, bool b,
                          Instruction& found) {
    const std::uint8_t* at = code + 5;
    std::uint64_t address = 0;
    bool relative = false;
    if (found.rm == kSib) {
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

// False for any other instruction.
inline bool decode(const ucontext_t& context, const std::uint8_t* code, Instruction& found) {
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

}  // namespace disco
