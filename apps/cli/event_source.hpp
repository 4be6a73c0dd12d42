#pragma once

#include "parser_fwd.hpp"
#include "publisher.hpp"
#include "watch.hpp"

#include <trunkline/options.hpp>
#include <trunkline/payload.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace trunkline_cli {

/// What `publish` and `pipe` send.
struct publish_flags {
    std::string topic;
    std::string type = "message";
    std::string run_id = "cli";
    std::optional<std::string> data;
    std::optional<std::string> data_file;
    bool lines = false;
    bool confirmed = false;
    std::optional<std::uint64_t> count;
    std::optional<double> rate;
};

/// Adds the flags, except TOPIC. `count_help` says what --count means here.
void add_publish_flags(CLI::App& parser, publish_flags& flags, const char* count_help);

/// Makes events as the flags say and publishes them.
class event_source {
public:
    /// Throws usage_error naming what is wrong with the flags.
    explicit event_source(const publish_flags& flags);

    /// Publishes everything; false when the command was over first. A line that has been read by
    /// then is still published.
    bool run(publisher& to, watch& w);

private:
    bool run_lines(publisher& to, watch& w);
    void publish_line(publisher& to, std::string_view line, const std::string& place);
    bool keep_pace(watch& w);

    publish_flags flags_;
    trunkline::payload data_;
    trunkline::publish_options how_;
    watch::time_point start_;
    std::uint64_t sent_ = 0;
};

}  // namespace trunkline_cli
