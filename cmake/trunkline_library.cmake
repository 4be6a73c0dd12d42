# trunkline_add_library(NAME
#     SOURCES file... HEADERS public-header... [INCLUDE_DIR dir]
#     LINK public-target... [LINK_PRIVATE target...] [PCH header...])
#
# Makes trunkline_NAME with alias trunkline::NAME, its public headers as a file set that is checked
# to stand alone, and one export set, so that find_package can load just the components asked for.
set(trunkline_config_dir "${CMAKE_INSTALL_LIBDIR}/cmake/trunkline")

function(trunkline_add_library name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "INCLUDE_DIR" "SOURCES;HEADERS;LINK;LINK_PRIVATE;PCH")
    if(NOT arg_INCLUDE_DIR)
        set(arg_INCLUDE_DIR "${PROJECT_SOURCE_DIR}/include")
    endif()
    set(target trunkline_${name})
    if(NOT arg_SOURCES)  # headers only, so far
        set(arg_SOURCES "${trunkline_empty_source}")
    endif()
    add_library(${target} ${arg_SOURCES})
    add_library(trunkline::${name} ALIAS ${target})
    trunkline_target_defaults(${target} UNITY PCH ${arg_PCH})
    target_sources(
        ${target} PUBLIC FILE_SET HEADERS BASE_DIRS "${arg_INCLUDE_DIR}" FILES ${arg_HEADERS}
    )
    target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}/src")
    target_link_libraries(${target} PUBLIC ${arg_LINK} PRIVATE ${arg_LINK_PRIVATE})
    if(BUILD_SHARED_LIBS AND NOT TRUNKLINE_SANITIZE)
        # What a library uses of another must be exported there, or the build ends here.
        target_link_options(${target} PRIVATE -Wl,-z,defs)
    endif()
    set_target_properties(
        ${target}
        PROPERTIES
            EXPORT_NAME ${name}
            VERSION ${PROJECT_VERSION}
            SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
            VERIFY_INTERFACE_HEADER_SETS ON
    )
    install(
        TARGETS ${target}
        EXPORT ${target}_targets
        ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
        LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
        RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}"
        FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
    )
    trunkline_export(${name})
endfunction()

# trunkline_export(NAME): installs the export set trunkline_NAME_targets.
function(trunkline_export name)
    install(
        EXPORT trunkline_${name}_targets
        NAMESPACE trunkline::
        DESTINATION "${trunkline_config_dir}"
    )
    set_property(GLOBAL APPEND PROPERTY trunkline_components ${name})
endfunction()

set(trunkline_empty_source "${PROJECT_BINARY_DIR}/empty.cpp")
file(CONFIGURE OUTPUT "${trunkline_empty_source}" CONTENT "")
