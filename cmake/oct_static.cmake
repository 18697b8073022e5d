# liboctavo.a: one relocatable object in which every name that octavo.h does not declare is local,
# so that a program that links it cannot meet or clash with our internals.
set(OCT_STATIC_LIBRARY ${CMAKE_BINARY_DIR}/liboctavo.a)
add_custom_command(
    OUTPUT ${OCT_STATIC_LIBRARY}
    COMMAND ${CMAKE_LINKER} -r -o octavo_all.o $<TARGET_OBJECTS:octavo_core>
    COMMAND ${CMAKE_OBJCOPY} --localize-hidden octavo_all.o
    COMMAND ${CMAKE_COMMAND} -E rm -f ${OCT_STATIC_LIBRARY}
    COMMAND ${CMAKE_AR} rcs ${OCT_STATIC_LIBRARY} octavo_all.o
    DEPENDS octavo_core $<TARGET_OBJECTS:octavo_core>
    COMMAND_EXPAND_LISTS VERBATIM
    COMMENT "Linking static library liboctavo.a")
add_custom_target(octavo_static ALL DEPENDS ${OCT_STATIC_LIBRARY})
