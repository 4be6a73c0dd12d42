#pragma once

#include <trunkline/completion.hpp>
#include <trunkline/config.hpp>
#include <trunkline/detail/erase_token.hpp>
#include <trunkline/event.hpp>

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>

#include <cstdint>
#include <exception>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN

/// What a backend implements to learn how a delivery ended. One object serves many deliveries; the
/// token tells them apart. `hold` is called when a handler moves its delivery out, and exactly one
/// of `ack`, `nack`, `reject` or `drop` with `held` true follows, on any thread, possibly after the
/// bus is gone: a settler keeps itself alive while held.
class TRUNKLINE_EXPORT settler {
public:
    virtual void hold() noexcept = 0;
    virtual void ack(const event& e, std::uint64_t token, bool held) noexcept = 0;
    virtual void nack(const event& e, std::uint64_t token, bool held) noexcept = 0;
    /// The handler failed without settling: a nack where the backend or the subscription says so.
    virtual void reject(const event& e, std::uint64_t token, bool held) noexcept {
        nack(e, token, held);
    }
    /// The handle was destroyed unsettled.
    virtual void drop(const event& e, std::uint64_t token, bool held) noexcept = 0;
    /// Pushes the redelivery deadline back; `done` may be empty.
    virtual void extend(const event& e, std::uint64_t token, completion done) noexcept = 0;
    /// An asynchronous handler ended with an exception; the rejection follows by itself.
    virtual void report_failure(const event& e, std::exception_ptr failure) noexcept = 0;
    /// An asynchronous handler is at work between these two, whether or not it has settled; the
    /// settler keeps itself alive meanwhile.
    virtual void begin_call() noexcept = 0;
    virtual void end_call() noexcept = 0;
    /// Where completions of `async_extend` run by default.
    virtual boost::asio::any_io_executor executor() = 0;

protected:
    settler() = default;
    settler(const settler&) = default;
    settler& operator=(const settler&) = default;
    ~settler() = default;
};

/// Tells the backend that an asynchronous handler is at work, for as long as it lives.
class asynchronous_call {
public:
    explicit asynchronous_call(settler* of) noexcept : of_(of) {
        if (of_ != nullptr) of_->begin_call();
    }
    asynchronous_call(asynchronous_call&& other) noexcept
        : of_(std::exchange(other.of_, nullptr)) {}
    asynchronous_call& operator=(asynchronous_call&&) = delete;
    ~asynchronous_call() {
        if (of_ != nullptr) of_->end_call();
    }

    /// Notes what the handler threw, whether or not it had settled.
    void report_failure(const event& e, std::exception_ptr failure) const noexcept {
        if (of_ != nullptr) of_->report_failure(e, std::move(failure));
    }

private:
    settler* of_;
};

/// One event on its way to one handler, and the right to settle it. Move-only, 32 bytes. Let go
/// unsettled, the event stays pending where the backend keeps a pending list; destroyed unsettled
/// while an exception unwinds, it counts as rejected (see `subscribe_options::rejection_is_nack`).
/// Safe to move to another thread; may outlive the handler, the subscription and the bus.
class TRUNKLINE_EXPORT delivery {
public:
    /// For backends. Tokens use the lower 61 bits.
    delivery(trunkline::event e, settler* end, std::uint64_t token) noexcept
        : event_(std::move(e)), settler_(end), token_(token) {}

    /// For dispatchers: looks at an event that the caller keeps alive, so that a call costs no
    /// reference count; moved out, it becomes an owner. Without `settles`, ack and nack mean
    /// nothing to the backend, and it hears of them only after a move.
    static delivery borrow(
        const trunkline::event& e, settler* end, std::uint64_t token, bool settles
    ) noexcept {
        return delivery(e, end, token | (settles ? 0 : idle_bit), borrowed_tag{});
    }

