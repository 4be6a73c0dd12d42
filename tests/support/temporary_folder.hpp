#pragma once

#include <trunkline/config.hpp>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>

TRUNKLINE_NAMESPACE_BEGIN
namespace tests {

/// A new folder with a short path, removed with all it holds.
class temporary_folder {
public:
    temporary_folder() {
        std::string name = "/tmp/trunkline.XXXXXX";
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
        path_ = name;
    }
    ~temporary_folder() {
        std::error_code ignored;  // a folder that stays behind in /tmp harms nobody
        std::filesystem::remove_all(path_, ignored);
    }
    temporary_folder(const temporary_folder&) = delete;
    temporary_folder& operator=(const temporary_folder&) = delete;

    const std::string& path() const noexcept { return path_; }
    std::string file(const std::string& name) const { return path_ + "/" + name; }

private:
    std::string path_;
};

}  // namespace tests
TRUNKLINE_NAMESPACE_END
