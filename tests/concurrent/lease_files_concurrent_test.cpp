// File leases among threads and among processes, on a real disk.
#include "backends/unix_socket/file_lease_provider.hpp"
#include "backends/unix_socket/lease_inspection.hpp"
#include "support/child_process.hpp"
#include "support/temporary_folder.hpp"

#include <trunkline/testkit/manual_clock.hpp>
#include <trunkline/testkit/test_loop.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/system/system_error.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace trunkline {
namespace {

using namespace std::chrono_literals;
using namespace unix_socket;
using boost::asio::use_future;
using testing::Each;
using tests::child_process;
using tests::temporary_folder;

constexpr auto patience = 20s;
const std::string lease = sha256_hex("key");

/// The system's, counting isolations, and stopping where a test wants.
class watched_files final : public lease_file_system {
public:
    std::atomic<int> isolations{0};
    std::function<void(const std::string& path)> before_read;

    error_code create(const std::string& path, std::string_view text) override {
        return disk_->create(path, text);
    }
    result<std::string> read(const std::string& path) override {
        if (before_read) before_read(path);
        return disk_->read(path);
    }
    error_code rename(const std::string& from, const std::string& to) override {
        const auto failure = disk_->rename(from, to);
        if (!failure && to.ends_with(".isolated")) isolations.fetch_add(1);
        return failure;
    }
    error_code link(const std::string& file, const std::string& name) override {
        return disk_->link(file, name);
    }
    error_code unlink(const std::string& path) override { return disk_->unlink(path); }
    error_code make_directory(const std::string& path) override {
        return disk_->make_directory(path);
    }
    error_code remove_directory(const std::string& path) override {
        return disk_->remove_directory(path);
    }
    result<std::vector<std::string>> list(const std::string& path) override {
        return disk_->list(path);
    }
    result<file_time> birth(const std::string& path) override { return disk_->birth(path); }
    error_code probe(pid_t pid) override { return disk_->probe(pid); }

private:
    std::shared_ptr<lease_file_system> disk_ = system_lease_files();
};

/// A provider with a loop of its own, waited for.
class lease_user {
public:
    explicit lease_user(const std::string& directory, lease_environment environment = {})
        : provider(directory, loop.executor(), nullptr, logger::none(), std::move(environment)) {}

    bool acquire(const std::string& owner) {
        return provider.async_acquire("key", owner, 60s, use_future).get().acquired;
    }
    std::optional<std::string> owner() { return provider.async_owner("key", use_future).get(); }
    void release(const std::string& owner) {
        provider.async_release("key", owner, use_future).get();
    }
    void close() {
        std::promise<error_code> done;
        provider.close([&](error_code ec) { done.set_value(ec); });
        EXPECT_EQ(done.get_future().get(), error_code{});
    }

