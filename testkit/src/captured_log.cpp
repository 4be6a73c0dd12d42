#include <trunkline/testkit/captured_log.hpp>

#include <algorithm>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

captured_log::captured_log(log_level level)
    : state_(std::make_shared<state>()), logger_(level, [s = state_](const log_record& record) {
          entry e{
              record.level, std::string(record.component), std::string(record.text), format(record)
          };
          const std::lock_guard lock(s->mutex);
          s->entries.push_back(std::move(e));
      }) {}

std::vector<captured_log::entry> captured_log::entries() const {
    const std::lock_guard lock(state_->mutex);
    return state_->entries;
}

std::size_t captured_log::count(log_level level) const {
    const auto all = entries();
    return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [level](const entry& e) {
        return e.level == level;
    }));
}

std::size_t captured_log::count(std::string_view part) const {
    const auto all = entries();
    return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [part](const entry& e) {
        return e.line.find(part) != std::string::npos;
    }));
}

std::string captured_log::text() const {
    std::string out;
    for (const auto& e : entries()) out += e.line + '\n';
    return out;
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
