# trunkline_add_tests(AREA
#     [ALONE] [LINK target...] [DEFINITIONS name=value...] [ENVIRONMENT name=value] [TIMEOUT seconds])
#
# Makes one program trunkline_AREA_tests of all tests/AREA/**/*_test.cpp, each test a CTest entry with
# the label AREA. ALONE: nothing of ours is linked. Nothing happens while the folder has no tests or
# the area is switched off.
include(GoogleTest)

# Sanitizers print addresses where they do not find this.
find_program(
    TRUNKLINE_SYMBOLIZER NAMES llvm-symbolizer-19 llvm-symbolizer DOC "For readable sanitizer reports"
)
mark_as_advanced(TRUNKLINE_SYMBOLIZER)

function(trunkline_add_tests area)
    cmake_parse_arguments(PARSE_ARGV 1 arg "ALONE" "TIMEOUT;ENVIRONMENT" "LINK;DEFINITIONS")
    if(NOT area IN_LIST TRUNKLINE_TEST_AREAS)
        return()
    endif()
    trunkline_glob(sources "${CMAKE_CURRENT_SOURCE_DIR}/${area}/*_test.cpp")
    if(NOT sources)
        return()
    endif()
    # Helpers that lie beside the tests.
    trunkline_glob(helpers "${CMAKE_CURRENT_SOURCE_DIR}/${area}/*.cpp")
    list(APPEND sources ${helpers})
    list(REMOVE_DUPLICATES sources)
    if(NOT TARGET trunkline_unix_socket)
        list(FILTER sources EXCLUDE REGEX "/(unix_socket|lease_files|host)_[a-z_]*\\.cpp$")
        list(FILTER sources EXCLUDE REGEX "/(broker|doctor|lease|unix|bench_processes)_test\\.cpp$")
    endif()
    if(NOT sources)
        return()
    endif()
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 120)
    endif()

    set(target trunkline_${area}_tests)
    add_executable(${target} ${sources} sanitizer_options.cpp)
    if(arg_ALONE)
        trunkline_target_defaults(${target})
    else()
        trunkline_target_defaults(${target} PCH_FROM trunkline_testkit)
        target_link_libraries(${target} PRIVATE trunkline::testkit trunkline::app rapidcheck)
    endif()
    # Pure cores are tested from inside.
    target_include_directories(
        ${target} PRIVATE "${PROJECT_SOURCE_DIR}/src" "${CMAKE_CURRENT_SOURCE_DIR}"
    )
    target_compile_definitions(
        ${target}
        PRIVATE
            TRUNKLINE_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
            TRUNKLINE_CXX="${CMAKE_CXX_COMPILER}"  # for tests of what must not compile
            ${arg_DEFINITIONS}
    )
    target_link_libraries(${target} PRIVATE ${arg_LINK} GTest::gmock GTest::gtest_main)
    if(TRUNKLINE_SYMBOLIZER)
        set(symbolizer ":external_symbolizer_path=${TRUNKLINE_SYMBOLIZER}")
    endif()
    set_property(
        SOURCE "${CMAKE_CURRENT_SOURCE_DIR}/sanitizer_options.cpp"
        PROPERTY COMPILE_DEFINITIONS "TRUNKLINE_SYMBOLIZER_OPTION=\"${symbolizer}\""
    )
    set(environment "")
    if(arg_ENVIRONMENT)  # one only: the list of a second would be torn apart on its way
        set(environment ENVIRONMENT "${arg_ENVIRONMENT}")
    endif()
    gtest_discover_tests(
        ${target}
        NO_PRETTY_VALUES
        DISCOVERY_TIMEOUT 60
        PROPERTIES LABELS ${area} TIMEOUT ${arg_TIMEOUT} ${environment}
    )
endfunction()
