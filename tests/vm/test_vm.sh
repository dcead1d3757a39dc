#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# Everything under tests/vm/guest, in one virtual machine with three disks.
here=$(cd "$(dirname "$0")" && pwd)
exec "$here/guest-tests" -d 512M -d 512M -d 512M -m 1536 "$here"/guest/*.sh
