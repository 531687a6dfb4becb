# What is built from the layers: the programs, the test suites that span folders, the checks of the sources, fuzzers.
include_guard()

# bin/planish and, beside it, the names under which it answers as trtexec and polygraphy; the same when installed.
function(planish_programs)
  file(GLOB entry CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/planish/tools/main.cpp")
  if(NOT entry)
    return()
  endif()
  set(bin "${PROJECT_BINARY_DIR}/bin")
  add_executable(planish "${entry}")
  target_compile_options(planish PRIVATE ${PLANISH_WARNINGS})
  target_link_libraries(planish PRIVATE planish_tools)
  set_target_properties(planish PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${bin}" INSTALL_RPATH "$ORIGIN/../lib")
  install(TARGETS planish RUNTIME DESTINATION bin)
  install(FILES "${PLANISH_DNNL}" DESTINATION lib)
  install(DIRECTORY "${PLANISH_THIRD_PARTY}/onednn/share/doc/onednn" DESTINATION share/doc/planish)
  install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION share/doc/planish)
  foreach(alias trtexec polygraphy)
    add_custom_command(TARGET planish POST_BUILD COMMAND ${CMAKE_COMMAND} -E create_symlink planish "${bin}/${alias}")
    install(FILES "${bin}/${alias}" DESTINATION bin)
  endforeach()
endfunction()

# bench/<name>.cpp becomes bin/bench_<name>, which is only built on request: it measures kernels beside oneDNN.
function(planish_benches)
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/bench/*.cpp")
  foreach(source IN LISTS sources)
    get_filename_component(name "${source}" NAME_WE)
    add_executable(bench_${name} EXCLUDE_FROM_ALL "${source}")
    target_compile_options(bench_${name} PRIVATE ${PLANISH_WARNINGS})
    target_link_libraries(bench_${name} PRIVATE planish_tactics_cpu planish_kernels_cpu planish_onednn)
    set_target_properties(bench_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
  endforeach()
endfunction()

# tests/<name>.cpp files become one program that may use every layer.
function(planish_suites)
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/*.cpp")
  if(NOT sources)
    return()
  endif()
  # Counts what operator new is asked for, as the runtime's own tests do.
  add_executable(test_suites ${sources} "${PROJECT_SOURCE_DIR}/planish/runtime/test/allocation_count.cpp")
  target_compile_options(test_suites PRIVATE ${PLANISH_WARNINGS})
  target_link_libraries(test_suites PRIVATE planish_tools planish_api GTest::gtest GTest::gtest_main)
  add_test(NAME suites COMMAND test_suites WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
endfunction()

# The includes obey layers.txt, and every header compiles alone (and twice: #pragma once). The headers are compiled by
# the test, so that only headers whose own includes changed are compiled again and a plain build does not wait for them.
function(planish_source_checks)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  add_test(NAME layers COMMAND ${Python3_EXECUTABLE} scripts/check_layers.py
           WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")

  file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE "${PROJECT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/planish/*.h")
  set(sources)
  foreach(header IN LISTS headers)
    string(REGEX REPLACE "[/.]" "_" unit "${header}")
    set(unit "${PROJECT_BINARY_DIR}/headers/${unit}.cpp")
    file(CONFIGURE OUTPUT "${unit}" CONTENT "#include \"${header}\"\n#include \"${header}\"\n" @ONLY)
    # A vector header needs its instruction set: simd/x86_<isa>.h, like x86_<isa>.cpp.
    planish_isa_flags("${unit}")
    list(APPEND sources "${unit}")
  endforeach()
  add_library(planish_headers OBJECT EXCLUDE_FROM_ALL ${sources})
  target_include_directories(planish_headers PRIVATE "${PROJECT_SOURCE_DIR}")
  target_compile_options(planish_headers PRIVATE ${PLANISH_WARNINGS} -O0)
  # For the <name>_internal.h that include third-party headers.
  target_link_libraries(planish_headers PRIVATE planish_onednn planish_onnx_proto planish_flatbuffers planish_images)
  add_test(NAME headers COMMAND ${CMAKE_COMMAND} --build "${PROJECT_BINARY_DIR}" --target planish_headers)
  # Some hundred compilations; on a busy machine they take longer than any other test may.
  set_tests_properties(headers PROPERTIES TIMEOUT 2400)
endfunction()

# fuzz/fuzz_<name>.cpp becomes bin/fuzz_<name>; scripts/fuzz.sh runs them.
function(planish_fuzzers)
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/fuzz/fuzz_*.cpp")
  add_custom_target(fuzzers)
  foreach(source IN LISTS sources)
    get_filename_component(name "${source}" NAME_WE)
    add_executable(${name} "${source}")
    add_dependencies(fuzzers ${name})
    target_compile_options(${name} PRIVATE ${PLANISH_WARNINGS})
    # The layers that read files, not all: what is compiled with sanitizers takes minutes.
    target_link_libraries(${name} PRIVATE planish_onnx planish_runtime planish_tactics_cpu)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
  endforeach()
endfunction()
