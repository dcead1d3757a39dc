/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* The words of a policy, shared by what reads and what writes them. */
#ifndef SG_GUARD_POLICY_NAMES_H
#define SG_GUARD_POLICY_NAMES_H

#include "guard/policy.h"

#define SG_N(a) (sizeof(a) / sizeof((a)[0]))

extern const char *const sg_policy_key_names[SG_KEYS];
extern const char *const sg_policy_mode_names[4];
extern const char *const sg_policy_on_stall_names[3];
extern const char *const sg_policy_on_error_names[3];
extern const char *const sg_policy_backend_names[3];
extern const char *const sg_policy_switch_names[2]; /* off, on */

#endif
