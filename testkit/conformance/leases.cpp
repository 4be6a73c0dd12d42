#include "support.hpp"

#include <atomic>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

namespace {

using std::chrono::seconds;

// The five verbs, waited for.
class lease_user {
public:
    lease_user(rig& r, lease_provider& leases) : rig_(r), leases_(leases) {}

    lease_answer acquire(std::string key, std::string owner, milliseconds ttl = seconds{10}) {
        const auto [ec, answer] = rig_.await_value<lease_answer>([&](auto done) {
            leases_.async_acquire(key, owner, ttl, std::move(done));
        });
        EXPECT_EQ(ec, error_code{});
        return answer;
    }
    std::optional<std::string> owner(std::string key) {
        const auto [ec, answer] = rig_.await_value<std::optional<std::string>>([&](auto done) {
            leases_.async_owner(key, std::move(done));
        });
        EXPECT_EQ(ec, error_code{});
        return answer;
    }
    void release(std::string key, std::string owner) {
        EXPECT_EQ(
            rig_.await([&](auto done) { leases_.async_release(key, owner, std::move(done)); }),
            error_code{}
        );
    }
    bool renew(std::string key, std::string owner, milliseconds ttl = seconds{10}) {
        const auto [ec, answer] = rig_.await_value<bool>([&](auto done) {
            leases_.async_renew(key, owner, ttl, std::move(done));
        });
        EXPECT_EQ(ec, error_code{});
        return answer;
    }
    bool transfer(
        std::string key, std::string from, std::string to, milliseconds ttl = seconds{10}
    ) {
        const auto [ec, answer] = rig_.await_value<bool>([&](auto done) {
            leases_.async_transfer(key, from, to, ttl, std::move(done));
        });
        EXPECT_EQ(ec, error_code{});
        return answer;
    }

private:
    rig& rig_;
    lease_provider& leases_;
};

}  // namespace

#define TRUNKLINE_OPEN_LEASES(bus, leases) \
    auto bus = open();                     \
    ASSERT_NE((bus)->leases(), nullptr);   \
    lease_user leases {                    \
        *(bus), *(bus)->leases()           \
    }

TEST_P(LeaseConformance, LeaseIsExclusive) {
    TRUNKLINE_OPEN_LEASES(bus, leases);
    const auto key = bus->topic("key");
    const auto first = leases.acquire(key, "a");
    EXPECT_TRUE(first.acquired);
    EXPECT_EQ(first.owner, "a");
    const auto second = leases.acquire(key, "b");
    EXPECT_FALSE(second.acquired);
    EXPECT_EQ(second.owner, "a");
    EXPECT_EQ(leases.owner(key), "a");
}

TEST_P(LeaseConformance, FreeKeyHasNoOwner) {
    TRUNKLINE_OPEN_LEASES(bus, leases);
    EXPECT_EQ(leases.owner(bus->topic("key")), std::nullopt);
}

