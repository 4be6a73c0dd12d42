// File leases on a real folder, with processes, time and failures of our own making.
#include "backends/unix_socket/lease_files.hpp"

#include "backends/unix_socket/lease_inspection.hpp"
#include "support/temporary_folder.hpp"

#include <trunkline/testkit/manual_clock.hpp>

#include <boost/system/errc.hpp>
#include <boost/system/system_error.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace trunkline {
namespace {

using namespace std::chrono_literals;
using namespace unix_socket;
using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using kind = lease_finding::kind;
namespace fs = std::filesystem;
namespace sys = boost::system;

error_code system_error_of(sys::errc::errc_t e) {
    return {static_cast<int>(e), sys::system_category()};
}

/// What goes wrong at one of a process's calls.
enum class fault {
    none,
    fails,
    fails_afterwards,
    crashes,
    crashes_afterwards,
    crashes_half_written
};

/// Files in memory, so that every call can fail in turn without taking minutes.
class memory_disk final : public lease_file_system {
public:
    memory_disk() { folders_.insert("/bus"); }

    std::map<std::string, std::chrono::nanoseconds> ages;  ///< added to a file's birth

    error_code create(const std::string& path, std::string_view text) override {
        const std::lock_guard lock(mutex_);
        if (files_.contains(path)) return error(sys::errc::file_exists);
        if (!has_parent(path)) return error(sys::errc::no_such_file_or_directory);
        files_[path] = std::make_shared<file>(file{std::string(text), ++births_});
        return {};
    }
    result<std::string> read(const std::string& path) override {
        const std::lock_guard lock(mutex_);
        const auto found = files_.find(path);
        if (found == files_.end()) return error(sys::errc::no_such_file_or_directory);
        return found->second->text;
    }
    error_code rename(const std::string& from, const std::string& to) override {
        const std::lock_guard lock(mutex_);
        const auto found = files_.find(from);
        if (found == files_.end() || !has_parent(to))
            return error(sys::errc::no_such_file_or_directory);
        auto moved = std::move(found->second);
        files_.erase(found);
        files_[to] = std::move(moved);
        return {};
    }
    error_code link(const std::string& path, const std::string& name) override {
        const std::lock_guard lock(mutex_);
        const auto found = files_.find(path);
        if (found == files_.end() || !has_parent(name))
            return error(sys::errc::no_such_file_or_directory);
        if (files_.contains(name)) return error(sys::errc::file_exists);
        files_[name] = found->second;
        return {};
    }
    error_code unlink(const std::string& path) override {
        const std::lock_guard lock(mutex_);
        return files_.erase(path) != 0 ? error_code{} : error(sys::errc::no_such_file_or_directory);
    }
    error_code make_directory(const std::string& path) override {
        const std::lock_guard lock(mutex_);
        if (!has_parent(path)) return error(sys::errc::no_such_file_or_directory);
        return folders_.insert(path).second ? error_code{} : error(sys::errc::file_exists);
    }
    error_code remove_directory(const std::string& path) override {
        const std::lock_guard lock(mutex_);
        if (!names_in(path).empty()) return error(sys::errc::directory_not_empty);
        return folders_.erase(path) != 0 ? error_code{}
                                         : error(sys::errc::no_such_file_or_directory);
    }
    result<std::vector<std::string>> list(const std::string& path) override {
        const std::lock_guard lock(mutex_);
        if (!folders_.contains(path)) return error(sys::errc::no_such_file_or_directory);
        return names_in(path);
    }
    result<file_time> birth(const std::string& path) override {
        const std::lock_guard lock(mutex_);
        const auto found = files_.find(path);
        if (found == files_.end()) return error(sys::errc::no_such_file_or_directory);
        const auto age = ages.find(path);
        return file_time{found->second->birth} + (age != ages.end() ? age->second : file_time{});
    }
    error_code probe(pid_t) override { return error(sys::errc::function_not_supported); }

    std::vector<std::string> all_files() const {
        const std::lock_guard lock(mutex_);
        std::vector<std::string> out;
        for (const auto& [path, f] : files_) out.push_back(path);
        return out;
    }
    void put(const std::string& path, const std::string& text) {
        const std::lock_guard lock(mutex_);
        for (auto at = path.find('/', 1); at != path.npos; at = path.find('/', at + 1))
            folders_.insert(path.substr(0, at));
        files_[path] = std::make_shared<file>(file{text, ++births_});
    }
    void remove_all(const std::string& path) {
        const std::lock_guard lock(mutex_);
        const auto below = [&](const std::string& name) {
            return name == path || name.starts_with(path + "/");
        };
        std::erase_if(files_, [&](const auto& entry) { return below(entry.first); });
        std::erase_if(folders_, below);
    }

private:
    struct file {
        std::string text;
        long birth;
    };
    static error_code error(sys::errc::errc_t e) { return system_error_of(e); }
    bool has_parent(const std::string& path) const {
        return folders_.contains(path.substr(0, path.rfind('/')));
    }
    std::vector<std::string> names_in(const std::string& folder) const {
        std::set<std::string> names;
        const auto add = [&](const std::string& path) {
            if (path.substr(0, path.rfind('/')) == folder)
                names.insert(path.substr(path.rfind('/') + 1));
        };
        for (const auto& [path, f] : files_) add(path);
        for (const auto& path : folders_) add(path);
        return {names.begin(), names.end()};
    }

    mutable std::mutex mutex_;
    std::map<std::string, std::shared_ptr<file>> files_;
    std::set<std::string> folders_;
    long births_ = 0;
};

/// The host that simulated processes share.
struct machine {
    const std::string folder = "/bus";
    std::shared_ptr<memory_disk> disk = std::make_shared<memory_disk>();
    std::shared_ptr<testkit::manual_clock> calendar = std::make_shared<testkit::manual_clock>();
    std::set<pid_t> running;
    std::map<std::string, int> isolated;  ///< by marker: successful renames
    clock::time_point now{};

    std::string path(const std::string& name) const { return folder + "/leases/" + name; }
    std::string read(const std::string& name) { return disk->read(path(name)).value(); }
    bool has(const std::string& name) const { return disk->read(path(name)).has_value(); }
    void put(const std::string& name, const std::string& text) { disk->put(path(name), text); }
    void remove(const std::string& name) { disk->remove_all(path(name)); }
    /// Lets a file look so much older, or newer.
    void age(const std::string& name, std::chrono::nanoseconds by) { disk->ages[path(name)] = by; }
    /// Everything below `leases`, but not folders.
    std::vector<std::string> files() const {
        auto out = disk->all_files();
        for (auto& name : out) name.erase(0, path("").size());
        return out;
    }
};

/// The file system as one process sees it.
class process_files final : public lease_file_system {
public:
    process_files(machine& m, pid_t pid) : machine_(m), pid_(pid) {}

