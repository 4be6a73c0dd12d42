#pragma once

#include <trunkline/clock.hpp>
#include <trunkline/completion.hpp>
#include <trunkline/config.hpp>
#include <trunkline/detail/erase_token.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN

/// The answer to an attempt to take a lease.
struct lease_answer {
    bool acquired = false;
    /// Who holds it now; missing when that could not be read.
    std::optional<std::string> owner;
};

/// Named locks with a time limit. A refused lease is an answer, not an error. Times to live must be
/// positive (`invalid_argument`). At exactly the expiry instant a lease is gone. Threading: any.
class TRUNKLINE_EXPORT lease_provider {
public:
    using milliseconds = std::chrono::milliseconds;
    template <class Value>
    using answer = detail::unique_function<void(error_code, Value), 48>;

    virtual ~lease_provider() = default;

    /// Takes `key` when it is free, expired or already the caller's (the time starts anew).
    /// Completes with void(error_code, lease_answer).
    template <class Token>
    auto async_acquire(std::string key, std::string owner, milliseconds ttl, Token&& token) {
        return detail::initiate_erased_value<lease_answer>(
            executor(),
            std::forward<Token>(token),
            [this, key = std::move(key), owner = std::move(owner), ttl](answer<lease_answer> done) {
                do_acquire(key, owner, ttl, std::move(done));
            }
        );
    }
    /// Who holds it; nothing when free or expired. void(error_code, optional<string>).
    template <class Token>
    auto async_owner(std::string key, Token&& token) {
        return detail::initiate_erased_value<std::optional<std::string>>(
            executor(),
            std::forward<Token>(token),
            [this, key = std::move(key)](answer<std::optional<std::string>> done) {
                do_owner(key, std::move(done));
            }
        );
    }
    /// Frees it if `owner` holds it; otherwise does nothing. void(error_code).
    template <class Token>
    auto async_release(std::string key, std::string owner, Token&& token) {
        return detail::initiate_erased(
            executor(),
            std::forward<Token>(token),
            [this, key = std::move(key), owner = std::move(owner)](completion done) {
                do_release(key, owner, std::move(done));
            }
        );
    }
    /// True only if `owner` still holds it; then it lasts `ttl` from now. void(error_code, bool).
    template <class Token>
    auto async_renew(std::string key, std::string owner, milliseconds ttl, Token&& token) {
        return detail::initiate_erased_value<bool>(
            executor(),
            std::forward<Token>(token),
            [this, key = std::move(key), owner = std::move(owner), ttl](answer<bool> done) {
                do_renew(key, owner, ttl, std::move(done));
            }
        );
    }
    /// Hands it from one owner to another with no moment in which it is free; false when `from`
    /// does not hold it. void(error_code, bool).
    template <class Token>
    auto async_transfer(
        std::string key, std::string from, std::string to, milliseconds ttl, Token&& token
    ) {
        return detail::initiate_erased_value<bool>(
            executor(),
            std::forward<Token>(token),
            [this, key = std::move(key), from = std::move(from), to = std::move(to), ttl](
                answer<bool> done
            ) { do_transfer(key, from, to, ttl, std::move(done)); }
        );
    }

    /// Where completions run by default.
    virtual boost::asio::any_io_executor executor() = 0;

protected:
    virtual void do_acquire(
        std::string_view key, std::string_view owner, milliseconds ttl, answer<lease_answer> done
    ) = 0;
    virtual void do_owner(std::string_view key, answer<std::optional<std::string>> done) = 0;
    virtual void do_release(std::string_view key, std::string_view owner, completion done) = 0;
    virtual void do_renew(
        std::string_view key, std::string_view owner, milliseconds ttl, answer<bool> done
    ) = 0;
    virtual void do_transfer(
        std::string_view key,
        std::string_view from,
        std::string_view to,
        milliseconds ttl,
        answer<bool> done
    ) = 0;
};

/// Leases of one process, in memory; expired ones are removed when they are met or when the table
/// has doubled since the last sweep.
class TRUNKLINE_EXPORT memory_lease_provider final : public lease_provider {
public:
    /// `time` null: the system's steady clock.
    explicit memory_lease_provider(
        boost::asio::any_io_executor executor, std::shared_ptr<clock> time = nullptr
    );
    ~memory_lease_provider() override;
    boost::asio::any_io_executor executor() override;
    /// Frees every lease.
    void clear() noexcept;

protected:
    void do_acquire(
        std::string_view key, std::string_view owner, milliseconds ttl, answer<lease_answer> done
    ) override;
    void do_owner(std::string_view key, answer<std::optional<std::string>> done) override;
    void do_release(std::string_view key, std::string_view owner, completion done) override;
    void do_renew(std::string_view key, std::string_view owner, milliseconds ttl, answer<bool> done)
        override;
    void do_transfer(
        std::string_view key,
        std::string_view from,
        std::string_view to,
        milliseconds ttl,
        answer<bool> done
    ) override;

private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

/// For buses without leases: every acquire succeeds, nobody ever holds anything, renew and transfer
/// succeed. Two processes that use it both win.
class TRUNKLINE_EXPORT noop_lease_provider final : public lease_provider {
public:
    explicit noop_lease_provider(boost::asio::any_io_executor executor)
        : executor_(std::move(executor)) {}
    boost::asio::any_io_executor executor() override { return executor_; }

protected:
    void do_acquire(
        std::string_view key, std::string_view owner, milliseconds ttl, answer<lease_answer> done
    ) override;
    void do_owner(std::string_view key, answer<std::optional<std::string>> done) override;
    void do_release(std::string_view key, std::string_view owner, completion done) override;
    void do_renew(std::string_view key, std::string_view owner, milliseconds ttl, answer<bool> done)
        override;
    void do_transfer(
        std::string_view key,
        std::string_view from,
        std::string_view to,
        milliseconds ttl,
        answer<bool> done
    ) override;

private:
    boost::asio::any_io_executor executor_;
};

TRUNKLINE_NAMESPACE_END
