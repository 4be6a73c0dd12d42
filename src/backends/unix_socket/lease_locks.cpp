#include "backends/unix_socket/lease_locks.hpp"

#include "base/time.hpp"

#include <trunkline/event_id.hpp>
#include <trunkline/json_text.hpp>

#include <boost/system/system_error.hpp>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <limits>
#include <openssl/evp.h>
#include <unistd.h>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

namespace {

namespace sys = boost::system;

// More than the time limit lets happen when every look costs its pause.
constexpr unsigned looks_max = 100'000;
constexpr int removal_attempts = 3;
constexpr std::size_t token_bytes_max = 100;

void throw_if(const error_code& ec) {
    if (ec) throw sys::system_error(ec);
}

bool is_absent(const error_code& ec) noexcept {
    return ec == sys::errc::no_such_file_or_directory;
}

bool is_taken(const error_code& ec) noexcept {
    return ec == sys::errc::file_exists;
}

void check_unless_absent(const error_code& ec) {
    if (!is_absent(ec)) throw_if(ec);
}

void check_unless_taken(const error_code& ec) {
    if (!is_taken(ec)) throw_if(ec);
}

// A token of another process becomes part of a path: nothing but letters, digits and dashes.
bool is_file_name(std::string_view token) noexcept {
    return !token.empty() && token.size() <= token_bytes_max &&
           std::all_of(token.begin(), token.end(), [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      c == '-';
           });
}

std::string generation_of(std::string_view text) {
    if (const auto holder = parse_lease_holder(text); holder && is_file_name(holder->token))
        return holder->token;
    return sha256_hex(text);
}

std::string folder_of(const std::string& path) {
    return path.substr(0, path.rfind('/'));
}

// Other processes tell nobody when they are done, so time is all there is to wait for.
bool wait_for_the_time(std::chrono::milliseconds time) {
    std::mutex mutex;
    std::condition_variable never;
    std::unique_lock lock(mutex);
    never.wait_for(lock, time);
    return true;
}

}  // namespace

std::string_view name_of_path(std::string_view path) noexcept {
    return path.substr(path.rfind('/') + 1);
}

std::string path_below(std::string folder, std::string_view name) {
    folder += '/';
    folder += name;
    return folder;
}

std::string sha256_hex(std::string_view bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
    unsigned size = 0;
    if (EVP_Digest(bytes.data(), bytes.size(), hash.data(), &size, EVP_sha256(), nullptr) != 1)
        throw sys::system_error(errc::not_supported, "SHA-256");
    std::string out;
    out.reserve(std::size_t{2} * size);
    for (unsigned i = 0; i < size; ++i) {
        out.push_back(digits[hash[i] >> 4]);
        out.push_back(digits[hash[i] & 15]);
    }
    return out;
}

lease_locks::lease_locks(const std::string& directory, lease_environment environment, logger log)
    : environment_(std::move(environment)),
      log_(std::move(log)),
      leases_(directory + "/leases"),
      processes_(leases_ + "/processes"),
      mutations_(leases_ + "/mutations"),
      instance_(event_id::random().text()) {
    if (environment_.files == nullptr) environment_.files = system_lease_files();
    if (!environment_.process) environment_.process = &lease_process::current;
    if (!environment_.steady) environment_.steady = &base::coarse_now;
    if (!environment_.pause) environment_.pause = &wait_for_the_time;
}

lease_locks::~lease_locks() {
    close();
}

void lease_locks::close() noexcept {
    discard_leftovers();
    process().close(instance_);
}

lease_process& lease_locks::process() const {
    return environment_.process();
}

std::string lease_locks::record_path(const std::string& lease) const {
    return leases_ + "/" + lease + std::string(lease_ending::record);
}

std::string lease_locks::lock_path(const std::string& lease) const {
    return mutations_ + "/" + lease + ".lock";
}

std::string lease_locks::temporary_name(const std::string& target) const {
    return target + "." + std::to_string(process().pid()) + "." + event_id::random().text() +
           ".tmp";
}

std::string lease_locks::identity_text(const std::string& token) const {
    std::string out = R"({"pid":)" + std::to_string(process().pid()) + R"(,"processNonce":)";
    append_json_string(out, process().nonce());
    if (!token.empty()) {
        out += R"(,"token":)";
        append_json_string(out, token);
    }
    return out + "}";
}

// Limits

