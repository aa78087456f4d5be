// What a worker computes in, and the batch it works on: one group of texts at a time. Grows, and is then kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "buffer.hpp"
#include "model.hpp"

namespace disco {

inline constexpr int kMostRows = 32;    // of a micro-kernel's block, and what may be read beyond the last row
inline constexpr int kMostPanels = 3;

struct Text {
    const std::int32_t* ids;
    int length;
    int row;  // its first, within the group
};

// Texts that go through all layers together.
struct Group {
    const Text* texts;
    int count;
    int rows;
};

class Workspace {
public:
    // Makes room for a group of that many rows, no text of which is longer than `longest`.
    void reserve(const Model& model, int rows, int longest);

    Buffer<float> hidden;          // [rows][width]: the layers' input and output
    Buffer<std::uint8_t> narrow;   // [rows][width], as the next product reads it: bytes or halves
    Buffer<std::uint8_t> context;  // [rows][context], likewise
    Buffer<std::uint8_t> wide;     // [rows][feed_forward], likewise; at other times [rows][3 · context] halves
    Buffer<float> outliers;        // [rows][most_outliers]

    Buffer<Bf16Bits> keys;           // one head's, in panels
    Buffer<Bf16Bits> values;         // one head's, in panels
    Buffer<float> scores;            // [kMostRows][longest]
    Buffer<Bf16Bits> probabilities;  // [kMostRows][longest]
    Buffer<float> mixed;             // [kMostRows][head_stride]
    Buffer<std::uint32_t> sums;      // two blocks of a micro-kernel

private:
    int rows_ = 0;
    int longest_ = 0;
};

}  // namespace disco
