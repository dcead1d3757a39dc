#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
. "$(dirname "$0")/../lib/tap.sh"
exec "$O/tests/bpf/sg-buckets"