lease_locks::operation::operation(lease_locks& locks) : self(locks) {
    self.deadline_ =
        base::saturating_add(self.environment_.steady(), self.environment_.operation_timeout);
    self.looks_left_ = looks_max;
    self.discard_leftovers();
    self.introduce();
}

lease_locks::operation::~operation() {
    for (const auto& file : self.claims_) self.discard(file);
    self.claims_.clear();
}

void lease_locks::spend() {
    if (looks_left_ == 0 || environment_.steady() >= deadline_)
        throw sys::system_error(errc::timed_out, "lease lock");
    --looks_left_;
}

void lease_locks::pause() {
    spend();
    if (!environment_.pause(look_pause)) throw sys::system_error(errc::closed, "lease lock");
}

// Files

std::optional<std::string> lease_locks::read(const std::string& path) const {
    auto text = files().read(path);
    if (text.has_value()) return std::move(*text);
    check_unless_absent(text.error());
    return std::nullopt;
}

void lease_locks::write(const std::string& target, std::string_view text) {
    const own_file temporary{temporary_name(target), std::string(text)};
    auto failure = files().create(temporary.path, text);
    if (!failure) failure = files().rename(temporary.path, target);
    if (failure) {
        discard(temporary);
        throw sys::system_error(failure, target);
    }
}

bool lease_locks::remove(const std::string& path) {
    const auto failure = files().unlink(path);
    check_unless_absent(failure);
    return !failure;
}

// Makes a file that appears with its whole text, or not at all.
error_code lease_locks::create_linked(const own_file& file) {
    const own_file temporary{temporary_name(file.path), file.text};
    auto failure = files().create(temporary.path, temporary.text);
    if (is_absent(failure)) return failure;
    if (!failure) failure = files().link(temporary.path, file.path);
    discard(temporary);
    if (!failure) return {};
    // The answer of a network file system may be lost, and then the link is there all the same.
    if (is_taken(failure) && read(file.path) == file.text) return {};
    if (!is_taken(failure)) discard(file);
    return failure;
}

// Removes a file if it is still ours. One that cannot be removed is tried again later.
void lease_locks::discard(const own_file& file) noexcept {
    for (int attempt = 0; attempt < removal_attempts; ++attempt) {
        if (try_discard(file)) return;
    }
    try {
        log_.log(
            log_level::warn,
            "unix_socket",
            "a file of the leases could not be removed",
            {{"path", file.path}}
        );
        leftovers_.push_back(file);
    } catch (...) {
        // No memory: the file stays until this process ends.
    }
}

bool lease_locks::try_discard(const own_file& file) noexcept {
    try {
        auto text = read(file.path);
        // A network file system may miss a file once, and nobody else would ever remove this one.
        if (!text) text = read(file.path);
        return text != file.text || remove(file.path);
    } catch (...) {
        return false;  // the caller tries again and logs
    }
}

void lease_locks::discard_leftovers() noexcept {
    std::erase_if(leftovers_, [this](const own_file& file) { return try_discard(file); });
}

void lease_locks::make_folders() {
    for (const auto& folder : {leases_, processes_, mutations_})
        check_unless_taken(files().make_directory(folder));
}

// Makes this run of the process known, again if somebody removed the marker meanwhile.
void lease_locks::introduce() {
    process().open(instance_);
    const auto path = processes_ + "/" + std::to_string(process().pid()) + ".json";
    const auto text = identity_text({});
    if (read(path) == text) return;
    make_folders();
    write(path, text);
    introduced_ = true;
}

// Looking

bool lease_locks::is_alive(std::int64_t pid, std::string_view nonce) const {
    if (pid <= 0 || pid > std::numeric_limits<pid_t>::max()) return false;
    const auto failure = files().probe(static_cast<pid_t>(pid));
    if (failure == sys::errc::no_such_process) return false;
    if (failure != sys::errc::operation_not_permitted) throw_if(failure);
    // Another process may have got the number since.
    const auto text = read(processes_ + "/" + std::to_string(pid) + ".json");
    const auto marker = text ? parse_lease_holder(*text) : std::nullopt;
    return marker && marker->nonce == nonce;
}

bool lease_locks::is_alive(const lease_holder& who) const {
    if (!is_alive(who.pid, who.nonce)) return false;
    const auto& own = process();
    return who.pid != own.pid() || who.nonce != own.nonce() || own.is_open(who.token);
}

