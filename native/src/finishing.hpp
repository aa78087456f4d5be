// What becomes of a product's sums, block by block while they are in the first cache: bias and scale, then what the
// layer does next. Also layer normalisation, which needs whole rows. Included inside an instruction set's namespace.

// How a product reads its input: as bytes, quantised, or as halves.
inline void write(std::uint8_t* to, Floats value, const Quantizer& quantizer, int column) {
    store(to, fma(value, load(quantizer.inverse.data() + column), splat(quantizer.zero)));
}
inline void write(Bf16Bits* to, Floats value, const Quantizer&, int) { store(to, value); }

// A block of sums: `rows` of them from `row` on, and `vectors` of 16 columns from `column` on.
template <class Sum>
struct Block {
    int row;
    int rows;
    int column;
    int vectors;
    const Sum* sums;

    // Calls f(row, column, value of 16 columns) for all of them.
    template <class F>
    void each(const Product& product, F f) const {
        for (int v = 0; v < vectors; ++v) {
            const int c = column + v * kPanel;
            const Floats scale = load(product.scales.data() + c);
            const Floats offset = load(product.offsets.data() + c);
            for (int r = 0; r < rows; ++r) {
                f(row + r, c, fma(load(sums + (r * kPanels + v) * kPanel), scale, offset));
            }
        }
    }
};

// Queries, keys and values, for attention.
struct StoreHalves {
    const Product& product;
    Bf16Bits* to;
    std::size_t stride;

    template <class Sum>
    void operator()(const Block<Sum>& block) const {
        block.each(product, [this](int row, int column, Floats value) {
            store(to + static_cast<std::size_t>(row) * stride + column, value);
        });
    }
};

// The first half of the feed-forward pair: GELU, and outliers set aside.
template <class Element>
struct StoreGelu {
    const Product& product;
    const Product& next;
    bool tanh;
    Element* to;
    float* outliers;  // [rows][outliers of next]

    template <class Sum>
    void operator()(const Block<Sum>& block) const {
        const auto stride = static_cast<std::size_t>(product.columns);
        block.each(product, [&](int row, int column, Floats value) {
            const Floats activated = tanh ? gelu_tanh(value) : gelu_erf(value);
            write(to + static_cast<std::size_t>(row) * stride + column, activated, next.input, column);
            for (std::size_t i = 0; i < next.outliers.size(); ++i) {
                if (next.outliers[i] / kPanel * kPanel != column) continue;
                float lanes[kPanel];
                store(lanes, activated);
                outliers[static_cast<std::size_t>(row) * next.outliers.size() + i] = lanes[next.outliers[i] % kPanel];
            }
        });
    }
};

// The products whose result is added to the layer's input.
struct AddToHidden {
    const Product& product;
    float* hidden;
    const float* outliers;  // [rows][outliers of product]

    template <class Sum>
    void operator()(const Block<Sum>& block) const {
        const auto stride = static_cast<std::size_t>(product.columns);
        const std::size_t count = product.outliers.size();
        block.each(product, [&](int row, int column, Floats value) {
            float* to = hidden + static_cast<std::size_t>(row) * stride + column;
            for (std::size_t i = 0; i < count; ++i) {
                const Floats weights = load(product.outlier_rows.data() + i * stride + static_cast<std::size_t>(column));
                value = fma(splat(outliers[static_cast<std::size_t>(row) * count + i]), weights, value);
            }
            store(to, value + load(to));
        });
    }
};

// Runs a product over `rows` rows. One block is finished while the next is multiplied: what a CPU has for products and
// what it has for the rest then work side by side.
template <class Sum, class Element, class Finish>
void run(const Product& product, const Element* weights, const Element* input, int rows, Workspace& workspace,
         const Finish& finish) {
    const auto depth = static_cast<std::size_t>(product.depth);
    auto* sums = reinterpret_cast<Sum*>(workspace.sums.data());
    Sum* const scratch[2] = {sums, sums + kRows * kPanels * kPanel};
    Block<Sum> pending{};
    int turn = 0;
    const int panels = product.columns / kPanel;
    for (int panel = 0; panel < panels; panel += kPanels) {
        const int vectors = panels - panel < kPanels ? panels - panel : kPanels;
        for (int row = 0; row < rows; row += kRows) {
            const int height = rows - row < kRows ? rows - row : kRows;
            multiply(input + static_cast<std::size_t>(row) * depth, depth, height,
                     weights + static_cast<std::size_t>(panel) * depth * kPanel, vectors, product.depth, scratch[turn],
                     static_cast<std::size_t>(kPanels * kPanel));
            if (pending.rows != 0) finish(pending);
            pending = {row, height, panel * kPanel, vectors, scratch[turn]};
            turn = 1 - turn;
        }
    }
    finish(pending);
}

template <class Finish>
void run(const Product& product, const std::uint8_t* input, int rows, Workspace& workspace, const Finish& finish) {
    run<std::int32_t>(product, product.bytes.data(), input, rows, workspace, finish);
}
template <class Finish>
void run(const Product& product, const Bf16Bits* input, int rows, Workspace& workspace, const Finish& finish) {
    run<float>(product, product.halves.data(), input, rows, workspace, finish);
}

// Normalises the rows of `hidden` in place; `next`, where there is one, is the product that reads them from `to`.
template <class Element>
void normalize(const Model& model, const Normalization& norm, const Product* next, int rows, float* hidden, Element* to) {
    const int vectors = round_up(model.hidden, kPanel) / kPanel;
    const int last = model.hidden - (vectors - 1) * kPanel;  // lanes of the last vector
    const float share = 1.0f / static_cast<float>(model.hidden);
    for (int row = 0; row < rows; ++row, hidden += model.width) {
        Floats total = splat(0);
        for (int v = 0; v < vectors; ++v) total = total + load(hidden + v * kPanel);  // what is too many is zero
        const Floats mean = splat(sum(total) * share);
        Floats squares = splat(0);
        for (int v = 0; v < vectors; ++v) {
            Floats off = load(hidden + v * kPanel) - mean;
            if (v == vectors - 1) off = first_lanes(off, last, 0);
            squares = fma(off, off, squares);
        }
        const Floats inverse = splat(1.0f / __builtin_sqrtf(sum(squares) * share + norm.epsilon));
        for (int column = 0; column < model.width; column += kPanel) {  // gamma and beta are zero where too many
            const Floats unit = (load(hidden + column) - mean) * inverse;
            const Floats value = fma(unit, load(norm.gamma.data() + column), load(norm.beta.data() + column));
            store(hidden + column, value);
            if (next != nullptr) {
                write(to + static_cast<std::size_t>(row) * static_cast<std::size_t>(model.width) + column, value,
                      next->input, column);
            }
        }
    }
}