// Row 23: the same owner extends just before expiry, and starts afresh at and after it.
TEST_P(LeaseConformance, SameOwnerReacquires) {
    TRUNKLINE_PUBSUB_ROW(23);
    TRUNKLINE_OPEN_LEASES(bus, leases);
    const auto key = bus->topic("key");
    EXPECT_TRUE(leases.acquire(key, "a", seconds{10}).acquired);
    EXPECT_TRUE(leases.acquire(key, "a", seconds{10}).acquired);
    if (!bus->exact_time()) return;
    bus->advance(milliseconds{9'999});
    EXPECT_TRUE(leases.acquire(key, "a", seconds{10}).acquired);
    bus->advance(milliseconds{9'999});
    EXPECT_EQ(leases.owner(key), "a");
    bus->advance(milliseconds{2});
    EXPECT_EQ(leases.owner(key), std::nullopt);
    EXPECT_TRUE(leases.acquire(key, "a", seconds{10}).acquired);
    EXPECT_EQ(leases.owner(key), "a");
}

// Row 26: of two who race one wins, and the other learns who.
TEST_P(LeaseConformance, OneOfTwoRacersWins) {
    TRUNKLINE_PUBSUB_ROW(26);
    TRUNKLINE_OPEN_LEASES(bus, leases);
    auto& provider = *bus->leases();
    for (int round = 0; round < 20; ++round) {
        const auto key = bus->topic("key" + std::to_string(round));
        std::vector<lease_answer> answers(4);
        std::atomic<std::size_t> done{0};
        bus->in_threads(answers.size(), [&](std::size_t i) {
            provider.async_acquire(
                key,
                "owner" + std::to_string(i),
                seconds{60},
                [&, i](error_code ec, lease_answer answer) {
                    EXPECT_EQ(ec, error_code{});
                    answers[i] = std::move(answer);
                    done.fetch_add(1);
                    bus->loop().wake();
                }
            );
        });
        bus->run_until([&] { return done.load() == answers.size(); });
        const auto winner = leases.owner(key);
        ASSERT_TRUE(winner.has_value());
        int winners = 0;
        for (std::size_t i = 0; i < answers.size(); ++i) {
            EXPECT_EQ(answers[i].owner, winner);
            if (!answers[i].acquired) continue;
            ++winners;
            EXPECT_EQ("owner" + std::to_string(i), winner);
        }
        EXPECT_EQ(winners, 1);
    }
}

TEST_P(LeaseConformance, ExpiredLeaseIsFree) {
    TRUNKLINE_OPEN_LEASES(bus, leases);
    const auto key = bus->topic("key");
    if (!bus->exact_time()) {
        EXPECT_TRUE(leases.acquire(key, "a", milliseconds{1}).acquired);
        bus->run_until([&] { return leases.acquire(key, "b").acquired; });
        return;
    }
    EXPECT_TRUE(leases.acquire(key, "a", milliseconds{100}).acquired);
    bus->advance(milliseconds{99});
    EXPECT_FALSE(leases.acquire(key, "b").acquired);
    // At exactly the expiry instant it is gone.
    bus->advance(milliseconds{1});
    EXPECT_EQ(leases.owner(key), std::nullopt);
    EXPECT_FALSE(leases.renew(key, "a"));
    EXPECT_FALSE(leases.transfer(key, "a", "c"));
    const auto taken = leases.acquire(key, "b");
    EXPECT_TRUE(taken.acquired);
    EXPECT_EQ(taken.owner, "b");
}

TEST_P(LeaseConformance, ReleaseFrees) {
    TRUNKLINE_OPEN_LEASES(bus, leases);
    const auto key = bus->topic("key");
    EXPECT_TRUE(leases.acquire(key, "a").acquired);
    leases.release(key, "a");
    EXPECT_EQ(leases.owner(key), std::nullopt);
    EXPECT_TRUE(leases.acquire(key, "b").acquired);
    // Once more, and on a key that never was.
    leases.release(key, "a");
    EXPECT_EQ(leases.owner(key), "b");
    leases.release(bus->topic("never"), "a");
}

// Row 25
TEST_P(LeaseConformance, StrangerCannotRelease) {
    TRUNKLINE_PUBSUB_ROW(25);
    TRUNKLINE_OPEN_LEASES(bus, leases);
    const auto key = bus->topic("key");
    EXPECT_TRUE(leases.acquire(key, "a").acquired);
    leases.release(key, "b");
    EXPECT_EQ(leases.owner(key), "a");
    EXPECT_FALSE(leases.acquire(key, "b").acquired);
}

TEST_P(LeaseConformance, RenewOnlyByOwner) {
    TRUNKLINE_OPEN_LEASES(bus, leases);
    const auto key = bus->topic("key");
    EXPECT_FALSE(leases.renew(key, "a"));
    EXPECT_EQ(leases.owner(key), std::nullopt);
    EXPECT_TRUE(leases.acquire(key, "a", seconds{10}).acquired);
    EXPECT_FALSE(leases.renew(key, "b", seconds{60}));
    EXPECT_TRUE(leases.renew(key, "a", seconds{60}));
    if (!bus->exact_time()) return;
    // The time counts from the renewal.
    bus->advance(milliseconds{59'999});
    EXPECT_EQ(leases.owner(key), "a");
    EXPECT_TRUE(leases.renew(key, "a", seconds{1}));
    bus->advance(seconds{1});
    EXPECT_EQ(leases.owner(key), std::nullopt);
}

TEST_P(LeaseConformance, TransferHasNoGap) {
    TRUNKLINE_OPEN_LEASES(bus, leases);
    auto& provider = *bus->leases();
    const auto key = bus->topic("key");
    EXPECT_TRUE(leases.acquire(key, "a", seconds{60}).acquired);
    std::atomic<bool> moving{true};
    std::atomic<int> free{0}, pending{0};
    bus->in_threads(2, [&](std::size_t i) {
        if (i == 0) {
            for (int n = 0; n < 100; ++n) {
                pending.fetch_add(1);
                provider.async_transfer(
                    key,
                    n % 2 == 0 ? "a" : "b",
                    n % 2 == 0 ? "b" : "a",
                    seconds{60},
                    [&](error_code, bool) { pending.fetch_sub(1); }
                );
                std::this_thread::yield();
            }
            moving.store(false);
            return;
        }
        for (int n = 0; n < 500 && moving.load(); ++n) {
            pending.fetch_add(1);
            provider.async_acquire(key, "thief", seconds{60}, [&](error_code, lease_answer a) {
                if (a.acquired) free.fetch_add(1);
                pending.fetch_sub(1);
            });
            std::this_thread::yield();
        }
    });
    bus->run_until([&] { return pending.load() == 0; });
    EXPECT_EQ(free.load(), 0);
    EXPECT_TRUE(leases.owner(key) == "a" || leases.owner(key) == "b");
}

TEST_P(LeaseConformance, TransferGivesTheFullTime) {
    TRUNKLINE_OPEN_LEASES(bus, leases);
    const auto key = bus->topic("key");
    EXPECT_TRUE(leases.acquire(key, "a", seconds{10}).acquired);
    if (bus->exact_time()) bus->advance(seconds{9});
    EXPECT_TRUE(leases.transfer(key, "a", "b", seconds{10}));
    EXPECT_EQ(leases.owner(key), "b");
    EXPECT_FALSE(leases.renew(key, "a"));
    if (!bus->exact_time()) return;
    bus->advance(milliseconds{9'999});
    EXPECT_EQ(leases.owner(key), "b");
    bus->advance(milliseconds{1});
    EXPECT_EQ(leases.owner(key), std::nullopt);
}

// Row 24: a transfer to oneself is a renewal.
TEST_P(LeaseConformance, TransferToOneselfRenews) {
    TRUNKLINE_PUBSUB_ROW(24);
    TRUNKLINE_OPEN_LEASES(bus, leases);
    const auto key = bus->topic("key");
    EXPECT_TRUE(leases.acquire(key, "a", seconds{10}).acquired);
    EXPECT_TRUE(leases.transfer(key, "a", "a", seconds{60}));
    EXPECT_EQ(leases.owner(key), "a");
    if (!bus->exact_time()) return;
    bus->advance(seconds{59});
    EXPECT_EQ(leases.owner(key), "a");
}

TEST_P(LeaseConformance, StrangerCannotTransfer) {
    TRUNKLINE_OPEN_LEASES(bus, leases);
    const auto key = bus->topic("key");
    EXPECT_FALSE(leases.transfer(key, "a", "b"));
    EXPECT_EQ(leases.owner(key), std::nullopt);
    EXPECT_TRUE(leases.acquire(key, "a").acquired);
    EXPECT_FALSE(leases.transfer(key, "b", "c"));
    EXPECT_FALSE(leases.transfer(key, "b", "b"));
    EXPECT_EQ(leases.owner(key), "a");
}

TEST_P(LeaseConformance, KeysAreIndependent) {
    TRUNKLINE_OPEN_LEASES(bus, leases);
    const auto x = bus->topic("x"), y = bus->topic("y");
    EXPECT_TRUE(leases.acquire(x, "a").acquired);
    EXPECT_TRUE(leases.acquire(y, "b").acquired);
    leases.release(x, "a");
    EXPECT_EQ(leases.owner(x), std::nullopt);
    EXPECT_EQ(leases.owner(y), "b");
    EXPECT_TRUE(leases.acquire(x, "b").acquired);
}

TEST_P(LeaseConformance, LifeMustBePositive) {
    TRUNKLINE_OPEN_LEASES(bus, leases);
    auto& provider = *bus->leases();
    const auto key = bus->topic("key"), held = bus->topic("held");
    EXPECT_TRUE(leases.acquire(held, "a").acquired);
    for (const milliseconds ttl : {milliseconds{0}, milliseconds{-1}}) {
        EXPECT_EQ(
            bus->await_value<lease_answer>(
                   [&](auto done) { provider.async_acquire(key, "a", ttl, std::move(done)); }
            ).first,
            errc::invalid_argument
        );
        EXPECT_EQ(
            bus->await_value<bool>(
                   [&](auto done) { provider.async_renew(held, "a", ttl, std::move(done)); }
            ).first,
            errc::invalid_argument
        );
        EXPECT_EQ(
            bus->await_value<bool>(
                   [&](auto done) { provider.async_transfer(held, "a", "b", ttl, std::move(done)); }
            ).first,
            errc::invalid_argument
        );
    }
    EXPECT_EQ(leases.owner(key), std::nullopt);
    EXPECT_EQ(leases.owner(held), "a");
}

TEST_P(LeaseConformance, CompletionsArePosted) {
    TRUNKLINE_OPEN_LEASES(bus, leases);
    static thread_local bool starting = false;
    std::atomic<int> inside{0}, done{0};
    const auto note = [&](error_code, auto...) {
        if (starting) inside.fetch_add(1);
        done.fetch_add(1);
        bus->loop().wake();
    };
    auto& provider = *bus->leases();
    const auto key = bus->topic("key");
    starting = true;
    provider.async_acquire(key, "a", seconds{1}, note);
    provider.async_renew(key, "a", seconds{1}, note);
    provider.async_transfer(key, "a", "b", seconds{1}, note);
    provider.async_owner(key, note);
    provider.async_release(key, "b", note);
    starting = false;
    bus->run_until([&] { return done.load() == 5; });
    EXPECT_EQ(inside.load(), 0);
    EXPECT_EQ(leases.owner(key), std::nullopt);
}

TEST_P(LeaseConformance, CloseFreesWhatThisProcessHeldInMemory) {
    if (features().fails_after_close || features().cross_instance)
        GTEST_SKIP() << "leases live outside the process";
    TRUNKLINE_OPEN_LEASES(bus, leases);
    const auto key = bus->topic("key");
    EXPECT_TRUE(leases.acquire(key, "a").acquired);
    bus->close();
    EXPECT_EQ(leases.owner(key), std::nullopt);
    EXPECT_TRUE(leases.acquire(key, "b").acquired);
}

// The buses' side: leases are offered exactly where the flag says so.
TEST_P(PubsubConformance, LeasesFollowFlag) {
    auto bus = open();
    EXPECT_EQ(bus->leases() != nullptr, features().leases);
}

// Who has no leases uses this: everybody wins and nobody holds anything.
TEST_P(PubsubConformance, NoopLeasesLetEverybodyWin) {
    auto bus = open();
    noop_lease_provider provider{bus->executor()};
    lease_user leases{*bus, provider};
    const auto a = leases.acquire("key", "a"), b = leases.acquire("key", "b");
    EXPECT_TRUE(a.acquired);
    EXPECT_EQ(a.owner, "a");
    EXPECT_TRUE(b.acquired);
    EXPECT_EQ(b.owner, "b");
    EXPECT_EQ(leases.owner("key"), std::nullopt);
    EXPECT_TRUE(leases.renew("key", "c"));
    EXPECT_TRUE(leases.transfer("key", "c", "d"));
    leases.release("key", "a");
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
