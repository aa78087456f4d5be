// Which instruction sets there are, which of them this CPU has, and what each of them offers: the table that module.cpp
// calls through. The layer itself is forward.hpp.
#pragma once

#include <string>
#include <vector>

#include "model.hpp"
#include "workspace.hpp"

namespace disco {

struct Kernels {
    const char* name;
    int group_rows;
    // Computes the tokens' vectors of a group into `workspace.hidden`, which has been given room.
    void (*encode_group)(const Model&, const Group&, Workspace&);
    // Pools them: [texts][hidden].
    void (*pool)(const Model&, const Group&, const Workspace&, float* vectors);

    // For tests: functions by name over 16 · n floats, false where there is none of that name.
    bool (*apply)(const char* function, const float* from, std::size_t count, float* to);
    // For tests and the proof before an instruction set is used: the micro-kernel over packed weights.
    void (*multiply_bytes)(const Product&, const std::uint8_t* rows, int row_count, std::int32_t* sums);
    void (*multiply_halves)(const Product&, const Bf16Bits* rows, int row_count, float* sums);
};

// Those that this CPU can run, fastest first.
std::vector<const Kernels*> available_kernels();

// The one called `name`; throws std::invalid_argument where there is none, or the CPU lacks it.
const Kernels& find_kernels(const std::string& name);

}  // namespace disco