    fault what = fault::none;
    int at_call = 0;  ///< counted from 1
    sys::errc::errc_t error = sys::errc::io_error;
    int calls = 0;
    std::function<void()> before_each;
    std::function<void(const std::string& path)> before_read;
    std::function<void(const std::string& to)> before_rename;
    std::function<void(const std::string& name)> after_link;

    error_code create(const std::string& path, std::string_view text) override {
        if (what == fault::crashes_half_written && calls + 1 == at_call)
            machine_.disk->create(path, text.substr(0, text.size() / 2));
        return call([&] { return machine_.disk->create(path, text); });
    }
    result<std::string> read(const std::string& path) override {
        if (before_read) before_read(path);
        return call([&] { return machine_.disk->read(path); });
    }
    error_code rename(const std::string& from, const std::string& to) override {
        if (before_rename) before_rename(to);
        return call([&] {
            const auto failure = machine_.disk->rename(from, to);
            if (!failure && to.ends_with(".isolated"))
                ++machine_.isolated[to.substr(0, to.find(".marker"))];
            return failure;
        });
    }
    error_code link(const std::string& file, const std::string& name) override {
        const auto failure = call([&] { return machine_.disk->link(file, name); });
        if (after_link) after_link(name);
        return failure;
    }
    error_code unlink(const std::string& path) override {
        return call([&] { return machine_.disk->unlink(path); });
    }
    error_code make_directory(const std::string& path) override {
        return call([&] { return machine_.disk->make_directory(path); });
    }
    error_code remove_directory(const std::string& path) override {
        return call([&] { return machine_.disk->remove_directory(path); });
    }
    result<std::vector<std::string>> list(const std::string& path) override {
        return call([&] { return machine_.disk->list(path); });
    }
    result<file_time> birth(const std::string& path) override {
        return call([&] { return machine_.disk->birth(path); });
    }
    error_code probe(pid_t pid) override {
        return call([&] {
            return machine_.running.contains(pid) ? error_code{}
                                                  : system_error_of(sys::errc::no_such_process);
        });
    }

private:
    bool is_dead() const { return !machine_.running.contains(pid_); }

    template <class F>
    auto call(F f) -> decltype(f()) {
        if (before_each) before_each();
        const bool now = ++calls == at_call;
        // A process that is no more does nothing; what its code still believes does not matter.
        if (is_dead()) return system_error_of(sys::errc::io_error);
        if (!now || what == fault::none) return f();
        const bool happens = what == fault::fails_afterwards || what == fault::crashes_afterwards;
        const bool dies = what != fault::fails && what != fault::fails_afterwards;
        if (happens) (void)f();
        if (dies) machine_.running.erase(pid_);
        return system_error_of(error);
    }

    machine& machine_;
    const pid_t pid_;
};

/// A process of that machine with one provider.
class process {
public:
    process(machine& m, pid_t pid, std::string nonce)
        : machine_(m),
          identity(pid, std::move(nonce)),
          files(std::make_shared<process_files>(m, pid)) {
        m.running.insert(pid);
    }
    process(machine& m, pid_t pid) : process(m, pid, "nonce-" + std::to_string(pid)) {}

    lease_environment environment() {
        lease_environment e;
        e.files = files;
        e.process = [this]() -> lease_process& { return identity; };
        e.steady = [this] { return machine_.now; };
        e.pause = [this](std::chrono::milliseconds time) {
            if (on_pause) on_pause();
            machine_.now += time;
            return !closing;
        };
        return e;
    }
    lease_files& leases() {
        if (!leases_)
            leases_.emplace(machine_.folder, machine_.calendar, logger::none(), environment());
        return *leases_;
    }
    lease_answer acquire(const std::string& owner, std::chrono::milliseconds ttl = 10s) {
        return leases().acquire("key", owner, ttl).value();
    }
    std::optional<std::string> owner() { return leases().owner("key").value(); }
    void die() { machine_.running.erase(identity.pid()); }

private:
    machine& machine_;

public:
    lease_process identity;
    std::shared_ptr<process_files> files;
    std::function<void()> on_pause;
    bool closing = false;

private:
    std::optional<lease_files> leases_;
};

const std::string hash = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";
const std::string record = hash + ".json";
const std::string lock = "mutations/" + hash + ".lock";
const std::string recoveries = lock + ".recoveries/";

std::string identity_text(pid_t pid, const std::string& nonce, const std::string& token) {
    return R"({"pid":)" + std::to_string(pid) + R"(,"processNonce":")" + nonce + R"(","token":")" +
           token + R"("})";
}

/// A lock whose holder is no more.
void put_stale_lock(machine& m, const std::string& token = "stale") {
    m.put("processes/77.json", R"({"pid":77,"processNonce":"gone"})");
    m.put(lock, identity_text(77, "gone", token));
}

// --- formats -------------------------------------------------------------------------------------

TEST(LeaseFiles, KeysAreHashed) {
    EXPECT_EQ(sha256_hex("key"), hash);
    EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(LeaseFiles, FilesHaveTheSharedForm) {
    machine m;
    process a(m, 11);
    EXPECT_TRUE(a.acquire("me \"x\"", 1500ms).acquired);
    // The calendar shows 2024-01-01.
    EXPECT_EQ(
        m.read(record),
        R"({"owner":"me \"x\"","expiresAt":1704067201500,"pid":11,"processNonce":"nonce-11"})"
    );
    EXPECT_EQ(m.read("processes/11.json"), R"({"pid":11,"processNonce":"nonce-11"})");
    EXPECT_THAT(m.files(), ElementsAre(record, "processes/11.json"));
}

TEST(LeaseFiles, OnARealDiskOnlyTheUserMayLook) {
    tests::temporary_folder folder;
    lease_files leases(folder.path(), nullptr, logger::none());
    EXPECT_TRUE(leases.acquire("key", "me", 10s).value().acquired);
    EXPECT_EQ(leases.owner("key").value(), "me");
    const auto mode = [&](const std::string& name) {
        struct stat info{};
        EXPECT_EQ(::stat((folder.path() + "/leases" + name).c_str(), &info), 0);
        return info.st_mode & 07777;
    };
    const auto marker = "/processes/" + std::to_string(::getpid()) + ".json";
    EXPECT_EQ(mode(""), 0700U);
    EXPECT_EQ(mode("/processes"), 0700U);
    EXPECT_EQ(mode("/mutations"), 0700U);
    EXPECT_EQ(mode("/" + record), 0600U);
    EXPECT_EQ(mode(marker), 0600U);
    EXPECT_EQ(
        system_lease_files()->read(folder.path() + "/leases" + marker).value(),
        R"({"pid":)" + std::to_string(::getpid()) + R"(,"processNonce":")" +
            lease_process::current().nonce() + "\"}"
    );
    // A second provider of the process is no other process.
    lease_files second(folder.path(), nullptr, logger::none());
    EXPECT_EQ(second.owner("key").value(), "me");
}

