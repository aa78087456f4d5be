#include "pack.hpp"

#include <cmath>
#include <stdexcept>
#include <vector>

namespace disco {
namespace {

// Where each entry of an axis goes. The place of a weight within its panels is the sum of what its row and its column
// contribute.
using Places = std::vector<std::size_t>;

Places row_places(int count, const Placement& placement, int group) {
    Places places;
    for (int i = 0; i < count; ++i) {
        const int row = placement(i);
        places.push_back(static_cast<std::size_t>(row / group * group * kPanel + row % group));
    }
    return places;
}

Places column_places(int count, const Placement& placement, int depth, int group) {
    Places places;
    for (int i = 0; i < count; ++i) {
        const int column = placement(i);
        const std::size_t panel = static_cast<std::size_t>(column / kPanel) * static_cast<std::size_t>(depth) * kPanel;
        places.push_back(panel + static_cast<std::size_t>(column % kPanel * group));
    }
    return places;
}

void pack_bytes(const LinearWeights& weights, const Placement& inputs, const Placement& outputs, Product& product) {
    const Places rows = row_places(weights.inputs, inputs, 4);
    const Places columns = column_places(weights.outputs, outputs, product.depth, 4);
    product.bytes = Buffer<std::uint8_t>(static_cast<std::size_t>(product.depth) * static_cast<std::size_t>(product.columns));
    std::vector<std::int64_t> column_sums(columns.size());
    const std::int8_t* value = weights.bytes;
    for (const std::size_t row : rows) {
        for (std::size_t c = 0; c < columns.size(); ++c, ++value) {
            product.bytes[row + columns[c]] = static_cast<std::uint8_t>(*value);
            column_sums[c] += *value;
        }
    }
    product.input.inverse = Buffer<float>(static_cast<std::size_t>(product.depth));
    product.input.zero = static_cast<float>(weights.zero);
    for (int row = 0; row < weights.inputs; ++row) {
        const float smoothing = weights.smoothing != nullptr ? weights.smoothing[row] : 1.0f;
        product.input.inverse[static_cast<std::size_t>(inputs(row))] = smoothing / weights.scale;
    }
    for (int column = 0; column < weights.outputs; ++column) {
        const auto to = static_cast<std::size_t>(outputs(column));
        product.scales[to] = weights.scale * weights.column_scales[column];
        const double zeros = static_cast<double>(weights.zero) *
                             static_cast<double>(column_sums[static_cast<std::size_t>(column)]);
        product.offsets[to] -= static_cast<float>(zeros * static_cast<double>(product.scales[to]));
    }
}

void pack_halves(const LinearWeights& weights, const Placement& inputs, const Placement& outputs, Product& product) {
    const Places rows = row_places(weights.inputs, inputs, 2);
    const Places columns = column_places(weights.outputs, outputs, product.depth, 2);
    product.halves = Buffer<Bf16Bits>(static_cast<std::size_t>(product.depth) * static_cast<std::size_t>(product.columns));
    const float* value = weights.floats;
    for (const std::size_t row : rows) {
        for (const std::size_t column : columns) product.halves[row + column] = to_bf16(*value++);
    }
    for (int column = 0; column < product.columns; ++column) product.scales[static_cast<std::size_t>(column)] = 1;
}

void check(const LinearWeights& weights) {
    const auto outputs = static_cast<std::size_t>(weights.outputs);
    if (weights.floats != nullptr) {
        require_finite(weights.name, weights.floats, static_cast<std::size_t>(weights.inputs) * outputs);
    } else {
        require_finite(weights.name + ", scales of columns", weights.column_scales, outputs);
        if (!(weights.scale > 0) || !std::isfinite(weights.scale) || !std::isfinite(1 / weights.scale)) {
            throw std::invalid_argument(weights.name + ": the input's scale is " + std::to_string(weights.scale));
        }
        if (weights.smoothing != nullptr) {
            require_finite(weights.name + ", smoothing", weights.smoothing, static_cast<std::size_t>(weights.inputs));
        }
    }
    if (weights.bias != nullptr) require_finite(weights.name + ", bias", weights.bias, outputs);
    require_finite(weights.name + ", outliers", weights.outlier_rows, weights.outliers.size() * outputs);
}

}  // namespace

void require_finite(const std::string& name, const float* values, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        if (!std::isfinite(values[i])) {
            throw std::invalid_argument(name + ": entry " + std::to_string(i) + " is not finite; the file is damaged");
        }
    }
}

Product pack(const LinearWeights& weights, int depth, const Placement& inputs, int columns,
             const Placement& outputs) {
    check(weights);
    Product product;
    product.depth = depth;
    product.columns = columns;
    const auto width = static_cast<std::size_t>(columns);
    product.scales = Buffer<float>(width);
    product.offsets = Buffer<float>(width);
    for (int column = 0; weights.bias != nullptr && column < weights.outputs; ++column) {
        product.offsets[static_cast<std::size_t>(outputs(column))] = weights.bias[column];
    }
    if (weights.bytes != nullptr) {
        pack_bytes(weights, inputs, outputs, product);
    } else {
        pack_halves(weights, inputs, outputs, product);
    }
    product.outlier_rows = Buffer<float>(weights.outliers.size() * width);
    const float* value = weights.outlier_rows;
    for (std::size_t i = 0; i < weights.outliers.size(); ++i) {
        product.outliers.push_back(inputs(weights.outliers[i]));
        for (int column = 0; column < weights.outputs; ++column, ++value) {
            product.outlier_rows[i * width + static_cast<std::size_t>(outputs(column))] = *value;
        }
    }
    return product;
}

}  // namespace disco
