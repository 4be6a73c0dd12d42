#include "bench_text.hpp"

#include "bench_plan.hpp"

#include <charconv>
#include <cstring>

namespace trunkline_cli {

namespace {

constexpr std::string_view seq_field = "{\"seq\":";
constexpr std::string_view at_field = ",\"at\":";
constexpr std::string_view text_field = ",\"text\":\"";
constexpr std::string_view closing = "\"}";
constexpr std::size_t stamp_digits = 19;

char* put(char* at, std::string_view text) noexcept {
    std::memcpy(at, text.data(), text.size());
    return at + text.size();
}

}  // namespace

std::size_t payload_bytes_min(const bench_plan& plan) noexcept {
    const auto fixed =
        seq_field.size() + std::to_string(plan.events).size() + text_field.size() + closing.size();
    return plan.rate ? fixed + at_field.size() + stamp_digits : fixed;
}

bench_text::bench_text(std::size_t bytes) : buffer_(bytes, 'x') {
    buffer_.replace(bytes - closing.size(), closing.size(), closing);
}

std::string_view bench_text::next(std::uint64_t seq) {
    char* const end = buffer_.data() + buffer_.size();
    char* at = put(buffer_.data(), seq_field);
    at = std::to_chars(at, end, seq).ptr;
    put(at, text_field);
    return buffer_;
}

std::string_view bench_text::next(std::uint64_t seq, std::uint64_t at_ns) {
    char* const end = buffer_.data() + buffer_.size();
    char* at = put(buffer_.data(), seq_field);
    at = put(std::to_chars(at, end, seq).ptr, at_field);
    put(std::to_chars(at, end, at_ns).ptr, text_field);
    return buffer_;
}

std::uint64_t bench_text::stamp_of(std::string_view text) noexcept {
    const auto field = text.find(at_field);
    if (field == std::string_view::npos) return 0;
    std::uint64_t stamp = 0;
    const auto* from = text.data() + field + at_field.size();
    std::from_chars(from, text.data() + text.size(), stamp);
    return stamp;
}

}  // namespace trunkline_cli