TEST(LeaseFileSystem, ErrorsAreTheSystems) {
    tests::temporary_folder folder;
    const auto files = system_lease_files();
    const auto is = [](const error_code& got, sys::errc::errc_t expected) {
        return got == make_error_condition(expected);
    };
    const auto a = folder.file("a");
    const auto b = folder.file("b");
    const auto none = folder.file("none/x");
    EXPECT_EQ(files->create(a, "text"), error_code{});
    EXPECT_TRUE(is(files->create(a, "text"), sys::errc::file_exists));
    EXPECT_TRUE(is(files->create(none, ""), sys::errc::no_such_file_or_directory));
    EXPECT_EQ(files->link(a, b), error_code{});
    EXPECT_TRUE(is(files->link(a, b), sys::errc::file_exists));
    EXPECT_TRUE(is(files->link(none, b), sys::errc::no_such_file_or_directory));
    EXPECT_EQ(files->birth(a).value(), files->birth(b).value());
    EXPECT_TRUE(is(files->birth(none).error(), sys::errc::no_such_file_or_directory));
    EXPECT_EQ(files->rename(b, folder.file("c")), error_code{});
    EXPECT_EQ(files->read(folder.file("c")).value(), "text");
    EXPECT_TRUE(is(files->read(b).error(), sys::errc::no_such_file_or_directory));
    EXPECT_EQ(files->make_directory(folder.file("d")), error_code{});
    EXPECT_TRUE(is(files->make_directory(folder.file("d")), sys::errc::file_exists));
    EXPECT_THAT(files->list(folder.path()).value(), ElementsAre("a", "c", "d"));
    EXPECT_TRUE(is(files->list(none).error(), sys::errc::no_such_file_or_directory));
    EXPECT_TRUE(is(files->remove_directory(folder.path()), sys::errc::directory_not_empty));
    EXPECT_EQ(files->remove_directory(folder.file("d")), error_code{});
    EXPECT_EQ(files->unlink(a), error_code{});
    EXPECT_TRUE(is(files->unlink(a), sys::errc::no_such_file_or_directory));
    EXPECT_EQ(files->probe(::getpid()), error_code{});
    EXPECT_TRUE(is(files->probe(std::numeric_limits<pid_t>::max()), sys::errc::no_such_process));
    // Links and whatever else is no file are not followed and do not hold us up.
    ASSERT_EQ(::mkfifo(folder.file("f").c_str(), 0600), 0);
    EXPECT_EQ(files->read(folder.file("f")).value(), "");
    fs::create_symlink(folder.file("c"), folder.file("s"));
    EXPECT_TRUE(is(files->read(folder.file("s")).error(), sys::errc::too_many_symbolic_link_levels)
    );
}

TEST(LeaseFiles, TheLockSaysWhoHoldsIt) {
    machine m;
    process a(m, 11);
    std::string held;
    a.files->before_read = [&](const std::string& path) {
        if (path == m.path(record)) held = m.read(lock);
    };
    a.acquire("me");
    const auto holder = parse_lease_holder(held);
    ASSERT_TRUE(holder);
    EXPECT_EQ(holder->token.size(), 36U);
    EXPECT_EQ(held, identity_text(11, "nonce-11", holder->token));
}

TEST(LeaseFiles, RecordsThatFailValidationAreAbsent) {
    const std::string good = R"({"owner":"a","expiresAt":1e15,"pid":11,"processNonce":"nonce-11"})";
    EXPECT_TRUE(parse_lease_record(good));
    EXPECT_TRUE(
        parse_lease_record(R"({"x":1,"owner":"a","expiresAt":0.5,"pid":11.0,"processNonce":"n"})")
    );
    for (const auto* text : {
             "",
             "{",
             "null",
             "[]",
             R"({"expiresAt":1e15,"pid":11,"processNonce":"nonce-11"})",
             R"({"owner":7,"expiresAt":1e15,"pid":11,"processNonce":"nonce-11"})",
             R"({"owner":"a","expiresAt":"1e15","pid":11,"processNonce":"nonce-11"})",
             R"({"owner":"a","expiresAt":null,"pid":11,"processNonce":"nonce-11"})",
             R"({"owner":"a","expiresAt":1e999,"pid":11,"processNonce":"nonce-11"})",
             R"({"owner":"a","expiresAt":1e15,"pid":11.5,"processNonce":"nonce-11"})",
             R"({"owner":"a","expiresAt":1e15,"pid":"11","processNonce":"nonce-11"})",
             R"({"owner":"a","expiresAt":1e15,"pid":11,"processNonce":5})",
             R"({"owner":"a","expiresAt":1e15,"pid":11})",
         }) {
        SCOPED_TRACE(text);
        EXPECT_FALSE(parse_lease_record(text));
        machine m;
        process a(m, 11);
        process b(m, 12);
        b.acquire("b");
        a.acquire("a");  // both are known
        m.put(record, text);
        EXPECT_EQ(b.owner(), std::nullopt);
        EXPECT_TRUE(b.acquire("b").acquired);
        m.put(record, good);
        EXPECT_FALSE(b.acquire("b").acquired);
    }
}

TEST(LeaseFiles, ForeignPidsOutOfRangeAreDead) {
    machine m;
    process a(m, 11);
    for (const auto* pid : {"0", "-1", "4294967297", "1e300"}) {
        m.put(
            record,
            R"({"owner":"x","expiresAt":1e15,"processNonce":"n","pid":)" + std::string(pid) + "}"
        );
        EXPECT_EQ(a.owner(), std::nullopt) << pid;
    }
}

// --- the five operations -------------------------------------------------------------------------

TEST(LeaseFiles, ALeaseIsExclusiveAmongProcesses) {
    machine m;
    process a(m, 11);
    process b(m, 12);
    const auto first = a.acquire("a");
    EXPECT_TRUE(first.acquired);
    EXPECT_EQ(first.owner, "a");
    const auto second = b.acquire("b");
    EXPECT_FALSE(second.acquired);
    EXPECT_EQ(second.owner, "a");
    EXPECT_EQ(b.owner(), "a");
    EXPECT_FALSE(b.leases().renew("key", "b", 1s).value());
    EXPECT_FALSE(b.leases().transfer("key", "b", "c", 1s).value());
    EXPECT_TRUE(b.leases().release("key", "b"));
    EXPECT_EQ(a.owner(), "a");
    EXPECT_TRUE(a.leases().release("key", "a"));
    EXPECT_EQ(b.owner(), std::nullopt);
    EXPECT_TRUE(b.acquire("b").acquired);
}

TEST(LeaseFiles, ALeaseEndsAtExactlyItsInstant) {
    machine m;
    process a(m, 11);
    process b(m, 12);
    a.acquire("a", 100ms);
    m.calendar->advance(99ms);
    EXPECT_EQ(a.owner(), "a");
    EXPECT_FALSE(b.acquire("b").acquired);
    EXPECT_TRUE(a.leases().renew("key", "a", 1ms).value());
    m.calendar->advance(1ms);
    EXPECT_FALSE(a.leases().renew("key", "a", 1s).value());
    EXPECT_FALSE(a.leases().transfer("key", "a", "c", 1s).value());
    EXPECT_EQ(b.owner(), std::nullopt);
    EXPECT_FALSE(m.has(record)) << "who finds a dead one removes it";
    EXPECT_TRUE(b.acquire("b").acquired);
}