std::optional<lease_locks::lock_view> lease_locks::look_at(const std::string& lock) const {
    const auto text = read(lock);
    if (!text) return std::nullopt;
    return lock_view{generation_of(*text), parse_lease_holder(*text)};
}

bool lease_locks::is_stale(
    const std::optional<lock_view>& lock, const std::string& generation, unreadable how
) const {
    if (!lock || lock->generation != generation) return false;
    if (!lock->holder) return how == unreadable::is_stale;
    return !is_alive(lock->holder->pid, lock->holder->nonce);
}

// The lock

void lease_locks::with_lock(const std::string& lease, const std::function<void()>& change) {
    const operation running{*this};
    struct release {
        lease_locks& self;
        const own_file& lock;
        ~release() { self.discard(lock); }
    };

    const auto lock = lock_path(lease);
    const own_file own{lock, identity_text(event_id::random().text())};
    take(lock, own);
    const release releases{*this, own};
    change();
    try {
        finish_all(lock);
    } catch (const sys::system_error&) {
        // The change is made; whoever wants the lock next ends those recoveries.
    }
}

void lease_locks::take(const std::string& lock, const own_file& own) {
    for (;;) {
        spend();
        finish_all(lock);
        if (place(own)) {
            try {
                finish_all(lock);
                if (read(lock) == own.text) return;
            } catch (...) {
                discard(own);
                throw;
            }
            continue;  // somebody took it for a stale one
        }
        const auto found = look_at(lock);
        if (!found) continue;
        const bool held = !found->holder || is_alive(found->holder->pid, found->holder->nonce);
        if (held || !recover(lock, found->generation, unreadable::is_held)) pause();
    }
}

// False when somebody else has the lock.
bool lease_locks::place(const own_file& own) {
    auto failure = create_linked(own);
    if (is_absent(failure)) {
        make_folders();
        failure = create_linked(own);
    }
    check_unless_taken(failure);
    return !failure;
}

// Recovery

void lease_locks::finish_recoveries(const std::string& lease) {
    const operation running{*this};
    finish_all(lock_path(lease));
}

bool lease_locks::remove_unreadable(const std::string& lease, const std::string& generation) {
    const auto lock = lock_path(lease);
    const operation running{*this};
    finish_all(lock);
    const auto found = look_at(lock);
    if (!found || found->holder || found->generation != generation) return false;
    while (!recover(lock, generation, unreadable::is_stale)) pause();
    return true;
}

void lease_locks::finish_all(const std::string& lock) {
    const auto folder = lock + ".recoveries";
    for (;;) {
        const auto names = files().list(folder);
        if (!names.has_value()) return check_unless_absent(names.error());
        bool found = false;
        bool waits = false;
        for (const auto& name : *names) {
            if (!name.ends_with(lease_ending::marker)) continue;
            found = true;
            const auto generation = name.substr(0, name.size() - lease_ending::marker.size());
            if (!recover(lock, generation, unreadable::is_held)) waits = true;
        }
        if (!found) return;
        if (waits)
            pause();
        else
            spend();
    }
}

// True when this generation is over; false when somebody else sees to that.
bool lease_locks::recover(const std::string& lock, const std::string& generation, unreadable how) {
    const auto folder = lock + ".recoveries";
    check_unless_taken(files().make_directory(folder));
    const auto marker = folder + "/" + generation + std::string(lease_ending::marker);
    if (!become_owner(marker)) return false;
    isolate(lock, generation, marker, how);
    clean_up(marker);
    return true;
}

bool lease_locks::become_owner(const std::string& marker) {
    const own_file own{marker + ".owner", identity_text(instance_)};
    const auto text = read(own.path);
    if (text == own.text) return true;
    if (!text) {
        claims_.push_back(own);
        const auto failure = create_linked(own);
        check_unless_taken(failure);
        return !failure;
    }
    const auto holder = parse_lease_holder(*text);
    if (holder ? is_alive(*holder) : is_half_written(own.path)) return false;
    return claim(marker);
}