    testkit::wall_loop loop{1};
    file_lease_provider provider;
};

// A counter that is read and written in two steps.
int read_counter(const std::string& path) {
    int value = 0;
    std::ifstream(path) >> value;
    return value;
}

void count_under_lease(const std::string& directory, const std::string& me, int times) {
    lease_user user(directory);
    for (int i = 0; i < times; ++i) {
        while (!user.acquire(me)) std::this_thread::yield();
        const auto value = read_counter(directory + "/counter");
        std::ofstream(directory + "/counter", std::ios::trunc) << value + 1;
        user.release(me);
    }
    user.close();
}

// --- processes -----------------------------------------------------------------------------------

constexpr auto folder_variable = "TRUNKLINE_TEST_LEASE_FOLDER";
constexpr auto part_variable = "TRUNKLINE_TEST_LEASE_PART";

void say(const std::string& line) {
    std::cout << '\n' << line << std::endl;
}

std::string next_line() {
    std::string line;
    std::getline(std::cin, line);
    return line;
}

// Started by the tests below as another process, which plays one part.
TEST(LeaseFilesChild, DISABLED_Run) {
    const char* folder = std::getenv(folder_variable);
    const char* part = std::getenv(part_variable);
    ASSERT_NE(folder, nullptr);
    ASSERT_NE(part, nullptr);
    const std::string play = part;
    say("ready");
    if (play == "count") {
        next_line();
        count_under_lease(folder, "process " + std::to_string(::getpid()), 8);
        say("done");
    } else if (play == "hold a lease") {
        lease_files leases(folder, nullptr, logger::none());
        ASSERT_TRUE(leases.acquire("key", "child", 60s).value().acquired);
        say("holding");
        next_line();
    } else if (play == "hold the lock") {
        lease_locks locks(folder, {}, logger::none());
        locks.with_lock(lease, [] {
            say("inside");
            next_line();
        });
    } else if (play == "contend") {
        lease_environment environment;
        const auto files = std::make_shared<watched_files>();
        environment.files = files;
        lease_locks locks(folder, environment, logger::none());
        next_line();
        locks.with_lock(lease, [] {
            say("inside");
            next_line();
        });
        say("isolated " + std::to_string(files->isolations.load()));
        next_line();
    }
}

std::unique_ptr<child_process> start(const temporary_folder& folder, const std::string& part) {
    auto child = std::make_unique<child_process>(
        std::vector<std::string>{
            "/proc/self/exe",
            "--gtest_filter=LeaseFilesChild.DISABLED_Run",
            "--gtest_also_run_disabled_tests"
        },
        std::vector<std::pair<std::string, std::string>>{
            {folder_variable, folder.path()}, {part_variable, part}
        }
    );
    EXPECT_TRUE(child->wait_for_line("ready", patience));
    return child;
}

TEST(LeaseProcesses, ACounterFileIsExact) {
    temporary_folder folder;
    std::vector<std::unique_ptr<child_process>> children;
    for (int i = 0; i < 3; ++i) children.push_back(start(folder, "count"));
    for (auto& child : children) child->write("go\n");
    for (auto& child : children) {
        EXPECT_TRUE(child->wait_for_line("done", patience));
        EXPECT_EQ(child->wait(), 0);
    }
    EXPECT_EQ(read_counter(folder.file("counter")), 24);
}

TEST(LeaseProcesses, AKilledHoldersLeaseIsFree) {
    temporary_folder folder;
    auto child = start(folder, "hold a lease");
    ASSERT_TRUE(child->wait_for_line("holding", patience));
    lease_user user(folder.path());
    EXPECT_EQ(user.owner(), "child");
    EXPECT_FALSE(user.acquire("me"));
    child->kill_9();
    EXPECT_EQ(user.owner(), std::nullopt);
    EXPECT_TRUE(user.acquire("me"));
}

// Killed inside its change: of two processes that come for the lock one isolates it, and they still
// are inside one after the other.
TEST(LeaseProcesses, AKilledHoldersLockIsRecoveredOnceByTwoProcesses) {
    temporary_folder folder;
    auto a = start(folder, "contend");
    auto b = start(folder, "contend");
    auto holder = start(folder, "hold the lock");
    ASSERT_TRUE(holder->wait_for_line("inside", patience));
    a->write("go\n");
    b->write("go\n");
    EXPECT_EQ(a->next_of({"inside"}, 50ms), "") << "the lock is held";
    holder->kill_9();

    child_process* first = nullptr;
    child_process* second = nullptr;
    for (int looks = 0; looks < 400 && first == nullptr; ++looks) {
        if (a->wait_for_line("inside", 10ms)) {
            first = a.get();
            second = b.get();
        } else if (b->wait_for_line("inside", 10ms)) {
            first = b.get();
            second = a.get();
        }
    }
    ASSERT_NE(first, nullptr);
    EXPECT_EQ(second->next_of({"inside"}, 50ms), "") << "the other one waits";
    first->write("go\n");
    const std::vector<std::string> counts{"isolated 0", "isolated 1"};
    const auto of_first = first->next_of(counts, patience);
    EXPECT_TRUE(second->wait_for_line("inside", patience));
    second->write("go\n");
    const auto of_second = second->next_of(counts, patience);
    EXPECT_THAT((std::vector{of_first, of_second}), testing::UnorderedElementsAreArray(counts));
}

TEST(LeaseProcesses, AKilledHoldersLockIsRecoveredOnceByTwoThreads) {
    temporary_folder folder;
    auto holder = start(folder, "hold the lock");
    ASSERT_TRUE(holder->wait_for_line("inside", patience));
    holder->kill_9();
    const auto files = std::make_shared<watched_files>();
    std::atomic<int> inside{0};
    std::atomic<int> ready{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
        threads.emplace_back([&] {
            lease_environment environment;
            environment.files = files;
            lease_locks locks(folder.path(), environment, logger::none());
            ready.fetch_add(1);
            while (ready.load() < 2) std::this_thread::yield();
            locks.with_lock(lease, [&] {
                EXPECT_EQ(inside.fetch_add(1), 0);
                (void)locks.files().list(folder.path());
                inside.fetch_sub(1);
            });
        });
    }
    for (auto& t : threads) t.join();
    EXPECT_EQ(files->isolations.load(), 1);
    // The dead one's marker is all that is left of it.
    const auto left = inspect_leases(folder.path());
    ASSERT_EQ(left.size(), 1U);
    EXPECT_EQ(left.front().what, lease_finding::kind::process);
    EXPECT_TRUE(remove_stale(left.front()).value());
}

// A child of fork is another process, with the number and the nonce of its own.
TEST(LeaseProcesses, AForkedChildHasItsOwnNonce) {
    const auto own = lease_process::current().nonce();
    EXPECT_EQ(lease_process::current().nonce(), own);
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    const auto pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
        const auto& nonce = lease_process::current().nonce();
        const auto written = ::write(pipe[1], nonce.data(), nonce.size());
        ::_exit(written == static_cast<ssize_t>(nonce.size()) ? 0 : 1);
    }
    ::close(pipe[1]);
    std::string nonce(36, ' ');
    EXPECT_EQ(::read(pipe[0], nonce.data(), nonce.size()), 36);
    ::close(pipe[0]);
    int status = -1;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    EXPECT_NE(nonce, own);
}

