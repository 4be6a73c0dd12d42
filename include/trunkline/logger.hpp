#pragma once

#include <trunkline/config.hpp>

#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN

/// error: a person must act. warn: an event was dropped or a guarantee weakened. info: lifecycle.
/// debug: per event.
enum class log_level { debug, info, warn, error, off };

struct log_field {
    std::string_view name;
    std::string value;
};

/// One record; views are valid during the call of the sink only. Payloads are never logged.
struct log_record {
    log_level level;
    std::string_view component;
    std::string_view text;
    std::span<const log_field> fields;
    /// How many records with this text were left out since the last one.
    unsigned long long repeats = 0;
};

/// A level and a sink, passed by value. The same text is passed on at most 10 times in 10 seconds;
/// the next one says how many were left out. Sinks are called by one thread at a time;
/// what they throw is ignored, and what they log themselves is dropped.
class TRUNKLINE_EXPORT logger {
public:
    using sink = std::function<void(const log_record&)>;

    /// Level warn, one line a record on standard error.
    logger();
    logger(log_level level, sink to);
    static logger none() { return logger{log_level::off, nullptr}; }

    bool enabled(log_level level) const noexcept { return level >= level_; }
    log_level level() const noexcept { return level_; }
    logger with_level(log_level level) const {
        auto copy = *this;
        copy.level_ = level;
        return copy;
    }

    void log(
        log_level level,
        std::string_view component,
        std::string_view text,
        std::initializer_list<log_field> fields = {}
    ) const {
        log_fields(level, component, text, {fields.begin(), fields.size()});
    }
    void log_fields(
        log_level level,
        std::string_view component,
        std::string_view text,
        std::span<const log_field> fields
    ) const;

private:
    struct shared;
    log_level level_;
    std::shared_ptr<shared> shared_;
};

/// "debug", "info", "warn", "error", "off"; throws std::invalid_argument for anything else.
TRUNKLINE_EXPORT log_level log_level_from(std::string_view name);
/// One line: `level component: text name=value …`, without a line break.
TRUNKLINE_EXPORT std::string format(const log_record& record);

TRUNKLINE_NAMESPACE_END
