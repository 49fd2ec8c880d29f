#!/bin/bash
# Merge the shards of examples/slurm/segment.sh; it names those that are missing.
#SBATCH --job-name=dermseg-merge
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
set -euo pipefail
exec dermseg merge "$1"
