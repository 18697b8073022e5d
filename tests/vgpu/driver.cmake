# The driver API of the virtual GPU: libcuda.so.1 in its own folder, and the library stand-ins. Needs
# the toolkit's cuda.h for the prototypes and libzstd for compressed fat binaries.
find_path(OCT_CUDA_INCLUDE cuda.h PATHS /usr/local/cuda/include ${CMAKE_SOURCE_DIR}/build/cuda-toolkit/include
          NO_CMAKE_FIND_ROOT_PATH)
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
    capture.c cu_context.c cu_copy.c cu_device.c cu_entry.c cu_event.c cu_graph.c cu_init.c
    cu_launch.c cubin.c cu_library.c cu_memory.c cu_memset.c cu_module.c cu_pool.c cu_stream.c execute.c
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

# ---- libnccl.so.2 ----
find_path(OCT_NCCL_INCLUDE nccl.h PATHS ${OCT_CUDA_INCLUDE} NO_CMAKE_FIND_ROOT_PATH)
if(OCT_NCCL_INCLUDE)
    add_library(vgpu_nccl SHARED nccl.c nccl_task.c nccl_shm.c nccl_reduce.c)
    target_include_directories(vgpu_nccl PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
    target_include_directories(vgpu_nccl SYSTEM PRIVATE ${OCT_NCCL_INCLUDE} ${OCT_CUDA_INCLUDE})
    target_compile_definitions(vgpu_nccl PRIVATE _GNU_SOURCE)
    target_link_libraries(vgpu_nccl PRIVATE oct_flags Threads::Threads m ${CMAKE_DL_LIBS})
    set_target_properties(vgpu_nccl PROPERTIES OUTPUT_NAME nccl SOVERSION 2
                          LIBRARY_OUTPUT_DIRECTORY ${VGPU_DIR} BUILD_RPATH "$ORIGIN")
endif()

# vg_cu_test(name file.c): a Criterion test that finds the stand-ins as a product finds the real ones.
function(vg_cu_test name)
    add_executable(test_${name} ${ARGN})
    target_include_directories(test_${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
    target_include_directories(test_${name} SYSTEM PRIVATE ${OCT_CUDA_INCLUDE})
    target_compile_definitions(test_${name} PRIVATE _GNU_SOURCE)
    target_link_libraries(test_${name} PRIVATE oct_flags PkgConfig::CRITERION Threads::Threads
                          ${CMAKE_DL_LIBS} m)
    set_target_properties(test_${name} PROPERTIES BUILD_RPATH ${VGPU_DIR}
                          RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    # DT_RPATH: AddressSanitizer's dlopen does not look at the program's DT_RUNPATH.
    target_link_options(test_${name} PRIVATE -Wl,--disable-new-dtags)
    add_dependencies(test_${name} vgpu_cuda)
    add_test(NAME ${name} COMMAND test_${name})
endfunction()
vg_cu_test(vgpu_cu_basic test_cu_basic.c)
vg_cu_test(vgpu_cu_memory test_cu_memory.c)
vg_cu_test(vgpu_cu_stream test_cu_stream.c)
vg_cu_test(vgpu_cu_launch test_cu_launch.c)
vg_cu_test(vgpu_cu_graph test_cu_graph.c)
vg_cu_test(vgpu_cu_bugs test_cu_bugs.c cu_bugs_order.c cu_bugs_host.c cu_bugs_capture.c)
vg_cu_test(vgpu_cu_order test_cu_order.c)
if(OCT_NCCL_INCLUDE)
    vg_cu_test(vgpu_nccl test_nccl.c)
    add_dependencies(test_vgpu_nccl vgpu_nccl)
    target_include_directories(test_vgpu_nccl SYSTEM PRIVATE ${OCT_NCCL_INCLUDE})
endif()

# ---- libcublasLt.so.13 ----
find_path(OCT_CUBLASLT_INCLUDE cublasLt.h PATHS ${OCT_CUDA_INCLUDE} NO_CMAKE_FIND_ROOT_PATH)
if(OCT_CUBLASLT_INCLUDE)
    add_library(vgpu_cublaslt SHARED cublaslt.c cublaslt_mm.c)
    target_include_directories(vgpu_cublaslt PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
    target_include_directories(vgpu_cublaslt SYSTEM PRIVATE ${OCT_CUBLASLT_INCLUDE}
                               ${OCT_CUDA_INCLUDE})
    target_compile_definitions(vgpu_cublaslt PRIVATE _GNU_SOURCE)
    target_link_libraries(vgpu_cublaslt PRIVATE oct_flags Threads::Threads m ${CMAKE_DL_LIBS})
    set_target_properties(vgpu_cublaslt PROPERTIES OUTPUT_NAME cublasLt SOVERSION 13
                          LIBRARY_OUTPUT_DIRECTORY ${VGPU_DIR} BUILD_RPATH "$ORIGIN")
    vg_cu_test(vgpu_cublaslt test_cublaslt.c)
    add_dependencies(test_vgpu_cublaslt vgpu_cublaslt)
    target_include_directories(test_vgpu_cublaslt SYSTEM PRIVATE ${OCT_CUBLASLT_INCLUDE})
endif()

# ---- kernels that nobody here wrote, compiled by nvcc ----
if(OCT_NVCC)
    set(VG_REAL_DIR ${CMAKE_CURRENT_BINARY_DIR}/real)
    file(MAKE_DIRECTORY ${VG_REAL_DIR})
    set(VG_ALL_PTX -gencode arch=compute_80,code=compute_80 -gencode arch=compute_90a,code=compute_90a)
    set(real_outputs)
    function(vg_real name)
        add_custom_command(OUTPUT ${VG_REAL_DIR}/${name}.fatbin
            COMMAND ${OCT_NVCC} -std=c++17 -lineinfo -fatbin ${ARGN}
                    ${CMAKE_CURRENT_SOURCE_DIR}/real/${name}.cu -o ${VG_REAL_DIR}/${name}.fatbin
            DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/real/${name}.cu
            COMMENT "nvcc real/${name}.cu" VERBATIM)
        set(real_outputs ${real_outputs} ${VG_REAL_DIR}/${name}.fatbin PARENT_SCOPE)
    endfunction()
    vg_real(cub ${VG_ALL_PTX})
    vg_real(groups ${VG_ALL_PTX})
    vg_real(libcu ${VG_ALL_PTX})
    vg_real(wmma ${VG_ALL_PTX})
    vg_real(cluster -gencode arch=compute_90a,code=compute_90a)
    # With machine code, and what ptxas says of it (compressed, as a product has it).
    add_custom_command(OUTPUT ${VG_REAL_DIR}/usage.fatbin ${VG_REAL_DIR}/usage.txt
        COMMAND sh -c "'${OCT_NVCC}' -fatbin -Xptxas -v -gencode arch=compute_80,code=[sm_80,compute_80] \
-gencode arch=compute_90a,code=[sm_90a,compute_90a] -o usage.fatbin \
'${CMAKE_CURRENT_SOURCE_DIR}/real/usage.cu' 2> usage.txt"
        WORKING_DIRECTORY ${VG_REAL_DIR}
        DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/real/usage.cu
        COMMENT "nvcc real/usage.cu" VERBATIM)
    list(APPEND real_outputs ${VG_REAL_DIR}/usage.fatbin)
    add_custom_target(vgpu_real DEPENDS ${real_outputs})
    if(EXISTS ${OCT_CUDA_INCLUDE}/cuda_occupancy.h)
        vg_cu_test(vgpu_usage test_usage.c)
        add_dependencies(test_vgpu_usage vgpu_real)
        target_compile_definitions(test_vgpu_usage PRIVATE VG_REAL_DIR="${VG_REAL_DIR}")
    endif()
    vg_cu_test(vgpu_real test_real.c)
    add_dependencies(test_vgpu_real vgpu_real)
    target_compile_definitions(test_vgpu_real PRIVATE VG_REAL_DIR="${VG_REAL_DIR}")
endif()
