// An instruction set's entry in the table of kernels.hpp. Included last by its file, which defines DISCO_ISA.
#pragma once

#include "forward.hpp"

#define DISCO_TEXT_OF(name) #name
#define DISCO_NAME_OF(name) DISCO_TEXT_OF(name)

namespace disco::DISCO_ISA {

// What gives sixteen floats of the sixteen that it is given.
using Function = void (*)(Floats x, float* to);

struct NamedFunction {
    const char* name;
    Function compute;
};

inline constexpr NamedFunction kFunctions[] = {
    {"exp2", [](Floats x, float* to) { store(to, exp2(x)); }},
    {"gelu_erf", [](Floats x, float* to) { store(to, gelu_erf(x)); }},
    {"tanh_gelu", [](Floats x, float* to) { store(to, gelu_tanh(x)); }},
    {"bytes",
     [](Floats x, float* to) {
         std::uint8_t bytes[kPanel];
         store(bytes, x);
         for (int i = 0; i < kPanel; ++i) to[i] = bytes[i];
     }},
    {"halves",
     [](Floats x, float* to) {
         Bf16Bits halves[kPanel];
         store(halves, x);
         for (int i = 0; i < kPanel; ++i) to[i] = to_float(halves[i]);
     }},
};

inline bool apply(const char* name, const float* from, std::size_t count, float* to) {
    for (const NamedFunction& function : kFunctions) {
        if (__builtin_strcmp(name, function.name) != 0) continue;
        for (std::size_t i = 0; i < count; i += kPanel) function.compute(load(from + i), to + i);
        return true;
    }
    return false;
}

template <class Element, class Sum>
void multiply_all(const Product& product, const Element* weights, const Element* rows, int row_count, Sum* sums) {
    const auto depth = static_cast<std::size_t>(product.depth);
    const auto columns = static_cast<std::size_t>(product.columns);
    Sum block[kRows * kPanels * kPanel];
    begin_products();
    for (int panel = 0; panel < product.columns / kPanel; panel += kPanels) {
        const int left = product.columns / kPanel - panel;
        const int panels = left < kPanels ? left : kPanels;
        for (int row = 0; row < row_count; row += kRows) {
            const int height = row_count - row < kRows ? row_count - row : kRows;
            multiply(rows + static_cast<std::size_t>(row) * depth, depth, height,
                     weights + static_cast<std::size_t>(panel) * depth * kPanel, panels, product.depth, block,
                     static_cast<std::size_t>(kPanels * kPanel));
            for (int r = 0; r < height; ++r) {
                for (int c = 0; c < panels * kPanel; ++c) {
                    sums[static_cast<std::size_t>(row + r) * columns + static_cast<std::size_t>(panel * kPanel + c)] =
                        block[r * kPanels * kPanel + c];
                }
            }
        }
    }
    end_products();
}

inline void multiply_bytes(const Product& product, const std::uint8_t* rows, int row_count, std::int32_t* sums) {
    multiply_all(product, product.bytes.data(), rows, row_count, sums);
}

inline void multiply_halves(const Product& product, const Bf16Bits* rows, int row_count, float* sums) {
    multiply_all(product, product.halves.data(), rows, row_count, sums);
}

extern const Kernels kernels;
const Kernels kernels{DISCO_NAME_OF(DISCO_ISA), kGroupRows,     encode_group,   pool,
                      apply,                    multiply_bytes, multiply_halves};

}  // namespace disco::DISCO_ISA
