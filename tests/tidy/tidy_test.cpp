#include "rules.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;
using tidy::check;

std::vector<std::string> rules(std::string_view path, std::string_view text) {
    std::vector<std::string> names;
    for (const auto& f : check(path, text)) names.push_back(f.rule);
    return names;
}

// Headers of the samples need their first line.
std::vector<std::string> header_rules(std::string_view path, std::string text) {
    return rules(path, "#pragma once\n" + std::move(text));
}

bool is_checked(const fs::path& file) {
    const auto name = file.filename().string();
    const auto ending = file.extension().string();
    for (const auto* known :
         {".cpp", ".hpp", ".cmake", ".in", ".sh", ".md", ".json", ".mjs", ".js", ".ts", ".query"}) {
        if (ending == known) return true;
    }
    return name == "CMakeLists.txt" || name == "dev" || name == "run" || name == ".clang-tidy" ||
           name == ".clang-format" || name == ".gitignore" || name == ".npmrc";
}

// Every file of ours: what is generated, fetched or recorded from others is left out.
std::vector<fs::path> files_below(const fs::path& root) {
    std::vector<fs::path> files;
    for (auto i = fs::recursive_directory_iterator(root); i != fs::recursive_directory_iterator();
         ++i) {
        const auto name = i->path().filename().string();
        if (i->is_directory()) {
            if (name == "build" || name == ".git" || name == "node_modules" || name == "golden" ||
                name == ".cache")
                i.disable_recursion_pending();
        } else if (i->is_regular_file() && is_checked(i->path())) {
            files.push_back(i->path());
        }
    }
    return files;
}

TEST(Tidy, TheTreeBreaksNoRule) {
    const fs::path root = TRUNKLINE_SOURCE_DIR;
    const auto files = files_below(root);
    ASSERT_FALSE(files.empty());
    for (const auto& file : files) {
        std::ifstream in(file, std::ios::binary);
        const std::string text(std::istreambuf_iterator<char>(in), {});
        const auto path = fs::relative(file, root).generic_string();
        for (const auto& f : check(path, text))
            ADD_FAILURE() << path << ":" << f.line << ": [" << f.rule << "] " << f.text;
    }
}

TEST(Tidy, GoodCodePasses) {
    EXPECT_THAT(
        header_rules(
            "include/trunkline/pubsub.hpp",
            "#include <trunkline/errc.hpp>\n#include <trunkline/event.hpp>\n#include <string>\n"
        ),
        IsEmpty()
    );
    EXPECT_THAT(
        rules(
            "src/backends/event_emitter/topic.cpp",
            "#include \"backends/event_emitter/topic.hpp\"\n#include \"contract/turn.hpp\"\n"
            "#include \"base/time.hpp\"\n#include <trunkline/event_emitter_pubsub.hpp>\n"
        ),
        IsEmpty()
    );
    EXPECT_THAT(
        rules("src/app/app.cpp", "#include \"backends/event_emitter/core.hpp\"\n"), IsEmpty()
    );
}

TEST(Tidy, IncludesNeverPointUp) {
    EXPECT_THAT(
        rules("src/base/clock.cpp", "#include \"contract/turn.hpp\"\n"), ElementsAre("layers")
    );
    EXPECT_THAT(
        rules("src/base/clock.cpp", "#include <trunkline/event.hpp>\n"), ElementsAre("layers")
    );
    EXPECT_THAT(
        rules("src/contract/turn.cpp", "# include <trunkline/event_emitter_pubsub.hpp>\n"),
        ElementsAre("layers")
    );
    EXPECT_THAT(
        rules("src/backends/event_emitter/core.cpp", "#include <trunkline/app.hpp>\n"),
        ElementsAre("layers")
    );
    EXPECT_THAT(
        header_rules("include/trunkline/pubsub.hpp", "#include <trunkline/make_pubsub.hpp>\n"),
        ElementsAre("layers")
    );
}

