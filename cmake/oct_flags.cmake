# The flags of every target, in one interface library.
include(CheckCCompilerFlag)
add_library(oct_flags INTERFACE)

target_compile_options(oct_flags INTERFACE
    -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wundef -Wvla
    -Wformat=2 -Wno-format-nonliteral -Wconversion -Wsign-conversion
    -fno-math-errno -fno-trapping-math -fopenmp-simd)
if(OCT_WERROR)
    target_compile_options(oct_flags INTERFACE -Werror)
endif()

# Hardening (docs/security.md). clang 14 spells zero-initialisation with a second flag.
target_compile_options(oct_flags INTERFACE -fstack-protector-strong -fstack-clash-protection)
check_c_compiler_flag(-fcf-protection=full OCT_HAS_CET)
if(OCT_HAS_CET)
    target_compile_options(oct_flags INTERFACE -fcf-protection=full)
endif()
check_c_compiler_flag(-ftrivial-auto-var-init=zero OCT_HAS_AUTO_ZERO)
if(OCT_HAS_AUTO_ZERO)
    target_compile_options(oct_flags INTERFACE -ftrivial-auto-var-init=zero)
endif()
target_link_options(oct_flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)

if(OCT_SANITIZE)
    target_compile_options(oct_flags INTERFACE -fsanitize=${OCT_SANITIZE} -fno-sanitize-recover=all)
    target_link_options(oct_flags INTERFACE -fsanitize=${OCT_SANITIZE})
    # gcc does not see through its own instrumentation: it takes out-parameters for unset.
    if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
        target_compile_options(oct_flags INTERFACE -Wno-maybe-uninitialized)
    endif()
    if(CMAKE_C_COMPILER_ID STREQUAL "Clang")
        # An instrumented loop under `omp simd` need not become vectors; elsewhere it has to.
        target_compile_options(oct_flags INTERFACE -Wno-pass-failed)
    endif()
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
    check_c_compiler_flag("-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -O2" OCT_HAS_FORTIFY)
    target_compile_options(oct_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
endif()
if(OCT_FUZZ)
    target_compile_options(oct_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
