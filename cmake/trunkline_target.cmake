# What every target of ours has in common. All of it is a property of the target, so that a project
# that adds this one as a subdirectory keeps its own flags.

find_program(TRUNKLINE_CCACHE ccache DOC "Compiler cache; empty for none")
find_program(TRUNKLINE_LLD NAMES ld.lld ld.lld-19 DOC "Faster linker; empty for the default one")
mark_as_advanced(TRUNKLINE_CCACHE TRUNKLINE_LLD)

set(trunkline_warnings -Wall -Wextra -Wshadow -Wconversion -Wnon-virtual-dtor)
set(trunkline_instrumentation "")
set(trunkline_instrumentation_link "")
if(TRUNKLINE_SANITIZE)
    list(APPEND trunkline_instrumentation "-fsanitize=${TRUNKLINE_SANITIZE}" -fno-omit-frame-pointer)
    list(APPEND trunkline_instrumentation_link "-fsanitize=${TRUNKLINE_SANITIZE}")
    if(TRUNKLINE_SANITIZE MATCHES "undefined")
        list(APPEND trunkline_instrumentation -fno-sanitize-recover=undefined)
    endif()
endif()
if(TRUNKLINE_COVERAGE)
    list(APPEND trunkline_instrumentation -fprofile-instr-generate -fcoverage-mapping)
    list(APPEND trunkline_instrumentation_link -fprofile-instr-generate)
endif()

# trunkline_target_defaults(TARGET [UNITY] [PCH header...] [PCH_FROM target])
#
# UNITY: the target takes part in unity builds. Tests do not: their helpers may share names.
# PCH:   headers to precompile, as they are written in an #include.
# PCH_FROM: a target whose precompiled headers are used instead of building the same ones again; not
# with shared libraries, whose own macros differ.
function(trunkline_target_defaults target)
    cmake_parse_arguments(PARSE_ARGV 1 arg "UNITY" "PCH_FROM" "PCH")
    target_compile_features(${target} PUBLIC cxx_std_20)
    target_compile_options(
        ${target}
        PRIVATE
            ${trunkline_warnings}
            ${trunkline_instrumentation}
            $<$<BOOL:${TRUNKLINE_WERROR}>:-Werror>
    )
    set_target_properties(
        ${target}
        PROPERTIES
            CXX_EXTENSIONS OFF
            CXX_VISIBILITY_PRESET hidden
            VISIBILITY_INLINES_HIDDEN ON
            POSITION_INDEPENDENT_CODE ON
    )
    if(TRUNKLINE_CCACHE)
        # The sloppiness is what lets ccache work with precompiled headers.
        set_target_properties(
            ${target}
            PROPERTIES
                CXX_COMPILER_LAUNCHER
                "${CMAKE_COMMAND};-E;env;CCACHE_SLOPPINESS=pch_defines,time_macros;${TRUNKLINE_CCACHE}"
        )
    endif()
    get_target_property(type ${target} TYPE)
    if(NOT type STREQUAL "OBJECT_LIBRARY")
        target_link_options(${target} PRIVATE ${trunkline_instrumentation_link})
        if(TRUNKLINE_LLD AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
            target_link_options(${target} PRIVATE "--ld-path=${TRUNKLINE_LLD}")
        endif()
    endif()
    if(TRUNKLINE_UNITY AND arg_UNITY)
        set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
    endif()
    if(TRUNKLINE_PCH AND (arg_PCH OR arg_PCH_FROM))
        if(NOT arg_PCH_FROM)
            target_precompile_headers(${target} PRIVATE ${arg_PCH})
        elseif(NOT BUILD_SHARED_LIBS)
            target_precompile_headers(${target} REUSE_FROM ${arg_PCH_FROM})
            # A program would be compiled as one (-fPIE), which does not go with a library's headers.
            set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
            target_compile_options(${target} PRIVATE -fPIC)
        endif()
        if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
            target_compile_options(${target} PRIVATE "SHELL:-Xclang -fno-pch-timestamp")
        endif()
    endif()
endfunction()

# trunkline_glob(VARIABLE PATTERN...): sources found now and looked for again at each build.
function(trunkline_glob variable)
    file(GLOB_RECURSE found CONFIGURE_DEPENDS ${ARGN})
    list(FILTER found EXCLUDE REGEX "/node_modules/")
    set(${variable} "${found}" PARENT_SCOPE)
endfunction()
