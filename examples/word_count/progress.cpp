#include "progress.hpp"

#include <chrono>
#include <iostream>
#include <string>
#include <unistd.h>

namespace word_count {
namespace {

constexpr std::size_t bar_columns = 50;
constexpr std::chrono::milliseconds redraw_interval{50};

}  // namespace

progress::progress(std::size_t total, std::shared_ptr<trunkline::clock> time)
    : total_(total),
      time_(std::move(time)),
      terminal_(isatty(STDERR_FILENO) == 1),
      next_drawing_(time_->now()) {}

progress::~progress() {
    if (drawn_) std::cerr << "\r\x1b[K" << std::flush;  // the bar makes room for the result
}

void progress::reached(std::size_t done) {
    if (terminal_) {
        if (done == total_ || time_->now() >= next_drawing_) draw_bar(done);
        return;
    }
    const auto quarters = done * 4 / total_;
    if (quarters == quarters_said_) return;
    quarters_said_ = quarters;
    std::cerr << "published " << done << " of " << total_ << " lines\n";
}

void progress::draw_bar(std::size_t done) {
    const auto filled = done * bar_columns / total_;
    std::cerr << "\r[" << std::string(filled, '#') << std::string(bar_columns - filled, '.') << "] "
              << done * 100 / total_ << " %" << std::flush;
    drawn_ = true;
    next_drawing_ = time_->now() + redraw_interval;
}

}  // namespace word_count
