#pragma once

#include <trunkline/config.hpp>
#include <trunkline/server_cache.hpp>

#include <atomic>
#include <memory>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

/// A cache that forwards to another one and fails on command, its event logs included. A failing
/// call completes with `broker_lost` and does not reach the inner cache. Threading: any.
class TRUNKLINE_EXPORT faulty_cache final : public server_cache {
public:
    explicit faulty_cache(std::shared_ptr<server_cache> inner);

    /// From now on every write (or read) fails, or works again.
    void fail_writes(bool on) noexcept { faults_->writes.store(on); }
    void fail_reads(bool on) noexcept { faults_->reads.store(on); }

    const std::shared_ptr<server_cache>& inner() const noexcept { return inner_; }

    void get(std::string_view key, answer<std::optional<boost::json::value>> done) override;
    void set(
        std::string_view key,
        boost::json::value value,
        std::optional<milliseconds> ttl,
        completion done
    ) override;
    void list_length(std::string_view key, answer<std::size_t> done) override;
    void list_push(std::string_view key, boost::json::value value, completion done) override;
    void list_range(
        std::string_view key,
        std::int64_t from,
        std::int64_t to,
        answer<std::vector<boost::json::value>> done
    ) override;
    void erase(std::string_view key, completion done) override;
    void clear(completion done) override;
    void increment(std::string_view key, answer<std::int64_t> done) override;
    void list_push_indexed(
        std::string_view list_key,
        std::string_view counter_key,
        boost::json::object object,
        answer<std::uint64_t> done
    ) override;
    std::shared_ptr<event_log> log(std::string_view list_key, std::string_view counter_key)
        override;
    bool shared() const noexcept override { return inner_->shared(); }

private:
    class log_proxy;
    struct faults {
        std::atomic<bool> writes{false};
        std::atomic<bool> reads{false};
    };

    std::shared_ptr<server_cache> inner_;
    std::shared_ptr<faults> faults_;
};

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
