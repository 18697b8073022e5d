# oct_cuda_modules(target file.cu...): each file becomes a fatbin (machine code and PTX of sm_80 and
# sm_90a) and an object that holds it between the symbols k_fatbin_<stem> and k_fatbin_<stem>_end.
# Fatbins are kept in OCT_CUDA_CACHE by the hash of what the compiler sees, so that several build
# directories compile each kernel once.
set(OCT_CUDA AUTO CACHE STRING "Build the CUDA kernels: ON, OFF, AUTO (if nvcc is found)")
set(OCT_CUDA_CACHE ${CMAKE_SOURCE_DIR}/build/cuda-cache CACHE PATH "Compiled kernels, by hash")
find_program(OCT_NVCC nvcc PATHS ${CMAKE_SOURCE_DIR}/build/cuda-toolkit/bin NO_DEFAULT_PATH)
find_program(OCT_NVCC nvcc PATHS /usr/local/cuda/bin)
set(OCT_NVCC_OLDEST 12.4)
set(OCT_NVCC_VERSION 0)
if(OCT_NVCC)
    execute_process(COMMAND ${OCT_NVCC} --version OUTPUT_VARIABLE nvcc_says ERROR_QUIET)
    if(nvcc_says MATCHES "release ([0-9.]+)")
        set(OCT_NVCC_VERSION ${CMAKE_MATCH_1})
    endif()
    set(why "${OCT_NVCC} is not nvcc ${OCT_NVCC_OLDEST} or later")
else()
    set(why "no nvcc found")
endif()
set(OCT_HAS_CUDA OFF)
if(OCT_CUDA STREQUAL "OFF")
    message(STATUS "CUDA: off (OCT_CUDA=OFF); building for the CPU")
elseif(OCT_NVCC_VERSION VERSION_GREATER_EQUAL OCT_NVCC_OLDEST)
    set(OCT_HAS_CUDA ON)
    enable_language(ASM)
    message(STATUS "CUDA: kernels for sm_80 and sm_90a with ${OCT_NVCC} ${OCT_NVCC_VERSION}")
elseif(OCT_CUDA STREQUAL "ON")
    message(FATAL_ERROR "CUDA: ${why}. Install the CUDA toolkit, or run scripts/cuda_toolkit.sh, "
                        "which takes the compiler from PyPI; -DOCT_NVCC=PATH names another")
else()
    message(STATUS "CUDA: off, ${why}; building for the CPU. scripts/cuda_toolkit.sh takes the "
                   "compiler from PyPI")
endif()

function(oct_cuda_modules target)
    if(NOT OCT_HAS_CUDA)
        return()
    endif()
    file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/cuda/*.h ${CMAKE_SOURCE_DIR}/cuda/*.cuh)
    set(dir ${CMAKE_BINARY_DIR}/cuda)
    file(MAKE_DIRECTORY ${dir})
    foreach(file ${ARGN})
        get_filename_component(stem ${file} NAME_WE)
        set(source ${CMAKE_CURRENT_SOURCE_DIR}/${file})
        add_custom_command(
            OUTPUT ${dir}/${stem}.fatbin ${dir}/${stem}.ptxas
            COMMAND ${CMAKE_SOURCE_DIR}/cmake/nvcc_fatbin.sh ${OCT_NVCC} ${OCT_CUDA_CACHE} ${source}
                    ${dir}/${stem}
            DEPENDS ${source} ${headers} ${CMAKE_SOURCE_DIR}/cmake/nvcc_fatbin.sh
            VERBATIM
            COMMENT "Compiling kernels of ${file}")
        file(CONFIGURE OUTPUT ${dir}/${stem}.S @ONLY CONTENT
             "    .section .rodata, \"a\", @progbits
    .balign 64
    .global k_fatbin_${stem}
    .hidden k_fatbin_${stem}
k_fatbin_${stem}:
    .incbin \"${dir}/${stem}.fatbin\"
    .global k_fatbin_${stem}_end
    .hidden k_fatbin_${stem}_end
k_fatbin_${stem}_end:
    .byte 0
    .section .note.GNU-stack, \"\", @progbits
")
        set_source_files_properties(${dir}/${stem}.S TARGET_DIRECTORY ${target} PROPERTIES
                                    OBJECT_DEPENDS ${dir}/${stem}.fatbin)
        target_sources(${target} PRIVATE ${dir}/${stem}.S)
        list(APPEND fatbins ${dir}/${stem}.fatbin)
    endforeach()
    add_custom_target(octavo_fatbins DEPENDS ${fatbins})
    add_dependencies(${target} octavo_fatbins)
endfunction()
