// Weights from rows into panels, widths rounded up by zeros on the way. Knows no model.
#pragma once

#include <functional>
#include <string>

#include "model.hpp"

namespace disco {

// Where entry i of an axis goes.
using Placement = std::function<int(int)>;

// Groups of `from` entries become groups of `to`.
struct Spread {
    int from;
    int to;

    int operator()(int i) const { return i / from * to + i % from; }
};

// `inputs` and `outputs` say where rows and columns of the weights go in a product of `depth` × `columns`.
Product pack(const LinearWeights& weights, int depth, const Placement& inputs, int columns,
             const Placement& outputs);

// Throws std::invalid_argument, naming `name`, unless all values are finite.
void require_finite(const std::string& name, const float* values, std::size_t count);

}  // namespace disco
