#include "model.hpp"

#include <algorithm>
#include <stdexcept>

#include "pack.hpp"

namespace disco {
namespace {

void require(bool fits, const std::string& message) {
    if (!fits) throw std::invalid_argument(message);
}

void require_shape(const LinearWeights& weights, int inputs, int outputs) {
    require(weights.inputs == inputs && weights.outputs == outputs,
            weights.name + ": is " + std::to_string(weights.inputs) + " × " + std::to_string(weights.outputs) +
                ", not " + std::to_string(inputs) + " × " + std::to_string(outputs));
    for (int outlier : weights.outliers) {
        require(outlier >= 0 && outlier < inputs, weights.name + ": no input " + std::to_string(outlier));
    }
}

Normalization padded(const NormalizationWeights& weights, int hidden, int width) {
    require_finite(weights.name, weights.gamma, static_cast<std::size_t>(hidden));
    require_finite(weights.name, weights.beta, static_cast<std::size_t>(hidden));
    require(weights.epsilon > 0, weights.name + ": epsilon is " + std::to_string(weights.epsilon));
    Normalization norm;
    norm.gamma = Buffer<float>(static_cast<std::size_t>(width));
    norm.beta = Buffer<float>(static_cast<std::size_t>(width));
    std::copy_n(weights.gamma, hidden, norm.gamma.data());
    std::copy_n(weights.beta, hidden, norm.beta.data());
    norm.epsilon = weights.epsilon;
    return norm;
}

}  // namespace

Model::Model(const ModelWeights& weights)
    : vocabulary(weights.vocabulary),
      longest(weights.longest),
      hidden(weights.hidden),
      heads(weights.heads),
      tanh_gelu(weights.tanh_gelu),
      pools_first(weights.pools_first),
      normalizes(weights.normalizes),
      words(weights.words),
      word_bytes(weights.word_bytes),
      word_scales(weights.word_scales) {
    require(!weights.layers.empty(), "a model without layers");
    require(heads > 0 && hidden > 0 && hidden % heads == 0,
            std::to_string(hidden) + " channels cannot be split into " + std::to_string(heads) + " heads");
    const auto rows = static_cast<std::size_t>(vocabulary);
    if (words != nullptr) {
        require_finite("token table", words, rows * static_cast<std::size_t>(hidden));
    } else {
        require_finite("token table, scales", word_scales, rows);
    }
    require_finite("position table", weights.positions, static_cast<std::size_t>(longest) * static_cast<std::size_t>(hidden));

    precision = weights.layers.front().qkv.bytes != nullptr ? Precision::int8 : Precision::bf16;
    width = round_up(hidden, kDepthStep);
    head_width = hidden / heads;
    head_stride = round_up(head_width, kHeadStep);
    context = round_up(heads * head_stride, kDepthStep);
    feed_forward = round_up(weights.layers.front().up.outputs, kDepthStep);

    positions = Buffer<float>(static_cast<std::size_t>(longest) * static_cast<std::size_t>(width));
    for (int i = 0; i < longest; ++i) {
        std::copy_n(weights.positions + static_cast<std::size_t>(i) * static_cast<std::size_t>(hidden), hidden,
                    positions.data() + static_cast<std::size_t>(i) * static_cast<std::size_t>(width));
    }
    embedding_norm = padded(weights.embedding_norm, hidden, width);

    const Spread plain{hidden, width};
    const Spread by_heads{head_width, head_stride};
    for (const LayerWeights& layer : weights.layers) {
        const int inner = layer.up.outputs;
        for (const LinearWeights* product : {&layer.qkv, &layer.output, &layer.up, &layer.down}) {
            require((product->bytes != nullptr) == (precision == Precision::int8),
                    product->name + ": int8 and fp32 products in one model");
        }
        require(round_up(inner, kDepthStep) == feed_forward, layer.up.name + ": layers of different widths");
        require_shape(layer.qkv, hidden, 3 * hidden);
        require_shape(layer.output, hidden, hidden);
        require_shape(layer.up, hidden, inner);
        require_shape(layer.down, inner, hidden);
        for (const LinearWeights* product : {&layer.qkv, &layer.output, &layer.up}) {
            require(product->outliers.empty(), product->name + ": only inputs of the last product may be outliers");
        }
        // Queries, keys and values begin at multiples of `context`; the heads within, at multiples of `head_stride`.
        const auto parts = [&](int i) { return i / hidden * context + by_heads(i % hidden); };
        const Spread inner_spread{inner, feed_forward};
        Layer packed;
        packed.qkv = pack(layer.qkv, width, plain, 3 * context, parts);
        packed.output = pack(layer.output, context, by_heads, width, plain);
        packed.attention_norm = padded(layer.attention_norm, hidden, width);
        packed.up = pack(layer.up, width, plain, feed_forward, inner_spread);
        packed.down = pack(layer.down, feed_forward, inner_spread, width, plain);
        packed.output_norm = padded(layer.output_norm, hidden, width);
        most_outliers = std::max(most_outliers, static_cast<int>(packed.down.outliers.size()));
        layers.push_back(std::move(packed));
    }
}

}  // namespace disco
