#include <trunkline/errc.hpp>
#include <trunkline/wall_time.hpp>

#include <boost/system/system_error.hpp>

#include <array>
#include <charconv>
#include <cstdio>
#include <stdexcept>

TRUNKLINE_NAMESPACE_BEGIN

std::string iso_text(wall_time time) {
    using namespace std::chrono;
    const auto day = floor<days>(time);
    const year_month_day date{day};
    const auto ms = (time - day).count();
    const int year = static_cast<int>(date.year());
    std::array<char, 40> text;
    // Years outside 0..9999 have a sign and six digits (ECMAScript's expanded years).
    const char* form = year < 0 || year > 9999 ? "%+07d-%02u-%02uT%02lld:%02lld:%02lld.%03lldZ"
                                               : "%04d-%02u-%02uT%02lld:%02lld:%02lld.%03lldZ";
    const int length = std::snprintf(
        text.data(),
        text.size(),
        form,
        year,
        static_cast<unsigned>(date.month()),
        static_cast<unsigned>(date.day()),
        static_cast<long long>(ms / 3'600'000),
        static_cast<long long>(ms / 60'000 % 60),
        static_cast<long long>(ms / 1000 % 60),
        static_cast<long long>(ms % 1000)
    );
    return {text.data(), static_cast<std::size_t>(length)};
}

namespace {

class iso_reader {
public:
    explicit iso_reader(std::string_view text) : rest_(text) {}

    int number(std::size_t digits) {
        int value = 0;
        if (rest_.size() < digits) return fail();
        const auto* end = rest_.data() + digits;
        const auto got = std::from_chars(rest_.data(), end, value);
        if (got.ec != std::errc{} || got.ptr != end || rest_[0] == '-') return fail();
        rest_.remove_prefix(digits);
        return value;
    }
    bool skip(char c) {
        if (rest_.empty() || rest_[0] != c) return false;
        rest_.remove_prefix(1);
        return true;
    }
    void expect(char c) {
        if (!skip(c)) fail();
    }
    // Milliseconds of a fraction of one to nine digits.
    int fraction() {
        int value = 0;
        int seen = 0;
        while (!rest_.empty() && rest_[0] >= '0' && rest_[0] <= '9' && seen < 9) {
            if (seen < 3) value = value * 10 + (rest_[0] - '0');
            ++seen;
            rest_.remove_prefix(1);
        }
        if (seen == 0) return fail();
        for (; seen < 3; ++seen) value *= 10;
        return value;
    }
    int fail() {
        failed_ = true;
        return 0;
    }
    bool good() const { return !failed_ && rest_.empty(); }

private:
    std::string_view rest_;
    bool failed_ = false;
};

}  // namespace

wall_time wall_time_from_iso(std::string_view text) {
    using namespace std::chrono;
    iso_reader in(text);
    int year_number = 0;
    if (in.skip('+'))
        year_number = in.number(6);
    else if (in.skip('-'))
        year_number = -in.number(6);
    else
        year_number = in.number(4);
    in.expect('-');
    const int month_number = in.number(2);
    in.expect('-');
    const int day_number = in.number(2);
    in.expect('T');
    const int hour = in.number(2);
    in.expect(':');
    const int minute = in.number(2);
    in.expect(':');
    const int second = in.number(2);
    const int ms = in.skip('.') ? in.fraction() : 0;
    in.expect('Z');
    const year_month_day date{
        year{year_number},
        month{static_cast<unsigned>(month_number)},
        day{static_cast<unsigned>(day_number)}
    };
    if (!in.good() || !date.ok() || hour > 23 || minute > 59 || second > 59 ||
        year_number < -271821 || year_number > 275760) {
        throw boost::system::system_error(
            errc::protocol_error, "time \"" + std::string(text.substr(0, 64)) + "\""
        );
    }
    return sys_days{date} + hours{hour} + minutes{minute} + seconds{second} + milliseconds{ms};
}

TRUNKLINE_NAMESPACE_END
