# Tests of the front end and the executor; CUDA kernels are compiled to PTX where nvcc is there.
set(VGT_KERNELS "")
if(OCT_NVCC)
    set(VGT_KERNELS ${CMAKE_CURRENT_BINARY_DIR}/kernels)
    file(MAKE_DIRECTORY ${VGT_KERNELS})
    set(kernel_ptx)
    foreach(arch 80 90a)
        set(out ${VGT_KERNELS}/basic${arch}.ptx)
        add_custom_command(
            OUTPUT ${out}
            COMMAND ${OCT_NVCC} -ptx -arch=compute_${arch} -lineinfo -o ${out}
                    ${CMAKE_CURRENT_SOURCE_DIR}/kernels/basic.cu
            DEPENDS kernels/basic.cu VERBATIM COMMENT "nvcc kernels/basic.cu, compute_${arch}")
        list(APPEND kernel_ptx ${out})
    endforeach()
    add_custom_target(vgpu_kernels_ptx DEPENDS ${kernel_ptx})
endif()
vg_test(vgpu_kernels test_kernels.c)
target_compile_definitions(test_vgpu_kernels PRIVATE VGT_KERNELS="${VGT_KERNELS}")
if(OCT_NVCC)
    add_dependencies(test_vgpu_kernels vgpu_kernels_ptx)
endif()
vg_test(vgpu_alu test_alu.c)
vg_test(vgpu_exec test_exec.c)
