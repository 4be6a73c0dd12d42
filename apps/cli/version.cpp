#include "command.hpp"
#include "console.hpp"

#include <trunkline/make_pubsub.hpp>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>

namespace trunkline_cli {

namespace {

std::string compiler_text() {
#if defined(__clang__)
    return "clang " + std::to_string(__clang_major__) + '.' + std::to_string(__clang_minor__) +
           '.' + std::to_string(__clang_patchlevel__);
#elif defined(__GNUC__)
    return "gcc " + std::to_string(__GNUC__) + '.' + std::to_string(__GNUC_MINOR__) + '.' +
           std::to_string(__GNUC_PATCHLEVEL__);
#else
    return "unknown";
#endif
}

class version_command final : public command {
public:
    explicit version_command(CLI::App& parser) {
        parser.add_flag("--json", json_, "One JSON object: version, compiler, backends");
    }

    exit_code run(const common_options&) override {
        if (!json_) {
            const auto line = version_text() + '\n';
            const bool written = std::fwrite(line.data(), 1, line.size(), stdout) == line.size() &&
                                 std::fflush(stdout) == 0;
            return written ? exit_code::done : exit_code::failed;
        }
        boost::json::array backends;
        for (const auto& backend : trunkline::backends()) backends.emplace_back(backend.name);
        line_writer out;
        return out.write(
                   {{"version", TRUNKLINE_VERSION},
                    {"compiler", compiler_text()},
                    {"backends", std::move(backends)}}
               )
                   ? exit_code::done
                   : exit_code::failed;
    }

private:
    bool json_ = false;
};

}  // namespace

std::string version_text() {
    return "trunkline " TRUNKLINE_VERSION " (" + compiler_text() + ")";
}

std::unique_ptr<command> make_version(CLI::App& parser) {
    return std::make_unique<version_command>(parser);
}

}  // namespace trunkline_cli