TEST(LeaseFiles, AnExpiredLeaseIsReleasedByItsOwner) {
    machine m;
    process a(m, 11);
    a.acquire("a", 1ms);
    m.calendar->advance(1s);
    EXPECT_TRUE(a.leases().release("key", "b"));
    EXPECT_TRUE(m.has(record));
    EXPECT_TRUE(a.leases().release("key", "a"));
    EXPECT_FALSE(m.has(record));
}

// The name alone decides, so a service that comes back under its name goes on.
TEST(LeaseFiles, TheSameOwnerReacquiresInAnyProcess) {
    machine m;
    process a(m, 11);
    process b(m, 12);
    a.acquire("me", 1s);
    EXPECT_TRUE(a.acquire("me", 2s).acquired);
    EXPECT_TRUE(b.acquire("me", 3s).acquired);
    EXPECT_EQ(
        m.read(record),
        R"({"owner":"me","expiresAt":1704067203000,"pid":12,"processNonce":"nonce-12"})"
    );
    a.die();
    EXPECT_EQ(b.owner(), "me");
}

TEST(LeaseFiles, RenewAndTransferCarryTheCallingProcess) {
    machine m;
    process a(m, 11);
    process b(m, 12);
    a.acquire("a", 1s);
    EXPECT_TRUE(b.leases().transfer("key", "a", "b", 5s).value());
    EXPECT_EQ(
        m.read(record),
        R"({"owner":"b","expiresAt":1704067205000,"pid":12,"processNonce":"nonce-12"})"
    );
    EXPECT_TRUE(a.leases().renew("key", "b", 6s).value());
    EXPECT_EQ(
        m.read(record),
        R"({"owner":"b","expiresAt":1704067206000,"pid":11,"processNonce":"nonce-11"})"
    );
}

TEST(LeaseFiles, TransferToOneselfRenews) {
    machine m;
    process a(m, 11);
    a.acquire("a", 1s);
    EXPECT_TRUE(a.leases().transfer("key", "a", "a", 60s).value());
    m.calendar->advance(59s);
    EXPECT_EQ(a.owner(), "a");
    m.calendar->advance(1s);
    EXPECT_EQ(a.owner(), std::nullopt);
}

TEST(LeaseFiles, ALeaseDiesWithItsProcess) {
    machine m;
    process a(m, 11);
    process b(m, 12);
    a.acquire("a");
    a.die();
    EXPECT_EQ(b.owner(), std::nullopt);
    EXPECT_TRUE(b.acquire("b").acquired);
}

TEST(LeaseFiles, AReusedPidWithAnotherNonceIsDead) {
    machine m;
    process a(m, 11);
    process b(m, 12);
    a.acquire("a");
    a.die();
    process later(m, 11, "another");
    EXPECT_EQ(b.owner(), "a") << "its marker is not written yet";
    EXPECT_TRUE(later.leases().acquire("other", "x", 1s).value().acquired);
    EXPECT_EQ(b.owner(), std::nullopt);
    EXPECT_TRUE(b.acquire("b").acquired);
}

TEST(LeaseFiles, ARemovedProcessMarkerIsWrittenAgain) {
    machine m;
    process a(m, 11);
    process b(m, 12);
    a.acquire("a");
    m.remove("processes/11.json");
    EXPECT_TRUE(a.acquire("a").acquired);
    EXPECT_EQ(b.owner(), "a");
    m.disk->remove_all("/bus/leases");
    EXPECT_TRUE(b.acquire("b").acquired) << "and so are the folders";
}

TEST(LeaseFiles, ArgumentsAreChecked) {
    machine m;
    process a(m, 11);
    a.acquire("a");
    const auto is_refused = [](const auto& outcome) {
        return outcome.has_error() && outcome.error() == errc::invalid_argument;
    };
    for (const auto ttl : {0ms, -1ms}) {
        EXPECT_TRUE(is_refused(a.leases().acquire("key", "a", ttl)));
        EXPECT_TRUE(is_refused(a.leases().renew("key", "a", ttl)));
        EXPECT_TRUE(is_refused(a.leases().transfer("key", "a", "b", ttl)));
    }
    EXPECT_TRUE(is_refused(a.leases().acquire("key", "\xff", 1s)));
    EXPECT_TRUE(is_refused(a.leases().transfer("key", "a", "\xff", 1s)));
    EXPECT_TRUE(is_refused(
        a.leases().acquire("key", std::string(lease_files::owner_bytes_max + 1, 'x'), 1s)
    ));
    EXPECT_EQ(a.owner(), "a");
    // The longest times are capped where numbers in JSON end.
    EXPECT_TRUE(a.acquire("a", std::chrono::milliseconds::max()).acquired);
    EXPECT_THAT(m.read(record), HasSubstr(R"("expiresAt":9007199254740991,)"));
    EXPECT_EQ(a.owner(), "a");
    // The longest name, in its longest form, is read back.
    const std::string longest(lease_files::owner_bytes_max, '\1');
    EXPECT_TRUE(a.leases().acquire("long", longest, 1s).value().acquired);
    EXPECT_EQ(a.leases().owner("long").value(), longest);
}

TEST(LeaseFiles, ClosedMeansClosed) {
    machine m;
    process a(m, 11);
    process b(m, 12);
    a.acquire("a");
    a.leases().close();
    a.leases().close();
    EXPECT_EQ(a.leases().acquire("key", "a", 1s).error(), errc::closed);
    EXPECT_EQ(a.leases().acquire("key", "a", 0s).error(), errc::closed);
    EXPECT_EQ(a.leases().owner("key").error(), errc::closed);
    EXPECT_EQ(a.leases().release("key", "a").error(), errc::closed);
    EXPECT_EQ(a.leases().renew("key", "a", 1s).error(), errc::closed);
    EXPECT_EQ(a.leases().transfer("key", "a", "b", 1s).error(), errc::closed);
    EXPECT_EQ(b.owner(), "a") << "no lease is released";
}

// --- the lock ------------------------------------------------------------------------------------

TEST(LeaseFiles, AHeldLockIsWaitedForUpToTheLimit) {
    machine m;
    process a(m, 11);
    process b(m, 12);
    b.acquire("b");
    m.put(lock, identity_text(12, "nonce-12", "t"));
    const auto start = m.now;
    EXPECT_EQ(a.leases().acquire("key", "a", 1s).error(), errc::timed_out);
    EXPECT_EQ(m.now - start, 5s);
    EXPECT_EQ(m.read(lock), identity_text(12, "nonce-12", "t"));
    EXPECT_EQ(a.owner(), "b") << "who only looks does not wait";

    int waits = 0;
    a.on_pause = [&] {
        if (++waits == 3) m.remove(lock);
    };
    EXPECT_FALSE(a.acquire("a").acquired);
    EXPECT_EQ(waits, 3);
    EXPECT_FALSE(m.has(lock));
}

