# The nouns: handlers, the domain behind them, and the table that names them.
add_custom_command(OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/openapi.c
  COMMAND ${CMAKE_COMMAND} -DIN=${CMAKE_CURRENT_SOURCE_DIR}/openapi.json
    -DOUT=${CMAKE_CURRENT_BINARY_DIR}/openapi.c -DNAME=openapi_json -DHEADER=server/openapi.h
    -P ${CMAKE_CURRENT_SOURCE_DIR}/embed.cmake
  DEPENDS openapi.json embed.cmake)

add_library(ota_nouns STATIC
  actor.c again.c api.c auth.c boards.c chunk.c damaged.c device_auth.c digests.c domain.c facts.c find.c follow.c grow.c index.c
  json.c keystore.c ops.c plan.c registry.c routes.c select.c sign.c stranger.c trash.c upkeep.c urls.c verdict.c
  view.c view_device.c wake.c
  h_assignment.c h_audit.c h_board.c h_change.c h_checkin.c h_device.c h_device_admin.c h_enroll.c h_enroll_admin.c
  h_image.c h_release.c h_rollout.c h_rollout_change.c h_root_admin.c h_selection.c h_server.c h_token.c
  ${CMAKE_CURRENT_BINARY_DIR}/openapi.c)
target_link_libraries(ota_nouns PUBLIC ota_infra ota_db ota_image_host ota_crypto ota_proto ota_host ota_flags
  PRIVATE PkgConfig::JANSSON)
