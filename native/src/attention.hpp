// Attention of one text with itself, head by head, a block of queries at a time: scores, softmax, mix of values.
// Included inside an instruction set's namespace.

// Turns scores, to be multiplied by `scale` as powers of two, into bf16 shares, unnormalised; returns 1 / their sum.
inline float softmax(const float* scores, int length, float scale, int padded, Bf16Bits* shares) {
    const int vectors = round_up(length, kPanel) / kPanel;
    const int last = length - (vectors - 1) * kPanel;
    constexpr float kLowest = -3.0e38f;
    Floats highest = first_lanes(load(scores + (vectors - 1) * kPanel), last, kLowest);
    for (int v = 0; v < vectors - 1; ++v) highest = max(highest, load(scores + v * kPanel));
    const Floats factor = splat(scale);
    const Floats shift = splat(-scale * maximum(highest));
    Floats total = splat(0);
    for (int v = 0; v < vectors; ++v) {
        Floats share = exp2(fma(load(scores + v * kPanel), factor, shift));
        if (v == vectors - 1) share = first_lanes(share, last, 0);
        total = total + share;
        store(shares + v * kPanel, share);
    }
    for (int c = vectors * kPanel; c < padded; c += kPanel) store(shares + c, splat(0));
    return 1.0f / sum(total);
}

// Panels of one head's keys: a column for each, their width as depth.
inline void pack_keys(const Bf16Bits* keys, std::size_t stride, int length, int width, Bf16Bits* panels) {
    for (int key = 0; key < length; key += kPanel) {
        const int rows = length - key < kPanel ? length - key : kPanel;
        for (int channel = 0; channel < width; channel += kHeadStep, panels += kHeadStep * kPanel) {
            transpose_pairs(keys + static_cast<std::size_t>(key) * stride + channel, stride, rows, panels);
        }
    }
}

// Panels of one head's values: a column for each channel, `depth` values deep, those beyond `length` being zero.
inline void pack_values(const Bf16Bits* values, std::size_t stride, int length, int depth, int width, Bf16Bits* panels) {
    const Bf16Bits nothing[kPanel] = {};
    for (int channel = 0; channel < width; channel += kPanel) {
        for (int i = 0; i < depth; i += 2, panels += 2 * kPanel) {
            const Bf16Bits* row = values + static_cast<std::size_t>(i) * stride + channel;
            interleave(i < length ? row : nothing, i + 1 < length ? row + stride : nullptr, panels);
        }
    }
}

template <class Element>
void attend(const Model& model, const Product& next, const Text& text, const Bf16Bits* qkv, Element* context,
            Workspace& workspace) {
    const auto stride = static_cast<std::size_t>(3 * model.context);
    const auto width = static_cast<std::size_t>(model.context);
    const auto first = static_cast<std::size_t>(text.row);
    const int length = text.length;
    const int head_stride = model.head_stride;
    const int depth = round_up(length, kPairDepth);
    const int key_panels = round_up(length, kPanel) / kPanel;
    const auto scores_stride = static_cast<std::size_t>(round_up(length, kHeadStep));
    const float scale = 1.4426950409f / __builtin_sqrtf(static_cast<float>(model.head_width));
    float inverse[kRows];

    for (int head = 0; head < model.heads; ++head) {
        const int column = head * head_stride;
        const Bf16Bits* queries = qkv + first * stride + column;
        pack_keys(queries + model.context, stride, length, head_stride, workspace.keys.data());
        pack_values(queries + 2 * model.context, stride, length, depth, head_stride, workspace.values.data());
        for (int query = 0; query < length; query += kRows) {
            const int rows = length - query < kRows ? length - query : kRows;
            for (int panel = 0; panel < key_panels; panel += kPanels) {
                multiply(queries + static_cast<std::size_t>(query) * stride, stride, rows,
                         workspace.keys.data() + panel * head_stride * kPanel,
                         key_panels - panel < kPanels ? key_panels - panel : kPanels, head_stride,
                         workspace.scores.data() + panel * kPanel, scores_stride);
            }
            for (int r = 0; r < rows; ++r) {
                const auto at = static_cast<std::size_t>(r) * scores_stride;
                inverse[r] = softmax(workspace.scores.data() + at, length, scale, round_up(depth, kPanel),
                                     workspace.probabilities.data() + at);
            }
            for (int panel = 0; panel < head_stride / kPanel; panel += kPanels) {
                const int left = head_stride / kPanel - panel;
                multiply(workspace.probabilities.data(), scores_stride, rows,
                         workspace.values.data() + panel * depth * kPanel, left < kPanels ? left : kPanels, depth,
                         workspace.mixed.data() + panel * kPanel, static_cast<std::size_t>(head_stride));
            }
            for (int r = 0; r < rows; ++r) {
                const Floats share = splat(inverse[r]);
                Element* to = context + (first + static_cast<std::size_t>(query + r)) * width + column;
                for (int c = 0; c < head_stride; c += kPanel) {
                    write(to + c, load(workspace.mixed.data() + r * head_stride + c) * share, next.input, column + c);
                }
            }
        }
    }
}