TEST(LeaseFiles, ClosingEndsTheWait) {
    machine m;
    process a(m, 11);
    process b(m, 12);
    b.acquire("b");
    m.put(lock, identity_text(12, "nonce-12", "t"));
    a.closing = true;
    EXPECT_EQ(a.leases().acquire("key", "a", 1s).error(), errc::closed);
}

TEST(LeaseFiles, AnUnreadableLockIsWaitedFor) {
    machine m;
    process a(m, 11);
    m.put(lock, R"({"pid":12,"proc)");
    EXPECT_EQ(a.leases().acquire("key", "a", 1s).error(), errc::timed_out);
    a.on_pause = [&] { m.remove(lock); };
    EXPECT_TRUE(a.acquire("a").acquired);
}

// --- recovery ------------------------------------------------------------------------------------

TEST(LeaseFiles, AStaleLockIsTakenOutOfTheWay) {
    machine m;
    process a(m, 11);
    put_stale_lock(m);
    EXPECT_TRUE(a.acquire("a").acquired);
    EXPECT_THAT(m.files(), ElementsAre(record, "processes/11.json", "processes/77.json"));
    EXPECT_THAT(m.isolated, ElementsAre(testing::Pair(m.path(recoveries + "stale"), 1)));
}

TEST(LeaseFiles, ALockOfAReusedPidIsStale) {
    machine m;
    process a(m, 11);
    process b(m, 12);
    b.acquire("b");
    m.put(lock, identity_text(12, "an earlier one", "t"));
    EXPECT_FALSE(a.acquire("a").acquired);
    EXPECT_FALSE(m.has(lock));
}

// Locks without token, or with one that is no file name, are known by their hash.
TEST(LeaseFiles, GenerationsWithoutTokenAreHashes) {
    for (const std::string text :
         {R"({"pid":77,"processNonce":"gone"})",
          R"({"pid":77,"processNonce":"gone","token":"../../../x"})",
          R"({"pid":77,"processNonce":"gone","token":7})"}) {
        machine m;
        process a(m, 11);
        m.put(lock, text);
        EXPECT_TRUE(a.acquire("a").acquired);
        EXPECT_THAT(
            m.isolated, ElementsAre(testing::Pair(m.path(recoveries + sha256_hex(text)), 1))
        );
        EXPECT_FALSE(m.has(lock));
    }
}

TEST(LeaseFiles, OnlyTheOwnerRecovers) {
    machine m;
    process a(m, 11);
    process b(m, 12);
    b.acquire("b");
    put_stale_lock(m);
    const auto owner = recoveries + "stale.marker.owner";
    m.put(owner, identity_text(12, "nonce-12", "instance of b"));
    EXPECT_EQ(a.leases().acquire("key", "a", 1s).error(), errc::timed_out);
    EXPECT_TRUE(m.has(lock));
    EXPECT_TRUE(m.has(owner));
    EXPECT_THAT(m.isolated, IsEmpty());
    b.die();
    EXPECT_TRUE(a.acquire("a").acquired);
    EXPECT_THAT(m.files(), testing::Not(testing::Contains(HasSubstr("recoveries"))));
}

// A marker stops everybody, whatever the lock says by then.
TEST(LeaseFiles, EverybodyWaitsWhileAMarkerExists) {
    machine m;
    process a(m, 11);
    process b(m, 12);
    b.leases().owner("x").value();
    b.acquire("b");
    m.put(recoveries + "stale.marker", identity_text(77, "gone", "stale"));
    m.put(recoveries + "stale.marker.owner", identity_text(12, "nonce-12", "instance of b"));
    EXPECT_EQ(a.leases().acquire("key", "a", 1s).error(), errc::timed_out);
    EXPECT_FALSE(m.has(lock));
    m.remove(recoveries + "stale.marker.owner");
    EXPECT_FALSE(a.acquire("a").acquired) << "nobody's recovery is ended first";
    EXPECT_FALSE(m.has(recoveries + "stale.marker"));
}

// In one's own process an owner counts only while that provider is open.
TEST(LeaseFiles, AnOwnerWhoseProviderClosedIsDead) {
    machine m;
    process a(m, 11);
    put_stale_lock(m);
    const auto owner = recoveries + "stale.marker.owner";
    m.put(owner, identity_text(11, "nonce-11", "other instance"));
    a.identity.open("other instance");
    EXPECT_EQ(a.leases().acquire("key", "a", 1s).error(), errc::timed_out);
    a.identity.close("other instance");
    EXPECT_TRUE(a.acquire("a").acquired);
}

TEST(LeaseFiles, TheEarliestLiveClaimantFollowsADeadOwner) {
    machine m;
    process a(m, 11);
    process b(m, 12);
    b.acquire("b");
    put_stale_lock(m);
    m.put(recoveries + "stale.marker.owner", identity_text(77, "gone", "x"));
    const auto claimants = recoveries + "stale.marker.claimants/";
    m.put(claimants + "dead.json", identity_text(77, "gone", "dead"));
    m.put(claimants + "live.json", identity_text(12, "nonce-12", "live"));
    m.age(claimants + "dead.json", -1h);
    m.age(claimants + "live.json", -1s);
    EXPECT_EQ(a.leases().acquire("key", "a", 1s).error(), errc::timed_out);
    EXPECT_TRUE(m.has(lock));
    EXPECT_TRUE(m.has(claimants + "live.json"));
    // A later one does not matter.
    m.age(claimants + "live.json", 1h);
    EXPECT_FALSE(a.acquire("a").acquired);
    EXPECT_THAT(m.files(), testing::Not(testing::Contains(HasSubstr("recoveries"))));
}

// Files of which only a part is there are still being written, or were left so by a crash.
TEST(LeaseFiles, HalfWrittenClaimsCountForTwoSeconds) {
    machine m;
    process a(m, 11);
    put_stale_lock(m);
    const auto owner = recoveries + "stale.marker.owner";
    m.put(owner, "{");
    EXPECT_EQ(a.leases().acquire("key", "a", 1s).error(), errc::timed_out);
    m.age(owner, -2s);
    const auto claim = recoveries + "stale.marker.claimants/x.json";
    m.put(claim, "{");
    m.age(claim, -100ms);
    EXPECT_EQ(a.leases().acquire("key", "a", 1s).error(), errc::timed_out);
    m.age(claim, -2s);
    EXPECT_TRUE(a.acquire("a").acquired);
    EXPECT_THAT(m.files(), ElementsAre(record, "processes/11.json", "processes/77.json"));
}

