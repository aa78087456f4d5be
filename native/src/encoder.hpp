// A batch into groups, groups onto threads. Knows no arithmetic.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels.hpp"
#include "model.hpp"
#include "workspace.hpp"

namespace disco {

// Belongs to one thread at a time; several may share a model.
class Encoder {
public:
    Encoder(std::shared_ptr<const Model> model, const Kernels& kernels, int threads);
    Encoder(const Encoder&) = delete;
    Encoder& operator=(const Encoder&) = delete;

    // Text i is ids[offsets[i] … offsets[i + 1]]. Writes a vector for each text, [texts][hidden], or where `pooled` is
    // false one for each token, [tokens][hidden]. Throws std::out_of_range, std::length_error or std::invalid_argument
    // for ids outside of the vocabulary, texts that are too long and offsets that are none, and std::logic_error where
    // another thread is at it.
    void encode(const std::int32_t* ids, std::size_t tokens, const std::int32_t* offsets, std::size_t texts, bool pooled,
                float* vectors);

    const Model& model() const { return *model_; }

private:
    void form_groups(const std::int32_t* ids, const std::int32_t* offsets, std::size_t texts);
    void encode_group(const Group& group, Workspace& workspace, bool pooled, const std::int32_t* offsets,
                      float* vectors) const;

    std::shared_ptr<const Model> model_;
    const Kernels& kernels_;
    std::atomic_flag busy_;
    std::vector<Workspace> workspaces_;  // one a thread
    std::vector<Text> texts_;
    std::vector<Group> groups_;
};

}  // namespace disco
