#include "contract/flush_rounds.hpp"

#include <boost/asio/post.hpp>

#include <utility>

TRUNKLINE_NAMESPACE_BEGIN

void flush_rounds::start(completion done) {
    const auto nacks = nacks_.load();
    const bool were_on_their_way = on_their_way_.load() != 0;
    mark_(when_released([self = shared_from_this(),
                         done = std::make_shared<completion>(std::move(done)),
                         nacks,
                         were_on_their_way] {
        if (!were_on_their_way && self->on_their_way_.load() == 0 && self->nacks_.load() == nacks) {
            if (*done) (*done)({});
            return;
        }
        const std::lock_guard lock(self->mutex_);
        if (self->on_their_way_.load() != 0)
            self->waiters_.push_back(std::move(*done));
        else
            self->start_again(std::move(*done));
    }));
}

void flush_rounds::start_again(completion done) {
    boost::asio::post(
        context_->executor(),
        [self = shared_from_this(), done = std::make_shared<completion>(std::move(done))] {
            self->start(std::move(*done));
        }
    );
}

void flush_rounds::handed_on() {
    if (on_their_way_.fetch_sub(1) != 1) return;
    const std::lock_guard lock(mutex_);
    for (auto& done : std::exchange(waiters_, {})) start_again(std::move(done));
}

TRUNKLINE_NAMESPACE_END
