# The driver API of the virtual GPU: libcuda.so.1 in its own folder, and the library stand-ins. Needs
# the toolkit's cuda.h for the prototypes and libzstd for compressed fat binaries.
find_path(OCT_CUDA_INCLUDE cuda.h PATHS /usr/local/cuda/include NO_CMAKE_FIND_ROOT_PATH)
pkg_check_modules(ZSTD IMPORTED_TARGET libzstd)
if(NOT OCT_CUDA_INCLUDE OR NOT ZSTD_FOUND)
    message(STATUS "virtual GPU: no driver API (cuda.h: ${OCT_CUDA_INCLUDE}, libzstd: ${ZSTD_FOUND}); "
                   "its tests are skipped")
    set(VGPU_DRIVER OFF)
    return()
endif()
set(VGPU_DRIVER ON)
set(VGPU_DIR ${CMAKE_BINARY_DIR}/vgpu)

add_library(vgpu_driver OBJECT
    alloc.h capture.c cu_context.c cu_copy.c cu_device.c cu_entry.c cu_event.c cu_graph.c cu_init.c
    cu_launch.c cu_library.c cu_memory.c cu_memset.c cu_module.c cu_pool.c cu_stream.c execute.c
    facts.c fatbin.c fault.c graph.c handle.c order.c private.c queue.c work.c)
target_include_directories(vgpu_driver PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
target_include_directories(vgpu_driver SYSTEM PUBLIC ${OCT_CUDA_INCLUDE})
target_compile_definitions(vgpu_driver PUBLIC _GNU_SOURCE)
target_link_libraries(vgpu_driver PUBLIC oct_flags Threads::Threads PkgConfig::ZSTD m)

# ---- libcuda.so.1 ----
add_library(vgpu_cuda SHARED $<TARGET_OBJECTS:vgpu_core> $<TARGET_OBJECTS:vgpu_driver>)
target_link_libraries(vgpu_cuda PRIVATE oct_flags Threads::Threads PkgConfig::ZSTD m)
set_target_properties(vgpu_cuda PROPERTIES OUTPUT_NAME cuda SOVERSION 1 LINKER_LANGUAGE C
                      LIBRARY_OUTPUT_DIRECTORY ${VGPU_DIR})
