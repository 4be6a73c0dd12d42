# Refuses compilers that are known to build a broken library. Programs that merely use the installed
# library are free to choose: GCC 12 compiles the public headers well.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    message(FATAL_ERROR " Trunkline cannot be built with GCC ${CMAKE_CXX_COMPILER_VERSION} (it miscompiles coroutines): use Clang 16 or newer, e.g. -DCMAKE_CXX_COMPILER=clang++-19, or GCC 13 or newer.")
elseif(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 16)
    message(FATAL_ERROR " Trunkline cannot be built with Clang ${CMAKE_CXX_COMPILER_VERSION}: use Clang 16 or newer, e.g. -DCMAKE_CXX_COMPILER=clang++-19, or GCC 13 or newer.")
endif()

if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