// The recorded owner is dead: of those who want to follow it, the earliest does.
bool lease_locks::claim(const std::string& marker) {
    const auto folder = marker + ".claimants";
    check_unless_taken(files().make_directory(folder));
    const own_file own{
        folder + "/" + instance_ + std::string(lease_ending::record), identity_text(instance_)
    };
    // Made under its final name: its time of birth must be that of its appearance.
    claims_.push_back(own);
    const auto failure = files().create(own.path, own.text);
    // What is absent, here and below, was cleaned up meanwhile: the recovery is over.
    if (is_absent(failure)) return false;
    check_unless_taken(failure);
    pause();

    const auto own_birth = files().birth(own.path);
    if (!own_birth.has_value()) {
        check_unless_absent(own_birth.error());
        return false;
    }
    const auto names = files().list(folder);
    if (!names.has_value()) {
        check_unless_absent(names.error());
        return false;
    }
    for (const auto& name : *names) {
        const auto path = path_below(folder, name);
        if (!name.ends_with(lease_ending::record) || path == own.path) continue;
        const auto text = read(path);
        if (!text) continue;
        const auto other = parse_lease_holder(*text);
        if (other && !is_alive(*other)) continue;
        const auto birth = files().birth(path);
        if (!birth.has_value()) {
            check_unless_absent(birth.error());
            continue;
        }
        const bool earlier = std::pair(*birth, path) < std::pair(*own_birth, own.path);
        if (!earlier) continue;
        if (other) return false;
        if (*own_birth - *birth < half_written_max) {
            // It is still being written, or its writer died: a later claim of ours will tell.
            remove(own.path);
            return false;
        }
    }
    return true;
}

bool lease_locks::is_half_written(const std::string& path) {
    const auto birth = files().birth(path);
    if (!birth.has_value()) {
        check_unless_absent(birth.error());
        return true;
    }
    // The file system's own clock says how long ago that was.
    const own_file probe{temporary_name(path), {}};
    throw_if(files().create(probe.path, probe.text));
    const auto now = files().birth(probe.path);
    discard(probe);
    return now.value() - *birth < half_written_max;
}

void lease_locks::isolate(
    const std::string& lock,
    const std::string& generation,
    const std::string& marker,
    unreadable how
) {
    if (is_stale(look_at(lock), generation, how)) {
        const auto failure = files().link(lock, marker);
        if (!is_absent(failure)) check_unless_taken(failure);
        if (is_stale(look_at(lock), generation, how)) {
            const auto isolated = marker + "." + instance_ + std::string(lease_ending::isolated);
            check_unless_absent(files().rename(lock, isolated));
            const auto text = read(isolated);
            if (text && generation_of(*text) != generation) {
                give_back(isolated, lock);
                clean_up(marker);
                throw sys::system_error(errc::protocol_error, "a lease lock changed hands");
            }
            remove(isolated);
            log_.log(
                log_level::info,
                "unix_socket",
                "a dead process held the lock of a lease",
                {{"lock", std::string(name_of_path(lock))}}
            );
        }
    }
    sweep_isolated(lock, generation, marker);
}

// What an owner left that died, or failed, after it had renamed the lock.
void lease_locks::sweep_isolated(
    const std::string& lock, const std::string& generation, const std::string& marker
) {
    const auto folder = folder_of(marker);
    const auto names = files().list(folder);
    if (!names.has_value()) return check_unless_absent(names.error());
    const auto beginning = std::string(name_of_path(marker)) + ".";
    for (const auto& name : *names) {
        if (!name.starts_with(beginning) || !name.ends_with(lease_ending::isolated)) continue;
        const auto path = path_below(folder, name);
        const auto found = look_at(path);
        if (!found) continue;
        const bool other = found->generation != generation && found->holder;
        if (other && is_alive(found->holder->pid, found->holder->nonce))
            give_back(path, lock);
        else
            remove(path);
    }
}

void lease_locks::give_back(const std::string& isolated, const std::string& lock) {
    const auto failure = files().link(isolated, lock);
    if (!is_absent(failure)) check_unless_taken(failure);
    remove(isolated);
}

void lease_locks::clean_up(const std::string& marker) {
    remove(marker);
    remove(marker + ".owner");
    const auto folder = marker + ".claimants";
    const auto names = files().list(folder);
    if (!names.has_value()) return check_unless_absent(names.error());
    for (const auto& name : *names) remove(path_below(folder, name));
    // One that has just been made keeps the folder; its maker removes it.
    const auto failure = files().remove_directory(folder);
    const bool kept = failure == sys::errc::directory_not_empty || is_taken(failure);
    if (!kept) check_unless_absent(failure);
}

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
