#pragma once

#include <trunkline/config.hpp>
#include <trunkline/logger.hpp>

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

/// Keeps log records instead of printing them. Copies share one list. Threading: any.
class TRUNKLINE_EXPORT captured_log {
public:
    struct entry {
        log_level level;
        std::string component;
        std::string text;
        std::string line;  ///< as `format` prints the whole record
    };

    explicit captured_log(log_level level = log_level::debug);

    /// Hand this to what is tested.
    const trunkline::logger& logger() const noexcept { return logger_; }

    std::vector<entry> entries() const;
    /// Entries of exactly this level.
    std::size_t count(log_level level) const;
    /// Entries whose line contains `part`.
    std::size_t count(std::string_view part) const;
    /// All lines, one under the other, for messages.
    std::string text() const;

private:
    struct state {
        std::mutex mutex;
        std::vector<entry> entries;
    };
    std::shared_ptr<state> state_;
    trunkline::logger logger_;
};

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
