#pragma once

#include "common_options.hpp"
#include "exit_code.hpp"

#include <memory>

namespace trunkline_cli {

/// One subcommand. Its flags are part of the parser from construction on; `run` is called when it
/// was chosen and everything was parsed. Throws std::invalid_argument for wrong usage.
class command {
public:
    command() = default;
    command(const command&) = delete;
    command& operator=(const command&) = delete;
    virtual ~command() = default;

    virtual exit_code run(const common_options& common) = 0;
};

/// Each adds its flags, description and examples to `parser`.
std::unique_ptr<command> make_publish(CLI::App& parser);
std::unique_ptr<command> make_subscribe(CLI::App& parser);
std::unique_ptr<command> make_pipe(CLI::App& parser);
std::unique_ptr<command> make_broker(CLI::App& parser);
std::unique_ptr<command> make_lease(CLI::App& parser);
std::unique_ptr<command> make_doctor(CLI::App& parser);
std::unique_ptr<command> make_bench(CLI::App& parser);
std::unique_ptr<command> make_version(CLI::App& parser);

/// The version text without a line break, e.g. `trunkline 0.1.0 (clang 19.1.7)`.
std::string version_text();

}  // namespace trunkline_cli