TEST(Tidy, WireKnowsNeitherAsioNorEvents) {
    EXPECT_THAT(
        rules("src/wire/codec.cpp", "#include <boost/asio/post.hpp>\n"), ElementsAre("layers")
    );
    EXPECT_THAT(
        rules("src/wire/codec.cpp", "#include <trunkline/event.hpp>\n"),
        ElementsAre("layers", "layers")
    );
}

TEST(Tidy, PublicHeadersIncludeNothingPrivate) {
    EXPECT_THAT(
        header_rules("include/trunkline/event.hpp", "#include \"contract/body.hpp\"\n"),
        ElementsAre("layers")
    );
}

TEST(Tidy, BackendsDoNotKnowEachOther) {
    EXPECT_THAT(
        rules(
            "src/backends/unix_socket/link.cpp", "#include \"backends/event_emitter/core.hpp\"\n"
        ),
        ElementsAre("layers")
    );
    EXPECT_THAT(
        rules(
            "src/backends/unix_socket/link.cpp", "#include <trunkline/event_emitter_pubsub.hpp>\n"
        ),
        ElementsAre("layers")
    );
    EXPECT_THAT(
        header_rules(
            "include/trunkline/unix_socket_pubsub.hpp",
            "#include <trunkline/redis_streams_pubsub.hpp>\n"
        ),
        ElementsAre("layers")
    );
}

TEST(Tidy, TestkitAndProgramsUsePublicHeadersOnly) {
    EXPECT_THAT(
        rules("testkit/src/recorder.cpp", "#include \"contract/turn.hpp\"\n"), ElementsAre("layers")
    );
    EXPECT_THAT(
        rules("testkit/src/recorder.cpp", "#include <trunkline/app.hpp>\n"), ElementsAre("layers")
    );
    EXPECT_THAT(
        rules("testkit/src/recorder.cpp", "#include <trunkline/event_emitter_pubsub.hpp>\n"),
        ElementsAre("layers")
    );
    EXPECT_THAT(rules("apps/cli/main.cpp", "#include \"base/time.hpp\"\n"), ElementsAre("layers"));
    EXPECT_THAT(
        rules("testkit/src/recorder.cpp", "#include <trunkline/testkit/recorder.hpp>\n"), IsEmpty()
    );
}

TEST(Tidy, WideIncludesAreFound) {
    EXPECT_THAT(
        rules("tests/unit/x_test.cpp", "#include <boost/asio.hpp>\n"), ElementsAre("wide-include")
    );
}

TEST(Tidy, DetachedTasksAreFoundOutsideApps) {
    EXPECT_THAT(
        rules("src/app/app.cpp", "co_spawn(ex, run(), asio::detached);\n"), ElementsAre("detached")
    );
    EXPECT_THAT(rules("tests/unit/x_test.cpp", "worker.detach();\n"), ElementsAre("detached"));
    EXPECT_THAT(rules("apps/cli/main.cpp", "co_spawn(ex, run(), asio::detached);\n"), IsEmpty());
    EXPECT_THAT(rules("src/app/app.cpp", "// not asio::detached\n"), IsEmpty());
}

TEST(Tidy, AnExceptionNeedsItsReason) {
    EXPECT_THAT(
        rules("src/base/x.cpp", "t.detach();  // tidy: allow — ends with its own stack\n"),
        IsEmpty()
    );
    EXPECT_THAT(rules("src/base/x.cpp", "t.detach();  // tidy: allow\n"), ElementsAre("detached"));
}

TEST(Tidy, ClocksAreReadInBaseOnly) {
    for (const auto* line :
         {"auto t = std::chrono::steady_clock::now();\n",
          "auto t = system_clock::now();\n",
          "::clock_gettime(CLOCK_REALTIME, &t);\n",
          "gettimeofday(&t, nullptr);\n",
          "srand(time(nullptr));\n",
          "auto t = std::time(nullptr);\n"}) {
        EXPECT_THAT(rules("src/contract/turn.cpp", line), ElementsAre("clock")) << line;
        EXPECT_THAT(rules("apps/cli/main.cpp", line), ElementsAre("clock")) << line;
        EXPECT_THAT(rules("testkit/src/recorder.cpp", line), ElementsAre("clock")) << line;
        EXPECT_THAT(rules("src/base/clock.cpp", line), IsEmpty()) << line;
        EXPECT_THAT(rules("bench/codec.cpp", line), IsEmpty()) << line;
        EXPECT_THAT(rules("testkit/src/wall_rig.cpp", line), IsEmpty()) << line;
    }
    EXPECT_THAT(rules("src/contract/turn.cpp", "auto t = clock_->now();\n"), IsEmpty());
    EXPECT_THAT(rules("src/contract/turn.cpp", "steady_clock::time_point t;\n"), IsEmpty());
}

