# Whole models, and the engine's tests again with their engines on the virtual GPU.
set(OCT_ENGINE_TESTS ${CMAKE_CURRENT_SOURCE_DIR}/../engine)
set(OCT_RUN ${CMAKE_CURRENT_SOURCE_DIR}/../support/run.c)
oct_cuda_test(cuda_faults test_cuda_faults.c ${OCT_RUN} ${OCT_TEST_TINY})
if(OCT_SANITIZE) # whole models on a sanitized virtual GPU: ten times as long, and nothing new
    return()
endif()
oct_cuda_test(cuda_moves test_cuda_moves.c)
target_link_libraries(test_cuda_moves PRIVATE octavo_serve octavo_api octavo_http)
oct_cuda_test(cuda_model test_cuda_model.c ${OCT_RUN} ${OCT_TEST_GOLDEN})
oct_cuda_test(cuda_demo test_cuda_demo.c ${OCT_RUN} ${OCT_TEST_TINY})
function(oct_cuda_engine_test name)
    oct_cuda_test(cuda_${name} ${OCT_ENGINE_TESTS}/test_${name}.c ${OCT_RUN} ${OCT_TEST_TINY} ${ARGN})
    target_compile_definitions(test_cuda_${name} PRIVATE OCT_TEST_DEVICE="cuda")
endfunction()
oct_cuda_engine_test(same_bits)
oct_cuda_engine_test(same_load)
oct_cuda_engine_test(requests)
oct_cuda_engine_test(prompt_logprobs)
# The program.
oct_cuda_test(cuda_serve test_cuda_serve.c ../serve/server.c ../serve/spawn.c ${OCT_TEST_TINY})
add_dependencies(test_cuda_serve octavo)
target_compile_definitions(test_cuda_serve PRIVATE OCT_BINARY="$<TARGET_FILE:octavo>"
                           OCT_VGPU_DIR="${CMAKE_BINARY_DIR}/vgpu")
