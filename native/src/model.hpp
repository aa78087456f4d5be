// A model ready to be run: widths rounded up, weights in panels. Immutable, so workers share it; knows no CPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bf16.hpp"
#include "buffer.hpp"
#include "weights.hpp"

namespace disco {

inline constexpr int kPanel = 16;      // columns of weights that lie together, a vector of sums
inline constexpr int kDepthStep = 64;  // widths are rounded up to it: 64 bytes are a row of a tile
inline constexpr int kHeadStep = 32;   // so are the widths of heads: 32 bf16 are a row of a tile

constexpr int round_up(int n, int step) { return (n + step - 1) / step * step; }

enum class Precision { int8, bf16 };

// How activations become the bytes that a product reads: nearest(x · inverse) + zero.
struct Quantizer {
    Buffer<float> inverse;  // [depth]
    float zero = 0;
};

// A product with constant weights. Panels of 16 columns follow one another; in each, groups of 4 bytes (or 2 bf16) of
// a column's depth lie side by side for the 16 columns, as VNNI instructions and tiles read them.
struct Product {
    int depth = 0;
    int columns = 0;
    Buffer<std::uint8_t> bytes;  // of int8, or else
    Buffer<Bf16Bits> halves;
    // What sums are worth: sum · scales + offsets; the offset holds the bias, and takes the zero point out.
    Buffer<float> scales;
    Buffer<float> offsets;
    Quantizer input;
    std::vector<int> outliers;
    Buffer<float> outlier_rows;  // [outliers][columns]
};

struct Normalization {
    Buffer<float> gamma;
    Buffer<float> beta;
    float epsilon = 0;
};

struct Layer {
    Product qkv;
    Product output;
    Normalization attention_norm;
    Product up;
    Product down;
    Normalization output_norm;
};

struct Model {
    Precision precision = Precision::bf16;
    int vocabulary = 0;
    int longest = 0;
    int hidden = 0;
    int width = 0;  // hidden, rounded up; what is too many is zero everywhere
    int heads = 0;
    int head_width = 0;
    int head_stride = 0;  // head_width, rounded up
    int context = 0;      // heads · head_stride, rounded up: columns of queries, of keys, of values
    int feed_forward = 0;
    bool tanh_gelu = false;
    bool pools_first = false;
    bool normalizes = false;
    int most_outliers = 0;

    // Views of the caller's arrays, which are large and may be mapped from a file.
    const float* words = nullptr;
    const std::int8_t* word_bytes = nullptr;
    const float* word_scales = nullptr;

    Buffer<float> positions;  // [longest][width]
    Normalization embedding_norm;
    std::vector<Layer> layers;

    // Throws std::invalid_argument, naming the tensor, for shapes that do not fit and weights that are not finite.
    explicit Model(const ModelWeights& weights);
};

}  // namespace disco