// --- threads -------------------------------------------------------------------------------------

TEST(LeaseThreads, ACounterFileIsExact) {
    temporary_folder folder;
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
        threads.emplace_back([&folder, i] {
            count_under_lease(folder.path(), "thread " + std::to_string(i), 8);
        });
    }
    for (auto& t : threads) t.join();
    EXPECT_EQ(read_counter(folder.file("counter")), 24);
}

TEST(LeaseThreads, OneOfTwoRacersWins) {
    temporary_folder folder;
    lease_user a(folder.path());
    lease_user b(folder.path());
    for (int round = 0; round < 10; ++round) {
        const auto key = "key" + std::to_string(round);
        auto of_a = a.provider.async_acquire(key, "a", 60s, use_future);
        auto of_b = b.provider.async_acquire(key, "b", 60s, use_future);
        const auto x = of_a.get();
        const auto y = of_b.get();
        EXPECT_NE(x.acquired, y.acquired);
        EXPECT_EQ(x.owner, x.acquired ? "a" : "b");
        EXPECT_EQ(y.owner, x.owner);
    }
}

// --- the provider --------------------------------------------------------------------------------

TEST(FileLeaseProvider, FiveVerbs) {
    temporary_folder folder;
    lease_user user(folder.path());
    auto& p = user.provider;
    EXPECT_TRUE(user.acquire("a"));
    EXPECT_FALSE(user.acquire("b"));
    EXPECT_TRUE(p.async_renew("key", "a", 60s, use_future).get());
    EXPECT_FALSE(p.async_renew("key", "b", 60s, use_future).get());
    EXPECT_TRUE(p.async_transfer("key", "a", "b", 60s, use_future).get());
    EXPECT_EQ(user.owner(), "b");
    user.release("a");
    EXPECT_EQ(user.owner(), "b");
    user.release("b");
    EXPECT_EQ(user.owner(), std::nullopt);
    for (const auto ttl : {0ms, -1ms}) {
        std::promise<error_code> done;
        p.async_acquire("key", "a", ttl, [&](error_code ec, auto) { done.set_value(ec); });
        EXPECT_EQ(done.get_future().get(), errc::invalid_argument);
    }
}

TEST(FileLeaseProvider, TheCalendarOfItsClockDecides) {
    temporary_folder folder;
    testkit::wall_loop loop{1};
    const auto time = std::make_shared<testkit::manual_clock>();
    file_lease_provider p(folder.path(), loop.executor(), time, logger::none());
    EXPECT_TRUE(p.async_acquire("key", "a", 100ms, use_future).get().acquired);
    time->advance(99ms);
    EXPECT_EQ(p.async_owner("key", use_future).get(), "a");
    time->advance(1ms);
    EXPECT_EQ(p.async_owner("key", use_future).get(), std::nullopt);
}

TEST(FileLeaseProvider, AbsentFoldersAreTheSystemsError) {
    temporary_folder folder;
    lease_user user(folder.file("none"));
    std::promise<error_code> done;
    user.provider.async_acquire("key", "a", 1s, [&](error_code ec, auto) { done.set_value(ec); });
    EXPECT_EQ(
        done.get_future().get(),
        make_error_condition(boost::system::errc::no_such_file_or_directory)
    );
}

/// Holds the provider's thread at its first look at a lease until told to go on.
struct held_up {
    std::shared_ptr<watched_files> files = std::make_shared<watched_files>();
    std::promise<void> arrived;
    std::promise<void> go_on;
    lease_environment environment() {
        files->before_read = [this, first = true](const std::string& path) mutable {
            if (!first || !path.ends_with(lease + ".json")) return;
            first = false;
            arrived.set_value();
            go_on.get_future().wait();
        };
        lease_environment e;
        e.files = files;
        return e;
    }
};