// A lock that was isolated by mistake, by an owner that then died, goes back to its holder.
TEST(LeaseFiles, AnIsolatedLockOfALiveHolderIsGivenBack) {
    machine m;
    process a(m, 11);
    process b(m, 12);
    b.acquire("b");
    const auto held = identity_text(12, "nonce-12", "held");
    m.put(recoveries + "stale.marker", identity_text(77, "gone", "stale"));
    m.put(recoveries + "stale.marker.x.isolated", held);
    EXPECT_EQ(a.leases().acquire("key", "a", 1s).error(), errc::timed_out);
    EXPECT_EQ(m.read(lock), held);
    EXPECT_THAT(m.files(), testing::Not(testing::Contains(HasSubstr("recoveries"))));
}

// Two that believe the same owner dead: the later one must notice whose lock it got hold of.
TEST(LeaseFiles, ALockThatChangedHandsGoesBack) {
    machine m;
    process a(m, 11);
    process b(m, 12);
    b.acquire("b");
    put_stale_lock(m);
    const auto held = identity_text(12, "nonce-12", "held");
    a.files->before_rename = [&](const std::string& to) {
        if (to.ends_with(".isolated")) m.put(lock, held);
    };
    const auto outcome = a.leases().acquire("key", "a", 1s);
    EXPECT_EQ(outcome.error(), errc::protocol_error);
    EXPECT_EQ(m.read(lock), held);
    EXPECT_THAT(m.files(), testing::Not(testing::Contains(HasSubstr("recoveries"))));
}

// The holder may turn out to live when the marker is made: its lock is left alone.
TEST(LeaseFiles, ALockIsLookedAtAgainBeforeItIsIsolated) {
    machine m;
    process a(m, 11);
    put_stale_lock(m);
    a.files->after_link = [&](const std::string& name) {
        if (name.ends_with(".marker")) m.running.insert(77);
    };
    EXPECT_EQ(a.leases().acquire("key", "a", 1s).error(), errc::timed_out);
    EXPECT_EQ(m.read(lock), identity_text(77, "gone", "stale"));
    EXPECT_THAT(m.isolated, IsEmpty());
    EXPECT_THAT(m.files(), testing::Not(testing::Contains(HasSubstr("recoveries"))));
}

// A recovery that began before the lock was taken ends first: it may be about to rename it.
TEST(LeaseFiles, ATakenLockWaitsForRecoveries) {
    machine m;
    process a(m, 11);
    process b(m, 12);
    (void)b.leases().release("key", "x");
    const auto marker = recoveries + "stale.marker";
    a.files->after_link = [&, first = true](const std::string& name) mutable {
        if (name != m.path(lock) || !std::exchange(first, false)) return;
        m.put(marker, identity_text(77, "gone", "stale"));
        m.put(marker + ".owner", identity_text(12, "nonce-12", "of b"));
    };
    int pauses = 0;
    a.on_pause = [&] {
        EXPECT_TRUE(m.has(lock));
        if (++pauses < 3) return;
        m.remove(marker);
        m.remove(marker + ".owner");
    };
    a.files->before_read = [&](const std::string& path) {
        if (path == m.path(record)) EXPECT_FALSE(m.has(marker));
    };
    EXPECT_TRUE(a.acquire("a").acquired);
    EXPECT_EQ(pauses, 3);
}

TEST(LeaseFiles, ALockThatWasTakenAwayIsNotUsed) {
    machine m;
    process a(m, 11);
    process b(m, 12);
    (void)b.leases().release("key", "x");
    const auto held = identity_text(12, "nonce-12", "held");
    a.files->after_link = [&, first = true](const std::string& name) mutable {
        if (name != m.path(lock) || !std::exchange(first, false)) return;
        m.put(lock, held);
    };
    a.files->before_read = [&](const std::string& path) {
        if (path == m.path(record)) EXPECT_NE(m.read(lock), held);
    };
    EXPECT_EQ(a.leases().acquire("key", "a", 1s).error(), errc::timed_out);
    EXPECT_EQ(m.read(lock), held);
    EXPECT_FALSE(m.has(record));
    // Taken away in the middle of a change, it is not removed at its end.
    m.remove(lock);
    a.files->before_read = [&](const std::string& path) {
        if (path == m.path(record)) m.put(lock, held);
    };
    EXPECT_TRUE(a.acquire("a").acquired);
    EXPECT_EQ(m.read(lock), held);
}

// --- failures at every call ----------------------------------------------------------------------

struct scenario {
    std::string name;
    std::function<void(machine&, process& a, process& other)> prepare;
    std::function<error_code(lease_files&)> run;
};

template <class Outcome>
error_code code_of(const Outcome& outcome) {
    return outcome.has_error() ? outcome.error() : error_code{};
}

std::vector<scenario> scenarios() {
    const auto acquire = [](lease_files& l) { return code_of(l.acquire("key", "a", 10s)); };
    const auto nothing = [](machine&, process&, process&) {};
    const auto held = [](machine&, process& a, process&) { a.acquire("a"); };
    const auto expired = [](machine& m, process&, process& other) {
        other.acquire("other", 1ms);
        m.calendar->advance(1s);
    };
    return {
        {"acquire a free one", nothing, acquire},
        {"acquire a held one",
         [](machine&, process&, process& other) { other.acquire("other"); },
         acquire},
        {"acquire an expired one", expired, acquire},
        {"acquire one's own", held, acquire},
        {"owner", held, [](lease_files& l) { return code_of(l.owner("key")); }},
        {"owner of an expired one", expired, [](lease_files& l) { return code_of(l.owner("key")); }
        },
        {"release", held, [](lease_files& l) { return code_of(l.release("key", "a")); }},
        {"renew", held, [](lease_files& l) { return code_of(l.renew("key", "a", 10s)); }},
        {"transfer", held, [](lease_files& l) { return code_of(l.transfer("key", "a", "b", 10s)); }
        },
        {"recover", [](machine& m, process&, process&) { put_stale_lock(m); }, acquire},
        {"recover after a dead owner",
         [](machine& m, process&, process&) {
             put_stale_lock(m);
             m.put(recoveries + "stale.marker.owner", identity_text(77, "gone", "x"));
             m.put(recoveries + "stale.marker.claimants/y.json", identity_text(77, "gone", "y"));
         },
         acquire},
        {"end a recovery",
         [](machine& m, process&, process&) {
             m.put(recoveries + "stale.marker", identity_text(77, "gone", "stale"));
             m.put(recoveries + "stale.marker.owner", identity_text(77, "gone", "x"));
             m.put(recoveries + "stale.marker.x.isolated", identity_text(77, "gone", "stale"));
         },
         acquire},
    };
}

