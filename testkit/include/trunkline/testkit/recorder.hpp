#pragma once

#include <trunkline/config.hpp>
#include <trunkline/delivery.hpp>
#include <trunkline/event.hpp>
#include <trunkline/handler.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

/// What a recorder does with a delivery once it has noted it.
enum class verdict {
    ack,
    nack,
    none,    ///< return without settling
    throws,  ///< throw a std::runtime_error, unsettled
    hold,    ///< move the delivery out and keep it, see `recorder::settle_held`
};

/// Which of the three forms of handler a recorder takes. In the form `event` the verdicts `nack`
/// and `throws` throw, all others return.
enum class handler_form { reference, value, event };

/// The type of the events that `rig::quiesce` publishes. Recorders acknowledge and count them
/// apart.
inline constexpr std::string_view sentinel_type = "trunkline.testkit.sentinel";

/// Notes every event that its handlers receive. Copies share one record. Threading: any.
class TRUNKLINE_EXPORT recorder {
public:
    /// Decides about each event, on the thread of the handler and without a lock held. It may do
    /// whatever a handler may do.
    using judge = std::function<verdict(const event&)>;

    /// Acknowledges everything.
    recorder();
    explicit recorder(judge decide);
    explicit recorder(verdict always);

    /// A handler that records here, as long as a copy of the recorder lives; afterwards it
    /// acknowledges. Each call makes another one.
    trunkline::handler handler(handler_form form = handler_form::reference) const;

    /// `changed` is called after each note, on the handler's thread. Set it before the first event.
    void on_change(std::function<void()> changed) const;

    // All of these in the order of arrival, sentinels left out.
    std::size_t size() const;
    bool empty() const { return size() == 0; }
    std::vector<event> events() const;
    std::vector<std::string> types() const;
    std::vector<std::string> ids() const;
    std::vector<std::string> run_ids() const;
    std::vector<std::uint32_t> attempts() const;
    std::vector<std::optional<std::uint64_t>> indices() const;
    /// The event at `position`; throws std::out_of_range.
    event at(std::size_t position) const;
    /// How many events have this type.
    std::size_t count(std::string_view type) const;
    /// Sentinels received.
    std::size_t sentinels() const;
    /// Handler calls that overlapped with another one of this recorder.
    std::size_t overlaps() const;

    /// Deliveries kept by the verdict `hold`.
    std::size_t held() const;
    /// Takes them out.
    std::vector<delivery> take_held() const;
    /// Settles all of them: `ack`, `nack`, or `none` to let them go.
    void settle_held(verdict how) const;

    /// Forgets what was noted; what is held stays.
    void clear() const;

    /// Blocks this thread until `count` events are noted or `limit` of real time has passed;
    /// answers whether they are. For tests whose handlers run on other threads.
    bool wait_for_size(std::size_t count, std::chrono::milliseconds limit) const;

private:
    friend class rig;  // keeps track of recorders without keeping what they recorded
    struct state;
    explicit recorder(std::shared_ptr<state> shared) noexcept : state_(std::move(shared)) {}

    std::shared_ptr<state> state_;
};

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
