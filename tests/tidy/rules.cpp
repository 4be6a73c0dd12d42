#include "rules.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <ostream>

namespace tidy {
namespace {

constexpr std::size_t lines_max = 700;

// Lowest first. An include may stay on its level or go down, never up.
enum class layer { base, wire, contract, backends, app };

constexpr std::array base_headers{
    "clock",
    "completion",
    "config",
    "errc",
    "event_id",
    "logger",
    "wall_time",
    "detail/unique_function",
};
constexpr std::array wire_headers{"json_text", "tagged"};
constexpr std::array app_headers{"app", "make_pubsub"};
constexpr std::array backend_names{"event_emitter", "unix_socket", "redis_streams", "google_cloud"};

bool starts_with_any(std::string_view text, std::initializer_list<std::string_view> heads) {
    return std::any_of(heads.begin(), heads.end(), [&](auto head) {
        return text.starts_with(head);
    });
}

bool ends_with_any(std::string_view text, std::initializer_list<std::string_view> tails) {
    return std::any_of(tails.begin(), tails.end(), [&](auto tail) { return text.ends_with(tail); });
}

template <class List, class Value>
bool contains(const List& list, const Value& value) {
    return std::find(list.begin(), list.end(), value) != list.end();
}

bool is_word(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

// Where `word` stands alone in `line`, from `from` on.
std::size_t find_word(std::string_view line, std::string_view word, std::size_t from = 0) {
    for (auto at = line.find(word, from); at != line.npos; at = line.find(word, at + 1)) {
        const auto end = at + word.size();
        if ((at == 0 || !is_word(line[at - 1])) && (end >= line.size() || !is_word(line[end])))
            return at;
    }
    return line.npos;
}

bool has_word(std::string_view line, std::string_view word) {
    return find_word(line, word) != line.npos;
}

// The name of a header under include/trunkline, without the ending.
std::optional<std::string_view> public_name(std::string_view header) {
    constexpr std::string_view folder = "trunkline/", ending = ".hpp";
    if (!header.starts_with(folder) || !header.ends_with(ending)) return std::nullopt;
    header.remove_prefix(folder.size());
    header.remove_suffix(ending.size());
    return header;
}

std::optional<std::string_view> backend_of_header(std::string_view name) {
    constexpr std::string_view ending = "_pubsub";
    if (!name.ends_with(ending)) return std::nullopt;
    name.remove_suffix(ending.size());
    if (!contains(backend_names, name)) return std::nullopt;
    return name;
}

layer layer_of_header(std::string_view name) {
    if (contains(base_headers, name)) return layer::base;
    if (contains(wire_headers, name)) return layer::wire;
    if (contains(app_headers, name)) return layer::app;
    if (backend_of_header(name)) return layer::backends;
    return layer::contract;
}

// The layer of a path below src/.
std::optional<layer> layer_of_source(std::string_view path) {
    if (path.starts_with("base/")) return layer::base;
    if (path.starts_with("wire/")) return layer::wire;
    if (path.starts_with("contract/")) return layer::contract;
    if (path.starts_with("backends/")) return layer::backends;
    if (path.starts_with("app/")) return layer::app;
    return std::nullopt;
}

std::string_view backend_of_source(std::string_view path) {
    constexpr std::string_view folder = "backends/";
    if (!path.starts_with(folder)) return {};
    path.remove_prefix(folder.size());
    return path.substr(0, path.find('/'));
}

class checker {
public:
    checker(std::string_view path, std::string_view text) : path_(path), text_(text) {}

    std::vector<finding> run() {
        const bool cpp = ends_with_any(path_, {".cpp", ".hpp"});
        const bool tidy_itself = path_.starts_with("tests/tidy/");
        std::size_t lines = 0;
        each_line(text_, [&](std::size_t number, std::string_view line) {
            lines = number;
            if (is_allowed(line)) allowed_.push_back(number);
            check_text(number, line, tidy_itself);
            if (cpp && !tidy_itself) check_include(number, line);
        });
        if (!cpp) return std::move(findings_);

        if (path_.ends_with(".hpp") && text_.find("#pragma once") == text_.npos)
            add(1, "pragma-once", "a header begins with #pragma once");
        if (lines > lines_max && starts_with_any(path_, {"src/", "include/", "apps/", "testkit/"}))
            add(lines, "file-size", "more than " + std::to_string(lines_max) + " lines");
        if (!tidy_itself) {
            const auto code = code_only(text_);
            each_line(code, [&](std::size_t number, std::string_view line) {
                if (!contains(allowed_, number)) check_code(number, line);
            });
        }
        return std::move(findings_);
    }

private:
    // An exception from the rules for code gives its reason on the spot.
    static bool is_allowed(std::string_view line) {
        constexpr std::string_view mark = "// tidy: allow ";
        const auto at = line.find(mark);
        return at != line.npos && line.size() >= at + mark.size() + 10;
    }

    template <class F>
    static void each_line(std::string_view text, F f) {
        std::size_t number = 0;
        while (!text.empty()) {
            const auto end = text.find('\n');
            f(++number, text.substr(0, end));
            text.remove_prefix(end == text.npos ? text.size() : end + 1);
        }
    }

    void add(std::size_t line, std::string rule, std::string text) {
        findings_.push_back({line, std::move(rule), std::move(text)});
    }

    // Rules for every kind of file.
    void check_text(std::size_t number, std::string_view line, bool tidy_itself) {
        // Two spaces at the end of a line mean a line break in Markdown.
        if (!line.empty() && (line.back() == ' ' || line.back() == '\t' || line.back() == '\r') &&
            !path_.ends_with(".md"))
            add(number, "trailing-space", "white space at the end of the line");
        if (tidy_itself) return;
        const bool lock_file = path_.ends_with("package-lock.json");
        if ((lock_file && line.find("\"resolved\"") != line.npos) || line.starts_with("registry="))
            add(number, "registry", "which registry is used is the machine's business");
        for (std::string_view word : {"TODO", "FIXME", "XXX"}) {
            if (has_word(line, word)) add(number, "unfinished", std::string(word));
        }
        for (std::string_view folder : {"/home/", "/root/", "/work/", "/Users/"}) {
            for (auto at = line.find(folder); at != line.npos; at = line.find(folder, at + 1)) {
                const bool inside =
                    at > 0 && (is_word(line[at - 1]) || line[at - 1] == '.' || line[at - 1] == '}');
                if (!inside)
                    add(number, "private-path", "a path of one machine: " + std::string(folder));
            }
        }
    }

    void check_include(std::size_t number, std::string_view line) {
        const auto first = line.find_first_not_of(" \t");
        if (first == line.npos || line[first] != '#') return;
        line.remove_prefix(first + 1);
        const auto word = line.find_first_not_of(" \t");
        if (word == line.npos || !line.substr(word).starts_with("include")) return;
        const auto open = line.find_first_of("<\"");
        if (open == line.npos) return;
        const bool quoted = line[open] == '"';
        const auto close = line.find(quoted ? '"' : '>', open + 1);
        if (close == line.npos) return;
        const auto header = line.substr(open + 1, close - open - 1);

        if (header == "boost/asio.hpp" || header == "boost/beast.hpp")
            add(number, "wide-include", std::string(header) + ": include what is used");
        if (path_.starts_with("src/wire/") && header.starts_with("boost/asio"))
            add(number, "layers", "wire knows no Asio");
        if (path_.starts_with("include/") && quoted)
            add(number, "layers", "a public header includes public headers only, in <>");

        if (quoted) {
            check_quoted(number, header);
        } else if (const auto name = public_name(header)) {
            check_public(number, *name);
        }
    }

    // "..." is either a neighbour or something below src/.
    void check_quoted(std::size_t number, std::string_view header) {
        const auto target = layer_of_source(header);
        if (!target) return;
        if (starts_with_any(path_, {"testkit/", "examples/", "apps/"})) {
            add(number, "layers", "only public headers here, not " + std::string(header));
            return;
        }
        const auto own = own_layer();
        if (!own) return;
        if (*target > *own) add(number, "layers", "points up: " + std::string(header));
        if (*own == layer::backends && *target == layer::backends &&
            backend_of_source(header) != backend_of_source(path_.substr(4)))
            add(number, "layers", "a backend includes another: " + std::string(header));
    }

    void check_public(std::size_t number, std::string_view name) {
        const auto target = layer_of_header(name);
        const auto backend = backend_of_header(name);
        if (path_.starts_with("testkit/") && target > layer::contract)
            add(number, "layers", "the test kit knows contract and base only: " + std::string(name)
            );
        if (path_.starts_with("src/wire/") && target > layer::wire)
            add(number, "layers", "wire knows no event: " + std::string(name));
        const auto own = own_layer();
        if (!own) return;
        if (target > *own) {
            add(number, "layers", "points up: " + std::string(name));
        } else if (*own == layer::backends && backend) {
            if (*backend != own_backend())
                add(number, "layers", "a backend includes another: " + std::string(name));
        }
    }

    std::optional<layer> own_layer() const {
        if (path_.starts_with("src/")) return layer_of_source(path_.substr(4));
        if (path_.starts_with("include/")) {
            if (const auto name = public_name(path_.substr(8))) return layer_of_header(*name);
        }
        return std::nullopt;
    }

    std::string_view own_backend() const {
        if (path_.starts_with("src/")) return backend_of_source(path_.substr(4));
        if (const auto name = public_name(path_.substr(8)))
            return backend_of_header(*name).value_or(std::string_view{});
        return {};
    }

    // Rules for code; comments and literals are blank here.
    void check_code(std::size_t number, std::string_view line) {
        if (path_.ends_with(".hpp") && line.find("using namespace") != line.npos)
            add(number, "using-namespace", "not in a header");
        if (!path_.starts_with("apps/")) {
            if (line.find("asio::detached") != line.npos || line.find(".detach()") != line.npos)
                add(number, "detached", "every task and thread has an owner");
        }
        if (!may_read_clocks()) check_clock(number, line);
        if (starts_with_any(path_, {"tests/", "testkit/", "src/", "include/"}))
            check_sleep(number, line);
    }

    // Wall deadlines of measurements and of tests against real servers are real time.
    bool may_read_clocks() const {
        return starts_with_any(path_, {"src/base/", "bench/", "tests/"}) ||
               (path_.starts_with("testkit/") &&
                (path_.find("rig") != path_.npos || path_.find("wall") != path_.npos));
    }

    void check_clock(std::size_t number, std::string_view line) {
        for (std::string_view clock : {"system_clock", "steady_clock", "high_resolution_clock"}) {
            const auto at = find_word(line, clock);
            if (at != line.npos && line.substr(at + clock.size()).starts_with("::now"))
                add(number, "clock", std::string(clock) + " read directly: use the clock passed in"
                );
        }
        for (std::string_view call : {"clock_gettime", "gettimeofday", "timespec_get"}) {
            if (has_word(line, call))
                add(number, "clock", std::string(call) + ": use the clock passed in");
        }
        const auto at = find_word(line, "time");
        if (at == line.npos) return;
        const bool member = at > 0 && (line[at - 1] == '.' || line[at - 1] == '>');
        if (!member &&
            starts_with_any(line.substr(at), {"time(nullptr)", "time(NULL)", "time(0)", "time(&"}))
            add(number, "clock", "time(): use the clock passed in");
    }

    void check_sleep(std::size_t number, std::string_view line) {
        for (std::string_view call :
             {"this_thread::sleep_for", "this_thread::sleep_until", "usleep", "nanosleep"}) {
            if (has_word(line, call))
                add(number, "sleep", std::string(call) + ": wait for a condition");
        }
    }

    std::string_view path_;
    std::string_view text_;
    std::vector<std::size_t> allowed_;
    std::vector<finding> findings_;
};

}  // namespace

void PrintTo(const finding& f, std::ostream* out) {
    *out << f.line << ": " << f.rule << ": " << f.text;
}

std::vector<finding> check(std::string_view path, std::string_view text) {
    return checker(path, text).run();
}

std::string code_only(std::string_view text) {
    std::string out(text);
    const auto blank = [&out](std::size_t from, std::size_t to) {
        for (auto i = from; i < to && i < out.size(); ++i) {
            if (out[i] != '\n') out[i] = ' ';
        }
    };
    std::size_t i = 0;
    while (i < text.size()) {
        const auto rest = text.substr(i);
        if (rest.starts_with("//")) {
            const auto end = std::min(text.find('\n', i), text.size());
            blank(i, end);
            i = end;
        } else if (rest.starts_with("/*")) {
            const auto end = text.find("*/", i + 2);
            const auto past = end == text.npos ? text.size() : end + 2;
            blank(i, past);
            i = past;
        } else if (rest.starts_with("R\"") && (i == 0 || !is_word(text[i - 1]))) {
            const auto open = std::min(text.find('(', i), text.size());
            const auto end_mark = ")" + std::string(text.substr(i + 2, open - i - 2)) + "\"";
            const auto end = text.find(end_mark, open);
            const auto past = end == text.npos ? text.size() : end + end_mark.size();
            blank(i + 2, past - (end == text.npos ? 0 : 1));
            i = past;
        } else if (text[i] == '"' || (text[i] == '\'' && (i == 0 || !is_word(text[i - 1])))) {
            // A quote behind a digit separates digits.
            const char quote = text[i];
            auto end = i + 1;
            while (end < text.size() && text[end] != quote && text[end] != '\n')
                end += text[end] == '\\' ? 2 : 1;
            blank(i + 1, end);
            i = std::min(end, text.size()) + 1;
        } else {
            ++i;
        }
    }
    return out;
}

}  // namespace tidy
