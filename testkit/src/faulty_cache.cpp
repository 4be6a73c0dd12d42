#include <trunkline/detail/event_access.hpp>
#include <trunkline/testkit/faulty_cache.hpp>

#include <boost/json/value.hpp>

#include <stdexcept>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

class faulty_cache::log_proxy final : public event_log {
public:
    log_proxy(std::shared_ptr<event_log> inner, std::shared_ptr<faults> f)
        : inner_(std::move(inner)), faults_(std::move(f)) {}

    bool append(event_draft&& draft, append_completion& done, error_code& ec, event& stored)
        override {
        if (!faults_->writes) return inner_->append(std::move(draft), done, ec, stored);
        // The event goes live without an index.
        const auto attempt = detail::event_access::attempt(draft);
        stored = detail::event_access::freeze(std::move(draft), attempt);
        ec = errc::broker_lost;
        return true;
    }
    void confirm(const event& stored) noexcept override { inner_->confirm(stored); }
    void withdraw(const event& stored) noexcept override { inner_->withdraw(stored); }
    void read(std::uint64_t from, std::size_t limit, read_completion done) override {
        if (faults_->reads) return done(errc::broker_lost, {});
        inner_->read(from, limit, std::move(done));
    }
    void clear(completion done) override {
        if (!faults_->writes) return inner_->clear(std::move(done));
        if (done) done(errc::broker_lost);
    }

private:
    std::shared_ptr<event_log> inner_;
    std::shared_ptr<faults> faults_;
};

faulty_cache::faulty_cache(std::shared_ptr<server_cache> inner)
    : inner_(std::move(inner)), faults_(std::make_shared<faults>()) {
    if (inner_ == nullptr) throw std::invalid_argument("faulty_cache: inner is null");
}

void faulty_cache::get(std::string_view key, answer<std::optional<boost::json::value>> done) {
    if (faults_->reads) return done(errc::broker_lost, {});
    inner_->get(key, std::move(done));
}

void faulty_cache::set(
    std::string_view key, boost::json::value value, std::optional<milliseconds> ttl, completion done
) {
    if (!faults_->writes) return inner_->set(key, std::move(value), ttl, std::move(done));
    if (done) done(errc::broker_lost);
}

void faulty_cache::list_length(std::string_view key, answer<std::size_t> done) {
    if (faults_->reads) return done(errc::broker_lost, 0);
    inner_->list_length(key, std::move(done));
}

void faulty_cache::list_push(std::string_view key, boost::json::value value, completion done) {
    if (!faults_->writes) return inner_->list_push(key, std::move(value), std::move(done));
    if (done) done(errc::broker_lost);
}

void faulty_cache::list_range(
    std::string_view key,
    std::int64_t from,
    std::int64_t to,
    answer<std::vector<boost::json::value>> done
) {
    if (faults_->reads) return done(errc::broker_lost, {});
    inner_->list_range(key, from, to, std::move(done));
}

void faulty_cache::erase(std::string_view key, completion done) {
    if (!faults_->writes) return inner_->erase(key, std::move(done));
    if (done) done(errc::broker_lost);
}

void faulty_cache::clear(completion done) {
    if (!faults_->writes) return inner_->clear(std::move(done));
    if (done) done(errc::broker_lost);
}

void faulty_cache::increment(std::string_view key, answer<std::int64_t> done) {
    if (faults_->writes) return done(errc::broker_lost, 0);
    inner_->increment(key, std::move(done));
}

void faulty_cache::list_push_indexed(
    std::string_view list_key,
    std::string_view counter_key,
    boost::json::object object,
    answer<std::uint64_t> done
) {
    if (faults_->writes) return done(errc::broker_lost, 0);
    inner_->list_push_indexed(list_key, counter_key, std::move(object), std::move(done));
}

std::shared_ptr<event_log> faulty_cache::log(
    std::string_view list_key, std::string_view counter_key
) {
    auto log = inner_->log(list_key, counter_key);
    if (log == nullptr) return nullptr;
    return std::make_shared<log_proxy>(std::move(log), faults_);
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