TEST(FileLeaseProvider, ItsQueueIsBounded) {
    temporary_folder folder;
    held_up hold;
    lease_user user(folder.path(), hold.environment());
    auto first = user.provider.async_owner("key", use_future);
    hold.arrived.get_future().wait();
    std::atomic<std::size_t> fine{0};
    for (std::size_t i = 0; i < file_lease_provider::operations_max; ++i)
        user.provider.async_owner("key", [&](error_code ec, auto) { fine += !ec ? 1U : 0U; });
    std::promise<error_code> refused;
    user.provider.async_release("key", "a", [&](error_code ec) { refused.set_value(ec); });
    EXPECT_EQ(refused.get_future().get(), errc::queue_full);
    EXPECT_EQ(fine.load(), 0U);
    hold.go_on.set_value();
    EXPECT_EQ(first.get(), std::nullopt);
    user.close();
    EXPECT_TRUE(user.loop.run_until(
        [&] { return fine.load() == file_lease_provider::operations_max; }, patience
    ));
}

TEST(FileLeaseProvider, CloseRunsWhatWasAccepted) {
    temporary_folder folder;
    held_up hold;
    lease_user user(folder.path(), hold.environment());
    auto running = user.provider.async_acquire("key", "a", 60s, use_future);
    hold.arrived.get_future().wait();
    auto queued = user.provider.async_transfer("key", "a", "b", 60s, use_future);
    std::atomic<int> closes{0};
    for (int i = 0; i < 2; ++i)
        user.provider.close([&](error_code ec) { closes += !ec ? 1 : 100; });
    const auto code = [](auto start) {
        std::promise<error_code> done;
        start([&](error_code ec, auto...) { done.set_value(ec); });
        return done.get_future().get();
    };
    auto& p = user.provider;
    const std::vector<error_code> late{
        code([&](auto done) { p.async_acquire("key", "a", 1s, done); }),
        code([&](auto done) { p.async_owner("key", done); }),
        code([&](auto done) { p.async_release("key", "a", done); }),
        code([&](auto done) { p.async_renew("key", "a", 1s, done); }),
        code([&](auto done) { p.async_transfer("key", "a", "b", 1s, done); }),
    };
    EXPECT_THAT(late, Each(error_code(errc::closed)));
    EXPECT_EQ(closes.load(), 0);
    hold.go_on.set_value();
    EXPECT_TRUE(running.get().acquired);
    EXPECT_TRUE(queued.get());
    EXPECT_TRUE(user.loop.run_until([&] { return closes.load() == 2; }, patience));
    user.close();
    // Leases stay.
    lease_user other(folder.path());
    EXPECT_EQ(other.owner(), "b");
}

TEST(FileLeaseProvider, CloseEndsAWaitForAnother) {
    temporary_folder folder;
    auto holder = start(folder, "hold the lock");
    ASSERT_TRUE(holder->wait_for_line("inside", patience));
    lease_user user(folder.path());
    std::promise<error_code> done;
    user.provider.async_acquire("key", "a", 1s, [&](error_code ec, auto) { done.set_value(ec); });
    user.close();
    EXPECT_EQ(done.get_future().get(), errc::closed);
    // The lock is still its holder's.
    holder->write("go\n");
    EXPECT_EQ(holder->wait(), 0);
    lease_user other(folder.path());
    EXPECT_TRUE(other.acquire("b"));
}

TEST(FileLeaseProvider, AnUnusedOneIsClosedAtOnce) {
    temporary_folder folder;
    lease_user user(folder.path());
    user.close();
    EXPECT_FALSE(std::filesystem::exists(folder.file("leases")));
    lease_user other(folder.path());
    other.provider.close({});
}

TEST(FileLeaseProvider, DestroyedOnesCompleteWhatTheyAccepted) {
    temporary_folder folder;
    std::future<lease_answer> last;
    testkit::wall_loop loop{1};
    {
        file_lease_provider p(folder.path(), loop.executor(), nullptr, logger::none());
        for (int i = 0; i < 20; ++i) last = p.async_acquire("key", "a", 60s, use_future);
    }
    EXPECT_TRUE(last.get().acquired);
}

TEST(FileLeaseProvider, CompletionsRunOnTheExecutor) {
    temporary_folder folder;
    boost::asio::io_context context;
    file_lease_provider p(folder.path(), context.get_executor(), nullptr, logger::none());
    std::thread::id ran_on;
    bool closed = false;
    p.async_acquire("key", "a", 1s, [&](error_code, auto) { ran_on = std::this_thread::get_id(); });
    EXPECT_EQ(ran_on, std::thread::id{});
    context.run();
    EXPECT_EQ(ran_on, std::this_thread::get_id());
    // The loop stays busy until then.
    p.close([&](error_code) { closed = true; });
    context.restart();
    context.run();
    EXPECT_TRUE(closed);
}

}  // namespace
}  // namespace trunkline