// One call of `a` goes wrong; then `b` must get the lock, and `a` too unless it died.
void expect_others_go_on(const scenario& s, fault what, sys::errc::errc_t error, int& calls) {
    machine m;
    process other(m, 10);
    process a(m, 11);
    process b(m, 12);
    s.prepare(m, a, other);
    const int before = a.files->calls;
    a.files->what = what;
    a.files->error = error;
    a.files->at_call = before + calls;
    const auto outcome = s.run(a.leases());
    if (a.files->calls < a.files->at_call) {
        calls = 0;  // it took less than that
        EXPECT_EQ(outcome, error_code{});
        return;
    }
    a.files->what = fault::none;

    // Half-written files count for two seconds: give them that age.
    if (what == fault::crashes_half_written) {
        for (const auto& name : m.files()) m.age(name, -3s);
    }
    const auto next = b.leases().acquire("key", "b", 10s);
    EXPECT_TRUE(next) << next.error();
    const bool died = what != fault::fails && what != fault::fails_afterwards;
    if (!died) EXPECT_EQ(code_of(a.leases().acquire("key", "a", 10s)), error_code{});
    EXPECT_TRUE(b.leases().owner("key"));
    EXPECT_EQ(code_of(b.leases().release("key", "b")), error_code{});
    EXPECT_FALSE(m.has(lock));
    for (const auto& name : m.files()) EXPECT_FALSE(name.ends_with(".marker")) << name;
    for (const auto& [generation, times] : m.isolated) EXPECT_EQ(times, 1) << generation;
}

void at_every_call(fault what, std::vector<sys::errc::errc_t> errors) {
    constexpr int calls_max = 200;
    for (const auto& s : scenarios()) {
        for (const auto error : errors) {
            int n = 1;
            for (; n < calls_max; ++n) {
                SCOPED_TRACE(
                    s.name + ", call " + std::to_string(n) + ", error " + std::to_string(error)
                );
                int call = n;
                expect_others_go_on(s, what, error, call);
                if (call == 0) break;
                if (testing::Test::HasFailure()) return;
            }
            EXPECT_GT(n, 3) << s.name;
            EXPECT_LT(n, calls_max) << s.name;
        }
    }
}

TEST(LeaseFilesFaults, AnErrorAtAnyCallBlocksNobody) {
    at_every_call(
        fault::fails,
        {sys::errc::io_error,
         sys::errc::no_space_on_device,
         sys::errc::no_such_file_or_directory,
         sys::errc::permission_denied}
    );
}

// As network file systems may: it was done, and the answer is an error.
TEST(LeaseFilesFaults, ALostAnswerAtAnyCallBlocksNobody) {
    at_every_call(fault::fails_afterwards, {sys::errc::io_error, sys::errc::no_space_on_device});
}

TEST(LeaseFilesFaults, ACrashAtAnyCallIsRecoveredFrom) {
    at_every_call(fault::crashes, {sys::errc::io_error});
    at_every_call(fault::crashes_afterwards, {sys::errc::io_error});
    at_every_call(fault::crashes_half_written, {sys::errc::io_error});
}

// An error is told, and what cannot be removed now is removed later.
TEST(LeaseFilesFaults, ErrorsAreTheSystemsOwn) {
    machine m;
    process a(m, 11);
    a.acquire("a");
    a.files->what = fault::fails;
    a.files->error = sys::errc::no_space_on_device;
    a.files->at_call = a.files->calls + 1;
    EXPECT_EQ(
        a.leases().renew("key", "a", 1s).error(),
        make_error_condition(sys::errc::no_space_on_device)
    );
    a.files->what = fault::none;
    EXPECT_TRUE(a.leases().renew("key", "a", 1s).value());

    machine without;
    without.disk->remove_all("/bus");
    process b(without, 12);
    EXPECT_EQ(
        b.leases().acquire("key", "b", 1s).error(),
        make_error_condition(sys::errc::no_such_file_or_directory)
    );
}

// --- random schedules ----------------------------------------------------------------------------

/// Lets one of several threads take one step at a time; time passes when all of them sleep.
class scheduler {
public:
    scheduler(unsigned seed, clock::time_point& now) : random_(seed), now_(now) {}

    void add(int id) { states_[id] = {}; }
    /// A step of `id`, which sleeps until then first.
    void yield(int id, std::chrono::milliseconds sleep = 0ms) {
        std::unique_lock hold(mutex_);
        auto& own = states_[id];
        own.wakes_at = now_ + sleep;
        own.ready = true;
        if (turn_ == id || turn_ == nobody) choose();
        changed_.wait(hold, [&] { return turn_ == id; });
        own.ready = false;
    }
    void leave(int id) {
        const std::lock_guard hold(mutex_);
        states_.erase(id);
        if (turn_ == id || turn_ == nobody) choose();
    }
    unsigned draw(unsigned below) { return random_() % below; }

private:
    static constexpr int nobody = -1;
    struct state {
        clock::time_point wakes_at;
        bool ready = false;
    };
    // Nothing happens before all have come to their next step.
    void choose() {
        turn_ = nobody;
        if (states_.empty()) return;
        std::vector<int> awake;
        auto next = clock::time_point::max();
        for (const auto& [id, s] : states_) {
            if (!s.ready) return;
            next = std::min(next, s.wakes_at);
        }
        now_ = std::max(now_, next);
        for (const auto& [id, s] : states_) {
            if (s.wakes_at <= now_) awake.push_back(id);
        }
        if (!awake.empty()) turn_ = awake[random_() % awake.size()];
        changed_.notify_all();
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::minstd_rand random_;
    clock::time_point& now_;
    std::map<int, state> states_;
    int turn_ = nobody;
};

// Three processes contend for one lock that a dead one left, in an order drawn from the seed; some
// die on the way. Nobody is ever inside together with another.
void contend(unsigned seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    machine m;
    put_stale_lock(m);
    if (seed % 2 == 0) m.put(recoveries + "stale.marker.owner", identity_text(77, "gone", "x"));
    scheduler turns(seed, m.now);
    constexpr int contenders = 3;
    constexpr int rounds = 2;
    std::vector<std::unique_ptr<process>> all;
    for (int id = 0; id < contenders; ++id) {
        all.push_back(std::make_unique<process>(m, 100 + id));
        turns.add(id);
        if (seed % 3 != 0 && id < 2) {
            all.back()->files->what = seed % 3 == 1 ? fault::crashes : fault::crashes_afterwards;
            all.back()->files->at_call = static_cast<int>(turns.draw(60)) + 10;
        }
    }
    std::optional<int> inside;
    int finished = 0;
    std::vector<std::thread> threads;
    for (int id = 0; id < contenders; ++id) {
        threads.emplace_back([&, id] {
            auto& self = *all[static_cast<std::size_t>(id)];
            const auto dead = [&] { return !m.running.contains(self.identity.pid()); };
            auto environment = self.environment();
            environment.pause = [&, id](std::chrono::milliseconds time) {
                turns.yield(id, time);
                return true;
            };
            self.files->before_each = [&, id] {
                turns.yield(id);
                if (dead() && inside == id) inside.reset();
            };
            turns.yield(id);
            {
                lease_locks locks(m.folder, environment, logger::none());
                for (int round = 0; round < rounds && !dead(); ++round) {
                    try {
                        locks.with_lock(hash, [&] {
                            if (dead()) return;
                            EXPECT_EQ(inside, std::nullopt);
                            inside = id;
                            for (int step = 0; step < 4; ++step) (void)locks.files().read("/none");
                            if (!dead()) inside.reset();
                        });
                    } catch (const sys::system_error& e) {
                        EXPECT_TRUE(dead()) << e.what();
                    }
                    // Its death may be noticed by nobody but itself.
                    if (dead() && inside == id) inside.reset();
                }
                if (!dead()) ++finished;
            }
            turns.leave(id);
        });
    }
    for (auto& t : threads) t.join();
    EXPECT_GE(finished, 1);
    for (const auto& [generation, times] : m.isolated) EXPECT_EQ(times, 1) << generation;
    process last(m, 200);
    EXPECT_TRUE(last.acquire("last").acquired);
    EXPECT_FALSE(m.has(lock));
}

TEST(LeaseFilesSchedules, NobodyIsInsideTogetherWithAnother) {
    constexpr unsigned seeds = 150;
    for (unsigned seed = 0; seed < seeds && !testing::Test::HasFailure(); ++seed) contend(seed);
}

// --- what a doctor finds -------------------------------------------------------------------------

class LeaseInspection : public testing::Test {
protected:
    std::vector<lease_finding> inspect() {
        return inspect_leases(m.folder, m.calendar->wall(), me.environment());
    }
    /// The one finding there is.
    lease_finding only() {
        const auto found = inspect();
        EXPECT_EQ(found.size(), 1U);
        return found.empty() ? lease_finding{} : found.front();
    }
    bool remove(const lease_finding& f) { return remove_stale(f, me.environment()).value(); }

