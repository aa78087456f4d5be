#include "encoder.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>

namespace disco {
namespace {

void check_offsets(const std::int32_t* offsets, std::size_t texts, std::size_t tokens) {
    bool rises = offsets[0] == 0 && static_cast<std::size_t>(offsets[texts]) == tokens;
    for (std::size_t i = 0; i < texts; ++i) rises = rises && offsets[i] <= offsets[i + 1];
    if (!rises) throw std::invalid_argument("offsets must rise from 0 to the number of ids, " + std::to_string(tokens));
}

void check_ids(const std::int32_t* ids, std::size_t tokens, int vocabulary) {
    const auto outside = [=](std::int32_t id) { return id < 0 || id >= vocabulary; };
    const std::int32_t* found = std::find_if(ids, ids + tokens, outside);
    if (found != ids + tokens) {
        throw std::out_of_range("token id " + std::to_string(*found) + " is outside of the vocabulary of " +
                                std::to_string(vocabulary));
    }
}

// Holds a flag while it lives.
class Hold {
public:
    explicit Hold(std::atomic_flag& flag) : flag_(flag) {
        if (flag_.test_and_set(std::memory_order_acquire)) {
            throw std::logic_error("two threads in one encoder: it belongs to one at a time, make one for each");
        }
    }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    ~Hold() { flag_.clear(std::memory_order_release); }

private:
    std::atomic_flag& flag_;
};

}  // namespace

Encoder::Encoder(std::shared_ptr<const Model> model, const Kernels& kernels, int threads)
    : model_(std::move(model)), kernels_(kernels), workspaces_(static_cast<std::size_t>(std::max(threads, 1))) {}

void Encoder::encode(const std::int32_t* ids, std::size_t tokens, const std::int32_t* offsets, std::size_t texts,
                     bool pooled, float* vectors) {
    const Hold alone(busy_);
    check_offsets(offsets, texts, tokens);
    check_ids(ids, tokens, model_->vocabulary);
    form_groups(ids, offsets, texts);

    // Groups do not depend on one another, nor a text on its group: whoever is free takes the next.
    std::atomic<std::size_t> next{0};
    const auto work = [&](Workspace& workspace) {
        for (std::size_t i = next++; i < groups_.size(); i = next++) {
            encode_group(groups_[i], workspace, pooled, offsets, vectors);
        }
    };
    const std::size_t helpers = std::min(workspaces_.size(), std::max(groups_.size(), std::size_t{1})) - 1;
    std::vector<std::jthread> threads;
    for (std::size_t i = 1; i <= helpers; ++i) threads.emplace_back(work, std::ref(workspaces_[i]));
    work(workspaces_[0]);
}

void Encoder::form_groups(const std::int32_t* ids, const std::int32_t* offsets, std::size_t texts) {
    texts_.clear();
    groups_.clear();
    int most_rows = 0;
    int longest = 0;
    for (std::size_t i = 0; i < texts; ++i) {
        const int length = offsets[i + 1] - offsets[i];
        if (length > model_->longest) {
            throw std::length_error("a text has " + std::to_string(length) + " tokens, the model has positions for " +
                                    std::to_string(model_->longest));
        }
        // A text stays whole: one that is longer than a group is a group of its own.
        if (groups_.empty() || groups_.back().rows + length > kernels_.group_rows) groups_.push_back({nullptr, 0, 0});
        Group& group = groups_.back();
        texts_.push_back({ids + offsets[i], length, group.rows});
        group.count += 1;
        group.rows += length;
        most_rows = std::max(most_rows, group.rows);
        longest = std::max(longest, length);
    }
    const Text* first = texts_.data();
    for (Group& group : groups_) {
        group.texts = first;
        first += group.count;
    }
    for (Workspace& workspace : workspaces_) workspace.reserve(*model_, most_rows, longest);
}

void Encoder::encode_group(const Group& group, Workspace& workspace, bool pooled, const std::int32_t* offsets,
                           float* vectors) const {
    const auto hidden = static_cast<std::size_t>(model_->hidden);
    const auto first = static_cast<std::size_t>(group.texts - texts_.data());
    if (group.rows > 0) kernels_.encode_group(*model_, group, workspace);
    if (pooled) {
        kernels_.pool(*model_, group, workspace, vectors + first * hidden);
        return;
    }
    float* to = vectors + static_cast<std::size_t>(offsets[first]) * hidden;
    const float* from = workspace.hidden.data();
    for (int row = 0; row < group.rows; ++row, to += hidden, from += model_->width) {
        std::memcpy(to, from, hidden * sizeof(float));
    }
}

}  // namespace disco
