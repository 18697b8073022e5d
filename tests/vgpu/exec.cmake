# Tests of the front end and the executor; CUDA kernels are compiled to PTX where nvcc is there.
set(VGT_KERNELS "")
if(OCT_NVCC)
    set(VGT_KERNELS ${CMAKE_CURRENT_BINARY_DIR}/kernels)
    file(MAKE_DIRECTORY ${VGT_KERNELS})
    set(kernel_ptx)
    foreach(stem basic foreign bench)
        foreach(arch 80 90a)
            set(out ${VGT_KERNELS}/${stem}${arch}.ptx)
            add_custom_command(
                OUTPUT ${out}
                COMMAND ${OCT_NVCC} -ptx -std=c++17 -arch=compute_${arch} -lineinfo -w -o ${out}
                        ${CMAKE_CURRENT_SOURCE_DIR}/kernels/${stem}.cu
                DEPENDS kernels/${stem}.cu VERBATIM
                COMMENT "nvcc kernels/${stem}.cu, compute_${arch}")
            list(APPEND kernel_ptx ${out})
        endforeach()
    endforeach()
    add_custom_target(vgpu_kernels_ptx DEPENDS ${kernel_ptx})
endif()
vg_test(vgpu_alu test_alu.c)
vg_test(vgpu_exec test_exec.c)
foreach(name kernels foreign)
    vg_test(vgpu_${name} test_${name}.c)
    target_compile_definitions(test_vgpu_${name} PRIVATE VGT_KERNELS="${VGT_KERNELS}")
    if(OCT_NVCC)
        add_dependencies(test_vgpu_${name} vgpu_kernels_ptx)
    endif()
endforeach()
# Not a test: `vgpu_bench` prints the executor's speed.
add_executable(vgpu_bench bench.c)
target_link_libraries(vgpu_bench PRIVATE vgpu_core)
target_compile_definitions(vgpu_bench PRIVATE VGT_KERNELS="${VGT_KERNELS}")
set_target_properties(vgpu_bench PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
if(OCT_NVCC)
    add_dependencies(vgpu_bench vgpu_kernels_ptx)
endif()
