#include <trunkline/errc.hpp>

#include <boost/asio/error.hpp>

#include <string>

TRUNKLINE_NAMESPACE_BEGIN

namespace {

class trunkline_category final : public boost::system::error_category {
public:
    const char* name() const noexcept override { return "trunkline"; }
    std::string message(int value) const override {
        switch (static_cast<errc>(value)) {
            case errc::closed:
                return "closed";
            case errc::invalid_argument:
                return "invalid argument";
            case errc::not_supported:
                return "not supported";
            case errc::timed_out:
                return "timed out";
            case errc::queue_full:
                return "queue full";
            case errc::payload_too_large:
                return "payload too large";
            case errc::broker_lost:
                return "broker lost";
            case errc::offset_gone:
                return "offset is older than what is retained";
            case errc::lease_lost:
                return "lease lost";
            case errc::permission_denied:
                return "permission denied";
            case errc::protocol_error:
                return "protocol error";
            case errc::would_deadlock:
                return "would deadlock";
        }
        return "unknown trunkline error " + std::to_string(value);
    }
};

}  // namespace

const boost::system::error_category& error_category() noexcept {
    static const trunkline_category instance;
    return instance;
}

bool is_transient(const error_code& ec) noexcept {
    namespace net = boost::asio::error;
    if (ec.category() == error_category()) {
        return ec == errc::timed_out || ec == errc::queue_full || ec == errc::broker_lost;
    }
    return ec == net::broken_pipe || ec == net::connection_reset || ec == net::not_connected ||
           ec == net::connection_refused || ec == net::connection_aborted || ec == net::timed_out ||
           ec == net::host_unreachable || ec == net::network_unreachable || ec == net::try_again ||
           ec == net::eof;
}

TRUNKLINE_NAMESPACE_END
