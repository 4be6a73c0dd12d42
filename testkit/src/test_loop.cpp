#include <trunkline/testkit/test_loop.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

void test_loop::in_threads(std::size_t count, const std::function<void(std::size_t)>& body) {
    std::mutex mutex;
    std::exception_ptr failure;
    std::atomic<bool> go{false};
    foreign_.store(count);
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < count; ++i) {
        threads.emplace_back([&, i] {
            go.wait(false);
            try {
                body(i);
            } catch (...) {
                const std::lock_guard lock(mutex);
                if (failure == nullptr) failure = std::current_exception();
            }
            foreign_.fetch_sub(1);
            wake();
        });
    }
    go.store(true);
    go.notify_all();
    if (!run_until([this] { return !foreign_threads(); }, std::chrono::minutes{1})) {
        // It can be neither joined nor left behind.
        std::fputs("testkit: a thread of in_threads() does not come back\n", stderr);
        std::abort();
    }
    for (auto& t : threads) t.join();
    if (failure != nullptr) std::rethrow_exception(failure);
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
