#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# The observer's tests in tier kprobe, for tests/vm/guest-tests.
# limit: 600 s
TIER=kprobe exec "$(dirname "$0")/../test_observer.sh"
