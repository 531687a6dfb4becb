# Third-party libraries, each behind one planish_<what> interface target. What and why: docs/dependencies.md.
include_guard()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
# Programs and tests find libdnnl beside themselves wherever the build folder or the installed tree is moved to.
set(CMAKE_BUILD_RPATH_USE_ORIGIN ON)
find_program(PLANISH_CCACHE ccache)
if(PLANISH_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${PLANISH_CCACHE})
endif()

find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(Protobuf REQUIRED)
find_package(ZLIB REQUIRED)
find_package(JPEG REQUIRED)
find_package(PNG REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(WEBP REQUIRED IMPORTED_TARGET libwebp)
if(PLANISH_TESTS)
  find_package(GTest REQUIRED)
endif()

# Everything may format text and start threads.
link_libraries(fmt::fmt Threads::Threads)

add_library(planish_images INTERFACE)
target_link_libraries(planish_images INTERFACE JPEG::JPEG PNG::PNG PkgConfig::WEBP ZLIB::ZLIB nlohmann_json::nlohmann_json)
find_path(STB_INCLUDE_DIR stb_image.h PATH_SUFFIXES stb REQUIRED)
target_include_directories(planish_images SYSTEM INTERFACE "${STB_INCLUDE_DIR}")

# Fetched once by scripts/fetch_deps.sh: the ONNX schema from the onnx wheel, oneDNN from its two wheels.
set(PLANISH_THIRD_PARTY "${PROJECT_SOURCE_DIR}/.deps")
if(NOT EXISTS "${PLANISH_THIRD_PARTY}/onednn/include/oneapi/dnnl/dnnl.hpp" OR
   NOT EXISTS "${PLANISH_THIRD_PARTY}/onnx/onnx.proto")
  message(FATAL_ERROR "oneDNN or the ONNX schema is missing. Run scripts/fetch_deps.sh (make does it by itself).")
endif()

# A hard link costs no space and lets the build folder be moved away from the sources.
set(PLANISH_DNNL "${PROJECT_BINARY_DIR}/lib/libdnnl.so.3")
file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/lib")
file(CREATE_LINK "${PLANISH_THIRD_PARTY}/onednn/lib/libdnnl.so.3" "${PLANISH_DNNL}" COPY_ON_ERROR)
add_library(planish_dnnl_library SHARED IMPORTED)
set_target_properties(planish_dnnl_library PROPERTIES IMPORTED_LOCATION "${PLANISH_DNNL}" IMPORTED_SONAME libdnnl.so.3)
add_library(planish_onednn INTERFACE)
target_include_directories(planish_onednn SYSTEM INTERFACE "${PLANISH_THIRD_PARTY}/onednn/include")
target_link_libraries(planish_onednn INTERFACE planish_dnnl_library)
# oneDNN asks for GNU OpenMP's threads and gets ours: base/gomp.cpp, which nothing else would pull into a program.
target_link_options(planish_onednn INTERFACE LINKER:--undefined=GOMP_parallel_start)

set(PLANISH_GENERATED "${PROJECT_BINARY_DIR}/generated")
file(MAKE_DIRECTORY "${PLANISH_GENERATED}")
add_custom_command(
  OUTPUT "${PLANISH_GENERATED}/onnx.pb.cc" "${PLANISH_GENERATED}/onnx.pb.h"
  COMMAND protobuf::protoc --proto_path=${PLANISH_THIRD_PARTY}/onnx --cpp_out=${PLANISH_GENERATED}
          ${PLANISH_THIRD_PARTY}/onnx/onnx.proto
  DEPENDS "${PLANISH_THIRD_PARTY}/onnx/onnx.proto"
  VERBATIM)
add_library(planish_onnx_proto STATIC "${PLANISH_GENERATED}/onnx.pb.cc")
target_include_directories(planish_onnx_proto SYSTEM PUBLIC "${PLANISH_GENERATED}")
target_link_libraries(planish_onnx_proto PUBLIC protobuf::libprotobuf)
target_compile_options(planish_onnx_proto PRIVATE -w)

# planish/engine/<name>.fbs becomes <name>_generated.h.
find_program(PLANISH_FLATC flatc REQUIRED)
add_library(planish_flatbuffers INTERFACE)
target_include_directories(planish_flatbuffers SYSTEM INTERFACE "${PLANISH_GENERATED}")
file(GLOB schemas CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/planish/engine/*.fbs")
foreach(schema IN LISTS schemas)
  get_filename_component(name "${schema}" NAME_WE)
  add_custom_command(
    OUTPUT "${PLANISH_GENERATED}/${name}_generated.h"
    COMMAND ${PLANISH_FLATC} --cpp -o "${PLANISH_GENERATED}" "${schema}"
    DEPENDS "${schema}"
    VERBATIM)
  add_custom_target(planish_schema_${name} DEPENDS "${PLANISH_GENERATED}/${name}_generated.h")
  add_dependencies(planish_flatbuffers planish_schema_${name})
endforeach()
