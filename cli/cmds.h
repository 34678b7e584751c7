/* The functions behind the command table, one file per noun. Each returns EXIT_DONE, EXIT_FAILED or
 * EXIT_USAGE and has printed why. */
#ifndef CLI_CMDS_H
#define CLI_CMDS_H

#include "cli/cli.h"

int cmd_audit_list(struct cli *cli, const struct args *args);
int cmd_board_add(struct cli *cli, const struct args *args);
int cmd_board_export(struct cli *cli, const struct args *args);
int cmd_board_list(struct cli *cli, const struct args *args);
int cmd_board_remove(struct cli *cli, const struct args *args);
int cmd_board_show(struct cli *cli, const struct args *args);
int cmd_cancel(struct cli *cli, const struct args *args);
int cmd_device_approve(struct cli *cli, const struct args *args);
int cmd_device_reject(struct cli *cli, const struct args *args);
int cmd_device_ack(struct cli *cli, const struct args *args);
int cmd_device_hold(struct cli *cli, const struct args *args);
int cmd_device_list(struct cli *cli, const struct args *args);
int cmd_device_remove(struct cli *cli, const struct args *args);
int cmd_device_rename(struct cli *cli, const struct args *args);
int cmd_device_replace(struct cli *cli, const struct args *args);
int cmd_device_show(struct cli *cli, const struct args *args);
int cmd_device_tag(struct cli *cli, const struct args *args);
int cmd_device_unhold(struct cli *cli, const struct args *args);
/* A file that could not be made must not leave a secret behind that would enroll somebody. */
void cli_secret_revoke(struct cli *cli, const char *id);

int cmd_enroll_create(struct cli *cli, const struct args *args);
int cmd_enroll_list(struct cli *cli, const struct args *args);
int cmd_enroll_revoke(struct cli *cli, const struct args *args);
int cmd_image_inspect(struct cli *cli, const struct args *args);
int cmd_image_list(struct cli *cli, const struct args *args);
int cmd_image_remove(struct cli *cli, const struct args *args);
int cmd_image_show(struct cli *cli, const struct args *args);
int cmd_init(struct cli *cli, const struct args *args);
int cmd_log(struct cli *cli, const struct args *args);
int cmd_login(struct cli *cli, const struct args *args);
int cmd_logout(struct cli *cli, const struct args *args);
int cmd_provision(struct cli *cli, const struct args *args);
int cmd_push(struct cli *cli, const struct args *args);
int cmd_release_envelope(struct cli *cli, const struct args *args);
int cmd_release_inspect(struct cli *cli, const struct args *args);
int cmd_release_list(struct cli *cli, const struct args *args);
int cmd_release_remove(struct cli *cli, const struct args *args);
int cmd_release_retire(struct cli *cli, const struct args *args);
int cmd_release_show(struct cli *cli, const struct args *args);
int cmd_retry(struct cli *cli, const struct args *args);
int cmd_rollout_list(struct cli *cli, const struct args *args);
int cmd_rollout_show(struct cli *cli, const struct args *args);
int cmd_rollout_unhold(struct cli *cli, const struct args *args);
int cmd_status(struct cli *cli, const struct args *args);
int cmd_token_create(struct cli *cli, const struct args *args);
int cmd_token_list(struct cli *cli, const struct args *args);
int cmd_token_revoke(struct cli *cli, const struct args *args);

#endif
