#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# Grouping pays on xfs and costs little on ext4: the benchmark (bench_group.sh), short and with coarse marks.
# limit: 180 s
PAIRS=1 MS=2000 THREADS="1 64" LEAST=0.5 XFS_LEAST=2
. "$(dirname "$0")/../bench_group.sh"
