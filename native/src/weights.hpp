// Weights as they come from Python: shapes and addresses of arrays that somebody else owns. Knows no layout of ours.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace disco {

// x · weights + bias, weights being [inputs][outputs] of either kind.
struct LinearWeights {
    std::string name;  // for messages
    int inputs = 0;
    int outputs = 0;
    const float* floats = nullptr;
    const std::int8_t* bytes = nullptr;
    const float* bias = nullptr;  // [outputs]; null: none

    // For `bytes` only. The input becomes nearest(x · smoothing / scale) + zero, in 0 … 255.
    const float* column_scales = nullptr;  // [outputs]
    float scale = 1;
    int zero = 0;
    const float* smoothing = nullptr;  // [inputs]; null: 1 everywhere
    // Inputs whose products are added in fp32, their rows of `bytes` being zero.
    std::vector<int> outliers;
    const float* outlier_rows = nullptr;  // [outliers][outputs]
};

struct NormalizationWeights {
    std::string name;
    const float* gamma = nullptr;
    const float* beta = nullptr;
    float epsilon = 0;
};

struct LayerWeights {
    LinearWeights qkv;  // outputs: those of all queries, then keys, then values, heads in order
    LinearWeights output;
    NormalizationWeights attention_norm;
    LinearWeights up;
    LinearWeights down;
    NormalizationWeights output_norm;
};

struct ModelWeights {
    int vocabulary = 0;
    int hidden = 0;
    int heads = 0;
    int longest = 0;  // positions there are
    const float* words = nullptr;             // [vocabulary][hidden], or else
    const std::int8_t* word_bytes = nullptr;  // the same, times
    const float* word_scales = nullptr;       // [vocabulary]
    const float* positions = nullptr;         // [longest][hidden], the token type's row added
    NormalizationWeights embedding_norm;
    bool tanh_gelu = false;
    bool pools_first = false;  // the first token's vector instead of the mean
    bool normalizes = false;
    std::vector<LayerWeights> layers;
};

}  // namespace disco
