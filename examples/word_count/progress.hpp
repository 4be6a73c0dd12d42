#pragma once

#include <trunkline/clock.hpp>

#include <cstddef>
#include <memory>

namespace word_count {

/// Says on standard error how far the work is: a bar on a terminal, a line per quarter elsewhere.
class progress {
public:
    progress(std::size_t total, std::shared_ptr<trunkline::clock> time);
    ~progress();
    progress(const progress&) = delete;
    progress& operator=(const progress&) = delete;

    void reached(std::size_t done);

private:
    void draw_bar(std::size_t done);

    std::size_t total_;
    std::shared_ptr<trunkline::clock> time_;
    bool terminal_;
    bool drawn_ = false;
    std::size_t quarters_said_ = 0;
    trunkline::clock::time_point next_drawing_;
};

}  // namespace word_count
