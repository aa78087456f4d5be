// The Python module: arrays in, arrays out, the interpreter's lock released while computing. No arithmetic here.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <stdexcept>

#include "encoder.hpp"
#include "pack.hpp"

namespace nb = nanobind;

namespace disco {
namespace {

using FloatVector = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using FloatMatrix = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using ByteMatrix = nb::ndarray<const std::int8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Ids = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Output = nb::ndarray<nb::numpy, float, nb::ndim<2>>;

[[noreturn]] void refuse(const std::string& message) { throw std::invalid_argument(message); }

// Reads the attributes of the weights' dataclasses, and checks that arrays are as long as others say. Arrays are taken as
// they are or refused: one converted would be freed before the model has read it.
class Reader {
public:
    template <class Array>
    Array array(nb::handle object, const char* name, const char* kind) const {
        Array found;
        if (!nb::try_cast(object.attr(name), found, false)) refuse(std::string(name) + ": must be a contiguous " + kind);
        return found;
    }

    template <class Value>
    Value value(nb::handle object, const char* name, const char* kind) const {
        Value found{};
        if (!nb::try_cast(object.attr(name), found)) refuse(std::string(name) + ": must be " + kind);
        return found;
    }

    const float* vector(nb::handle object, const char* name, std::size_t size) const {
        const auto found = array<FloatVector>(object, name, "vector of float32");
        if (found.size() != size) refuse(std::string(name) + ": " + std::to_string(found.size()) + " entries, not " + std::to_string(size));
        return found.data();
    }

    const float* optional_vector(nb::handle object, const char* name, std::size_t size) const {
        return object.attr(name).is_none() ? nullptr : vector(object, name, size);
    }

    LinearWeights linear(nb::handle object, const std::string& name) const {
        LinearWeights weights;
        weights.name = name;
        const nb::object matrix = object.attr("weights");
        FloatMatrix floats;
        ByteMatrix bytes;
        if (nb::try_cast(matrix, floats, false)) {
            weights.floats = floats.data();
            weights.inputs = static_cast<int>(floats.shape(0));
            weights.outputs = static_cast<int>(floats.shape(1));
        } else if (nb::try_cast(matrix, bytes, false)) {
            weights.bytes = bytes.data();
            weights.inputs = static_cast<int>(bytes.shape(0));
            weights.outputs = static_cast<int>(bytes.shape(1));
        } else {
            refuse(name + ": weights must be a contiguous matrix of float32 or int8");
        }
        const auto outputs = static_cast<std::size_t>(weights.outputs);
        weights.bias = optional_vector(object, "bias", outputs);
        if (weights.bytes == nullptr) return weights;
        weights.column_scales = vector(object, "scales", outputs);
        const nb::object input = object.attr("input");
        weights.scale = value<float>(input, "scale", "a number");
        weights.zero = value<int>(input, "zero", "a whole number");
        weights.smoothing = optional_vector(input, "smoothing", static_cast<std::size_t>(weights.inputs));
        weights.outliers = value<std::vector<int>>(object, "outliers", "a list of whole numbers");
        if (!weights.outliers.empty()) {
            const auto rows = array<FloatMatrix>(object, "outlier_rows", "matrix of float32");
            if (rows.shape(0) != weights.outliers.size() || rows.shape(1) != outputs) refuse(name + ": rows of outliers do not fit");
            weights.outlier_rows = rows.data();
        }
        return weights;
    }

