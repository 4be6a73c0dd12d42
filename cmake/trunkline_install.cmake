include(CMakePackageConfigHelpers)

set(trunkline_below_app core)
if(TRUNKLINE_WITH_UNIX_SOCKET)
    list(APPEND trunkline_below_app unix_socket)
endif()
list(JOIN trunkline_below_app " " trunkline_below_app)

configure_package_config_file(
    "${PROJECT_SOURCE_DIR}/cmake/trunkline-config.cmake.in"
    "${PROJECT_BINARY_DIR}/trunkline-config.cmake"
    INSTALL_DESTINATION "${trunkline_config_dir}"
    NO_SET_AND_CHECK_MACRO
    NO_CHECK_REQUIRED_COMPONENTS_MACRO
)
write_basic_package_version_file(
    "${PROJECT_BINARY_DIR}/trunkline-config-version.cmake"
    COMPATIBILITY SameMinorVersion  # until 1.0 a minor version may change the interface
)
install(
    FILES
        "${PROJECT_BINARY_DIR}/trunkline-config.cmake"
        "${PROJECT_BINARY_DIR}/trunkline-config-version.cmake"
    DESTINATION "${trunkline_config_dir}"
)
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