    machine m;
    process me{m, 9};
};

TEST_F(LeaseInspection, AnAbsentFolderHasNoFindings) {
    EXPECT_THAT(inspect(), IsEmpty());
}

TEST_F(LeaseInspection, WhatIsInUseIsNoFinding) {
    process a(m, 11);
    a.acquire("a");
    m.put(lock, identity_text(11, "nonce-11", "t"));
    m.put(record + ".11.x.tmp", "");
    EXPECT_THAT(inspect(), IsEmpty());
}

TEST_F(LeaseInspection, LeasesEndByTimeAndByProcess) {
    process a(m, 11);
    a.acquire("a", 1s);
    m.calendar->advance(1s);
    auto found = only();
    EXPECT_EQ(found.what, kind::lease);
    EXPECT_EQ(found.path, m.path(record));
    EXPECT_EQ(found.why, "it has expired");
    // Renewed meanwhile: it stays.
    a.acquire("a", 10s);
    EXPECT_FALSE(remove(found));
    EXPECT_EQ(a.owner(), "a");

    a.die();
    const auto two = inspect();
    ASSERT_EQ(two.size(), 2U);
    EXPECT_EQ(two[0].why, "process 11 is gone");
    EXPECT_EQ(two[1].what, kind::process);
    EXPECT_TRUE(remove(two[0]));
    EXPECT_TRUE(remove(two[1]));
    EXPECT_FALSE(remove(two[0]));
    EXPECT_FALSE(remove(two[1]));
    EXPECT_THAT(m.files(), IsEmpty());
}

TEST_F(LeaseInspection, UnreadableLeasesAreFound) {
    m.put(record, "{");
    const auto found = only();
    EXPECT_EQ(found.why, "it is no lease");
    EXPECT_TRUE(remove(found));
    EXPECT_FALSE(m.has(record));
}

TEST_F(LeaseInspection, AProcessThatTakesTheNumberKeepsItsMarker) {
    process a(m, 11);
    a.acquire("a");
    m.remove(record);
    a.die();
    const auto found = only();
    EXPECT_EQ(found.what, kind::process);
    // Between the last look and the removal.
    int calls = 0;
    me.files->before_each = [&] {
        if (++calls != 3) return;
        m.put("processes/11.json", R"({"pid":11,"processNonce":"new"})");
    };
    EXPECT_FALSE(remove(found));
    EXPECT_EQ(m.read("processes/11.json"), R"({"pid":11,"processNonce":"new"})");
    EXPECT_THAT(m.files(), ElementsAre("processes/11.json"));
}

TEST_F(LeaseInspection, LocksOfTheDeadAreTakenAway) {
    m.put(lock, identity_text(77, "gone", "stale"));
    const auto found = only();
    EXPECT_EQ(found.what, kind::lock);
    EXPECT_EQ(found.why, "its holder, process 77, is gone");
    EXPECT_TRUE(remove(found));
    EXPECT_FALSE(remove(found));
    EXPECT_THAT(m.files(), IsEmpty());
    EXPECT_EQ(m.isolated.size(), 1U);
}

TEST_F(LeaseInspection, UnreadableLocksAreTakenAway) {
    m.put(lock, "");
    const auto found = only();
    EXPECT_EQ(found.why, "it cannot be read");
    EXPECT_TRUE(remove(found));
    EXPECT_THAT(m.files(), IsEmpty());
    process a(m, 11);
    EXPECT_TRUE(a.acquire("a").acquired);
}

TEST_F(LeaseInspection, RecoveriesOfTheDeadAreEnded) {
    const auto remains = {
        "stale.marker",
        "stale.marker.owner",
        "stale.marker.claimants/x.json",
        "stale.marker.y.isolated"
    };
    for (const auto* name : remains) m.put(recoveries + name, identity_text(77, "gone", "stale"));
    m.put(recoveries + "stale.marker.owner.77.x.tmp", "");
    // The others go with the first.
    for (const auto& found : inspect()) {
        EXPECT_THAT(found.what, AnyOf(kind::recovery, kind::temporary));
        (void)remove(found);
    }
    EXPECT_THAT(m.files(), IsEmpty());
    // Each by itself, as when the owner died while it cleaned up.
    for (const auto* name : remains) {
        m.put(recoveries + name, identity_text(77, "gone", "stale"));
        EXPECT_TRUE(remove(only())) << name;
        EXPECT_THAT(inspect(), IsEmpty());
    }
    EXPECT_THAT(m.files(), IsEmpty());
}

TEST_F(LeaseInspection, RecoveriesInProgressAreNoFindings) {
    process a(m, 11);
    (void)a.leases().release("key", "x");
    m.put(recoveries + "stale.marker", identity_text(77, "gone", "stale"));
    m.put(recoveries + "stale.marker.claimants/x.json", identity_text(11, "nonce-11", "x"));
    EXPECT_THAT(inspect(), IsEmpty());
}

TEST_F(LeaseInspection, TemporariesOfTheDeadAreRemoved) {
    for (const auto* name : {"x.json.77.uuid.tmp", "processes/7.json.77.uuid.tmp"}) m.put(name, "");
    m.put(lock + ".77.uuid.tmp", "");
    const auto found = inspect();
    EXPECT_EQ(found.size(), 3U);
    for (const auto& f : found) {
        EXPECT_EQ(f.what, kind::temporary);
        EXPECT_TRUE(remove(f));
    }
    EXPECT_THAT(m.files(), IsEmpty());
}

}  // namespace
}  // namespace trunkline
