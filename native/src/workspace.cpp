#include "workspace.hpp"

#include <algorithm>

namespace disco {

void Workspace::reserve(const Model& model, int rows, int longest) {
    if (rows <= rows_ && longest <= longest_) return;
    rows = std::max(rows, rows_);
    longest = std::max(longest, longest_);
    // Micro-kernels may read whole blocks where only some rows are asked for.
    const auto height = static_cast<std::size_t>(round_up(rows, kMostRows) + kMostRows);
    const auto length = static_cast<std::size_t>(round_up(longest, kHeadStep));
    const auto width = static_cast<std::size_t>(model.width);
    const auto context_width = static_cast<std::size_t>(model.context);
    const auto stride = static_cast<std::size_t>(model.head_stride);
    const std::size_t element = model.precision == Precision::int8 ? 1 : sizeof(Bf16Bits);
    hidden = Buffer<float>(height * width);
    narrow = Buffer<std::uint8_t>(height * width * element);
    context = Buffer<std::uint8_t>(height * context_width * element);
    wide = Buffer<std::uint8_t>(height * std::max(static_cast<std::size_t>(model.feed_forward) * element,
                                                  3 * context_width * sizeof(Bf16Bits)));
    outliers = Buffer<float>(height * static_cast<std::size_t>(model.most_outliers));
    keys = Buffer<Bf16Bits>(length * stride);
    values = Buffer<Bf16Bits>(length * stride);
    scores = Buffer<float>(kMostRows * length);
    probabilities = Buffer<Bf16Bits>(kMostRows * length);
    mixed = Buffer<float>(kMostRows * stride);
    sums = Buffer<std::uint32_t>(2 * kMostRows * kMostPanels * kPanel);
    // Last: where memory runs out on the way, the next call must not take it for granted.
    rows_ = rows;
    longest_ = longest;
}

}  // namespace disco