TEST(Tidy, SleepsAreFound) {
    EXPECT_THAT(
        rules("tests/unit/x_test.cpp", "std::this_thread::sleep_for(1ms);\n"), ElementsAre("sleep")
    );
    EXPECT_THAT(rules("testkit/src/rig.cpp", "usleep(10);\n"), ElementsAre("sleep"));
    EXPECT_THAT(rules("tests/unit/x_test.cpp", "co_await sleep_until(time, t);\n"), IsEmpty());
}

TEST(Tidy, HeadersKeepNamespacesClosedAndAreGuarded) {
    EXPECT_THAT(
        header_rules("src/base/time.hpp", "using namespace std;\n"), ElementsAre("using-namespace")
    );
    EXPECT_THAT(rules("src/base/time.cpp", "using namespace std::literals;\n"), IsEmpty());
    EXPECT_THAT(rules("src/base/time.hpp", "int x;\n"), ElementsAre("pragma-once"));
}

TEST(Tidy, UnfinishedWorkIsFound) {
    EXPECT_THAT(rules("src/base/time.cpp", "// TODO: later\n"), ElementsAre("unfinished"));
    EXPECT_THAT(rules("dev", "# FIXME\n"), ElementsAre("unfinished"));
    EXPECT_THAT(rules("scripts/a.sh", "mktemp -d /tmp/a.XXXXXX\n"), IsEmpty());
}

TEST(Tidy, LongFilesAreFound) {
    std::string text;
    for (int i = 0; i < 701; ++i) text += "int x;\n";
    EXPECT_THAT(rules("src/base/time.cpp", text), ElementsAre("file-size"));
    EXPECT_THAT(rules("tests/unit/x_test.cpp", text), IsEmpty());
}

TEST(Tidy, TrailingSpaceIsFound) {
    EXPECT_THAT(rules("CMakeLists.txt", "set(x) \n"), ElementsAre("trailing-space"));
    EXPECT_THAT(rules("README.md", "a line break  \n"), IsEmpty());
}

TEST(Tidy, PathsOfOneMachineAreFound) {
    EXPECT_THAT(rules("README.md", "see /home/me/x\n"), ElementsAre("private-path"));
    EXPECT_THAT(rules("scripts/a.sh", "cd \"/work/x\"\n"), ElementsAre("private-path"));
    EXPECT_THAT(rules("scripts/a.sh", "cd \"$base/work/x\"\n"), IsEmpty());
    EXPECT_THAT(rules("README.md", "build/work/x, ../work/x\n"), IsEmpty());
}

TEST(Tidy, RegistriesAreNotNamed) {
    EXPECT_THAT(
        rules("tests/interop/package-lock.json", "  \"resolved\": \"https://x/y.tgz\",\n"),
        ElementsAre("registry")
    );
    EXPECT_THAT(rules("tests/interop/.npmrc", "registry=https://x\n"), ElementsAre("registry"));
}

TEST(Tidy, CommentsAndLiteralsAreNoCode) {
    EXPECT_EQ(tidy::code_only("a // b\nc"), "a     \nc");
    EXPECT_EQ(tidy::code_only("a /* b\n */ c"), "a     \n    c");
    EXPECT_EQ(tidy::code_only("f(\"b\\\"c\", 'd')"), "f(\"    \", ' ')");
    EXPECT_EQ(tidy::code_only("R\"x(a \" b)x\" c"), "R\"         \" c");
    EXPECT_EQ(tidy::code_only("1'000'000 + x"), "1'000'000 + x");
}

}  // namespace
