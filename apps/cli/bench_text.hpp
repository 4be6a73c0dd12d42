#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace trunkline_cli {

/// Writes the data of one benchmark event after the other into one buffer:
/// `{"seq":N,"text":"xxx…"}`, or `{"seq":N,"at":NS,"text":"xxx…"}`, always of the same length.
class bench_text {
public:
    /// Numbers may only grow from call to call, and everything must fit: see payload_bytes_min.
    explicit bench_text(std::size_t bytes);

    std::string_view next(std::uint64_t seq);
    std::string_view next(std::uint64_t seq, std::uint64_t at_ns);

    /// The NS of such a text; 0 when there is none.
    static std::uint64_t stamp_of(std::string_view text) noexcept;

private:
    std::string buffer_;
};

}  // namespace trunkline_cli
