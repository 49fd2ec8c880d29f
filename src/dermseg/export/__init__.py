"""From finished trainings to one model file."""
