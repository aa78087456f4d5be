// An instruction set's entry in the table of kernels.hpp. Included last by its file, which defines DISCO_ISA.
#pragma once

#include "forward.hpp"

#define DISCO_TEXT_OF(name) #name
#define DISCO_NAME_OF(name) DISCO_TEXT_OF(name)

namespace disco::DISCO_ISA {

inline void apply(const char* function, const float* from, std::size_t count, float* to) {
    for (std::size_t i = 0; i < count; i += kPanel) {
        const Floats x = load(from + i);
        switch (function[0]) {  // exp2, gelu_erf, tanh_gelu, bytes, halves
            case 'e': store(to + i, exp2(x)); break;
            case 'g': store(to + i, gelu_erf(x)); break;
            case 't': store(to + i, gelu_tanh(x)); break;
            case 'b': {
                std::uint8_t bytes[kPanel];
                store(bytes, x);
                for (int j = 0; j < kPanel; ++j) to[i + static_cast<std::size_t>(j)] = bytes[j];
                break;
            }
            default: {
                Bf16Bits halves[kPanel];
                store(halves, x);
                for (int j = 0; j < kPanel; ++j) to[i + static_cast<std::size_t>(j)] = to_float(halves[j]);
            }
        }
    }
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
