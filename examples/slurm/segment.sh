#!/bin/bash
# Segment an archive on a Slurm cluster, a shard for each task of a job array:
#   job=$(sbatch --parsable examples/slurm/segment.sh PHOTOGRAPHS MASKS)
#   sbatch --dependency=afterany:"$job" examples/slurm/merge.sh MASKS
#SBATCH --job-name=dermseg
#SBATCH --array=1-16
#SBATCH --cpus-per-task=8
#SBATCH --mem=4G
#SBATCH --time=04:00:00
#SBATCH --requeue
set -euo pipefail
shards=${3:-$SLURM_ARRAY_TASK_COUNT}  # given where only some are run again
exec dermseg segment "$1" -o "$2" --shard "$SLURM_ARRAY_TASK_ID/$shards"
