# Everything comes from the system; nothing is downloaded. Boost is asked for by version because the
# distribution's unversioned packages hold an older one.
find_package(Boost 1.81 QUIET COMPONENTS json url)
if(NOT Boost_FOUND)
    message(
        FATAL_ERROR
            "Trunkline needs Boost 1.81 or newer with its json and url libraries "
            "(Debian 12: libboost1.81-dev libboost-json1.81-dev libboost-url1.81-dev; "
            "they replace libboost1.74-dev, which conflicts with them)."
    )
endif()
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

if(TRUNKLINE_WITH_UNIX_SOCKET)
    find_package(OpenSSL REQUIRED COMPONENTS Crypto)
endif()
if(TRUNKLINE_WITH_CLI)
    find_package(CLI11 REQUIRED CONFIG)
endif()
if(TRUNKLINE_BUILD_TESTKIT OR TRUNKLINE_BUILD_TESTS)
    find_package(GTest REQUIRED CONFIG)
endif()
if(TRUNKLINE_BUILD_TESTS)
    find_package(rapidcheck REQUIRED CONFIG)
endif()
if(TRUNKLINE_BUILD_BENCH)
    find_package(benchmark REQUIRED CONFIG)
endif()