    delivery(delivery&& other) noexcept
        : event_((other.token_ & borrowed_bit) == 0 ? std::move(other.event_) : other.event_),
          settler_(other.settler_),
          token_(other.token_ & ~borrowed_bit) {
        other.forget_borrowed();
        if (settler_ != nullptr && (token_ & held_bit) == 0) {
            token_ |= held_bit;
            settler_->hold();
        }
        other.settler_ = nullptr;
    }
    delivery& operator=(delivery&& other) noexcept {
        if (this != &other) {
            delivery taken{std::move(other)};
            std::swap(event_, taken.event_);
            std::swap(settler_, taken.settler_);
            std::swap(token_, taken.token_);
        }
        return *this;
    }
    delivery(const delivery&) = delete;
    delivery& operator=(const delivery&) = delete;
    ~delivery() {
        if (settler_ != nullptr) let_go();
        forget_borrowed();
    }

    /// Valid until moved from; stays readable after settling.
    const trunkline::event& event() const noexcept { return event_; }

    /// Done. The first settlement counts; later ones do nothing.
    void ack() && noexcept {
        auto* end = std::exchange(settler_, nullptr);
        if (end != nullptr && heard()) end->ack(event_, token(), held());
    }
    /// Failed: deliver it again, where the backend does that.
    void nack() && noexcept {
        auto* end = std::exchange(settler_, nullptr);
        if (end != nullptr && heard()) end->nack(event_, token(), held());
    }

    /// Asks for more time before the event is given to somebody else. Does nothing where there is
    /// no deadline, and after settling; a failure is logged.
    void extend() noexcept {
        if (settler_ != nullptr) settler_->extend(event_, token(), {});
    }
    /// The same; completes with void(error_code). `lease_lost` when it was settled or moved on.
    template <class Token>
    auto async_extend(Token&& done) {
        return detail::initiate_erased(
            settler_ != nullptr ? settler_->executor() : boost::asio::any_io_executor{},
            std::forward<Token>(done),
            [this](completion c) {
                if (settler_ != nullptr)
                    settler_->extend(event_, token(), std::move(c));
                else
                    c(errc::lease_lost);
            }
        );
    }

    /// True until ack, nack or a move.
    bool unsettled() const noexcept { return settler_ != nullptr; }
    /// True when the handler moved the delivery out.
    bool moved_out() const noexcept { return !event_; }

    /// For adaptors: the handler failed. A nack where a failed handler is one.
    void reject() && noexcept {
        auto* end = std::exchange(settler_, nullptr);
        if (end != nullptr && heard()) end->reject(event_, token(), held());
    }
    /// For adaptors that run a handler's work later: the call lasts as long as the result lives.
    asynchronous_call begin_call() const noexcept { return asynchronous_call{settler_}; }
    /// For adaptors that run a handler's work later: notes its exception.
    void report_failure(std::exception_ptr failure) noexcept {
        if (settler_ != nullptr) settler_->report_failure(event_, std::move(failure));
    }
    /// For decorators: ends the duty to settle without telling the backend.
    void release() noexcept { settler_ = nullptr; }

private:
    static constexpr std::uint64_t held_bit = 1ULL << 63;
    static constexpr std::uint64_t borrowed_bit = 1ULL << 62;
    static constexpr std::uint64_t idle_bit = 1ULL << 61;
    struct borrowed_tag {};
    delivery(const trunkline::event& e, settler* end, std::uint64_t token, borrowed_tag) noexcept
        : event_(e, trunkline::event::unowned{}), settler_(end), token_(token | borrowed_bit) {}
    void forget_borrowed() noexcept {
        if ((token_ & borrowed_bit) == 0) return;
        token_ &= ~borrowed_bit;
        event_.abandon();
    }
    std::uint64_t token() const noexcept { return token_ & ~(held_bit | borrowed_bit | idle_bit); }
    bool heard() const noexcept { return (token_ & idle_bit) == 0 || held(); }
    bool held() const noexcept { return (token_ & held_bit) != 0; }
    void let_go() noexcept {
        auto* end = std::exchange(settler_, nullptr);
        if (std::uncaught_exceptions() > 0)
            end->reject(event_, token(), held());
        else
            end->drop(event_, token(), held());
    }

    trunkline::event event_;
    settler* settler_;
    std::uint64_t token_;
};
static_assert(sizeof(delivery) == 32);

TRUNKLINE_NAMESPACE_END
