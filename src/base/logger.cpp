#include <trunkline/logger.hpp>

#include <chrono>
#include <cstdio>
#include <mutex>
#include <stdexcept>
#include <unordered_map>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN

namespace {

constexpr unsigned repeats_max = 10;
constexpr auto repeat_window = std::chrono::seconds{10};
// Texts are literals of this library, so the table stays small; applications may log others.
constexpr std::size_t tracked_texts_max = 1024;

constexpr std::string_view level_names[] = {"debug", "info", "warn", "error", "off"};

void write_to_stderr(const log_record& record) {
    const auto line = format(record) + '\n';
    std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace

struct logger::shared {
    struct window {
        std::chrono::steady_clock::time_point start;
        unsigned seen = 0;
        unsigned long long left_out = 0;
    };

    explicit shared(sink to) : target(std::move(to)) {}

    std::mutex mutex;
    sink target;
    std::unordered_map<std::string, window> windows;
};

logger::logger() : logger(log_level::warn, write_to_stderr) {}

logger::logger(log_level level, sink to)
    : level_(to ? level : log_level::off), shared_(std::make_shared<shared>(std::move(to))) {}

void logger::log_fields(
    log_level level,
    std::string_view component,
    std::string_view text,
    std::span<const log_field> fields
) const {
    // A sink that logs, or uses the bus that logs, would wait for itself: its own records are
    // dropped.
    static thread_local bool inside = false;
    if (!enabled(level) || level == log_level::off || inside) return;
    const auto now = std::chrono::steady_clock::now();
    const std::lock_guard lock(shared_->mutex);
    auto& windows = shared_->windows;
    if (windows.size() >= tracked_texts_max) windows.clear();
    auto& w = windows[std::string(component).append(1, '\0').append(text)];
    unsigned long long repeats = 0;
    if (w.seen == 0 || now - w.start >= repeat_window) {
        repeats = std::exchange(w.left_out, 0);
        w.start = now;
        w.seen = 0;
    }
    if (++w.seen > repeats_max) {
        ++w.left_out;
        return;
    }
    inside = true;
    try {
        shared_->target({level, component, text, fields, repeats});
    } catch (...) {
        // Logging must not change what the program does; there is nowhere left to report this.
    }
    inside = false;
}

log_level log_level_from(std::string_view name) {
    for (std::size_t i = 0; i < std::size(level_names); ++i) {
        if (level_names[i] == name) return static_cast<log_level>(i);
    }
    throw std::invalid_argument(
        "log level \"" + std::string(name) + "\": want debug, info, warn, error or off"
    );
}

std::string format(const log_record& record) {
    std::string line(level_names[static_cast<std::size_t>(record.level)]);
    line.append(" ").append(record.component).append(": ").append(record.text);
    for (const auto& field : record.fields) {
        line.append(" ").append(field.name).append("=").append(field.value);
    }
    if (record.repeats != 0) {
        line.append(" (").append(std::to_string(record.repeats)).append(" more were left out)");
    }
    for (auto& c : line) {
        if (static_cast<unsigned char>(c) < ' ') c = ' ';
    }
    return line;
}

TRUNKLINE_NAMESPACE_END
