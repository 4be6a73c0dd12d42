#pragma once

#include "program.hpp"
#include "support/temporary_folder.hpp"

#include <trunkline/make_pubsub.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace cli_test {

/// Each test has a bus across processes of its own.
class UnixBusTest : public testing::Test {
protected:
    void SetUp() override {
        const auto all = trunkline::backends();
        if (std::none_of(all.begin(), all.end(), [](const auto& b) { return b.scheme == "unix"; }))
            GTEST_SKIP() << "built without the Unix socket backend";
    }

    std::string path() const { return folder_.file("bus.sock"); }
    std::string url() const { return "unix:" + path(); }
    const trunkline::tests::temporary_folder& folder() const { return folder_; }
    /// The arguments with `--bus` behind them.
    program::arguments on_bus(program::arguments args) const {
        args.insert(args.end(), {"--bus", url()});
        return args;
    }
    /// Who the broker is according to `doctor`; empty when there is none.
    std::string broker_line() const {
        const auto result = run(on_bus({"doctor"}));
        const auto at = result.out.find("info: process ");
        return at == std::string::npos ? std::string() : result.out.substr(at);
    }

private:
    trunkline::tests::temporary_folder folder_;
};

}  // namespace cli_test
