// The encoder, written once for all instruction sets and both precisions: follow a token from `embed` to `pool`.
//
// An instruction set's file defines DISCO_ISA, includes vector.hpp, then its micro-kernel in the namespace, then this.
#pragma once

#include "kernels.hpp"
#include "vector.hpp"
#include "workspace.hpp"

namespace disco::DISCO_ISA {

#include "finishing.hpp"

#include "attention.hpp"

// 16 channels of a table's row, of which `count` exist.
template <class T>
Floats load_channels(const T* from, int count) {
    if (count >= kPanel) return load(from);
    T lanes[kPanel] = {};
    __builtin_memcpy(lanes, from, static_cast<std::size_t>(count) * sizeof(T));
    return load(lanes);
}

// Token and position vectors added up, into the rows of `hidden`.
inline void embed(const Model& model, const Group& group, float* hidden) {
    const auto width = static_cast<std::size_t>(model.width);
    for (const Text* text = group.texts; text != group.texts + group.count; ++text) {
        for (int i = 0; i < text->length; ++i) {
            const auto word = static_cast<std::size_t>(text->ids[i]) * static_cast<std::size_t>(model.hidden);
            const float* position = model.positions.data() + static_cast<std::size_t>(i) * width;
            float* to = hidden + static_cast<std::size_t>(text->row + i) * width;
            for (int c = 0; c < model.width; c += kPanel) {
                const int count = model.hidden - c;
                Floats value = splat(0);
                if (count > 0 && model.words != nullptr) {
                    value = load_channels(model.words + word + c, count);
                } else if (count > 0) {
                    value = load_channels(model.word_bytes + word + c, count) * splat(model.word_scales[text->ids[i]]);
                }
                store(to + c, value + load(position + c));
            }
        }
    }
}

template <class Element>
void run_layers(const Model& model, const Group& group, Workspace& workspace) {
    float* const hidden = workspace.hidden.data();
    float* const outliers = workspace.outliers.data();
    auto* const narrow = reinterpret_cast<Element*>(workspace.narrow.data());
    auto* const context = reinterpret_cast<Element*>(workspace.context.data());
    auto* const wide = reinterpret_cast<Element*>(workspace.wide.data());
    auto* const qkv = reinterpret_cast<Bf16Bits*>(workspace.wide.data());
    const int rows = group.rows;

    embed(model, group, hidden);
    normalize(model, model.embedding_norm, &model.layers.front().qkv, rows, hidden, narrow);
    for (std::size_t i = 0; i < model.layers.size(); ++i) {
        const Layer& layer = model.layers[i];
        const Product* next = i + 1 < model.layers.size() ? &model.layers[i + 1].qkv : nullptr;
        run(layer.qkv, narrow, rows, workspace, StoreHalves{layer.qkv, qkv, static_cast<std::size_t>(3 * model.context)});
        for (int t = 0; t < group.count; ++t) attend(model, layer.output, group.texts[t], qkv, context, workspace);
        run(layer.output, context, rows, workspace, AddToHidden{layer.output, hidden, nullptr});
        normalize(model, layer.attention_norm, &layer.up, rows, hidden, narrow);
        run(layer.up, narrow, rows, workspace,
            StoreGelu<Element>{layer.up, layer.down, model.tanh_gelu, wide, outliers});
        run(layer.down, wide, rows, workspace, AddToHidden{layer.down, hidden, outliers});
        normalize(model, layer.output_norm, next, rows, hidden, narrow);
    }
}

// One vector for each text of the group, [count][hidden], from the tokens' in `workspace.hidden`.
inline void pool(const Model& model, const Group& group, const Workspace& workspace, float* vectors) {
    const auto width = static_cast<std::size_t>(model.width);
    const auto size = static_cast<std::size_t>(model.hidden);
    for (const Text* text = group.texts; text != group.texts + group.count; ++text, vectors += size) {
        const float* rows = workspace.hidden.data() + static_cast<std::size_t>(text->row) * width;
        const int counted = model.pools_first && text->length > 1 ? 1 : text->length;
        const Floats share = splat(counted > 0 ? 1.0f / static_cast<float>(counted) : 0.0f);
        Floats squares = splat(0);
        float lanes[kPanel];
        for (std::size_t c = 0; c < size; c += kPanel) {
            Floats total = splat(0);
            for (int i = 0; i < counted; ++i) total = total + load(rows + static_cast<std::size_t>(i) * width + c);
            const Floats mean = total * share;  // zero where channels are too many
            squares = fma(mean, mean, squares);
            store(lanes, mean);
            __builtin_memcpy(vectors + c, lanes, sizeof(float) * (size - c < kPanel ? size - c : kPanel));
        }
        if (!model.normalizes) continue;
        const float norm = __builtin_sqrtf(sum(squares));
        const float inverse = 1.0f / (norm > 1e-12f ? norm : 1e-12f);
        for (std::size_t c = 0; c < size; ++c) vectors[c] *= inverse;
    }
}

inline void encode_group(const Model& model, const Group& group, Workspace& workspace) {
    begin_products();
    if (model.precision == Precision::int8) {
        run_layers<std::uint8_t>(model, group, workspace);
    } else {
        run_layers<Bf16Bits>(model, group, workspace);
    }
    end_products();
}

}  // namespace disco::DISCO_ISA
