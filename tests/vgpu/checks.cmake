# Tests of memory, checks, async engine and tensor instructions; the corpus of injected bugs, which nvcc
# compiles to PTX twice (BUG 0: right, BUG 1: wrong).
set(VGT_BUGS "")
if(OCT_NVCC)
    set(VGT_BUGS ${CMAKE_CURRENT_BINARY_DIR}/bugs)
    file(MAKE_DIRECTORY ${VGT_BUGS})
    set(bug_ptx)
    foreach(stem mem sync async hopper)
        set(arch compute_80)
        if(stem STREQUAL "hopper")
            set(arch compute_90a)
        endif()
        foreach(bug 0 1)
            set(out ${VGT_BUGS}/${stem}${bug}.ptx)
            add_custom_command(
                OUTPUT ${out}
                COMMAND ${OCT_NVCC} -ptx -arch=${arch} -lineinfo -DBUG=${bug} -o ${out}
                        ${CMAKE_CURRENT_SOURCE_DIR}/bugs/${stem}.cu
                DEPENDS bugs/${stem}.cu bugs/bug.cuh VERBATIM COMMENT "nvcc bugs/${stem}.cu, BUG=${bug}")
            list(APPEND bug_ptx ${out})
        endforeach()
    endforeach()
    add_custom_target(vgpu_bugs DEPENDS ${bug_ptx})
endif()
vg_test(vgpu_mem test_mem.c)
vg_test(vgpu_tensor test_tensor.c)
vg_test(vgpu_wgmma test_wgmma.c)
vg_test(vgpu_tma test_tma.c)
vg_test(vgpu_bugs_found test_bugs.c)
target_compile_definitions(test_vgpu_bugs_found PRIVATE VGT_BUGS="${VGT_BUGS}")
if(OCT_NVCC)
    add_dependencies(test_vgpu_bugs_found vgpu_bugs)
endif()
set_tests_properties(vgpu_bugs_found PROPERTIES ENVIRONMENT "VGPU_SPIN=200000")