    NormalizationWeights normalization(nb::handle object, const std::string& name, std::size_t size) const {
        return {name, vector(object, "gamma", size), vector(object, "beta", size), value<float>(object, "epsilon", "a number")};
    }
};

ModelWeights read_weights(nb::handle object) {
    const Reader reader;
    ModelWeights weights;
    const auto positions = reader.array<FloatMatrix>(object, "positions", "matrix of float32");
    weights.positions = positions.data();
    weights.longest = static_cast<int>(positions.shape(0));
    weights.hidden = static_cast<int>(positions.shape(1));
    const auto hidden = static_cast<std::size_t>(weights.hidden);
    const nb::object words = object.attr("words");
    FloatMatrix floats;
    ByteMatrix bytes;
    std::size_t width = 0;
    if (nb::try_cast(words, floats, false)) {
        weights.words = floats.data();
        weights.vocabulary = static_cast<int>(floats.shape(0));
        width = floats.shape(1);
    } else if (nb::try_cast(words, bytes, false)) {
        weights.word_bytes = bytes.data();
        weights.vocabulary = static_cast<int>(bytes.shape(0));
        width = bytes.shape(1);
        weights.word_scales = reader.vector(object, "word_scales", static_cast<std::size_t>(weights.vocabulary));
    } else {
        refuse("words: must be a contiguous matrix of float32 or int8");
    }
    if (width != hidden) refuse("words: " + std::to_string(width) + " channels, positions have " + std::to_string(hidden));
    weights.heads = reader.value<int>(object, "heads", "a whole number");
    weights.tanh_gelu = reader.value<bool>(object, "tanh_gelu", "True or False");
    weights.pools_first = reader.value<bool>(object, "pools_first", "True or False");
    weights.normalizes = reader.value<bool>(object, "normalizes", "True or False");
    weights.embedding_norm = reader.normalization(object.attr("embedding_norm"), "embedding norm", hidden);
    for (const nb::handle layer : object.attr("layers")) {
        const std::string name = "layer " + std::to_string(weights.layers.size());
        weights.layers.push_back({
            reader.linear(layer.attr("qkv"), name + ", query-key-value"),
            reader.linear(layer.attr("output"), name + ", attention output"),
            reader.normalization(layer.attr("attention_norm"), name + ", attention norm", hidden),
            reader.linear(layer.attr("up"), name + ", first feed-forward product"),
            reader.linear(layer.attr("down"), name + ", second feed-forward product"),
            reader.normalization(layer.attr("output_norm"), name + ", output norm", hidden),
        });
    }
    return weights;
}

// A model, and the Python object whose arrays it looks words up in.
struct SharedModel {
    std::shared_ptr<const Model> model;
    nb::object words;
    nb::object word_scales;
};

Output new_matrix(std::size_t rows, std::size_t columns) {
    auto* data = new float[rows * columns];
    const nb::capsule owner(data, [](void* array) noexcept { delete[] static_cast<float*>(array); });
    return Output(data, {rows, columns}, owner);
}

Output encode(Encoder& encoder, const Ids& ids, const Ids& offsets, bool pooled) {
    if (offsets.size() == 0) refuse("offsets: must have one entry more than there are texts");
    const std::size_t texts = offsets.size() - 1;
    Output vectors = new_matrix(pooled ? texts : ids.size(), static_cast<std::size_t>(encoder.model().hidden));
    const nb::gil_scoped_release released;
    encoder.encode(ids.data(), ids.size(), offsets.data(), texts, pooled, vectors.data());
    return vectors;
}

// For tests: a function of the instruction set over floats, padded to whole vectors.
Output apply(const std::string& isa, const std::string& function, const FloatVector& values) {
    Buffer<float> in(static_cast<std::size_t>(round_up(static_cast<int>(values.size()), kPanel)));
    Buffer<float> out(in.size());
    std::memcpy(in.data(), values.data(), values.size() * sizeof(float));
    if (!find_kernels(isa).apply(function.c_str(), in.data(), in.size(), out.data())) refuse("no function '" + function + "'");
    Output result = new_matrix(1, values.size());
    std::memcpy(result.data(), out.data(), values.size() * sizeof(float));
    return result;
}

// For tests and the proof before an instruction set is used: sums of int8 products as floats, or of bf16 ones; `rows` are bytes or floats.
Output multiply(const std::string& isa, const FloatMatrix& rows, nb::handle linear) {
    const LinearWeights weights = Reader().linear(linear, "product");
    const int depth = round_up(weights.inputs, kDepthStep);
    const int columns = round_up(weights.outputs, kDepthStep);
    const Product product = pack(weights, depth, Spread{weights.inputs, depth}, columns, Spread{weights.outputs, columns});
    if (static_cast<int>(rows.shape(1)) != weights.inputs) refuse("rows do not fit the weights");
    const auto count = rows.shape(0);
    const auto stride = static_cast<std::size_t>(depth);
    const auto width = static_cast<std::size_t>(columns);
    Buffer<std::uint8_t> bytes((count + kMostRows) * stride);
    Buffer<Bf16Bits> halves((count + kMostRows) * stride);
    Buffer<std::int32_t> byte_sums(count * width);
    Buffer<float> half_sums(count * width);
    for (std::size_t r = 0; r < count; ++r) {
        for (std::size_t k = 0; k < rows.shape(1); ++k) {
            const float value = rows.data()[r * rows.shape(1) + k];
            if (weights.bytes != nullptr) {
                bytes[r * stride + k] = static_cast<std::uint8_t>(value);
            } else {
                halves[r * stride + k] = to_bf16(value);
            }
        }
    }
    const Kernels& kernels = find_kernels(isa);
    if (weights.bytes != nullptr) {
        kernels.multiply_bytes(product, bytes.data(), static_cast<int>(count), byte_sums.data());
    } else {
        kernels.multiply_halves(product, halves.data(), static_cast<int>(count), half_sums.data());
    }
    const auto outputs = static_cast<std::size_t>(weights.outputs);
    Output result = new_matrix(count, outputs);
    for (std::size_t r = 0; r < count; ++r) {
        for (std::size_t c = 0; c < outputs; ++c) {
            const std::size_t at = r * width + c;
            result.data()[r * outputs + c] = weights.bytes != nullptr ? static_cast<float>(byte_sums[at]) : half_sums[at];
        }
    }
    return result;
}

}  // namespace
}  // namespace disco

NB_MODULE(_native, module) {
    using namespace disco;

    // The one refusal of `encode` that is about a text, and may be told to whoever has sent it.
    nb::exception<std::length_error>(module, "LengthError", PyExc_ValueError);

    nb::class_<SharedModel>(module, "Model", nb::is_weak_referenceable())
        .def("__init__", [](SharedModel* self, nb::handle weights) {
            new (self) SharedModel{std::make_shared<const Model>(read_weights(weights)), weights.attr("words"),
                                   weights.attr("word_scales")};
        })
        .def_prop_ro("dimension", [](const SharedModel& self) { return self.model->hidden; })
        .def_prop_ro("precision", [](const SharedModel& self) {
            return self.model->precision == Precision::int8 ? "int8" : "bf16";
        });

    nb::class_<Encoder>(module, "Encoder")
        .def("__init__", [](Encoder* self, const SharedModel& model, const std::string& isa, int threads) {
            new (self) Encoder(model.model, find_kernels(isa), threads);
        }, nb::arg("model"), nb::arg("isa"), nb::arg("threads") = 1, nb::keep_alive<1, 2>())
        .def("encode", &encode, nb::arg("ids").noconvert(), nb::arg("offsets").noconvert(), nb::kw_only(), nb::arg("pooled"));

    module.def("instruction_sets", [] {
        std::vector<std::string> names;
        for (const Kernels* kernels : available_kernels()) names.emplace_back(kernels->name);
        return names;
    });
    module.def("apply", &apply);
    module.def("multiply", &multiply);
}
